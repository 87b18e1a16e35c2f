//! What the scenarios stand on: a proxy of either make, requests to it, calls through it, what its SDP says.
mod call; // one call by NG, and media through it
mod client; // requests and replies
mod description; // an SDP, read and written
mod proxy; // Strowger or rtpengine as a child process
pub mod kamailio; // Debian's Kamailio as a child process
pub mod keys; // SRTP of the test's own

pub use call::{Call, Pair, Ports, audio, is_dropped, packets, passes, ssrc_of, told};
pub use client::{Ng, bencoded, read};
pub use description::{Sdp, of_codecs};
pub use proxy::{Make, Proxy, Setup};

/// Scenarios that both proxies pass, and those that the stock rtpengine 10.5 cannot, each with the reason. Each becomes a
/// test `strowger::NAME` and, of the first kind, `rtpengine::NAME`.
macro_rules! scenarios {
    ($($both:ident,)* $(; only strowger: $($ours:ident = $why:literal,)*)?) => {
        mod strowger {
            $(#[test] fn $both() { $crate::stand::run($crate::stand::Make::Strowger, super::$both); })*
            $($(
                #[doc = concat!("Not run against rtpengine: ", $why, ".")]
                #[test]
                fn $ours() { $crate::stand::run($crate::stand::Make::Strowger, super::$ours); }
            )*)?
        }
        mod rtpengine {
            $(#[test] fn $both() { $crate::stand::run($crate::stand::Make::Rtpengine, super::$both); })*
        }
    };
}
pub(crate) use scenarios;

/// Runs a scenario against a proxy in the usual set-up; nothing where it is absent.
pub fn run(make: Make, scenario: fn(&Proxy)) {
    if let Some(proxy) = Proxy::start(make, &Setup::default()) {
        scenario(&proxy);
        proxy.check();
    }
}

/// Says something beside a failure.
#[expect(clippy::print_stderr, reason = "what a failed test tells")]
pub fn tell(line: &str) {
    eprintln!("{line}");
}
