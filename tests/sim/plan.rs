//! What a phone will do in one call. The default is a polite call of half a minute.

use base::{Duration, Rng};

#[derive(Clone, Debug)]
pub struct Plan {
    /// User of From.
    pub caller: String,
    /// The INVITE has no SDP: the answer brings the offer.
    pub late_offer: bool,
    /// Payload numbers, best first.
    pub codecs: Vec<u8>,
    pub supported: Vec<&'static str>,
    pub required: Vec<&'static str>,
    /// Session-Expires of the INVITE.
    pub session: Option<u32>,
    /// `uac`, `uas` or empty.
    pub refresher: &'static str,
    /// Shorter sessions are answered with 422.
    pub min_se: u32,
    /// UPDATE is taken.
    pub updates: bool,
    /// The caller gives up this long after its INVITE.
    pub cancel_after: Option<Duration>,
    /// It gives up by BYE within the early dialog.
    pub cancels_by_bye: bool,
    pub acks: Acks,
    pub pracks: bool,
    /// 100 goes out if the first answer takes long, as it should.
    pub says_trying: bool,
    /// What a callee answers, each so long after the one before.
    pub answers: Vec<(Duration, Answer)>,
    /// What happens after the answer, each so long after the one before.
    pub acts: Vec<(Duration, Act)>,
    /// How long after the answer it hangs up.
    pub bye_after: Option<Duration>,
    pub rtp_every: Option<Duration>,
    /// Falls silent in every way so long after the INVITE.
    pub vanish_after: Option<Duration>,
    /// What offers of the other side are answered, and after what time.
    pub offer_code: u16,
    pub offer_delay: Duration,
    /// More header lines of the INVITE.
    pub headers: Vec<(&'static str, String)>,
    pub max_forwards: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    Normal,
    Never,
    /// Without the SDP that it should have.
    Empty,
}

/// One answer of a callee.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub code: u16,
    /// Which To tag says it.
    pub fork: u8,
    pub sdp: bool,
    pub reliable: bool,
    /// The only payload number in the SDP, if not the plan's.
    pub codec: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// re-INVITE or UPDATE with SDP.
    Offer {
        update: bool,
        direction: &'static str,
        codec: u8,
    },
    /// re-INVITE without SDP.
    LateOffer,
    /// re-INVITE that is cancelled after a while.
    TakenBack(Duration),
    /// UPDATE without SDP.
    Update,
    Info,
    Message,
    Options,
    Refer,
    /// A method that nobody knows.
    Unknown,
    /// Octets that are no SIP.
    Junk,
}

pub fn answer(code: u16) -> Answer {
    Answer { code, fork: 0, sdp: code == 183 || code == 200, reliable: false, codec: None }
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            caller: "caller".into(),
            late_offer: false,
            codecs: vec![0, 8],
            supported: vec!["100rel", "timer"],
            required: Vec::new(),
            session: None,
            refresher: "",
            min_se: 90,
            updates: true,
            cancel_after: None,
            cancels_by_bye: false,
            acks: Acks::Normal,
            pracks: true,
            says_trying: true,
            answers: vec![(ms(50), answer(180)), (ms(2_000), answer(200))],
            acts: Vec::new(),
            bye_after: Some(ms(30_000)),
            rtp_every: Some(ms(5_000)),
            vanish_after: None,
            offer_code: 200,
            offer_delay: ms(50),
            headers: Vec::new(),
            max_forwards: 70,
        }
    }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A random call, either side, within what the RFCs allow.
