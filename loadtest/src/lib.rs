//! SIP and RTP load generator and judge. Shares no media code with the engine: own G.711, own RTP, own bencode.
//! Open loop: nothing that the system under test does slows the arrivals down.
#![expect(clippy::disallowed_methods, reason = "a tool: it reads clocks, opens sockets and starts threads")]
pub mod sys; // thin, safe wrappers of the system calls used here
pub mod figures; // percentiles, MOS
pub mod speech; // speech-like audio as G.711
pub mod process; // CPU, memory and descriptors of the process under test
pub mod machine; // how busy the whole machine is, namespaces, its clock
pub mod media; // N calls of RTP, sent on time and judged on arrival
pub mod bare; // the least relay loops there can be, as yardstick
pub mod relay; // media alone, through a relay whose ports are known
pub mod profile; // when work arrives: rates over time, intended times
pub mod scenario; // what happens in calls
pub mod digest; // what a challenged user agent answers
pub mod session; // the SDP of the generator's parties
pub mod dialog; // what caller and callee have in common
pub mod uac; // calling parties, in virtual time
pub mod uas; // answering parties, in virtual time
pub mod phone; // the thread and socket of either
pub mod validity; // whether a run's figures may be believed
pub mod html; // a report as one HTML file with plots
pub mod attack; // traffic that nobody has asked for
pub mod slo; // what a run must reach
pub mod run; // a whole run of calls
pub mod report; // what it found, for machines and people
pub mod bencode; // the notation of the NG protocol
pub mod ng; // media proxies that speak rtpengine's NG protocol
pub mod peers; // engines to compare with, as child processes
pub mod compare; // two engines under the same load, in turns
