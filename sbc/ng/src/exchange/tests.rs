//! Offers and answers as parties of NG calls see them. What is expected of SDP is what rtpengine writes.

mod world; // two parties with ports of ours, and how SDP is compared
mod relay; // what passes
