//! Recordings through real files, and disks of our own that stall, fail and remember. No test waits for a time: the
//! samples come as fast as they are pushed.

use super::disk::{BlockingDisk, Job, What};
use super::*;
use codec::coder::{Decoder, Format};
use codec::ogg::OpusFile;
use codec::registry;
use codec::wav::{HEADER_LEN, Pause, Wav};
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};

const RATE: u32 = 8_000;
/// Samples in 20 ms.
const TICK: usize = 160;

#[test]
fn two_hundred_recordings_lose_nothing_while_the_disk_stalls_for_two_seconds() {
    for choice in disks() {
        let gate = Arc::new(Gate::default());
        let at = Arc::clone(&gate);
        let mut house =
            House::new("stall", move || Ok(Box::new(Gated { gate: Arc::clone(&at), disk: choice.open()? })));
        let layouts = [Layout::Mono, Layout::Stereo];
        let mut tapes: Vec<_> = (0..200u32)
            .map(|number| house.record(number, layouts[number as usize % 2], FileFormat::Wav))
            .collect();
        let push = |tapes: &mut Vec<Tape>, ticks: core::ops::Range<usize>| {
            for tick in ticks {
                for (number, tape) in tapes.iter_mut().enumerate() {
                    tape.push(&counter(number, tick), &counter(number + 1_000, tick));
                }
            }
        };
        push(&mut tapes, 0..50);
        wait(|| tapes.iter().all(|tape| tape.waiting() == 0));
        gate.close();
        // A block of each makes the thread go to the disk; from then on it hangs there.
        push(&mut tapes, 50..75);
        gate.wait_for_somebody();
        push(&mut tapes, 75..175);
        gate.open();
        push(&mut tapes, 175..200);
        wait(|| tapes.iter().all(|tape| tape.waiting() == 0));
        push(&mut tapes, 200..251);
        tapes.into_iter().for_each(|tape| tape.finish(Outcome::Stopped));
        let length = Duration::from_millis(251 * 20);
        for (_, finished) in house.ends(200) {
            assert_eq!(finished, Ended { outcome: Outcome::Stopped, length, lost: Duration::ZERO });
        }
        for number in 0..200 {
            let file = house.file(&format!("{number}.wav"));
            let wav = Wav::parse(&file).unwrap();
            assert_eq!(wav.channels(), number % 2 + 1);
            for channel in 0..wav.channels() {
                let mut pcm = vec![0; 251 * TICK];
                assert_eq!((wav.frames(), wav.channel(channel, 0, &mut pcm)), (pcm.len(), pcm.len()));
                for (tick, pcm) in pcm.chunks(TICK).enumerate() {
                    assert_eq!(pcm, counter(number + channel * 1_000, tick), "{number}, tick {tick}");
                }
            }
        }
        assert_eq!((house.recorder.tapes(), house.recorder.memory()), (0, 0), "all was given back");
    }
}

#[test]
fn what_finds_no_room_is_counted_and_silence_keeps_the_time() {
    for (format, extension) in [(FileFormat::Wav, "wav"), (FileFormat::OggOpus, "opus")] {
        let gate = Arc::new(Gate::default());
        let at = Arc::clone(&gate);
        let mut house = House::new("lost", move || {
            Ok(Box::new(Gated { gate: Arc::clone(&at), disk: Box::<BlockingDisk>::default() }))
        });
        gate.close();
        let mut tape = house.record(1, Layout::Mono, format);
        gate.wait_for_somebody();
        // Six seconds find room, one does not; then the disk works again.
        (0..350).for_each(|_| tape.push(&[4_000; TICK], &[]));
        gate.open();
        wait(|| tape.waiting() == 0);
        (0..50).for_each(|_| tape.push(&[4_000; TICK], &[]));
        tape.finish(Outcome::Done);
        let ends = house.ends(1);
        let time = |seconds| Duration::from_secs(seconds);
        assert_eq!(ends[&1], Ended { outcome: Outcome::Done, length: time(8), lost: time(1) });
        if format == FileFormat::Wav {
            let pcm = heard(&house.file(&format!("1.{extension}")));
            assert_eq!(pcm.len(), 8 * 8_000);
            let silent = |second: usize| pcm[second * 8_000..][..8_000].iter().all(|sample| *sample == 0);
            assert_eq!((0..8).filter(|second| silent(*second)).collect::<Vec<_>>(), [6]);
        } else {
            assert_eq!(heard(&house.file(&format!("1.{extension}"))).len(), 8 * 8_000);
        }
    }
}