pub fn random(rng: &mut Rng) -> Plan {
    let mut plan = Plan::default();
    plan.supported.retain(|_| rng.below(3) > 0);
    plan.updates = rng.below(3) > 0;
    plan.codecs = pick(rng, &[&[0, 8][..], &[8, 0], &[0], &[8], &[0, 8, 101]]).to_vec();
    plan.late_offer = rng.below(6) == 0;
    if rng.below(3) == 0 {
        plan.session = Some(pick(rng, &[60, 90, 120, 600, 1800]));
        plan.refresher = pick(rng, &["", "uac", "uas"]);
    }
    if rng.below(12) == 0 && plan.supported.contains(&"100rel") {
        plan.required.push("100rel");
    }
    if rng.below(5) == 0 {
        plan.min_se = pick(rng, &[120, 600, 2000]);
    }
    if rng.below(4) == 0 {
        plan.cancel_after = Some(some_ms(rng, 6_000));
        plan.cancels_by_bye = rng.below(4) == 0;
    }
    if rng.below(25) == 0 {
        plan.acks = pick(rng, &[Acks::Never, Acks::Empty]);
    }
    plan.pracks = rng.below(20) > 0;
    plan.answers = random_answers(rng);
    plan.acts = (0..rng.below(6)).map(|_| (some_ms(rng, 20_000), random_act(rng))).collect();
    let longest = pick(rng, &[2_000, 60_000, 600_000, 7_200_000]);
    plan.bye_after = (rng.below(4) > 0).then(|| some_ms(rng, longest));
    plan.rtp_every = (rng.below(8) > 0).then(|| seconds(5 + rng.below(10)));
    if rng.below(12) == 0 {
        let latest = pick(rng, &[3_000, 60_000, 600_000]);
        plan.vanish_after = Some(some_ms(rng, latest));
    }
    if rng.below(6) == 0 {
        plan.offer_code = pick(rng, &[488, 491, 500, 603, 401]);
    }
    plan.offer_delay = some_ms(rng, 3_000);
    plan
}

fn random_answers(rng: &mut Rng) -> Vec<(Duration, Answer)> {
    if rng.below(20) == 0 {
        return Vec::new();
    }
    let mut answers = Vec::new();
    let forks = if rng.below(4) == 0 { 3 } else { 1 };
    for _ in 0..rng.below(5) {
        let code = pick(rng, &[100, 180, 180, 181, 183, 183, 199]);
        let fork = rng.below(forks) as u8;
        let sdp = code == 183 || code == 180 && rng.below(4) == 0;
        let codec = (rng.below(3) == 0).then(|| pick(rng, &[0, 8]));
        let reliable = code > 100 && code != 199 && rng.below(3) == 0;
        answers.push((some_ms(rng, 4_000), Answer { code, fork, sdp, reliable, codec }));
    }
    let code = pick(rng, &[200, 200, 200, 200, 200, 486, 404, 503, 500, 302, 407, 488, 603, 480, 408, 0]);
    let last = Answer {
        code,
        fork: rng.below(forks) as u8,
        sdp: rng.below(30) > 0,
        reliable: false,
        codec: (rng.below(4) == 0).then(|| pick(rng, &[0, 8])),
    };
    let slowest = pick(rng, &[10, 1_000, 20_000, 60_000]);
    if code != 0 {
        answers.push((some_ms(rng, slowest), last));
    }
    if code == 200 && forks > 1 && rng.below(2) == 0 {
        let other = Answer { fork: (last.fork + 1) % 3, ..last };
        answers.push((some_ms(rng, 3_000), other));
    }
    answers
}

fn random_act(rng: &mut Rng) -> Act {
    let direction = pick(rng, &["sendrecv", "sendonly", "inactive", "recvonly"]);
    match rng.below(14) {
        0..=3 => Act::Offer { update: false, direction, codec: pick(rng, &[0, 8]) },
        4..=5 => Act::Offer { update: true, direction, codec: pick(rng, &[0, 8]) },
        6 => Act::LateOffer,
        7 => Act::TakenBack(some_ms(rng, 3_000)),
        8 => Act::Update,
        9 => Act::Info,
        10 => Act::Message,
        11 => pick(rng, &[Act::Options, Act::Unknown]),
        12 => Act::Refer,
        _ => Act::Junk,
    }
}

/// From nothing to `most` milliseconds.
pub fn some_ms(rng: &mut Rng, most: u64) -> Duration {
    ms(rng.below(most + 1))
}

/// One of several, each as likely.
pub fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}
