//! Sounds, digits and recordings of one call that were asked for and go on. Says what media is to be asked, holds back
//! answers until media has taken or refused it, and keeps the book of recordings.

use super::{Answer, Effects, MediaAsk, SoundSource, select};
use crate::facts::{CallFacts, PartyFacts};
use crate::failure::Failure;
use crate::options::{Options, PlayOptions};
use crate::request::{Command, Request};
use crate::value::{Dict, Value};
use base::{Duration, Instant, Now};
use command::{Clip, Ended, Event, FileFormat, Layout, Order, Outcome, Party, PlayMode, PortIndex};
use command::{Recording, Sound, Ticket};
use ledger::{CallId, EventBus, OrderId, RecordingRow, RecordingState, Recordings};
use std::sync::Arc;

/// Sounds that may be waited for, play, or send digits at a time, of one call.
const RUNNING_MAX: usize = 32;
/// Longest name of a client's within the name of a file.
const NAME_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Orders {
    id: CallId,
    recordings: Arc<Recordings>,
    events: Arc<EventBus>,
    /// Sounds that are being loaded.
    loading: Vec<Loading>,
    playing: Vec<Playing>,
    /// Digits on their way.
    digits: Vec<(Party, Ticket)>,
    asked: Vec<Asked>,
    recording: Taping,
    /// Of the last recordings, that were stopped: media has not told their end.
    ending: Vec<(Ticket, OrderId)>,
    made: u32,
    metadata: Option<Vec<u8>>,
    /// `recording-file`.
    wished_file: Option<String>,
    /// `record-call=no` in an offer or answer: it ends with the next spec.
    ends_at_settle: bool,
}

#[derive(Debug)]
struct Loading {
    ticket: Ticket,
    hearers: Vec<Party>,
    options: PlayOptions,
    /// What is said if it cannot be loaded.
    failure: Failure,
}

/// A sound that plays to a party.
#[derive(Debug)]
struct Playing {
    ticket: Ticket,
    hearer: Party,
    began: Instant,
    start: Duration,
    /// Of the file.
    length: Duration,
}

/// A request whose answer waits for media.
#[derive(Debug)]
struct Asked {
    /// A report that is asked for behind the orders: media answers in order, so what was not refused before was taken.
    fence: Ticket,
    orders: Vec<Ticket>,
    refused: Option<&'static str>,
    /// What the request waits under.
    waits: Ticket,
    reply: Dict,
}

/// Where the call's recording stands.
#[derive(Debug, Default)]
enum Taping {
    #[default]
    Off,
    /// It begins as soon as two parties have speech.
    Waits,
    On {
        ticket: Ticket,
        id: OrderId,
        is_paused: bool,
    },
}

/// A recording whose call is gone while its file is still being written.
#[derive(Clone, Debug)]
pub struct LateRecording {
    /// What media tells its end by.
    pub ticket: Ticket,
    id: OrderId,
    recordings: Arc<Recordings>,
    events: Arc<EventBus>,
}

impl LateRecording {
    /// Its file is whole, or will never be.
    pub fn end(self, now: Now, ended: Ended) {
        tell_end(&self.recordings, &self.events, now, self.id, ended);
    }
}

impl Orders {
    pub fn new(id: CallId, recordings: Arc<Recordings>, events: Arc<EventBus>) -> Self {
        Orders {
            id,
            recordings,
            events,
            loading: Vec::new(),
            playing: Vec::new(),
            digits: Vec::new(),
            asked: Vec::new(),
            recording: Taping::Off,
            ending: Vec::new(),
            made: 0,
            metadata: None,
            wished_file: None,
            ends_at_settle: false,
        }
    }

