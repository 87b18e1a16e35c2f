//! Calls that nobody ends: silence, length, and an answer that never comes.

use crate::support::softphone::{Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Net, PAIR, SOON};
use std::time::{Duration, Instant};

struct World {
    engine: Engine,
    a: Softphone,
    b: Softphone,
    media_a: Wire,
    media_b: Wire,
}

/// With further settings of the PBX's trunk.
fn world(settings: &str) -> World {
    let net = Net::new();
    let trunk = format!("trunk.pbx = {{ address = \"IP2:5060\", {settings} }}");
    let engine = Engine::start(&net.fill(&PAIR.replace("trunk.pbx = \"IP2:5060\"", &trunk)));
    let phone = |n| Softphone::at((net.ip(n), 5060));
    World { engine, a: phone(2), b: phone(3), media_a: Wire::at(net.ip(2)), media_b: Wire::at(net.ip(3)) }
}

impl World {
    fn connect(&self) -> crate::support::softphone::Connected {
        let (offer, answer) = (audio(self.media_a.address()), audio(self.media_b.address()));
        self.a.connect(&self.b, self.engine.sip(0), "15550100", &offer, &answer)
    }

    fn ends_as(&self, cause: &str) {
        self.a.expect_bye();
        self.b.expect_bye();
        self.engine.wait_idle();
        let cdrs = self.engine.wait_cdrs(2);
        for cdr in &cdrs {
            assert_eq!(
                (&cdr["release_cause"], &cdr["release_by"]),
                (&cause.into(), &"engine".into()),
                "{cdr:#}"
            );
        }
    }
}

#[test]
fn a_call_without_media_ends() {
    let world = world("media_timeout = \"1s\"");
    let call = world.connect();
    // As long as one side speaks it lives.
    let began = Instant::now();
    for n in 0..75u16 {
        let packet = rtp(0, n, u32::from(n) * 160, 1, &[1; 160]);
        world.media_a.rtp.send(call.answered.media(0), &packet);
        assert!(world.media_b.rtp.receive_within(SOON).is_some());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() > Duration::from_secs(1) && world.engine.calls().len() == 1);
    world.ends_as("media_timeout");
}

#[test]
fn a_call_ends_at_its_greatest_length() {
    let world = world("max_duration = \"1s\"");
    world.connect();
    world.ends_as("max_duration");
}
