//! Caller and callee against each other in virtual time, on a network that loses and reorders.

use super::*;
use crate::profile::Shape;
use crate::scenario::Scenario;
use crate::session;
use crate::uas::{Ring, Script, Uas};
use std::time::Duration;

pub(super) const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn steady(cps: f64, seconds: u64) -> Profile {
    Profile::new(Shape::Steady, cps, Duration::from_secs(seconds))
}

pub(super) fn plan() -> Plan {
    Plan {
        target: address(5061),
        local: address(5060),
        media: (0..60).map(|i| address(4000 + 2 * i)).collect(),
        codec: Codec::Pcmu,
        calls_max: 30,
        profile: steady(10.0, 3_600),
        gaps: Gaps::Poisson,
        total: 20,
        talk_ns: 2 * SECOND,
        settle_ns: 200 * MS,
        ring_max_ns: 60 * SECOND,
        scenario: Arc::default(),
        seed: 1,
        strict: false,
        account: None,
        register: false,
    }
}

fn script() -> Script {
    Script {
        local: address(5061),
        media: (0..30).map(|i| address(5000 + 2 * i)).collect(),
        codec: Codec::Pcmu,
        ring: Ring::Ringing,
        answer_after_ns: 100 * MS,
        refuse: None,
        scenario: Arc::default(),
        seed: 1,
        talk_ns: 2 * SECOND,
        settle_ns: 200 * MS,
    }
}

/// Both sides with a scenario.
fn playing(name: &str) -> (Plan, Script) {
    let scenario = Arc::new(Scenario::named(name).expect("listed"));
    (Plan { scenario: Arc::clone(&scenario), ..plan() }, Script { scenario, ..script() })
}

/// The network between them.
#[derive(Clone, Copy, Default)]
struct Network {
    /// It loses one datagram in so many.
    loses_one_in: u64,
    /// It delays each by up to so much beyond a millisecond, so that they overtake one another.
    jitter: u64,
}

/// Caller and callee until all is over.
struct World {
    uac: Uac,
    uas: Uas,
    spoke: u64,
    rested: u64,
    dialled: Vec<String>,
    hushed: u64,
    now: u64,
}

impl World {
    fn run(plan: Plan, script: Script, loss_one_in: u64, seed: u64) -> World {
        World::on(Network { loses_one_in: loss_one_in, jitter: 0 }, plan, script, seed)
    }

    fn on(network: Network, plan: Plan, script: Script, seed: u64) -> World {
        let mut rng = Rng::from_seed(seed);
        let start = 1_000 * SECOND;
        let uac = Uac::new(plan, start, rng.fork());
        let uas = Uas::new(script, rng.fork());
        let mut world = World { uac, uas, spoke: 0, rested: 0, dialled: vec![], hushed: 0, now: start };
        let mut wire: BTreeMap<(u64, u64), (SocketAddr, Vec<u8>)> = BTreeMap::new();
        let mut count = 0;
        while !world.uac.is_done() || world.uas.active() > 0 {
            let first = wire.first_key_value().map(|packet| packet.0.0);
            let timers = [world.uac.poll_timeout(), world.uas.poll_timeout(), first];
            world.now = timers.into_iter().flatten().min().expect("something is due").max(world.now);
            let now = world.now;
            if first.is_some_and(|at| at <= now) {
                let (_, (to, bytes)) = wire.pop_first().expect("it is the first");
                if to == address(5061) {
                    world.uas.handle_datagram(now, address(5060), &bytes);
                } else {
                    world.uac.handle_datagram(now, now, address(5061), &bytes);
                }
            } else if world.uac.poll_timeout().is_some_and(|at| at <= now) {
                world.uac.handle_timeout(now);
            } else {
                world.uas.handle_timeout(now);
            }
            while let Some(output) = world.uac.poll_output().or_else(|| world.uas.poll_output()) {
                match output {
                    Output::Send { .. }
                        if network.loses_one_in > 0 && rng.below(network.loses_one_in) == 0 => {}
                    Output::Send { to, bytes } => {
                        count += 1;
                        wire.insert((now + MS + rng.below(network.jitter + 1), count), (to, bytes));
                    }
                    Output::Speak { remote, .. } => {
                        assert!(remote.rtp.port() >= 4000);
                        world.spoke += 1;
                    }
                    Output::Rest(_) => world.rested += 1,
                    Output::Dial { digits, .. } => world.dialled.push(digits),
                    Output::Hush(_) => world.hushed += 1,
                }
            }
            assert!(now < start + 900 * SECOND, "the calls never end");
        }
        world
    }