    pub fn handle(
        &mut self,
        now: Now,
        request: &Request,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> Answer {
        let answer = match request.command {
            Command::PlayMedia => self.play(request, facts, effects),
            Command::StopMedia => self.stop(now, request, facts, effects).map(done),
            Command::PlayDtmf => self.send_digits(request, facts, effects),
            Command::StartRecording => {
                self.keep(&request.options);
                self.start_recording(now, facts, effects)
            }
            Command::StopRecording if !request.options.media.pause_recording => {
                self.keep(&request.options);
                self.stop_recording(effects);
                Ok(done(Dict::new()))
            }
            Command::StopRecording | Command::PauseRecording => {
                self.keep(&request.options);
                self.pause_recording(now, effects);
                Ok(done(Dict::new()))
            }
            _ => Err(Failure::UnsupportedCommand),
        };
        answer.unwrap_or_else(|failure| Answer::Now(Err(failure)))
    }

    pub fn take_options(&mut self, options: &Options) {
        self.keep(options);
        match options.media.record {
            Some(true) if matches!(self.recording, Taping::Off) => self.recording = Taping::Waits,
            Some(false) if matches!(self.recording, Taping::Waits) => self.recording = Taping::Off,
            Some(false) => self.ends_at_settle = true,
            Some(true) | None => {}
        }
    }

    /// `metadata` and the name that is wished for; a later one replaces an earlier one.
    fn keep(&mut self, options: &Options) {
        if let Some(metadata) = &options.metadata {
            self.metadata = Some(metadata.clone());
            if let Taping::On { id, .. } = self.recording {
                let text = self.metadata_text();
                self.recordings.change(id, |row| row.metadata = text);
            }
        }
        if let Some(file) = &options.media.recording_file {
            self.wished_file = Some(file.clone());
        }
    }

    pub fn metadata(&self) -> Option<&[u8]> {
        self.metadata.as_deref()
    }

    fn metadata_text(&self) -> Option<String> {
        self.metadata.as_ref().map(|metadata| String::from_utf8_lossy(metadata).into_owned())
    }

    pub fn is_recorded(&self) -> bool {
        matches!(self.recording, Taping::On { .. })
    }

    pub fn settle(&mut self, now: Now, facts: &CallFacts, effects: &mut Effects<'_>) {
        if core::mem::take(&mut self.ends_at_settle) {
            self.stop_recording(effects);
        }
        if matches!(self.recording, Taping::Waits) && has_speech(facts) {
            self.begin_recording(now, effects);
        }
    }

    fn play(
        &mut self,
        request: &Request,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> Result<Answer, Failure> {
        let hearers: Vec<Party> = select::hearers(request, facts)?
            .into_iter()
            .filter(|party| port_of(party).is_some())
            .map(|party| party.party)
            .collect();
        let options = &request.options.media.play;
        let source = match options {
            PlayOptions { blob: Some(blob), .. } => SoundSource::Blob(blob.clone()),
            PlayOptions { file: Some(file), .. } => SoundSource::File(file.clone()),
            PlayOptions { db_id: true, .. } => {
                return Err(Failure::Media("Media from a database is not supported"));
            }
            _ => return Err(Failure::Media("No media file specified")),
        };
        if hearers.is_empty() {
            return Err(Failure::Media("No participant has media that can be played to"));
        }
        self.check_room()?;
        let ticket = (effects.new_ticket)();
        let failure = Failure::Media(match source {
            SoundSource::File(_) => "Failed to start media playback from file",
            SoundSource::Blob(_) => "Failed to start media playback from blob",
        });
        let options = PlayOptions { blob: None, file: None, ..options.clone() };
        self.loading.push(Loading { ticket, hearers, options, failure });
        effects.asks.push(MediaAsk::Sound { ticket, source });
        Ok(Answer::Later(ticket))
    }

    fn check_room(&self) -> Result<(), Failure> {
        let running = self.loading.len() + self.playing.len() + self.digits.len() + self.asked.len();
        match running < RUNNING_MAX {
            true => Ok(()),
            false => Err(Failure::Media("Too many sounds and digits go on already")),
        }
    }

    pub fn handle_sound(
        &mut self,
        now: Now,
        ticket: Ticket,
        clip: Result<Clip, &'static str>,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> bool {
        let Some(at) = self.loading.iter().position(|loading| loading.ticket == ticket) else { return false };
        let Loading { hearers, options, failure, .. } = self.loading.swap_remove(at);
        let clip = match clip {
            Ok(clip) => clip,
            // Why is the keeper of sounds' to log; clients match the text.
            Err(_) => {
                effects.answered.push((ticket, Err(failure)));
                return true;
            }
        };
        let length = length_of(&clip);
        let start = Duration::from_millis(options.start_ms.unwrap_or(0).into()).min(length);
        let times = times_of(&options, length);
        let mut orders = Vec::new();
        for hearer in hearers {
            let Some(port) = facts.party(hearer).and_then(port_of) else { continue };
            self.end_sounds_of(hearer, effects);
            let ticket = (effects.new_ticket)();
            let order = Order::Play {
                port: Some(port),
                sound: Sound::Clip(clip.clone()),
                mode: PlayMode::Replace,
                times: Some(times),
                start,
                gain_centibel: 0,
            };
            effects.asks.push(MediaAsk::Order { ticket, order });
            self.playing.push(Playing { ticket, hearer, began: now.mono, start, length });
            orders.push(ticket);
        }
        if orders.is_empty() {
            effects.answered.push((ticket, Err(Failure::UnknownParty)));
            return true;
        }
        let reply = Dict::new().with("duration", Value::count(length.as_millis()));
        self.ask(ticket, orders, reply, effects);
        true
    }

    /// A new sound takes the place of what a party hears.
    fn end_sounds_of(&mut self, hearer: Party, effects: &mut Effects<'_>) {
        for old in self.playing.extract_if(.., |playing| playing.hearer == hearer) {
            stop(old.ticket, effects);
        }
    }

    /// Whoever asked is answered when media has seen all that was sent so far.
    fn ask(&mut self, waits: Ticket, orders: Vec<Ticket>, reply: Dict, effects: &mut Effects<'_>) {
        let fence = (effects.new_ticket)();
        effects.asks.push(MediaAsk::Report { ticket: fence });
        self.asked.push(Asked { fence, orders, refused: None, waits, reply });
    }

    fn stop(
        &mut self,
        now: Now,
        request: &Request,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> Result<Dict, Failure> {
        let hearers: Vec<Party> =
            select::hearers(request, facts)?.into_iter().map(|party| party.party).collect();
        let meant = |playing: &Playing| hearers.contains(&playing.hearer);
        let position =
            self.playing.iter().find(|playing| meant(playing)).map(|playing| playing.position(now.mono));
        let Some(position) = position else {
            // It may have ended by itself meanwhile, which is no error.
            return Ok(Dict::new().with("warning", Value::text("Not currently playing media")));
        };
        for old in self.playing.extract_if(.., |playing| meant(playing)) {
            stop(old.ticket, effects);
        }
        Ok(Dict::new().with("last-frame-pos", Value::count(position.as_millis())))
    }

    fn send_digits(
        &mut self,
        request: &Request,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> Result<Answer, Failure> {
        let speakers = select::hearers(request, facts)?;
        let options = &request.options.media.play;
        let digit = options.code.as_deref().and_then(digit_of);
        let digit = digit.ok_or(Failure::Media("Out of range 'code' specified"))?;
        self.check_room()?;
        let mut ports: Vec<(Party, PortIndex)> = Vec::new();
        for speaker in speakers {
            let hearers = speaker.peers.iter().filter_map(|peer| facts.party(*peer));
            ports.extend(hearers.filter_map(|hearer| Some((hearer.party, port_of(hearer)?))));
        }
        if ports.is_empty() {
            return Err(Failure::Media("There is no sink media capable of DTMF playback"));
        }
        let mut warnings = Vec::new();
        let mut within = |name: &str, wanted: Option<u32>, usual: u32| {
            let wanted = wanted.filter(|ms| *ms > 0).unwrap_or(usual);
            let taken = wanted.clamp(100, 5_000);
            if taken != wanted {
                warnings.push(format!("{name}={wanted} is out of range, {taken} ms is used"));
            }
            taken as u16
        };
        let duration_ms = within("duration", options.duration_ms, 250);
        let gap_ms = within("pause", options.pause_ms, 100);
        if options.volume_db.is_some() {
            warnings.push("volume is not in effect for digits".to_owned());
        }
        let mut reply = Dict::new();
        if !warnings.is_empty() {
            reply.put("warning", Value::text(warnings.join("; ")));
        }
        let waits = (effects.new_ticket)();
        let mut orders = Vec::new();
        for (hearer, port) in ports {
            let ticket = (effects.new_ticket)();
            let order = Order::Dtmf { port, digits: digit.to_string(), duration_ms, gap_ms };
            effects.asks.push(MediaAsk::Order { ticket, order });
            self.digits.push((hearer, ticket));
            orders.push(ticket);
        }
        self.ask(waits, orders, reply, effects);
        Ok(Answer::Later(waits))
    }

    fn start_recording(
        &mut self,
        now: Now,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> Result<Answer, Failure> {
        match &mut self.recording {
            Taping::On { ticket, id, is_paused } if *is_paused => {
                *is_paused = false;
                let (started, id) = (*ticket, *id);
                let ticket = (effects.new_ticket)();
                effects.asks.push(MediaAsk::Order { ticket, order: Order::Resume { started } });
                self.change(now, id, "recording.resumed", RecordingState::Recording);
                Ok(done(Dict::new()))
            }
            Taping::On { .. } => Ok(done(Dict::new())),
            Taping::Off | Taping::Waits if !has_speech(facts) => {
                self.recording = Taping::Waits;
                let text = "recording begins when two parties have media";
                Ok(done(Dict::new().with("warning", Value::text(text))))
            }
            Taping::Off | Taping::Waits => {
                let ticket = self.begin_recording(now, effects);
                let waits = (effects.new_ticket)();
                self.ask(waits, vec![ticket], Dict::new(), effects);
                Ok(Answer::Later(waits))
            }
        }
    }

    fn begin_recording(&mut self, now: Now, effects: &mut Effects<'_>) -> Ticket {
        self.made += 1;
        let id = OrderId { of: self.id, number: self.made };
        let path = match self.wished_file.as_deref().and_then(safe_name) {
            Some(name) => format!("{id}-{name}"),
            None => id.to_string(),
        };
        let file = format!("{path}.wav");
        let ticket = (effects.new_ticket)();
        let order = Order::Record(Recording {
            path,
            layout: Layout::Stereo,
            format: FileFormat::Wav,
            rate: None,
            mask_digits: false,
            from_first_packet: false,
        });
        effects.asks.push(MediaAsk::Order { ticket, order });
        self.recording = Taping::On { ticket, id, is_paused: false };
        let event = ledger::Event::new(now.wall, "recording.started").with("call", self.id);
        self.events.publish(event.with("id", id).with("file", &file));
        self.recordings.note(RecordingRow {
            id,
            room: None,
            file,
            started: now.wall,
            layout: Layout::Stereo,
            format: FileFormat::Wav,
            state: RecordingState::Recording,
            length: Duration::ZERO,
            lost: Duration::ZERO,
            metadata: self.metadata_text(),
        });
        ticket
    }

    fn stop_recording(&mut self, effects: &mut Effects<'_>) {
        if let Taping::On { ticket, id, .. } = core::mem::take(&mut self.recording) {
            stop(ticket, effects);
            self.ending.push((ticket, id));
        }
    }

    fn pause_recording(&mut self, now: Now, effects: &mut Effects<'_>) {
        if let Taping::On { ticket, id, is_paused } = &mut self.recording
            && !core::mem::replace(is_paused, true)
        {
            let (started, id) = (*ticket, *id);
            let ticket = (effects.new_ticket)();
            effects.asks.push(MediaAsk::Order { ticket, order: Order::Pause { started } });
            self.change(now, id, "recording.paused", RecordingState::Paused);
        }
    }

    fn change(&self, now: Now, id: OrderId, kind: &'static str, state: RecordingState) {
        self.recordings.change(id, |row| row.state = state);
        self.events.publish(ledger::Event::new(now.wall, kind).with("call", self.id).with("id", id));
    }

    pub fn handle_media(&mut self, now: Now, event: &Event, effects: &mut Effects<'_>) -> bool {
        match event {
            Event::Report { ticket, .. } => {
                let Some(at) = self.asked.iter().position(|asked| asked.fence == *ticket) else {
                    return false;
                };
                let Asked { refused, waits, reply, .. } = self.asked.remove(at);
                let result = refused.map_or(Ok(reply), |why| Err(Failure::Media(why)));
                effects.answered.push((waits, result));
                true
            }
            Event::Unsupported { ticket: Some(ticket), what, .. } => {
                if let Some(asked) = self.asked.iter_mut().find(|asked| asked.orders.contains(ticket)) {
                    asked.refused = Some(what);
                }
                let failed = Ended { outcome: Outcome::Failed, length: Duration::ZERO, lost: Duration::ZERO };
                self.on_ended(now, *ticket, failed)
            }
            Event::Ended { ticket, ended, .. } => self.on_ended(now, *ticket, *ended),
            _ => false,
        }
    }

    fn on_ended(&mut self, now: Now, ticket: Ticket, ended: Ended) -> bool {
        let before = self.playing.len() + self.digits.len();
        self.playing.retain(|playing| playing.ticket != ticket);
        self.digits.retain(|(_, digits)| *digits != ticket);
        if self.playing.len() + self.digits.len() < before {
            return true;
        }
        let ending = self.ending.iter().position(|(ending, _)| *ending == ticket);
        let id = match (&self.recording, ending) {
            (_, Some(at)) => self.ending.swap_remove(at).1,
            (Taping::On { ticket: on, id, .. }, None) if *on == ticket => {
                let id = *id;
                self.recording = Taping::Off;
                id
            }
            _ => return false,
        };
        tell_end(&self.recordings, &self.events, now, id, ended);
        true
    }

    pub fn forget(&mut self, party: Party, effects: &mut Effects<'_>) {
        self.end_sounds_of(party, effects);
        for (_, ticket) in self.digits.extract_if(.., |(hearer, _)| *hearer == party) {
            stop(ticket, effects);
        }
        for loading in &mut self.loading {
            loading.hearers.retain(|hearer| *hearer != party);
        }
    }

    pub fn close(&mut self, effects: &mut Effects<'_>) -> Vec<LateRecording> {
        let loading = self.loading.drain(..).map(|loading| loading.ticket);
        let waiting = loading.chain(self.asked.drain(..).map(|asked| asked.waits));
        effects.answered.extend(waiting.map(|waits| (waits, Err(Failure::UnknownCall))));
        self.playing.clear();
        self.digits.clear();
        if let Taping::On { ticket, id, .. } = core::mem::take(&mut self.recording) {
            self.ending.push((ticket, id));
        }
        let late = |(ticket, id)| LateRecording {
            ticket,
            id,
            recordings: Arc::clone(&self.recordings),
            events: Arc::clone(&self.events),
        };
        core::mem::take(&mut self.ending).into_iter().map(late).collect()
    }
}

impl Playing {
    /// Where in the file it is.
    fn position(&self, now: Instant) -> Duration {
        let played = now.since(self.began) + self.start;
        match self.length.as_millis() {
            0 => Duration::ZERO,
            _ if played < self.length => played,
            length => Duration::from_millis(((played.as_millis()) % length) as u64),
        }
    }
}

fn done(reply: Dict) -> Answer {
    Answer::Now(Ok(reply))
}

fn stop(started: Ticket, effects: &mut Effects<'_>) {
    let ticket = (effects.new_ticket)();
    effects.asks.push(MediaAsk::Order { ticket, order: Order::Stop { started } });
}

fn tell_end(recordings: &Recordings, events: &EventBus, now: Now, id: OrderId, ended: Ended) {
    let Ended { outcome, length, lost } = ended;
    let (state, word) = match outcome {
        Outcome::Done => (RecordingState::Done, "done"),
        Outcome::Stopped => (RecordingState::Done, "stopped"),
        Outcome::Closed => (RecordingState::Done, "closed"),
        Outcome::Failed => (RecordingState::Failed, "failed"),
    };
    recordings.change(id, |row| (row.state, row.length, row.lost) = (state, length, lost));
    let event = ledger::Event::new(now.wall, "recording.ended").with("call", id.of).with("id", id);
    let event = event.with("outcome", word).with("length_ms", length.as_millis());
    events.publish(event.with("lost_ms", lost.as_millis()));
}

/// The port that a party hears through: of its first line of speech, where it has said something.
fn port_of(party: &PartyFacts) -> Option<PortIndex> {
    let mut lines = party.lines.iter().filter(|line| line.kind == sdp::Kind::Audio && !line.is_refused);
    lines.find(|line| line.state.is_some()).map(|line| line.port)
}

/// Whether two parties have speech: before, there is nothing to record.
fn has_speech(facts: &CallFacts) -> bool {
    facts.parties.iter().filter(|party| port_of(party).is_some()).count() >= 2
        || facts
            .parties
            .iter()
            .any(|party| party.role == crate::facts::Role::Publishes && port_of(party).is_some())
}

fn length_of(clip: &Clip) -> Duration {
    let nanos = clip.samples.len() as u64 * 1_000_000_000 / u64::from(clip.rate.max(1));
    Duration::from_nanos(nanos)
}

/// How often a sound is played: `repeat-times`, or until `repeat-duration` is reached, whatever comes first.
fn times_of(options: &PlayOptions, length: Duration) -> u32 {
    let length = length.as_millis().max(1);
    let until = options.duration_ms.filter(|ms| *ms > 0).map(|ms| u128::from(ms).div_ceil(length));
    let until = until.map(|times| u32::try_from(times).unwrap_or(u32::MAX));
    match (options.times.filter(|times| *times > 0), until) {
        (Some(times), Some(until)) => times.min(until),
        (Some(times), None) => times,
        (None, Some(until)) => until,
        (None, None) => 1,
    }
}

/// A digit by its code of RFC 4733 or by its name.
fn digit_of(code: &str) -> Option<char> {
    const DIGITS: &[u8; 16] = b"0123456789*#ABCD";
    if let Ok(code) = code.parse::<usize>() {
        return DIGITS.get(code).map(|digit| char::from(*digit));
    }
    let mut chars = code.chars();
    let digit = chars.next()?.to_ascii_uppercase();
    (chars.next().is_none() && DIGITS.contains(&u8::try_from(digit).ok()?)).then_some(digit)
}

/// What of a client's file name may stand in a name below the folder of recordings.
fn safe_name(wished: &str) -> Option<String> {
    let last = wished.rsplit('/').next().unwrap_or(wished);
    let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    let is_safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = stem.chars().filter(is_safe).take(NAME_MAX).collect();
    (!name.is_empty()).then_some(name)
}
