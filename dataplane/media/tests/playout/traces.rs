//! Packets with the times at which they come: traces of networks from the shared test data, and some of our own. Played
//! through a playout, and judged from what comes out.

use base::{Duration, Instant, Rng};
use codec::coder::{Decoder, Undecodable};
use codec::payload::Kind;
use media::playout::{Coded, Playout, PlayoutConfig, PlayoutReport, Pulled};
use media::wire::rtp::Header;
use std::path::PathBuf;

/// One packet, in the order of sending. Times in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its place in time, in packets of 20 ms.
    pub slot: u32,
    pub sent: i64,
    /// None: it was lost.
    pub arrived: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Trace {
    pub name: &'static str,
    pub rows: Vec<Row>,
    /// The sender is silent at times and does not count numbers then.
    pub pauses: bool,
}

pub const SHARED: &[&str] = &[
    "clean",
    "lan",
    "internet_good",
    "wifi_busy",
    "lte_handover",
    "satellite",
    "ge_2pct",
    "ge_5pct",
    "ge_10pct_bursty",
    "random_3pct",
    "random_10pct",
    "jitter80_reorder2",
    "skew200ppm",
    "skew-300ppm",
    "stall500",
    "step_delay",
    "dup_reorder",
    "silence_gaps",
    "neteq_pcmu_jitter",
];

/// The shared traces that are there, then our own.
pub fn all() -> Vec<Trace> {
    let mut traces: Vec<Trace> = SHARED.iter().filter_map(|name| shared(name)).collect();
    traces.extend(own());
    traces
}

/// A trace of `../shared/testdata/network`, if it is there.
pub fn shared(name: &'static str) -> Option<Trace> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/testdata")),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(root.join("network").join(name).with_extension("csv")).ok()?;
    let rows = text.lines().skip(1).map(|line| {
        let mut fields = line.split(',');
        let mut number = || fields.next().and_then(|field| field.trim().parse::<i64>().ok());
        let (slot, sent, arrived) = (number(), number(), number());
        Row {
            slot: slot.expect("a trace has numbers") as u32,
            sent: sent.expect("a trace has times"),
            arrived,
        }
    });
    Some(Trace { name, rows: rows.collect(), pauses: name == "silence_gaps" })
}

/// Made here, so that there is something to test where the shared ones are absent.
pub fn own() -> Vec<Trace> {
    let make = |name, seed, late: &dyn Fn(i64, &mut Rng) -> Option<i64>| {
        let mut rng = Rng::from_seed(seed);
        let row = |slot: u32| {
            let sent = i64::from(slot) * 20_000;
            Row { slot, sent, arrived: late(sent, &mut rng).map(|late| sent + 20_000 + late) }
        };
        Trace { name, rows: (0..3_000).map(row).collect(), pauses: false }
    };
    let upto = |rng: &mut Rng, max: u64| (rng.u64() % max) as i64;
    vec![
        make("own_steady", 1, &|_, _| Some(0)),
        make("own_jitter60_loss2", 2, &|_, rng| (rng.u64() % 50 > 0).then(|| upto(rng, 60_000))),
        make("own_stall", 3, &|sent, rng| Some((500_000 - sent % 15_000_000).max(0) + upto(rng, 3_000))),
        make("own_skew300", 4, &|sent, rng| Some(sent * 3 / 10_000 + upto(rng, 2_000))),
        make("own_skew-300", 5, &|sent, rng| Some(-sent * 3 / 10_000 + upto(rng, 2_000))),
        make("own_step", 6, &|sent, rng| {
            Some(if (20_000_000..40_000_000).contains(&sent) { 90_000 } else { 0 } + upto(rng, 2_000))
        }),
    ]
}

impl Trace {
    /// Packets that came at least once, of those sent, in percent.
    pub fn loss(&self) -> f64 {
        let slots = |arrived: bool| {
            let mut slots: Vec<u32> = self
                .rows
                .iter()
                .filter(|row| !arrived || row.arrived.is_some())
                .map(|row| row.slot)
                .collect();
            slots.sort_unstable();
            slots.dedup();
            slots.len() as f64
        };
        100.0 * (1.0 - slots(true) / slots(false))
    }

    /// Arrival less place in time of what came first of each packet, rising, less the least.
    fn lateness(&self) -> Vec<i64> {
        let mut late: Vec<i64> = self.rows.iter().filter_map(|row| Some(row.arrived? - row.sent)).collect();
        late.sort_unstable();
        let least = late.first().copied().unwrap_or(0);
        late.iter().map(|late| late - least).collect()
    }

    /// The 99th percentile of the delay over the least one, in milliseconds.
    pub fn p99(&self) -> f64 {
        let late = self.lateness();
        late[(late.len() * 99 / 100).min(late.len() - 1)] as f64 / 1e3
    }
}

/// A decoder of octets whose every packet is a level that names the packet, so that the output says what was played
/// when, also where pieces are faded into each other.
pub struct Levels;

/// Too loud to be taken for a background.
pub const LEVEL: i16 = 20_000;
const PER_PACKET: usize = 160;

