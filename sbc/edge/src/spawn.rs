//! Start, death and restart of a signalling thread. A panic ends its calls and nothing else: the thread comes back with
//! a new generation and the same sockets, and media of the lost calls plays on for the orphan time.

use crate::blocked::Blocked;
use crate::gate::{Gate, Told};
use crate::input::{Bell, Hooks, Input, Records};
use crate::ng_turn::{NgEdge, NgWorld};
use crate::resolver::Resolver;
use crate::run::{Load, Sources, Turner, World};
use crate::strangers::Allowance;
use crate::stream::Streams;
use crate::udp::{Buffers, Paths, Poll};
use b2bua::{Config, Spec, Switch, Transport};
use base::{Clock, Mailbox, Rng};
use command::{Command, Event, Generation};
use core::net::SocketAddr;
use ledger::{Bans, SignallingStats};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// All that a signalling thread needs.
pub struct EdgeConfig {
    /// The clock of the process.
    pub clock: Clock,
    /// What the B2BUA is told.
    pub config: Config,
    /// The configuration in force.
    pub spec: Arc<Spec>,
    /// Seed of its random numbers.
    pub seed: u64,
    /// Bound datagram sockets with their listeners.
    pub sockets: Vec<(u16, Paths)>,
    /// Who is known; shared by all threads.
    pub gate: Arc<Gate>,
    /// Sources whose datagrams are dropped unread, unless they are known.
    pub bans: Arc<Bans>,
    /// The same as the kernel knows them.
    pub blocked: Blocked,
    /// By listener: all that is bound, streams included.
    pub bound: Vec<Vec<(Transport, SocketAddr)>>,
    /// Wakes it.
    pub bell: Bell,
    /// Its mailbox.
    pub inbox: Mailbox<Input>,
    /// Events of media shards.
    pub events: Mailbox<Event>,
    /// The mailboxes of all signalling threads, by number.
    pub peers: Vec<Mailbox<Input>>,
    /// The command rings of the media shards, by number.
    pub media: Vec<Mailbox<Command>>,
    /// Where records go.
    pub records: Arc<dyn Records>,
    /// Who asks the hooks of routes.
    pub hooks: Arc<dyn Hooks>,
    /// Connections.
    pub streams: Streams,
    /// DNS.
    pub resolver: Resolver,
    /// The NG protocol, where it is spoken.
    pub ng: Option<NgEdge>,
    /// Its counters.
    pub stats: Arc<SignallingStats>,
}

/// Starts the thread; it ends at `Input::Stop`.
///
/// # Errors
/// No descriptor or thread left.
pub fn spawn(edge: EdgeConfig) -> std::io::Result<JoinHandle<()>> {
    let poll = Poll::new()?;
    let media = edge.media.len();
    let (mut ng_start, ng_world) = edge.ng.map(NgStart::split).unzip();
    let mut world = World {
        sockets: edge.sockets,
        waiting: VecDeque::new(),
        allowance: Allowance::new(edge.clock.now().mono),
        gate: edge.gate,
        told: Told::default(),
        bans: edge.bans,
        blocked: edge.blocked,
        poll,
        bell: edge.bell,
        inbox: edge.inbox,
        events: edge.events,
        peers: edge.peers,
        media: edge.media,
        steering: edge.config.steering,
        records: edge.records,
        hooks: edge.hooks,
        streams: edge.streams,
        resolver: edge.resolver,
        listener_names: edge.spec.listeners.iter().map(|l| l.name.clone()).collect(),
        buffers: Buffers::default(),
        ready: Vec::with_capacity(64),
        backlog: (0..media).map(|_| VecDeque::new()).collect(),
        sources: Sources::default(),
        ng: ng_world,
        stop: false,
        load: Load::default(),
    };
    world.watch()?;
    let (clock, stats, mut spec, mut config) = (edge.clock, edge.stats, edge.spec, edge.config);
    let (bound, shard) = (edge.bound, usize::from(config.shard));
    let mut rng = Rng::from_seed(edge.seed);
    std::thread::Builder::new().name(format!("signalling-{shard}")).spawn(move || {
        loop {
            let now = clock.now();
            say_hello(&mut world, &config);
            // Nobody knows which of them were ready when a panic came.
            world.waiting = (0..world.sockets.len()).collect();
            world.resolver.watch(&spec);
            let mut switch =
                Switch::new(now, config.clone(), Arc::clone(&spec), rng.fork(), Arc::clone(&stats));
            switch.set_bound(bound.clone());
            let ng = ng_start.as_ref().zip(world.ng.as_ref());
            let ng = ng.map(|(start, world)| start.calls(now, Arc::clone(&world.spec), &mut rng));
            let ng_stats = ng_start.as_ref().map(|start| Arc::clone(&start.stats));
            let mut turner = Turner { clock, shard, switch, ng, ng_stats, world: &mut world };
            let died = catch_unwind(AssertUnwindSafe(|| turner.run())).is_err();
            spec = turner.switch.spec();
            if !died {
                return;
            }
            drop(turner);
            // What it held is gone: leases have given their places back, its records end in the journal.
            tracing::error!(shard, "signalling thread failed and is restarted");
            world.records.shard_lost(shard);
            stats.calls_active.clear();
            stats.calls_now.set(0);
            stats.restarts.add(1);
            config.generation += 1;
            if let Some(start) = &mut ng_start {
                start.again(config.generation);
            }
            world.buffers = Buffers::default();
        }
    })
}

/// Tells the media shards that bridges of earlier generations are orphans now.
fn say_hello(world: &mut World, config: &Config) {
    for (shard, ring) in world.media.iter().enumerate() {
        let hello = Command::Hello { signalling: config.shard, generation: Generation(config.generation) };
        if let Err(hello) = ring.send(hello) {
            world.backlog[shard].push_back(hello);
        }
    }
}

/// What calls of the NG protocol are started with.
struct NgStart {
    config: ng::desk::Config,
    stats: Arc<ng::counts::NgStats>,
}

impl NgStart {
    fn split(edge: NgEdge) -> (NgStart, NgWorld) {
        let NgEdge { config, spec, sockets, streams, sounds, stats } = edge;
        let world = NgWorld { spec, sockets, streams, sounds, events: [None, None] };
        (NgStart { config, stats }, world)
    }

    fn calls(&self, now: base::Now, spec: Arc<ng::spec::Spec>, rng: &mut Rng) -> ng::desk::Ng {
        ng::desk::Ng::new(now, self.config.clone(), spec, rng.fork(), Arc::clone(&self.stats))
    }

    /// Its calls have gone with the thread.
    fn again(&mut self, generation: u32) {
        self.stats.calls_now.set(0);
        self.config.generation = generation;
    }
}
