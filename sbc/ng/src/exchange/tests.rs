//! Offers and answers as parties of NG calls see them. What is expected of SDP is what rtpengine writes.

mod codecs; // what is offered, told and converted
mod held; // hold, later offers, lines that come and go
mod keys; // encryption
mod properties; // whatever comes in whatever order
mod relay; // what passes
mod rewritten; // origins, addresses, RTCP, attributes
mod world; // two parties with ports of ours, and how SDP is compared
