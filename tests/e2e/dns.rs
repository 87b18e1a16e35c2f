//! Trunks by name: NAPTR, SRV and A as RFC 3263 says, failover from target to target, and a slow name server that
//! holds up nobody else.

use crate::support::names::{A, NAPTR, Names, Record, SRV};
use crate::support::softphone::{Softphone, audio};
use crate::support::{Engine, Net, SOON, wait_for};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
listener.main = { sip = ["udp:IP1:0", "tcp:IP1:0"], media = "IP1:10000-19999" }
trunk.pbx = "IP2:5060"
trunk.named = { from = "IP3", to = "sip:carrier.test" }
trunk.slow = { from = "IP7", to = "sip:far.slow.test" }
trunk.near = "IP6:5060"
[[route]]
from = "pbx"
to = "1."
via = "named"
[[route]]
from = "pbx"
to = "2."
via = "slow"
[[route]]
from = "pbx"
to = "3."
via = "near"
"#;

struct World {
    net: Net,
    names: Names,
    engine: Engine,
    a: Softphone,
}

fn world() -> World {
    let net = Net::new();
    let names = Names::serve(
        net.ip(5),
        vec![
            ("carrier.test", Record::Naptr(10, 10, "s", "SIP+D2U", "_sip._udp.carrier.test")),
            ("_sip._udp.carrier.test", Record::Srv(1, 0, 5070, "first.carrier.test")),
            ("_sip._udp.carrier.test", Record::Srv(2, 0, 5080, "second.carrier.test")),
            ("first.carrier.test", Record::A(net.ip(3))),
            ("second.carrier.test", Record::A(net.ip(4))),
        ],
    );
    let engine = Engine::start(&format!("engine.dns = [\"{}\"]\n{}", names.address(), net.fill(CONFIG)));
    let a = Softphone::at((net.ip(2), 5060));
    World { net, names, engine, a }
}

#[test]
fn a_name_leads_by_naptr_and_srv_to_the_first_target() {
    let world = world();
    let first = Softphone::at((world.net.ip(3), 5070));
    let media = |n| (world.net.ip(n), 4000).into();
    let mut call =
        world.a.connect(&first, world.engine.sip(0), "15550100", &audio(media(2)), &audio(media(3)));
    assert!(world.names.was_asked("carrier.test", NAPTR));
    assert!(world.names.was_asked("_sip._udp.carrier.test", SRV));
    assert!(world.names.was_asked("first.carrier.test", A));
    world.a.hang_up(&mut call.a, &first);
    world.engine.wait_idle();
}

#[test]
fn a_target_that_is_closed_leads_to_the_next_at_once() {
    let world = world();
    // Nobody is at the first target: the kernel says so by ICMP.
    let second = Softphone::at((world.net.ip(4), 5080));
    let media = |n| (world.net.ip(n), 4000).into();
    let began = Instant::now();
    let mut call =
        world.a.connect(&second, world.engine.sip(0), "15550100", &audio(media(2)), &audio(media(4)));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}: not by a time-out", began.elapsed());
    world.a.hang_up(&mut call.a, &second);
    world.engine.wait_idle();
}

#[test]
fn a_name_server_that_does_not_answer_holds_up_nobody_else() {
    let world = world();
    let near = Softphone::at((world.net.ip(6), 5060));
    let media = |n| (world.net.ip(n), 4000).into();
    let mut waiting = world.a.invite(world.engine.sip(0), "25550100", &audio(media(2)));
    world.a.expect("100 INVITE");
    let began = Instant::now();
    for n in 0..5 {
        let number = format!("3555010{n}");
        let mut call =
            world.a.connect(&near, world.engine.sip(0), &number, &audio(media(2)), &audio(media(6)));
        world.a.hang_up(&mut call.a, &near);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} for five calls", began.elapsed());
    world.a.request(&mut waiting, "CANCEL", "");
    let end = world.a.expect_within("487 INVITE", SOON).expect("the waiting call can be given up");
    world.a.ack_refusal(&mut waiting, &end);
    world.engine.wait_idle();
}

#[test]
fn a_trunk_by_name_is_known_by_the_address_of_its_name() {
    let net = Net::new();
    let names = Names::serve(net.ip(5), vec![("pbx.test", Record::A(net.ip(2)))]);
    let config = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:10000-19999" }
trunk.pbx = "pbx.test"
trunk.near = "IP6:5060"
[[route]]
from = "pbx"
via = "near"
"#;
    let engine = Engine::start(&format!("engine.dns = [\"{}\"]\n{}", names.address(), net.fill(config)));
    let (a, near) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(6), 5060)));
    let media = |n| (net.ip(n), 4000).into();
    // Until the name is known its address is a stranger's, and strangers get no answer.
    let (mut call, invite) = wait_for("the trunk to be known", SOON, || {
        let call = a.invite(engine.sip(0), "15550100", &audio(media(2)));
        near.expect_within("INVITE", Duration::from_millis(100)).map(|invite| (call, invite))
    });
    near.answer(&invite, 200, &audio(media(6)));
    let ok = a.expect("200 INVITE");
    a.ack(&mut call, &ok);
    a.hang_up(&mut call, &near);
    engine.wait_idle();
    assert_eq!(engine.wait_cdrs(2)[0]["trunk"], "pbx");
}
