//! Which addresses forks may go to.

use super::*;
use config::{Config, PoolBook};

const CONFIG: &str = r#"
[listener.a]
sip = ["udp:192.0.2.1:5060"]
media = ["192.0.2.1:20000-20999", "0.0.0.0:30000-30999"]
"#;

fn spec() -> Spec {
    let checked = Config::check(CONFIG, "strowger.toml").unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut pools = PoolBook::with_key(base::HashKey::new([1, 2]));
    checked.spec(1, &mut pools)
}

fn found(to: &str) -> Result<ForkTo, SoundError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(find(to, &spec()))
}

#[test]
fn rtp_goes_to_one_host_that_is_not_the_engine() {
    for (to, target) in [
        ("rtp://192.0.2.9:4000", "192.0.2.9:4000"),
        ("RTP://192.0.2.1:4000/", "192.0.2.1:4000"),
        ("rtp://[2001:db8::9]:4000", "[2001:db8::9]:4000"),
        ("rtp://127.0.0.1:80", "127.0.0.1:80"),
    ] {
        let target = target.parse().unwrap();
        assert_eq!(found(to), Ok(ForkTo::Rtp { target, coding: ForkCoding::L16 }), "{to}");
    }
    for to in [
        "rtp://192.0.2.9",
        "rtp://192.0.2.9:0",
        "rtp://192.0.2.9:4000/x",
        "rtp://:4000",
        "rtp://0.0.0.0:4000",
        "rtp://224.0.0.1:4000",
        "rtp://255.255.255.255:4000",
        "rtp://[ff02::1]:4000",
        "rtp://[::ffff:224.0.0.1]:4000",
        "rtp://192.0.2.1:20500",
        "rtp://[::ffff:192.0.2.1]:20500",
        "rtp://192.0.2.1:5060",
        "rtp://127.0.0.1:30001",
        "udp://192.0.2.9:4000",
        "192.0.2.9:4000",
        "",
    ] {
        assert!(matches!(found(to), Err(SoundError::Wrong(_))), "{to}");
    }
}

#[test]
fn websockets_are_named_by_their_address() {
    let socket = |url: &str| Ok(ForkTo::WebSocket { url: url.to_owned() });
    assert_eq!(found("ws://robot.example/hear?x=1"), socket("ws://robot.example/hear?x=1"));
    assert_eq!(found("WS://Robot.example:8000"), socket("ws://robot.example:8000/"));
    for to in ["ws://", "ws://user:secret@robot.example/", "ws://robot.example:0/", "wss://robot.example/"] {
        assert!(matches!(found(to), Err(SoundError::Wrong(_))), "{to}");
    }
    let Err(SoundError::Wrong(expected)) = found("wss://robot.example/") else { panic!("refused") };
    assert!(expected.contains("wss:// is not in effect yet"), "{expected}");
}
