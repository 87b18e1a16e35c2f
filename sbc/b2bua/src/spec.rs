//! The configuration as the B2BUA wants it: plain, validated, with names turned into indexes. Made by `control/config`
//! once per applied version; a call keeps the version that it started with.

use crate::number::{Pattern, Template};
use base::{Duration, Instant};
use command::{Learn, Timeouts};
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use ledger::{Class, KeyedPools, Part, Pool, Why};
use policy::destination::Destinations;
use policy::fraud::Profile;
use policy::guard::GuardSpec;
use policy::numbers::Callers;
use routing::group::{Group, Way};
use routing::health::Health;
pub use routing::rewrite::{NumberOf, NumberRule};
use routing::table::Table;
pub use routing::table::{Match, Order};
pub use sdp::{DigitsBy, Makeable, Srtp, Transcode};
pub use sip::flow::Transport;
use std::sync::Arc;

/// One applied version.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Counts up with every applied configuration.
    pub version: u64,
    /// Where we listen and have media ports.
    pub listeners: Vec<Listener>,
    /// Who is out there.
    pub trunks: Vec<Trunk>,
    /// Who may register.
    pub accounts: Vec<Account>,
    /// Trunks that stand for each other.
    pub groups: Vec<Group>,
    /// Who may call where, and what is fraud.
    pub policies: Vec<Policy>,
    /// What is done with a call that a row of `table` takes; the same index in both.
    pub routes: Vec<Route>,
    /// Which calls the routes take, compiled.
    pub table: Arc<Table>,
    /// In the order of the file.
    pub number_rules: Vec<NumberRule>,
    /// What can be decoded and encoded, so that sides without a common codec can talk.
    pub makeable: Arc<[Makeable]>,
    /// Numbers that are emergencies, after number rules.
    pub emergency: Vec<Vec<u8>>,
    /// What sources get that are nobody.
    pub unknown: Unknown,
    /// How long media goes on without its signalling shard.
    pub orphan: Duration,
}

impl Spec {
    /// Puts a route behind those that are there. Many at once are compiled at once: [`Spec::set_routes`].
    pub fn add_route(&mut self, matching: Match, route: Route) {
        let mut matches = self.table.matches().to_vec();
        matches.push(matching);
        self.table = Arc::new(Table::compile(matches, self.table.order()));
        self.routes.push(route);
    }

    /// Every limit that a call may meet; one that is named in several places comes as often.
    pub fn limits(&self) -> impl Iterator<Item = ledger::Limit<'_>> {
        let of_trunks = self.trunks.iter().flat_map(|trunk| {
            let further = trunk.limits_in.iter().chain(&trunk.limits_out).map(Limit::places);
            core::iter::once(ledger::Limit::Pool(&trunk.pool)).chain(further)
        });
        let of_accounts = self.accounts.iter().flat_map(|account| {
            let further = account.limits.iter().map(Limit::places);
            core::iter::once(ledger::Limit::Pool(&account.pool)).chain(further)
        });
        let members = self.groups.iter().flat_map(|group| &group.members);
        let of_members = members.flat_map(|member| member.resources.iter());
        let of_members = of_members.map(|(_, pool)| ledger::Limit::Pool(pool));
        let diverted = core::iter::once(ledger::Limit::Pool(&self.unknown.divert.pool));
        of_trunks.chain(of_accounts).chain(of_members).chain(diverted)
    }

    /// All routes, in the order of the file.
    pub fn set_routes(&mut self, routes: impl IntoIterator<Item = (Match, Route)>, order: Order) {
        let (matches, routes) = routes.into_iter().unzip();
        self.table = Arc::new(Table::compile(matches, order));
        self.routes = routes;
    }
}

/// `listener.NAME`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// As in the configuration.
    pub name: String,
    /// SIP addresses to bind; port 0 lets the system choose.
    pub sip: Vec<SipBind>,
    /// Media ranges, at most one for each address; port 0..=0 lets the system choose.
    pub media: Vec<MediaRange>,
    /// What to write instead of our address, by family.
    pub advertise: Vec<IpAddr>,
    /// DSCP of SIP, 0 to 63.
    pub dscp_sip: u8,
    /// DSCP of RTP, 0 to 63.
    pub dscp_rtp: u8,
    /// Codes and texts of refusals that no route has a say in.
    pub texts: Texts,
}