    fn step(&self, name: &str) -> (u64, u64) {
        self.uac.tally().steps.get(name).map_or((0, 0), |step| (step.sent, step.done))
    }

    fn all_completed(&self) {
        let tally = self.uac.tally();
        assert_eq!((tally.completed, tally.failed()), (20, 0), "{:?}", tally.failures);
    }
}

#[test]
fn calls_complete_and_their_times_are_known() {
    let world = World::run(plan(), script(), 0, 1);
    let tally = world.uac.tally();
    assert_eq!((tally.placed, tally.completed, tally.failed(), tally.unplaced), (20, 20, 0, 0));
    assert_eq!((tally.resent, tally.strays), (0, 0));
    let ms = |times: &Times| ((times.at(0.0) + MS / 2) / MS, times.at(1.0) / MS);
    assert_eq!((ms(&tally.setup), ms(&tally.ringing)), ((102, 102), (2, 2)));
    assert_eq!((world.spoke, world.hushed), (40, 40));
    assert_eq!((world.uas.tally().acknowledged, world.uas.tally().ended), (20, 20));
}

#[test]
fn every_call_ends_however_much_is_lost() {
    for seed in 0..20 {
        let world = World::run(plan(), script(), 4, seed);
        let tally = world.uac.tally();
        assert_eq!(tally.completed + tally.failed(), 20, "{tally:?}");
        assert!(tally.completed >= 18 && tally.resent > 0, "seed {seed}: {:?}", tally.failures);
    }
}

#[test]
fn refusals_are_acknowledged_and_counted_by_status() {
    let world = World::run(plan(), Script { refuse: Some(486), ..script() }, 0, 3);
    assert_eq!(world.uac.tally().failures, BTreeMap::from([("486".to_owned(), 20)]));
    assert_eq!((world.uas.tally().refused, world.uas.tally().resent), (20, 0));
}

#[test]
fn what_rings_too_long_is_cancelled() {
    let script = Script { answer_after_ns: 90 * SECOND, ring: Ring::Progress, ..script() };
    let world = World::run(Plan { ring_max_ns: SECOND, ..plan() }, script, 0, 4);
    assert_eq!(world.uac.tally().failures, BTreeMap::from([("no-answer".to_owned(), 20)]));
    assert_eq!((world.uas.tally().cancelled, world.uas.tally().answered), (20, 0));
}

#[test]
fn nobody_there_is_a_timeout_after_32_s() {
    let world = World::run(Plan { total: 1, ..plan() }, script(), 1, 5);
    assert_eq!(world.uac.tally().failures, BTreeMap::from([("timeout".to_owned(), 1)]));
    assert_eq!(world.uac.tally().resent, 6);
    assert_eq!(world.now, 1_032 * SECOND);
}

#[test]
fn arrivals_do_not_wait_for_calls_that_hang() {
    let plan = Plan { calls_max: 5, gaps: Gaps::Even, total: 20, ..plan() };
    let world = World::run(plan, Script { answer_after_ns: 10 * SECOND, ..script() }, 0, 6);
    let tally = world.uac.tally();
    assert_eq!((tally.placed, tally.unplaced, tally.completed), (5, 15, 5));
}

#[test]
fn arrivals_keep_their_rate() {
    for gaps in [Gaps::Poisson, Gaps::Even] {
        let plan = Plan {
            profile: steady(100.0, 20),
            total: u32::MAX,
            calls_max: 10_000,
            media: vec![],
            gaps,
            ..plan()
        };
        let world = World::run(plan, Script { media: vec![], ..script() }, 0, 7);
        let tally = world.uac.tally();
        assert!(tally.placed.abs_diff(2_000) < 150, "{}", tally.placed);
        assert_eq!((tally.completed, world.spoke), (tally.placed, 0));
    }
}

