//! What the end-to-end tests stand on: an engine as a child process, its peers, sockets of our own, waiting with deadlines.
mod ear; // a media socket that counts what it hears
mod engine; // the engine under test, its API, metrics, records and log
mod ladder; // a SIP ladder as text becomes a SIPp scenario
mod net; // addresses and folders of one test
mod phone; // a datagram socket that speaks SIP by hand
pub mod softphone; // a phone that calls and answers as it is told
pub mod attempt; // one call, whatever comes of it
pub mod line; // lines that take calls by themselves, and who tries them
pub mod wire; // media sockets that send and receive whole packets
pub mod duet; // two of those phones, an engine between them
pub mod talker; // a phone's media with codecs and keys of its own
pub mod hearing; // what is heard, judged
pub mod studio; // calls whose parties all speak
pub mod command; // the binary's own commands
pub mod baresip; // a real phone without sound card
pub mod names; // a name server
pub mod capture; // tshark as witness
pub mod sipp; // SIPp as caller or callee
mod stage; // engine and addresses of the usual test

pub use ear::Ear;
pub use engine::Engine;
pub use ladder::Role;
pub use net::{Folder, Net};
pub use phone::{Phone, field, status};
pub use sipp::Sipp;
pub use stage::{PAIR, Stage};

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for anything that should come at once.
pub const SOON: Duration = Duration::from_secs(10);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within the time; the message says what was waited for.
pub fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {within:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a program of somebody else is. `None` is said loudly, and is a failure under `STROWGER_PEERS=required`.
pub fn peer(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        let required = std::env::var("STROWGER_PEERS").is_ok_and(|value| value == "required");
        assert!(
            !required,
            "{program} is not installed and STROWGER_PEERS=required; scripts/test installs it"
        );
        eprintln!(
            "ABSENT PEER: {program} is not installed, so this test checks nothing; scripts/test installs it"
        );
    }
    found
}