/// One SIP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipBind {
    /// UDP or TCP (others come with their issue).
    pub transport: Transport,
    /// May be a wildcard.
    pub address: SocketAddr,
}

/// One media range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    /// May be a wildcard.
    pub address: IpAddr,
    /// Even and odd ports.
    pub ports: RangeInclusive<u16>,
}

/// `trunk.NAME`.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// As in the configuration.
    pub name: String,
    /// Index of the listener that calls to it leave from; the first one if not said.
    pub listener: usize,
    /// The configuration names the listener, so that it is recognised on that one only.
    pub listener_only: bool,
    /// Who is it.
    pub from: Vec<Source>,
    /// Where it is called, in order of preference.
    pub to: Vec<Target>,
    /// Which final answers lead to the next target and how codes are rewritten.
    pub codes: Codes,
    /// How the sources of its media are learned.
    pub learn: Learn,
    /// How long silence may last.
    pub timeouts: Timeouts,
    /// One side's silence also ends the call.
    pub one_ends: bool,
    /// RFC 4028; `None` is off.
    pub session_timer: Option<Duration>,
    /// Calls end after this.
    pub max_duration: Option<Duration>,
    /// Calls on it now, both directions, with its `limit`.
    pub pool: Arc<Pool>,
    /// Further limits of calls from it.
    pub limits_in: Vec<Limit>,
    /// Further limits of calls to it.
    pub limits_out: Vec<Limit>,
    /// Whether it lives; shared with its earlier versions.
    pub health: Arc<Health>,
    /// How often it is asked whether it lives.
    pub probe: Option<Duration>,
    /// Indexes of the policies for what it sends us, in order.
    pub policies: Vec<usize>,
    /// What its calls may take of what is reserved.
    pub class: Class,
    /// What an emergency centre is told about where its callers are.
    pub emergency_address: Option<String>,
    /// How its media is treated.
    pub media: Media,
    /// Its calls are recorded from their answer on.
    pub record: bool,
}

impl Trunk {
    /// One without addresses that bounds nothing; counts its calls in this pool.
    pub fn new(name: &str, pool: Arc<Pool>) -> Trunk {
        Trunk {
            name: name.to_owned(),
            listener: 0,
            listener_only: false,
            from: Vec::new(),
            to: Vec::new(),
            codes: Codes::default(),
            learn: Learn::Window,
            timeouts: Timeouts::default(),
            one_ends: false,
            session_timer: None,
            max_duration: None,
            pool,
            limits_in: Vec::new(),
            limits_out: Vec::new(),
            health: Arc::new(Health::new()),
            probe: None,
            policies: Vec::new(),
            class: Class::Normal,
            emergency_address: None,
            media: Media::default(),
            record: false,
        }
    }
}

/// How the media of a trunk or an account is treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// What it is offered, by encoding name, in this order; empty is what the other side offers.
    pub codecs: Arc<[Box<str>]>,
    /// Whether codecs are converted.
    pub transcode: Transcode,
    /// Whether it is encrypted; keys pass from side to side where neither says.
    pub srtp: Option<Srtp>,
    /// How digits travel.
    pub dtmf: DigitsBy,
    /// Its digits reach nobody.
    pub block_dtmf: bool,
    /// The echo of what it hears is taken out of what it says.
    pub echo_cancel: bool,
}

/// A limit that a call takes a place in.
#[derive(Clone, Debug)]
pub enum Limit {
    /// One for all.
    Shared(Arc<Pool>),
    /// One for each value of something.
    Each(Arc<KeyedPools>, KeyOf),
}

/// What a limit is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOf {
    /// Calling number.
    Caller,
    /// Called number.
    Callee,
    /// Source address.
    Source,
}

impl Limit {
    /// The place that a call takes here; `source` is text.
    pub fn part<'a>(&'a self, caller: &'a [u8], callee: &'a [u8], source: &'a [u8]) -> Part<'a> {
        match self {
            Limit::Shared(pool) => Part::Pool(pool),
            Limit::Each(pools, KeyOf::Caller) => Part::Key(pools, caller),
            Limit::Each(pools, KeyOf::Callee) => Part::Key(pools, callee),
            Limit::Each(pools, KeyOf::Source) => Part::Key(pools, source),
        }
    }

