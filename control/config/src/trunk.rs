//! `trunk.NAME`: who is out there, how it is known, where it is called and how its calls are treated.

use crate::describe::{choices, table};
use crate::limit::OwnLimit;
use crate::place::{Path, Segment};
use crate::read::{Item, Reader, push_text};
use crate::secret::Secret;
use crate::value::{Value, Visitor, text_of};
use crate::words::{Code, CodeRange, Codec, HostPort, Name, Source, TargetUri, Timer};
use base::Duration;
use command::Learn;
use toml::de::DeValue;

table! {
    /// A carrier, a PBX, a media server: whoever sends us calls or is sent calls. `trunk.x = "HOST[:PORT]"` is short for
    /// `trunk.x = { address = "HOST[:PORT]" }`.
    pub struct Trunk, short "\"HOST[:PORT]\"" from_address, then expand_address {
        /// Short for `from` and `to`: calls come from there and go there. Where `from` or `to` is given as well, that holds.
        address: Option<HostPort> = None;
        /// Name of its listener: it is recognised only there, and its calls leave from there. Not given, it is recognised
        /// on all, and its calls leave from the first that has `sip`.
        listener: Option<Name> = None;
        /// Who it is. The most specific source wins; the same source on two trunks of one listener is an error.
        from: Vec<Source> = Vec::new();
        /// Where it is called, in this order. A name without a port is looked up as RFC 3263 says.
        to: Vec<Target> = Vec::new();
        /// Most calls, both directions together.
        limit: Option<OwnLimit> = None;
        /// Most calls from it.
        limit_in: Option<OwnLimit> = None;
        /// Most calls to it.
        limit_out: Option<OwnLimit> = None;
        /// How it is asked whether it lives.
        probe: Option<Probe> = None;
        /// When it is left alone for a while.
        breaker: Option<Breaker> = None;
        /// What its answers lead to.
        codes: Codes = Codes::default();
        /// Answers its challenges.
        auth: Option<Auth> = None;
        /// Logs in there.
        register: Option<Register> = None;
        /// What it is offered: of these what the caller offers, in the caller's order, then those that are made for it.
        /// Codecs that are not made here (G729, AMR …) pass from side to side only. Empty: what the caller offers.
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
        /// Names of policies, applied in this order on what it sends us.
        policy: Vec<Name> = Vec::new();
        /// How its calls are treated where room is scarce.
        class: TrunkClass = TrunkClass::Normal;
        /// Where its callers are, for emergency services; sent with emergency calls.
        emergency_address: Option<String> = None;
        /// How long its media may be silent.
        media_timeout: MediaTimeout = MediaTimeout::default();
        /// How often a call is refreshed, so that a dead one is noticed (RFC 4028).
        session_timer: Timer = Timer::seconds(1800), in Duration::from_secs(90)..=Duration::from_secs(86_400);
        /// Its calls end after this.
        max_duration: Timer = Timer::OFF, in Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
    }
}

fn from_address(text: &str, offset: usize, reader: &mut Reader<'_>) -> Option<Trunk> {
    reader.given(Segment::Key("address"));
    let address = reader.word(text, offset)?;
    Some(Trunk { address: Some(address), ..Trunk::default() })
}

/// Says the short form in full, so that a configuration means the same however it is written.
fn expand_address(mut trunk: Trunk) -> Trunk {
    if let Some(address) = trunk.address.take() {
        if trunk.from.is_empty() {
            trunk.from.push(Source::of(&address));
        }
        if trunk.to.is_empty() {
            trunk.to.push(Target { uri: TargetUri { to: address, transport: None }, ..Target::default() });
        }
    }
    trunk
}

table! {
    /// One place where a trunk is called.
    pub struct Target, short "\"sip:HOST[:PORT][;transport=…]\"" from_uri {
        /// Its URI; a transport that is given is never overridden.
        uri: TargetUri = TargetUri::parse_known("sip:localhost"), required "where the trunk is called";
        /// Share among the targets, for load balancing.
        weight: u32 = 1, in 1..=65_535;
    }
}

fn from_uri(text: &str, offset: usize, reader: &mut Reader<'_>) -> Option<Target> {
    reader.given(Segment::Key("uri"));
    let uri = reader.word(text, offset)?;
    Some(Target { uri, ..Target::default() })
}

table! {
    /// Asks the trunk by OPTIONS whether it lives; any answer will do.
    pub struct Probe {
        /// Time between two OPTIONS.
        every: Duration = Duration::from_secs(15), in Duration::from_secs(1)..=Duration::from_secs(86_400);
        /// So many missing answers mean that it is down.
        down_after: u32 = 3, in 1..=1000;
        /// So many answers mean that it is up again.
        up_after: u32 = 2, in 1..=1000;
    }
}