#[test]
fn what_is_lost_at_the_very_end_counts_too() {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let mut house = House::new("lost-end", move || {
        Ok(Box::new(Gated { gate: Arc::clone(&at), disk: Box::<BlockingDisk>::default() }))
    });
    gate.close();
    let mut tape = house.record(1, Layout::Stereo, FileFormat::Wav);
    gate.wait_for_somebody();
    (0..350).for_each(|_| tape.push(&[1; TICK], &[2; TICK]));
    tape.finish(Outcome::Done);
    gate.open();
    let ended = house.ends(1)[&1];
    assert_eq!((ended.length, ended.lost), (Duration::from_secs(7), Duration::from_secs(1)));
    let file = house.file("1.wav");
    assert_eq!((file.len() - HEADER_LEN, heard(&file).len()), (7 * 8_000 * 4, 7 * 8_000));
}

#[test]
fn pauses_are_silence_and_marked() {
    for (format, extension) in [(FileFormat::Wav, "wav"), (FileFormat::OggOpus, "opus")] {
        let mut house = House::new("pause", || DiskChoice::Auto.open());
        let mut tape = house.record(1, Layout::Mono, format);
        for tick in 0..300 {
            // Half a second each, and one that lasts to the end.
            if tick % 50 == 25 && tick < 150 {
                tape.mark_pause(true);
            }
            if tick % 50 == 0 {
                tape.mark_pause(false);
            }
            if tick == 275 {
                tape.mark_pause(true);
                tape.mark_pause(false);
                tape.mark_pause(true);
            }
            tape.push(&[4_000; TICK], &[]);
        }
        tape.finish(Outcome::Done);
        assert_eq!(house.ends(1)[&1].length, Duration::from_secs(6));
        let file = house.file(&format!("1.{extension}"));
        let pause =
            |start, end| Pause { start: Duration::from_millis(start), end: Duration::from_millis(end) };
        let pauses = [pause(500, 1_000), pause(1_500, 2_000), pause(2_500, 3_000), pause(5_500, 6_000)];
        let pcm = heard(&file);
        if format == FileFormat::Wav {
            assert_eq!(Wav::parse(&file).unwrap().pauses(), pauses);
            for (tick, pcm) in pcm.chunks(TICK).enumerate() {
                let paused = pauses
                    .iter()
                    .any(|pause| (pause.start..pause.end).contains(&Duration::from_millis(tick as u64 * 20)));
                assert!(pcm.iter().all(|sample| (*sample == 0) == paused), "tick {tick}");
            }
        } else {
            assert_eq!(OpusFile::parse(&file).unwrap().pauses(), pauses);
            assert_eq!(pcm.len(), 6 * 8_000);
        }
    }
}