    /// As the ledger sees it.
    fn places(&self) -> ledger::Limit<'_> {
        match self {
            Limit::Shared(pool) => ledger::Limit::Pool(pool),
            Limit::Each(pools, _) => ledger::Limit::Keyed(pools),
        }
    }

    /// Its name, places in use and in all for such a call, and whether it would get one; takes nothing.
    pub fn look<'a>(
        &'a self,
        now: Instant,
        class: Class,
        caller: &[u8],
        callee: &[u8],
        source: &[u8],
    ) -> (&'a str, u32, u32, Result<(), Why>) {
        let keyed = |pools: &'a Arc<KeyedPools>, key: &[u8]| {
            (pools.name(), pools.used_by(key), pools.bounds().calls, pools.check(now, class, key))
        };
        match self {
            Limit::Shared(pool) => (pool.name(), pool.used(), pool.bounds().calls, pool.check(now, class)),
            Limit::Each(pools, KeyOf::Caller) => keyed(pools, caller),
            Limit::Each(pools, KeyOf::Callee) => keyed(pools, callee),
            Limit::Each(pools, KeyOf::Source) => keyed(pools, source),
        }
    }
}

/// `account."user@domain"`: what its calls may do. Registration comes with the registrar.
#[derive(Clone, Debug)]
pub struct Account {
    /// `user@domain`.
    pub name: String,
    /// Its own number.
    pub number: Option<String>,
    /// Where it may call.
    pub destinations: Arc<Destinations>,
    /// Indexes of further policies, in order.
    pub policies: Vec<usize>,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// Calls on it now.
    pub pool: Arc<Pool>,
    /// Whether it may call at all; shared with its earlier versions.
    pub health: Arc<Health>,
    /// What an emergency centre is told about where it is.
    pub emergency_address: Option<String>,
    /// How its media is treated.
    pub media: Media,
    /// Its calls are recorded from their answer on.
    pub record: bool,
}

/// `policy.NAME`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// As in the configuration.
    pub name: String,
    /// Where calls may go.
    pub destinations: Option<Arc<Destinations>>,
    /// Who may call.
    pub callers: Option<Arc<Callers>>,
    /// What is watched.
    pub fraud: Option<Arc<Profile>>,
}

/// `[unknown]`.
#[derive(Clone, Debug, Default)]
pub struct Unknown {
    /// What they get.
    pub answer: UnknownAnswer,
    /// When they are banned.
    pub guard: GuardSpec,
    /// How many diverted calls may be held at a time, and how long.
    pub divert: Divert,
}

/// Calls that are answered and held, and lead nowhere.
#[derive(Clone, Debug)]
pub struct Divert {
    /// Places.
    pub pool: Arc<Pool>,
    /// They end after this.
    pub duration: Duration,
}

impl Default for Divert {
    fn default() -> Self {
        Divert { pool: Pool::new("divert", 20), duration: Duration::from_secs(60) }
    }
}

/// Who a trunk is: the most specific one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A network, or an address if the prefix is full; over UDP only from `port` if it is given.
    Net {
        /// Network address.
        address: IpAddr,
        /// Prefix length.
        prefix: u8,
        /// Source port of datagrams.
        port: Option<u16>,
    },
    /// A host name, resolved from time to time by control.
    Host {
        /// The name.
        name: String,
        /// Source port of datagrams.
        port: Option<u16>,
    },
}

/// One address of a trunk, before DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host name or address as written in the Request-URI (IPv6 in brackets).
    pub host: String,
    /// Port, if given: then neither NAPTR nor SRV is asked (RFC 3263 section 4).
    pub port: Option<u16>,
    /// `;transport=`, if given: then it is never overridden.
    pub transport: Option<Transport>,
    /// Share among targets of equal rank; for later load balancing.
    pub weight: u32,
}

/// `trunk.NAME.codes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Lead to the next target.
    pub retry: Vec<RangeInclusive<u16>>,
    /// End the search, even if also in `retry`.
    pub stop: Vec<RangeInclusive<u16>>,
    /// Rewritten towards the caller.
    pub map: Vec<(u16, u16)>,
    /// Failures that are billed all the same; answered calls always are.
    pub bill: Vec<RangeInclusive<u16>>,
}

