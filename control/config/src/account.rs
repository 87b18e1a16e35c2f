//! `account."user@domain"`: who may register.

use crate::describe::table;
use crate::limit::OwnLimit;
use crate::policy::Destinations;
use crate::secret::Secret;
use crate::trunk::{Dtmf, MediaTimeout, Srtp, Transcode};
use crate::words::{Codec, Digits, Name, Timer};
use base::Duration;
use command::Learn;

table! {
    /// A phone or a user that registers here. The name is `user@domain`.
    pub struct Account, protects "not in effect yet: nobody can register or call as an account" {
        /// Password.
        password: Secret = Secret::Env(String::new()), required "where the password is: \"env:NAME\" or \"file:PATH\"";
        /// Its number.
        number: Option<Digits> = None;
        /// Where it may call.
        destinations: Destinations = Destinations::Default;
        /// Names of policies, applied in this order on what it sends us.
        policy: Vec<Name> = Vec::new();
        /// Where it is, for emergency services; sent with emergency calls.
        emergency_address: Option<String> = None;
        /// Most calls.
        limit: Option<OwnLimit> = None;
        /// What it is offered: of these what the caller offers, in the caller's order, then those that are made for it.
        /// Empty: what the caller offers.
        codecs: Vec<Codec> = Vec::new();
        /// Whether codecs are converted.
        transcode: Transcode = Transcode::Needed;
        /// How digits travel.
        dtmf: Dtmf = Dtmf::Auto;
        /// How the sources of its media are learned.
        learn: Learn = Learn::Window;
        /// Whether its media is encrypted. Not given: keys that stand in the SDP pass from side to side as they are.
        srtp: Option<Srtp> = None;
        /// Records its calls.
        record: bool = false;
        /// Takes the echo of what it hears out of what it says; its media is decoded for that.
        echo_cancel: bool = false;
        /// Its digits reach nobody.
        block_dtmf: bool = false;
        /// How long its media may be silent.
        media_timeout: MediaTimeout = MediaTimeout::default();
        /// How often a call is refreshed, so that a dead one is noticed (RFC 4028).
        session_timer: Timer = Timer::seconds(1800), in Duration::from_secs(90)..=Duration::from_secs(86_400);
        /// Its calls end after this.
        max_duration: Timer = Timer::OFF, in Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
    }
}