#[test]
fn a_file_is_whole_after_every_write_but_for_the_last_second() {
    for (format, extension, hidden) in [(FileFormat::Wav, "wav", 0), (FileFormat::OggOpus, "opus", 52 + 160)]
    {
        let (sender, jobs) = channel();
        let mut house = House::new("killed", move || Ok(Box::new(Remembering { sender: sender.clone() })));
        let mut tape = house.record(1, Layout::Mono, format);
        let mut written = 0;
        // The bytes as they would be if the process died now.
        let mut file = Vec::new();
        for block in 0..32 {
            tape.mark_pause(block % 8 >= 6);
            (0..25).for_each(|tick| tape.push(&counter(1, block * 25 + tick), &[]));
            wait(|| tape.waiting() == 0);
            while let Ok((at, bytes)) = jobs.recv_timeout(if written == 0 { LONG } else { Duration::ZERO }) {
                let end = at as usize + bytes.len();
                file.resize(file.len().max(end), 0);
                file[at as usize..end].copy_from_slice(&bytes);
                written += 1;
                if file.len() > 5_000 || format == FileFormat::Wav {
                    let pcm = heard(&file);
                    let pushed = (block + 1) * 25 * TICK;
                    assert!(pcm.len() <= pushed, "{} of {pushed}", pcm.len());
                    assert!(pcm.len() + 8_000 + hidden >= pushed, "{} of {pushed}, {extension}", pcm.len());
                }
            }
        }
        assert!(written >= 60, "{written}");
        drop(tape);
        house.ends(1);
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_leaves_the_folder() {
    let mut house = House::new("paths", || DiskChoice::Blocking.open());
    for path in ["../x", "/x", "", ".", "a/../b", "a/", "a//../../b", "./a", "a\0b"] {
        let recording = Recording { path: path.to_owned(), ..recording(Layout::Mono, FileFormat::Wav) };
        let refused = house.deck.record(bridge(), Ticket(1), &recording, RATE).map(|_| ());
        assert_eq!(refused, Err(Refused::Path), "{path}");
    }
    let deep = Recording { path: "2026/11/a.b".to_owned(), ..recording(Layout::Mono, FileFormat::Wav) };
    let tape = house.deck.record(bridge(), Ticket(1), &deep, RATE).unwrap();
    tape.finish(Outcome::Done);
    assert_eq!(house.ends(1)[&1].outcome, Outcome::Done);
    let before = house.file("2026/11/a.b.wav");
    let mut tape = house.deck.record(bridge(), Ticket(2), &deep, RATE).unwrap();
    tape.push(&[1; TICK], &[]);
    assert_eq!(house.ends(1)[&2].outcome, Outcome::Failed);
    assert!(tape.has_failed());
    tape.finish(Outcome::Done);
    assert_eq!(house.file("2026/11/a.b.wav"), before);
    let whole = house.folder.0.join("b/c").to_str().unwrap().to_owned();
    let whole = Recording { path: whole, ..recording(Layout::Mono, FileFormat::Wav) };
    house.deck.record(bridge(), Ticket(3), &whole, RATE).unwrap().finish(Outcome::Done);
    assert_eq!((house.ends(1)[&3].outcome, house.file("b/c.wav").len()), (Outcome::Done, HEADER_LEN));
    let odd = house.deck.record(bridge(), Ticket(4), &recording(Layout::Mono, FileFormat::OggOpus), 32_000);
    assert_eq!(odd.map(|_| ()), Err(Refused::Rate));
}

#[test]
fn a_full_disk_a_bad_sink_and_a_panic_end_one_tape_each() {
    let mut house = House::new("failing", || Ok(Box::new(FullFor { disk: BlockingDisk::default() })));
    let good = house.record(1, Layout::Mono, FileFormat::Wav);
    let full = Recording { path: "full".to_owned(), ..recording(Layout::Mono, FileFormat::Wav) };
    let full = house.deck.record(bridge(), Ticket(2), &full, RATE).unwrap();
    let mut fork = |ticket, take: fn(&Block) -> bool| {
        house.deck.fork(bridge(), Ticket(ticket), 1, RATE, Box::new(Feed(Box::new(take)))).unwrap()
    };
    let mut tapes = vec![good, full, fork(3, |_| false), fork(4, |_| panic!("a sink that panics"))];
    for _ in 0..26 {
        tapes.iter_mut().for_each(|tape| tape.push(&[1; TICK], &[]));
    }
    let ends = house.ends(3);
    assert_eq!(ends.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    assert!(ends.values().all(|ended| ended.outcome == Outcome::Failed));
    tapes.into_iter().for_each(|tape| tape.finish(Outcome::Stopped));
    let ends = house.ends(1);
    assert_eq!(ends[&1], Ended { length: Duration::from_millis(520), ..ends[&1] });
    assert_eq!(ends[&1].outcome, Outcome::Stopped);
    assert!(house.deck.poll().is_none(), "each ends once");
}

#[test]
fn a_fork_hands_both_channels_to_anybody() {
    let mut house = House::new("fork", || DiskChoice::Blocking.open());
    let (sender, blocks) = channel();
    let feed = Feed(Box::new(move |block| {
        sender.send([block.channel(0).to_vec(), block.channel(1).to_vec()]).is_ok()
    }));
    let mut tape = house.deck.fork(bridge(), Ticket(1), 2, RATE, Box::new(feed)).unwrap();
    (0..20).for_each(|tick| tape.push(&counter(1, tick), &counter(2, tick)));
    tape.finish(Outcome::Done);
    house.ends(1);
    let all: Vec<_> = blocks.try_iter().collect();
    for channel in 0..2 {
        let heard: Vec<i16> = all.iter().flat_map(|block| block[channel].clone()).collect();
        let said: Vec<i16> = (0..20).flat_map(|tick| counter(channel + 1, tick)).collect();
        assert_eq!(heard, said);
    }
}

/// A disk that hangs holds up no fork, and what is said is with the sink within a few ticks.
#[test]
fn forks_come_at_once_and_wait_for_no_disk() {
    let gate = Arc::new(Gate::default());
    let gated = Arc::clone(&gate);
    let mut house = House::new("at-once", move || {
        Ok(Box::new(Gated { gate: Arc::clone(&gated), disk: Box::new(BlockingDisk::default()) }))
    });
    gate.close();
    let mut file = house.record(1, Layout::Mono, FileFormat::Wav);
    gate.wait_for_somebody();
    let (sender, blocks) = channel();
    let feed = Feed(Box::new(move |block| sender.send(block.channel(0).to_vec()).is_ok()));
    let mut tape = house.deck.fork(bridge(), Ticket(2), 1, RATE, Box::new(feed)).unwrap();
    for tick in 0..5 {
        file.push(&counter(1, tick), &[]);
        tape.push(&counter(2, tick), &[]);
        assert_eq!(blocks.recv_timeout(LONG).unwrap(), counter(2, tick), "a block is a tick");
    }
    tape.finish(Outcome::Done);
    assert_eq!(house.ends(1)[&2].outcome, Outcome::Done);
    gate.open();
    file.finish(Outcome::Done);
    house.ends(1);
}

#[test]
fn what_there_is_of_memory_and_tapes_is_not_exceeded() {
    let folder = Folder::new("bounds");
    let mut config = RecorderConfig::new(&folder.0);
    (config.tapes_max, config.memory_max) = (3, 2 * Spec::fork(1, RATE).pool_len() + 1);
    let recorder = Recorder::start(config).unwrap();
    let mut deck = recorder.deck(Bell(channel().0));
    let mut fork = |ticket| deck.fork(bridge(), Ticket(ticket), 1, RATE, Box::new(Feed(Box::new(|_| true))));
    let one = fork(1).unwrap();
    let _two = fork(2).unwrap();
    assert_eq!(fork(3).map(|_| ()), Err(Refused::Full));
    assert_eq!((recorder.tapes(), recorder.memory()), (2, 2 * Spec::fork(1, RATE).pool_len()));
    drop(one);
    wait(|| recorder.tapes() == 1);
    fork(4).unwrap();
}

#[test]
fn who_drops_a_tape_closes_it_and_the_last_one_out_ends_all_files() {
    let mut house = House::new("dropped", || DiskChoice::Auto.open());
    let mut first = house.record(1, Layout::Mono, FileFormat::Wav);
    first.push(&[7; TICK], &[]);
    drop(first);
    assert_eq!(house.ends(1)[&1].outcome, Outcome::Closed);
    let mut second = house.record(2, Layout::Mono, FileFormat::Wav);
    second.push(&[8; TICK * 30], &[]);
    let House { recorder, deck, folder, .. } = house;
    drop((recorder, deck));
    let file = std::fs::read(folder.0.join("2.wav")).unwrap();
    assert_eq!(heard(&file), [8; 2_000 * 2], "what was handed over");
    drop(second);
}

#[test]
fn rates_are_those_of_the_format() {
    let asked = |format, rate| rate_for(&Recording { rate, ..recording(Layout::Mono, format) }, 32_000);
    assert_eq!(asked(FileFormat::Wav, None), 32_000);
    assert_eq!(asked(FileFormat::OggOpus, None), 48_000);
    assert_eq!(asked(FileFormat::OggOpus, Some(16_000)), 16_000);
}

fn bridge() -> BridgeId {
    BridgeId::new(0, 0, 0, 1)
}

/// A recorder with its own folder, and one shard's access to it.
struct House {
    recorder: Recorder,
    deck: Deck,
    bell: Receiver<()>,
    folder: Folder,
}

const LONG: Duration = Duration::from_secs(60);

struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

impl House {
    fn new(name: &str, disk: impl FnMut() -> io::Result<Box<dyn Disk>>) -> House {
        let folder = Folder::new(name);
        let recorder = Recorder::start_with(RecorderConfig::new(&folder.0), disk).unwrap();
        let (sender, bell) = channel();
        let deck = recorder.deck(Bell(sender));
        House { recorder, deck, bell, folder }
    }

    fn record(&mut self, number: u32, layout: Layout, format: FileFormat) -> Tape {
        let recording = Recording { path: number.to_string(), ..recording(layout, format) };
        self.deck.record(bridge(), Ticket(number.into()), &recording, RATE).unwrap()
    }

    /// Waits for so many ends.
    fn ends(&mut self, count: usize) -> BTreeMap<u64, Ended> {
        let mut ends = BTreeMap::new();
        while ends.len() < count {
            self.bell.recv_timeout(LONG).expect("an end comes");
            while let Some(finished) = self.deck.poll() {
                assert_eq!(finished.bridge, bridge());
                assert_eq!(ends.insert(finished.ticket.0, finished.ended), None, "each ends once");
            }
        }
        ends
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.0.join(name)).unwrap()
    }
}

/// Gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("strowger-recorder-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn recording(layout: Layout, format: FileFormat) -> Recording {
    let path = "x".to_owned();
    Recording { path, layout, format, rate: None, mask_digits: false, from_first_packet: false }
}

/// The samples of one tick of one stream: no two alike.
fn counter(stream: usize, tick: usize) -> [i16; TICK] {
    core::array::from_fn(|n| ((tick * TICK + n).wrapping_mul(31) + stream * 7) as i16)
}

/// The back ends of this host.
#[expect(clippy::print_stderr, reason = "what the host does not allow is named")]
fn disks() -> Vec<DiskChoice> {
    match DiskChoice::Uring.open() {
        Ok(_) => vec![DiskChoice::Blocking, DiskChoice::Uring],
        Err(error) => {
            eprintln!("ABSENT: io_uring ({error}): recordings were not tried with it");
            vec![DiskChoice::Blocking]
        }
    }
}

/// What a player hears of a file, as one channel.
fn heard(file: &[u8]) -> Vec<i16> {
    if let Ok(wav) = Wav::parse(file) {
        let mut pcm = vec![0; wav.frames()];
        wav.mono(0, &mut pcm);
        return pcm;
    }
    let parsed = OpusFile::parse(file).expect("a file of Opus");
    let format = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
    let opus = registry::find(&format).expect("Opus is a codec of ours");
    let mut decoders: Vec<Box<dyn Decoder>> =
        (0..parsed.streams()).map(|_| opus.decoder(&format, parsed.rate())).collect();
    parsed.mono(&mut decoders, usize::MAX).unwrap()
}

fn wait(condition: impl Fn() -> bool) {
    let mut looks = 0u64;
    while !condition() {
        std::thread::park_timeout(Duration::from_millis(1));
        looks += 1;
        assert!(looks < 60_000, "a minute has passed");
    }
}

/// A door in front of the disk.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn close(&self) {
        *self.state.lock().unwrap() = (true, false);
    }

    fn open(&self) {
        *self.state.lock().unwrap() = (false, false);
        self.changed.notify_all();
    }

    fn wait_for_somebody(&self) {
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, LONG, |(_, hangs)| !*hangs).unwrap();
        assert!(state.1, "somebody wants to write");
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        if state.0 {
            state.1 = true;
            self.changed.notify_all();
        }
        let _open = self.changed.wait_timeout_while(state, LONG, |(closed, _)| *closed).unwrap();
    }
}