#[test]
fn the_other_side_may_hang_up_or_refresh_the_session() {
    let start = 1_000 * SECOND;
    let mut uac = Uac::new(Plan { total: 1, ..plan() }, start, Rng::from_seed(8));
    let mut uas = Uas::new(Script { ring: Ring::None, answer_after_ns: 0, ..script() }, Rng::from_seed(9));
    let sent = |output: Option<Output>| match output {
        Some(Output::Send { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    uac.handle_timeout(start);
    uas.handle_datagram(start, address(5060), &sent(uac.poll_output()));
    let answer = sent(uas.poll_output());
    uac.handle_datagram(start, start, address(5061), &answer);
    let answer = Message::parse(&answer, Framing::Datagram).unwrap();
    let request = |method: &str| {
        Writer::request(method.as_bytes(), b"sip:caller@127.0.0.1:5060")
            .header("Via", "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKx")
            .header("From", answer.to().raw)
            .header("To", answer.from().raw)
            .header("Call-ID", answer.call_id())
            .header("CSeq", format!("7 {method}"))
            .finish()
    };
    while uac.poll_output().is_some() {}
    let mut status = |bytes: &[u8]| {
        uac.handle_datagram(start, start, address(5061), bytes);
        let reply = sent(uac.poll_output());
        let reply = Message::parse(&reply, Framing::Datagram).unwrap();
        (reply.status().unwrap(), session::read(reply.body()).is_some())
    };
    assert_eq!(status(&request("UPDATE")), (200, true));
    assert_eq!(status(&request("INVITE")), (200, true));
    assert_eq!(status(&request("OPTIONS")), (200, false));
    assert_eq!(status(&request("BYE")), (200, false));
    assert_eq!(uac.tally().failures, BTreeMap::from([("hung-up".to_owned(), 1)]));
    assert!(uac.is_done());
}

#[test]
fn rubbish_is_a_stray() {
    let mut uac = Uac::new(plan(), 0, Rng::from_seed(1));
    for bytes in [&b""[..], b"\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", &[0xff; 100]] {
        uac.handle_datagram(1, 1, address(1), bytes);
    }
    assert_eq!(uac.tally().strays, 4);
    assert!(uac.poll_output().is_none());
}

#[test]
fn holds_put_the_callee_to_rest_and_take_it_back() {
    let (plan, script) = playing("hold");
    let world = World::run(plan, script, 0, 11);
    world.all_completed();
    assert_eq!((world.step("hold"), world.step("resume")), ((40, 40), (40, 40)));
    assert_eq!((world.uas.tally().holds, world.uas.tally().reinvites), (40, 80));
    // Per call: the callee at each of four offers and after two holds; the caller where it is `inactive`.
    assert_eq!((world.rested, world.hushed), (20 * 7, 40));
    assert_eq!(world.spoke, 20 * (2 + 3 + 2));
}

#[test]
fn calls_move_and_refresh() {
    let (plan, script) = playing("reinvite");
    let world = World::run(plan, script, 0, 12);
    world.all_completed();
    assert_eq!((world.step("reinvite"), world.step("address")), ((20, 20), (20, 20)));
    let (plan, script) = playing("codec");
    let world = World::run(plan, script, 0, 12);
    world.all_completed();
    assert_eq!(world.step("codec"), (40, 40));
    let (plan, script) = playing("update");
    assert_eq!(World::run(plan, script, 0, 12).step("update"), (20, 20));
    let (plan, script) = playing("options");
    assert_eq!(World::run(plan, script, 0, 12).step("options"), (20, 20));
}

#[test]
fn digits_go_by_rtp_and_by_info() {
    let (plan, script) = playing("dtmf");
    let world = World::run(plan, script, 0, 13);
    world.all_completed();
    assert_eq!((world.dialled.len(), world.dialled[0].as_str()), (20, "123#"));
    let (plan, script) = playing("info");
    let world = World::run(plan, script, 0, 13);
    world.all_completed();
    assert_eq!((world.step("info"), world.uas.tally().info_digits), ((40, 40), 40));
    assert_eq!(world.uas.tally().wrong_info_digits, 0);
}

#[test]
fn cancels_come_at_random_times_and_are_what_was_planned() {
    let (plan, script) = playing("cancel");
    let world = World::run(plan, script, 0, 14);
    world.all_completed();
    let tally = world.uac.tally();
    assert_eq!((world.uas.tally().cancelled, world.uas.tally().answered), (20, 0));
    assert_eq!((tally.cancel.count(), tally.answered), (20, 0));
}

#[test]
fn busy_callees_are_what_was_planned_and_others_are_not() {
    let (plan, script) = playing("busy");
    let world = World::run(plan.clone(), script, 0, 15);
    world.all_completed();
    assert_eq!(world.uas.tally().refused, 20);
    let world = World::run(plan, super::tests::script(), 0, 15);
    assert_eq!(world.uac.tally().failures, BTreeMap::from([("answered".to_owned(), 20)]));
}

#[test]
fn transfers_are_reported_and_refused_ones_counted() {
    let (plan, script) = playing("refer");
    let world = World::run(plan, script, 0, 16);
    world.all_completed();
    assert_eq!((world.step("refer"), world.uas.tally().transfers), ((20, 20), 20));
}

#[test]
fn callees_hang_up_when_the_scenario_says_so() {
    let (plan, script) = playing("hangup");
    let world = World::run(plan, script, 0, 17);
    world.all_completed();
    assert_eq!((world.uas.tally().hung_up, world.uas.tally().ended), (20, 0));
}

#[test]
fn every_scenario_ends_however_much_is_lost_and_overtaken() {
    for name in Scenario::names() {
        for seed in 0..8 {
            let (plan, script) = playing(name);
            let network = Network { loses_one_in: 8, jitter: 30 * MS };
            let world = World::on(network, plan, script, seed);
            let tally = world.uac.tally();
            assert_eq!(tally.completed + tally.failed(), 20, "{name} {seed}: {tally:?}");
            assert!(tally.completed >= 17, "{name} {seed}: {:?}", tally.failures);
        }
    }
}

#[test]
fn what_the_other_side_refuses_is_counted_or_fails_if_asked_for() {
    for strict in [false, true] {
        let (plan, script) = playing("refer");
        let mut uac = Uac::new(Plan { total: 1, strict, ..plan }, 0, Rng::from_seed(1));
        let mut uas = Uas::new(Script { ring: Ring::None, answer_after_ns: 0, ..script }, Rng::from_seed(2));
        let mut now = 0;
        while !uac.is_done() {
            now = uac.poll_timeout().expect("something is due").max(now);
            uac.handle_timeout(now);
            while let Some(output) = uac.poll_output() {
                let Output::Send { bytes, .. } = output else { continue };
                let request = Message::parse(&bytes, Framing::Datagram).unwrap();
                if request.method() == Method::Refer {
                    let reply = Writer::reply_from(&request, address(5060), 603, None).finish();
                    uac.handle_datagram(now, now, address(5061), &reply);
                    continue;
                }
                uas.handle_datagram(now, address(5060), &bytes);
                while let Some(output) = uas.poll_output() {
                    if let Output::Send { bytes, .. } = output {
                        uac.handle_datagram(now, now, address(5061), &bytes);
                    }
                }
            }
        }
        let tally = uac.tally();
        assert_eq!(tally.steps["refer"].refused, BTreeMap::from([("603".to_owned(), 1)]));
        assert_eq!((tally.completed, tally.failed()), if strict { (0, 1) } else { (1, 0) });
        let failure = tally.failures.contains_key("refer-603");
        assert_eq!(failure, strict);
    }
}

#[test]
fn an_invite_that_is_challenged_goes_again_with_credentials() {
    let account = Account { user: "anne".into(), password: "pw".into(), domain: None };
    let mut uac = Uac::new(Plan { account: Some(account), total: 1, ..plan() }, 0, Rng::from_seed(3));
    let sent = |uac: &mut Uac| match uac.poll_output() {
        Some(Output::Send { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    uac.handle_timeout(0);
    let first = sent(&mut uac);
    let challenge = |request: &[u8]| {
        let request = Message::parse(request, Framing::Datagram).unwrap();
        let mut reply = Writer::reply_from(&request, address(5060), 407, Some(b"x"));
        reply
            .header("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"")
            .finish()
    };
    uac.handle_datagram(5, 5, address(5061), &challenge(&first));
    assert!(sent(&mut uac).starts_with(b"ACK "));
    let second = sent(&mut uac);
    let invite = Message::parse(&second, Framing::Datagram).unwrap();
    assert_eq!((invite.cseq().number, uac.tally().challenged), (2, 1));
    assert!(invite.header_named(b"Proxy-Authorization").is_some());
    assert_ne!(
        invite.top_via().branch(),
        Message::parse(&first, Framing::Datagram).unwrap().top_via().branch()
    );
    uac.handle_datagram(6, 6, address(5061), &challenge(&first));
    assert!(sent(&mut uac).starts_with(b"ACK "), "the first refusal comes again");
    uac.handle_datagram(7, 7, address(5061), &challenge(&second));
    assert!(sent(&mut uac).starts_with(b"ACK "));
    assert_eq!(uac.tally().failures, BTreeMap::from([("407".to_owned(), 1)]), "not in circles");
}

/// A caller whose first call was sent `late` after it was due.
fn caller(plan: Plan, late: u64) -> (Uac, u64, Vec<u8>) {
    let start = 1_000 * SECOND;
    let mut uac = Uac::new(plan, start, Rng::from_seed(1));
    let now = uac.poll_timeout().expect("a call is due") + late;
    uac.handle_timeout(now);
    let Some(Output::Send { bytes, .. }) = uac.poll_output() else { panic!("no INVITE") };
    (uac, now, bytes)
}

fn respond(uac: &mut Uac, now: u64, request: &[u8], status: u16) {
    let request = Message::parse(request, Framing::Datagram).unwrap();
    let bytes = Writer::reply_from(&request, address(5060), status, Some(b"x")).finish();
    uac.handle_datagram(now, now, address(5061), &bytes);
}

#[test]
fn set_up_counts_from_when_the_call_was_due() {
    let (mut uac, now, invite) = caller(plan(), 300 * MS);
    respond(&mut uac, now + 10 * MS, &invite, 180);
    let ringing = uac.tally().ringing.at(0.5);
    assert!((300 * MS..330 * MS).contains(&ringing), "{ringing}");
}

#[test]
fn calls_that_ring_are_cancelled_when_the_run_ends() {
    for rings_before in [true, false] {
        let (mut uac, mut now, invite) = caller(Plan { total: 1, ..plan() }, 0);
        if rings_before {
            respond(&mut uac, now, &invite, 180);
        }
        uac.wind_up(now);
        if !rings_before {
            respond(&mut uac, now, &invite, 180);
            now = uac.poll_timeout().expect("CANCEL is due").max(now);
            uac.handle_timeout(now);
        }
        let Some(Output::Send { bytes, .. }) = uac.poll_output() else { panic!("no CANCEL") };
        assert!(bytes.starts_with(b"CANCEL "));
        respond(&mut uac, now, &invite, 487);
        assert!(uac.is_done() && now < 1_001 * SECOND && uac.tally().completed == 1, "{:?}", uac.tally());
    }
}

#[test]
fn numbers_begin_again_where_there_are_no_more() {
    let mut uac = Uac::new(plan(), 0, Rng::from_seed(1));
    uac.next_call = crate::dialog::NUMBERS - 1;
    uac.place(0, 0);
    uac.place(0, 0);
    uac.next_call = crate::dialog::NUMBERS - 1;
    uac.place(0, 0);
    assert_eq!(uac.calls.keys().copied().collect::<Vec<_>>(), [0, 1, 7_999_999]);
}
