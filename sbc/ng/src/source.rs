//! Where the media of a party is expected, and whose packets its ports take: from what requests have said of it to the
//! words of media (media.md, "Learning the source").

use crate::exchange::SideState;
use crate::options::{Learning, Options, SourceOptions};
use crate::spec::SourceRule;
use command::{Accept, Learn, SendTo};
use core::net::{IpAddr, SocketAddr};

/// What requests have said of where a party's media comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MediaSource {
    options: SourceOptions,
    /// Where its SIP came from.
    pub signalling: Option<IpAddr>,
    /// That address counts rather than that of the SDP.
    is_signalled: bool,
}

impl MediaSource {
    /// Takes what a request says of its sender.
    pub fn take(&mut self, options: &Options) {
        self.options = options.source;
        self.signalling = options.received_from.or(self.signalling);
        self.is_signalled = options.sip_source_address;
    }

    /// Takes what a later request says of the same party; where it is silent, the earlier one holds.
    pub fn add(&mut self, options: &Options) {
        if options.source != SourceOptions::default() {
            self.options = options.source;
        }
        self.signalling = options.received_from.or(self.signalling);
        self.is_signalled |= options.sip_source_address;
    }

    /// Where media is expected: the address of the SDP, or that of the SIP message where a request says so.
    pub fn expected(&self, said: Option<SocketAddr>) -> Option<SocketAddr> {
        match self.signalling.filter(|_| self.is_signalled) {
            Some(address) => said.map(|said| SocketAddr::new(address, said.port())),
            None => said,
        }
    }

    /// The address of signalling as a rank of its own. Unlike for the B2BUA, the request says whether it counts.
    pub fn signalling_rank(&self, said: &SideState) -> Option<IpAddr> {
        self.signalling.filter(|_| self.is_signalled && !said.is_sealed)
    }

    pub fn learn(&self, said: &SideState) -> Learn {
        match () {
            // Not even the first rank may be corrected while we cannot see who holds the key.
            () if said.is_sealed => Learn::Strict,
            () if self.options.learning == Some(Learning::Off) && self.options.strict => Learn::Strict,
            () if self.options.learning == Some(Learning::Off) => Learn::Signalled,
            () if self.options.handover => Learn::Handover,
            () => Learn::Window,
        }
    }

    pub fn accept(&self, rule: SourceRule) -> Accept {
        match (self.options.strict, self.options.asymmetric, rule) {
            (_, true, _) => Accept::AnyThenLocked,
            (true, ..) | (_, _, SourceRule::Locked) => Accept::Locked,
            (.., SourceRule::Rtpengine) => Accept::Any,
        }
    }

    pub fn send_to(&self) -> SendTo {
        if self.options.asymmetric { SendTo::Signalled } else { SendTo::Learned }
    }
}