struct Gated {
    gate: Arc<Gate>,
    disk: Box<dyn Disk>,
}

impl Disk for Gated {
    fn name(&self) -> &'static str {
        self.disk.name()
    }

    fn put(&mut self, job: Job) {
        self.disk.put(job);
    }

    fn settle(&mut self, failed: &mut dyn FnMut(u32, io::Error)) {
        self.gate.pass();
        self.disk.settle(failed);
    }
}

/// Writes nothing, but tells what it should have.
struct Remembering {
    sender: Sender<(u64, Vec<u8>)>,
}

impl Disk for Remembering {
    fn name(&self) -> &'static str {
        "remembering"
    }

    fn put(&mut self, job: Job) {
        if let What::Write { at, bytes } = job.what {
            let _ = self.sender.send((at, bytes));
        }
    }

    fn settle(&mut self, _failed: &mut dyn FnMut(u32, io::Error)) {}
}

/// Has no room for files called `full.wav`.
struct FullFor {
    disk: BlockingDisk,
}

impl Disk for FullFor {
    fn name(&self) -> &'static str {
        "full"
    }

    fn put(&mut self, mut job: Job) {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", job.file.as_raw_fd())).unwrap();
        if path.ends_with("full.wav") {
            job.file = Arc::new(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        }
        self.disk.put(job);
    }

    fn settle(&mut self, failed: &mut dyn FnMut(u32, io::Error)) {
        self.disk.settle(failed);
    }
}
