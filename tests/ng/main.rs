//! rtpengine's NG protocol, scenario by scenario: the same requests and the same media against Strowger and against
//! Debian's rtpengine. What passes with both is what sites rely on; what only Strowger does says why.
//! `STROWGER_PEERS=required` makes a missing peer a failure; elsewhere it is named loudly and its tests pass empty.
#![expect(clippy::disallowed_methods, reason = "these tests live in real time, with deadlines")]
#[path = "../e2e"]
mod e2e {
    #[allow(dead_code, unused_imports, reason = "the end-to-end tests use all of it, these a part")]
    #[expect(clippy::print_stderr, reason = "what a failed test tells")]
    pub mod support; // engine, SIPp, baresip, sockets, waiting: shared with the end-to-end tests
}
use e2e::support;
mod stand; // either proxy, an NG client, calls, SDP, Kamailio
mod framing; // cookies, carriers, spellings
mod errors; // what is refused, in which words
mod offers; // offers and answers: new, late, again, held
mod forks; // one offer, several answers
mod ends; // how calls end, and which do not yet
mod reports; // query, list, statistics
mod sdes; // keys in SDP, both ways
mod codecs; // which codecs are offered, and what is converted
mod dtmf; // digits made, blocked and told
mod controls; // recording, silence, blocking, labels
mod sources; // where media comes from, and who is believed
mod addresses; // directions and families
mod flags; // every spelling of an option
mod dialect; // both proxies' SDP, line by line
mod hostile; // what nobody should send
mod extras; // playing, subscribing, echoing, connecting
mod kamailio; // Debian's Kamailio with its own module, SIPp and baresip around it