impl Decoder for Levels {
    fn rate(&self) -> u32 {
        8_000
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        if (2..=960).contains(&payload.len()) { Ok(payload.len()) } else { Err(Undecodable) }
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable> {
        let samples = self.samples(payload)?;
        pcm[..samples].fill(LEVEL + i16::from_be_bytes([payload[0], payload[1]]));
        Ok(samples)
    }

    fn conceal(&mut self, pcm: &mut [i16]) {
        pcm.fill(0);
    }
}

pub fn levels_payload(level: i16) -> [u8; PER_PACKET] {
    let mut payload = [0; PER_PACKET];
    payload[..2].copy_from_slice(&level.to_be_bytes());
    payload
}

#[derive(Clone, Debug)]
pub struct Score {
    pub loss: f64,
    /// Made up for what was missing, in percent of what was sent.
    pub concealed: f64,
    /// Made up while something was waited for.
    pub waited: f64,
    /// Frames that came out as concealed: at most 60 ms of each gap.
    pub made_up: f64,
    /// From arrival to playing, in milliseconds.
    pub mean_delay: f64,
    pub p99: f64,
    /// Depth of the buffer a second, in milliseconds, behind the fastest packets.
    pub depth: Vec<f64>,
    pub report: PlayoutReport,
    /// Packets that were there in time and never heard.
    pub unheard: usize,
}

pub fn config(patient: bool) -> PlayoutConfig {
    let (min, max) = (Duration::from_millis(20), Duration::from_millis(500));
    PlayoutConfig { rate: 8_000, min, max, patient, seed: 1 }
}

pub fn playout(patient: bool) -> Playout {
    let coded = Coded { payload_type: 0, clock: 8_000, kind: Kind::Audio, decoder: Some(Box::new(Levels)) };
    Playout::new(config(patient), vec![coded])
}

/// Plays a trace with a tick of 20 ms that comes `phase` microseconds behind whole ones.
///
/// # Panics
/// If a packet is played twice or before one that was sent before it.
pub fn play(trace: &Trace, mut playout: Playout, phase: i64) -> Score {
    let mut arrivals: Vec<(i64, usize)> =
        trace.rows.iter().enumerate().filter_map(|(n, row)| Some((row.arrived?, n))).collect();
    arrivals.sort_unstable();
    let first_slot = trace.rows[0].slot;
    let ends = arrivals.last().map_or(0, |last| last.0) + 1_000_000;
    let mut heard: Vec<Option<i64>> =
        vec![None; 1 + trace.rows.iter().map(|row| row.slot).max().unwrap_or(0) as usize];
    let (mut coming, mut last_level, mut depth) = (arrivals.iter().peekable(), -1, Vec::new());
    let (mut made_up, mut longer) = (0, i64::MIN / 2);
    // Times are never negative.
    let at = |micros: i64| Instant((micros + 1_000_000) as u64 * 1_000);
    for tick in 0.. {
        let now = tick * 20_000 + phase;
        if now > ends {
            break;
        }
        while let Some((arrived, n)) = coming.next_if(|(arrived, _)| *arrived <= now) {
            let row = &trace.rows[*n];
            let sequence = if trace.pauses { *n as u32 } else { row.slot };
            // Both wrap on the way.
            let header = Header {
                sequence: (sequence as u16).wrapping_add(64_000),
                timestamp: (row.slot * 160).wrapping_sub(100_000),
                ssrc: 7,
                ..Header::default()
            };
            let _ = playout.insert(at(*arrived), &header, &levels_payload((row.slot - first_slot) as i16));
        }
        let mut pcm = [0; PER_PACKET];
        let before = playout.report().stretched;
        let pulled = playout.pull(at(now), &mut pcm);
        made_up += usize::from(pulled == Pulled::Concealed && coming.peek().is_some());
        // What is made longer is heard twice in part, now or with the next frames.
        if playout.report().stretched > before {
            longer = tick;
        }
        let again = i16::from(tick - longer < 4);
        for (n, sample) in (0..).zip(pcm) {
            if sample < LEVEL {
                continue;
            }
            let level = sample - LEVEL;
            assert!(level + again >= last_level, "{} before {last_level} at {now} in {}", level, trace.name);
            if level > last_level {
                last_level = level;
                heard[(first_slot + level as u32) as usize] = Some(now + n * 125);
            }
        }
        if tick % 50 == 49 {
            depth.push(playout.report().delay.as_secs_f64() * 1e3);
        }
    }
    let mut first_arrival = vec![None; heard.len()];
    for (arrived, n) in arrivals {
        first_arrival[trace.rows[n].slot as usize].get_or_insert(arrived);
    }
    let both: Vec<i64> = heard
        .iter()
        .zip(&first_arrival)
        .filter_map(|(heard, arrived)| Some((*heard)? - (*arrived)?))
        .collect();
    let unheard = heard
        .iter()
        .zip(&first_arrival)
        .filter(|(heard, arrived)| heard.is_none() && arrived.is_some())
        .count();
    let report = playout.report();
    let slots: std::collections::BTreeSet<u32> = trace.rows.iter().map(|row| row.slot).collect();
    let percent = |samples: u64| 100.0 * samples as f64 / (slots.len() * PER_PACKET) as f64;
    Score {
        loss: trace.loss(),
        concealed: percent(report.concealed),
        waited: percent(report.waited),
        made_up: 100.0 * made_up as f64 / slots.len() as f64,
        mean_delay: both.iter().sum::<i64>() as f64 / both.len().max(1) as f64 / 1e3,
        p99: trace.p99(),
        depth,
        report,
        unheard,
    }
}
