//! The clock of silence of one bridge (media.md, "Silence"): both sides, one side, hold. Runs by timer, never by
//! packet: packets only leave the time at which they came.

use super::port::Port;
use base::{Duration, Instant};
use command::{BridgeId, Event, Party, Phase, Timeouts};

/// When it began and when it is to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    phase: Phase,
    timeouts: Timeouts,
    /// The phase's beginning.
    started: Instant,
    /// The timer that counts; others in the wheel are stale.
    pub due: Option<Instant>,
    /// The beginning of the silence of all that has been told of.
    told: Option<Instant>,
    /// The same of single sides.
    told_one: Vec<(Party, Instant)>,
}

impl Clock {
    pub fn new(now: Instant) -> Self {
        let (phase, timeouts) = (Phase::Early, Timeouts::default());
        Clock { phase, timeouts, started: now, due: None, told: None, told_one: Vec::new() }
    }

    /// Takes what the spec says; whether the call has just been answered.
    pub fn apply(&mut self, now: Instant, phase: Phase, timeouts: Timeouts) -> bool {
        let answered = self.phase == Phase::Early && phase != Phase::Early;
        if self.phase != phase {
            (self.started, self.told) = (now, None);
            self.told_one.clear();
        }
        (self.phase, self.timeouts) = (phase, timeouts);
        answered
    }

    /// Tells of silence that is due, each once, and says when to look again; `None` if no clock runs.
    pub fn check<'p>(
        &mut self,
        now: Instant,
        bridge: BridgeId,
        ports: &(impl Iterator<Item = &'p Port> + Clone),
        mut tell: impl FnMut(Event),
    ) -> Option<Instant> {
        let started = self.started;
        let heard = |port: &Port| {
            let expected = port.expected_since.unwrap_or(started);
            started.max(expected).max(port.heard.unwrap_or(started))
        };
        // Only who should send can fail to.
        let senders = ports.clone().filter(|port| port.expected_since.is_some());
        let (timeout, since) = match self.phase {
            Phase::Early => return None,
            Phase::Active if senders.clone().next().is_some() => {
                (self.timeouts.both, senders.clone().map(heard).max())
            }
            Phase::Active | Phase::Held => (self.timeouts.hold, ports.clone().map(heard).max()),
        };
        let mut next = None;
        if let Some(timeout) = timeout {
            let since = since.unwrap_or(started);
            let (at, is_new) = look(now, since, timeout, self.told);
            if is_new {
                self.told = Some(since);
                tell(Event::Silent { bridge, silent: now.since(since) });
            }
            next = Some(at);
        }
        let one = self.timeouts.one.filter(|_| self.phase == Phase::Active);
        let Some(timeout) = one else { return next };
        for (n, port) in senders.clone().enumerate() {
            // A party's first sending port speaks for all of them: video that lives is life.
            if senders.clone().take(n).any(|earlier| earlier.party == port.party) {
                continue;
            }
            let of_party = senders.clone().filter(|other| other.party == port.party);
            let since = of_party.map(heard).max().unwrap_or(started);
            let told = self.told_one.iter().find(|(party, _)| *party == port.party).map(|(_, since)| *since);
            let (at, is_new) = look(now, since, timeout, told);
            if is_new {
                self.told_one.retain(|(party, _)| *party != port.party);
                self.told_one.push((port.party, since));
                tell(Event::OneSideSilent { bridge, port: port.index, silent: now.since(since) });
            }
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        next
    }
}

/// When to look again, and whether this silence is due and has not been told of. After that, one look a timeout is
/// enough: a later silence cannot be due before.
fn look(now: Instant, since: Instant, timeout: Duration, told: Option<Instant>) -> (Instant, bool) {
    // Shorter ones would make the clock spin.
    let timeout = timeout.max(Duration::from_millis(100));
    if now < since + timeout { (since + timeout, false) } else { (now + timeout, told != Some(since)) }
}