table! {
    /// Leaves a trunk alone for a while after too many failures.
    pub struct Breaker {
        /// So many timeouts in a row.
        timeouts: u32 = 5, in 1..=10_000;
        /// Or such a share of failed calls.
        fail_ratio: f64 = 0.5, in 0.0..=1.0;
        /// The share counts from so many calls on.
        min_calls: u32 = 20, in 1..=1_000_000;
        /// How long it is left alone.
        open: Duration = Duration::from_secs(30), in Duration::from_secs(1)..=Duration::from_secs(86_400);
        /// So many calls try it afterwards.
        trial: u32 = 2, in 1..=1000;
    }
}

table! {
    /// What final answers of a trunk lead to.
    pub struct Codes {
        /// These lead to the next target.
        retry: Vec<CodeRange> = vec![CodeRange(408..=408), CodeRange(500..=599)];
        /// These end the search, even if they stand in `retry` too.
        stop: Vec<CodeRange> = Vec::new();
        /// Calls that end with these are billed all the same, by the minimum of their rate.
        bill: Vec<CodeRange> = Vec::new();
        /// What the caller is told instead. A 503 is told as 500 unless it stands here (RFC 3261 section 16.7).
        map: CodeMap = CodeMap::default();
    }
}

/// `{ "603" = "486" }`: what the caller is told instead of a code.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CodeMap(pub Vec<(Code, Code)>);

impl Value for CodeMap {
    fn form() -> String {
        "a table of codes from 300 to 699, such as { \"603\" = \"486\" }".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = item.get_ref() else {
            reader.wrong_type(item, Self::form());
            return None;
        };
        let mut map = Vec::new();
        for (key, item) in table {
            let offset = key.span().start;
            let shown = crate::error::cut(key.get_ref());
            reader.inside(Segment::Key(&shown), offset, |reader| {
                let from = reader.word::<Code>(key.get_ref(), offset);
                let to = Code::read(item, reader);
                map.extend(from.zip(to));
            });
        }
        Some(CodeMap(map))
    }

    fn write(&self, out: &mut String) {
        out.push('{');
        for (index, (from, to)) in self.0.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { " " });
            push_text(out, &from.0.to_string());
            out.push_str(" = ");
            push_text(out, &to.0.to_string());
        }
        out.push_str(" }");
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

table! {
    /// Answers the challenges of a trunk (RFC 8760).
    pub struct Auth, later "not in effect yet: a challenge of the trunk ends the attempt" {
        /// User name.
        user: String = String::new(), required "the user name";
        /// Password.
        password: Secret = Secret::Env(String::new()), required "where the password is: \"env:NAME\" or \"file:PATH\"";
        /// Only for this realm; for any, if not given.
        realm: Option<String> = None;
    }
}

table! {
    /// Logs in at a trunk (RFC 3261 section 10).
    pub struct Register, later "not in effect yet: the engine does not register anywhere" {
        /// How long a login holds; it is renewed before.
        expires: Duration = Duration::from_secs(600), in Duration::from_secs(30)..=Duration::from_secs(86_400);
    }
}

choices! {
    /// How calls of a trunk are treated where room is scarce.
    pub enum TrunkClass {
        /// They may use what is not reserved.
        Normal = "normal";
        /// They may use places that a limit reserves.
        Priority = "priority";
    }
}

choices! {
    /// Whether codecs are converted.
    pub enum Transcode {
        /// Where both sides share none.
        Needed = "needed";
        /// Never.
        Never = "never";
    }
}

choices! {
    /// How digits travel.
    pub enum Dtmf {
        /// As the other side does it.
        Auto = "auto";
        /// As RTP events (RFC 4733).
        Rfc4733 = "rfc4733";
        /// In INFO requests.
        Info = "info";
        /// As tones.
        Inband = "inband";
    }
}

choices! {
    /// Whether media is encrypted.
    pub enum Srtp {
        /// Never.
        Never = "never";
        /// Offered and accepted, and so is plain media (RFC 8643).
        Optional = "optional";
        /// Nothing else is accepted.
        Required = "required";
    }
}

table! {
    /// How long media may be silent. One duration stands for `both`.
    pub struct MediaTimeout, short "a duration" both {
        /// All sides that should send are silent: the call ends.
        both: Timer = Timer::seconds(60), in Duration::from_secs(1)..=Duration::from_secs(86_400);
        /// One side that should send is silent: the call ends. Off, it is an event and a sentence in `calls show`.
        one: Timer = Timer::OFF, in Duration::from_secs(1)..=Duration::from_secs(86_400);
        /// All sides are silent while on hold: the call ends.
        hold: Timer = Timer::seconds(4 * 3600), in Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
    }
}

fn both(text: &str, offset: usize, reader: &mut Reader<'_>) -> Option<MediaTimeout> {
    reader.given(Segment::Key("both"));
    let both: Timer = reader.word(text, offset)?;
    let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
    if let Some(kind) = crate::value::Within::outside(&both, &range) {
        reader.error(offset, kind);
        return None;
    }
    Some(MediaTimeout { both, ..MediaTimeout::default() })
}

impl TargetUri {
    /// A URI of our own making.
    fn parse_known(text: &str) -> TargetUri {
        crate::value::Word::parse(text).expect("the text is a constant that reads")
    }
}
