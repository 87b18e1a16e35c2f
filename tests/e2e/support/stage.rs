//! The usual test: an engine between a PBX and a carrier, both SIPp.

use super::ladder::Role;
use super::{Engine, Net, Sipp, peer};
use std::net::SocketAddr;

/// A PBX at `IP2:5060` and a carrier at `IP3:5060`, calls both ways, UDP and TCP.
pub const PAIR: &str = r#"
listener.main = { sip = ["udp:IP1:0", "tcp:IP1:0"], media = "IP1:0" }
trunk.pbx = "IP2:5060"
trunk.carrier = "IP3:5060"
[[route]]
from = "pbx"
via = "carrier"
[[route]]
from = "carrier"
via = "pbx"
"#;

/// An engine and the addresses around it.
pub struct Stage {
    pub net: Net,
    pub engine: Engine,
}

impl Stage {
    /// With [`PAIR`]. `None` where SIPp is absent.
    pub fn new() -> Option<Stage> {
        Stage::with(PAIR)
    }

    /// With another configuration, in which `IP0` to `IP7` stand for the test's addresses.
    pub fn with(config: &str) -> Option<Stage> {
        peer("sipp")?;
        let net = Net::new();
        Some(Stage { net, engine: Engine::start(&net.fill(config)) })
    }

    /// The PBX calls (start the callee first).
    pub fn caller(&self, ladder: &str) -> Sipp {
        self.uac(ladder).start()
    }

    /// The carrier answers.
    pub fn callee(&self, ladder: &str) -> Sipp {
        self.uas(ladder).start()
    }

    /// The PBX as caller, to be adjusted and started.
    pub fn uac(&self, ladder: &str) -> super::sipp::Setup {
        self.party(Role::Uac, 2, ladder)
    }

    /// The carrier as callee, to be adjusted and started.
    pub fn uas(&self, ladder: &str) -> super::sipp::Setup {
        self.party(Role::Uas, 3, ladder)
    }

    /// SIPp in either role at port 5060 of address `n`.
    pub fn party(&self, role: Role, n: u32, ladder: &str) -> super::sipp::Setup {
        let local = SocketAddr::from((self.net.ip(n), 5060));
        Sipp::setup(role, &self.net.fill(ladder), local, self.engine.sip(0))
    }

    /// Both parties play their ladders to the end, one call; the records of both legs, the caller's first.
    pub fn call(&self, caller: &str, callee: &str) -> Vec<serde_json::Value> {
        let callee = self.callee(callee);
        let caller = self.caller(caller);
        Sipp::all_pass([caller, callee]);
        self.engine.wait_idle();
        let cdrs = self.engine.wait_cdrs(2);
        assert_eq!(cdrs[0]["call_id"], cdrs[1]["call_id"], "both records name one call");
        cdrs
    }
}