impl Default for Codes {
    fn default() -> Self {
        Codes { retry: vec![408..=408, 500..=599], stop: Vec::new(), map: Vec::new(), bill: Vec::new() }
    }
}

impl Codes {
    /// Whether the next target is tried after this final answer.
    pub fn retries(&self, code: u16) -> bool {
        !self.stop.iter().any(|r| r.contains(&code)) && self.retry.iter().any(|r| r.contains(&code))
    }

    /// What the caller is told. A 503 of one trunk is a 500 for the caller, since it says nothing about us
    /// (RFC 3261 section 16.7), unless the map says otherwise.
    pub fn towards_caller(&self, code: u16) -> u16 {
        match self.map.iter().find(|(from, _)| *from == code) {
            Some((_, to)) => *to,
            None if code == 503 => 500,
            None => code,
        }
    }
}

/// `[[route]]`: what is done with the calls that it takes.
#[derive(Clone, Debug)]
pub struct Route {
    /// As in the configuration, or `route-N`.
    pub name: String,
    /// Where its calls go.
    pub action: Action,
    /// The patterns of the called number, where `callee` needs to know which one matched.
    pub to: Vec<Pattern>,
    /// What the called number becomes.
    pub callee: Option<Template>,
    /// What the calling number becomes.
    pub set_caller: Option<Template>,
    /// Headers to set on the outgoing leg; `{caller}`, `{callee}`, `{trunk}`, `{account}` stand for what they say.
    pub set_headers: Vec<(String, String)>,
    /// Resources that its calls need of a group's member; all that the member has, if empty.
    pub resources: Vec<String>,
    /// What its calls may take of what is reserved, if it says.
    pub class: Option<Class>,
    /// Who is asked before.
    pub hook: Option<Hook>,
    /// Codes and texts of refusals.
    pub texts: Texts,
    /// Calls by this route end after this.
    pub max_duration: Option<Duration>,
}

impl Route {
    /// One that leads there and changes nothing.
    pub fn new(name: &str, action: Action) -> Route {
        Route {
            name: name.to_owned(),
            action,
            to: Vec::new(),
            callee: None,
            set_caller: None,
            set_headers: Vec::new(),
            resources: Vec::new(),
            class: None,
            hook: None,
            texts: Texts::Rfc,
            max_duration: None,
        }
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To a trunk or group.
    To(Way),
    /// Nowhere: the caller gets this status.
    Reject(u16),
}

/// `route.hook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where to ask.
    pub url: String,
    /// How long to wait.
    pub deadline: Duration,
    /// How long an answer holds for equal questions.
    pub cache: Duration,
    /// Without an answer the call goes on by its route; else it is refused.
    pub goes_on: bool,
}

/// Which codes and texts refused callers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Texts {
    /// As the RFCs suggest.
    #[default]
    Rfc,
    /// As requirements 2.3 and 2.4 have them.
    Opensips,
}

/// `unknown.answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnknownAnswer {
    /// Nothing at all.
    #[default]
    Silent,
    /// 403.
    Forbidden,
    /// 503 "Attack!" where a phone should have registered, else 500 "Attack!!" (requirements 2.4).
    Attack,
    /// Calls are answered and held, and lead nowhere; everything else gets nothing.
    Divert,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A trunk that is known by these, for tests.
    pub(crate) fn trunk(name: &str, from: Vec<Source>) -> Trunk {
        Trunk { from, ..Trunk::new(name, Pool::new(name, u32::MAX)) }
    }

    /// An account with defaults, for tests.
    pub(crate) fn account(name: &str) -> Account {
        Account {
            name: name.into(),
            number: None,
            destinations: Arc::clone(Destinations::default_table()),
            policies: Vec::new(),
            limits: Vec::new(),
            pool: Pool::new(name, u32::MAX),
            health: Arc::new(Health::new()),
            emergency_address: None,
            media: Media::default(),
            record: false,
        }
    }

    #[test]
    fn codes_lead_on_or_stop_and_are_rewritten() {
        let codes = Codes { stop: vec![503..=503], map: vec![(603, 486)], ..Codes::default() };
        assert!(codes.retries(500) && codes.retries(408) && !codes.retries(503) && !codes.retries(486));
        assert_eq!(
            (codes.towards_caller(603), codes.towards_caller(503), codes.towards_caller(404)),
            (486, 500, 404)
        );
    }
}
