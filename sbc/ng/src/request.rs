//! One request: its command, whom it is for and what it wants. Reads every spelling; decides nothing.

use crate::failure::Failure;
use crate::flags::Reader;
use crate::options::Options;
use crate::raw::{self, Word};
use crate::value::{Dict, Value};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum Command {
    Ping,
    Offer,
    Answer,
    Delete,
    Query,
    List,
    Statistics,
    StartRecording,
    StopRecording,
    PauseRecording,
    BlockDtmf,
    UnblockDtmf,
    BlockMedia,
    UnblockMedia,
    SilenceMedia,
    UnsilenceMedia,
    PlayMedia,
    StopMedia,
    PlayDtmf,
    Publish,
    SubscribeRequest,
    SubscribeAnswer,
    Unsubscribe,
    Connect,
}

/// Commands by their words, as [`Word`] spells them.
const COMMANDS: [(Command, &str); 24] = [
    (Command::Ping, "ping"),
    (Command::Offer, "offer"),
    (Command::Answer, "answer"),
    (Command::Delete, "delete"),
    (Command::Query, "query"),
    (Command::List, "list"),
    (Command::Statistics, "statistics"),
    (Command::StartRecording, "start-recording"),
    (Command::StopRecording, "stop-recording"),
    (Command::PauseRecording, "pause-recording"),
    (Command::BlockDtmf, "block-dtmf"),
    (Command::UnblockDtmf, "unblock-dtmf"),
    (Command::BlockMedia, "block-media"),
    (Command::UnblockMedia, "unblock-media"),
    (Command::SilenceMedia, "silence-media"),
    (Command::UnsilenceMedia, "unsilence-media"),
    (Command::PlayMedia, "play-media"),
    (Command::StopMedia, "stop-media"),
    (Command::PlayDtmf, "play-dtmf"),
    (Command::Publish, "publish"),
    (Command::SubscribeRequest, "subscribe-request"),
    (Command::SubscribeAnswer, "subscribe-answer"),
    (Command::Unsubscribe, "unsubscribe"),
    (Command::Connect, "connect"),
];

/// Commands of rtpengine that are not ours.
const NOT_OURS: [&str; 9] = [
    "start-forwarding",
    "stop-forwarding",
    "create",
    "create-answer",
    "mesh",
    "transform",
    "inject-start",
    "inject-stop",
    "cli",
];

impl Command {
    /// All, in the order of the enum.
    pub const ALL: [Command; 24] = {
        let mut all = [Command::Ping; 24];
        let mut n = 0;
        while n < all.len() {
            all[n] = COMMANDS[n].0;
            n += 1;
        }
        all
    };

    /// Its word with hyphens, for counters and logs: `play-media`.
    pub fn name(self) -> &'static str {
        COMMANDS[self as usize].1
    }

    /// The command of a request, before anything else of it is read.
    ///
    /// # Errors
    /// [`Failure::NoCommand`], [`Failure::UnknownCommand`], [`Failure::UnsupportedCommand`].
    pub fn of(request: &Dict) -> Result<Command, Failure> {
        let value = request.0.iter().find(|(key, _)| raw::is_word(key, "command")).map(|(_, value)| value);
        let text = value.and_then(Value::as_text).ok_or(Failure::NoCommand)?;
        let word = Word::of(text);
        let known = COMMANDS.iter().find(|(_, name)| *name == word.as_str()).map(|(command, _)| *command);
        known.ok_or(if NOT_OURS.contains(&word.as_str()) {
            Failure::UnsupportedCommand
        } else {
            Failure::UnknownCommand
        })
    }
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What.
    pub command: Command,
    /// `call-id`.
    pub call_id: Option<Vec<u8>>,
    /// `from-tag`.
    pub from_tag: Option<Vec<u8>>,
    /// `to-tag`.
    pub to_tag: Option<Vec<u8>>,
    /// `via-branch`.
    pub via_branch: Option<Vec<u8>>,
    /// `sdp`.
    pub sdp: Option<Vec<u8>>,
    /// All else.
    pub options: Options,
    /// Keys, flags and values that nobody knows here, for the reply's `warning`; at most 16, each at most 64 bytes.
    pub unknown: Vec<String>,
}

/// Entries of `unknown` at most.
pub const UNKNOWN_MAX: usize = 16;

/// Bytes of an entry of `unknown` at most.
pub const UNKNOWN_LEN_MAX: usize = 64;

/// Bytes of Call-IDs, tags, branches and labels at most: they are kept as long as the call.
pub const NAME_LEN_MAX: usize = 1_024;

/// Bytes of `metadata` at most: it is kept with each recording.
pub const METADATA_LEN_MAX: usize = 4_096;

impl Request {
    /// Reads all of a request. Of a key that is repeated, the first counts. What nobody knows is no error.
    ///
    /// # Errors
    /// As [`Command::of`]; [`Failure::NoSdp`], [`Failure::NoCallId`], [`Failure::NoFromTag`] or [`Failure::NoToTag`] where
    /// the command needs it; [`Failure::Value`] for names that are too long.
    pub fn read(dict: &Dict) -> Result<Request, Failure> {
        let mut reader = Reader::new(Command::of(dict)?);
        reader.dict(dict);
        let request = reader.finish();
        request.check()?;
        Ok(request)
    }

    /// A request that says nothing but its command.
    pub fn new(command: Command) -> Request {
        Request {
            command,
            call_id: None,
            from_tag: None,
            to_tag: None,
            via_branch: None,
            sdp: None,
            options: Options::default(),
            unknown: Vec::new(),
        }
    }

    /// Whether all is there that the command needs, in the order in which rtpengine looks.
    fn check(&self) -> Result<(), Failure> {
        use Command::{
            Answer, Connect, List, Offer, Ping, Publish, Statistics, SubscribeAnswer, Unsubscribe,
        };
        let needs = |commands: &[Command], value: &Option<Vec<u8>>, failure| {
            if commands.contains(&self.command) && value.is_none() { Err(failure) } else { Ok(()) }
        };
        needs(&[Offer, Answer, Publish, SubscribeAnswer], &self.sdp, Failure::NoSdp)?;
        // Whoever publishes may leave the names to us.
        if ![Ping, List, Statistics, Publish].contains(&self.command) && self.call_id.is_none() {
            return Err(Failure::NoCallId);
        }
        if self.command == Connect && self.options.selector.from_tags.is_empty() {
            needs(&[Connect], &self.from_tag, Failure::NoFromTag)?;
        }
        needs(&[Offer, Answer], &self.from_tag, Failure::NoFromTag)?;
        needs(&[Answer, SubscribeAnswer, Unsubscribe, Connect], &self.to_tag, Failure::NoToTag)?;

        let selector = &self.options.selector;
        let names = [
            (&self.call_id, "call-id is too long"),
            (&self.from_tag, "from-tag is too long"),
            (&self.to_tag, "to-tag is too long"),
            (&self.via_branch, "via-branch is too long"),
            (&selector.label, "label is too long"),
            (&selector.set_label, "set-label is too long"),
            (&selector.to_label, "to-label is too long"),
            (&selector.to_call_id, "to-call-id is too long"),
        ];
        let is_long = |text: &Option<Vec<u8>>, max| text.as_ref().is_some_and(|text| text.len() > max);
        if is_long(&self.options.metadata, METADATA_LEN_MAX) {
            return Err(Failure::Value("metadata is too long"));
        }
        let long = names.into_iter().find(|(name, _)| is_long(name, NAME_LEN_MAX));
        long.map_or(Ok(()), |(_, words)| Err(Failure::Value(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    #[test]
    fn metadata_may_be_longer_than_a_name() {
        let start = |metadata: usize| {
            let dict = Dict::new().with("command", "start recording").with("call-id", "c");
            Request::read(&dict.with("metadata", &*"x".repeat(metadata)))
        };
        assert_eq!(start(4_096).unwrap().options.metadata.map(|kept| kept.len()), Some(4_096));
        assert_eq!(start(4_097).unwrap_err(), Failure::Value("metadata is too long"));
    }

    #[test]
    fn an_offer_of_kamailio_is_read() {
        let payload = b"d8:supportsl10:load limite3:sdp5:v=0\r\n5:flagsl13:trust-addresse7:replacel6:origine\
            13:received-froml3:IP49:192.0.2.1e7:call-id2:c18:from-tag2:f17:command5:offere";
        let (_, dict) = frame::read(payload).unwrap();
        let request = Request::read(&dict).unwrap();
        assert_eq!(request.unknown, [""; 0]);
        assert!(request.options.sdp.replace_origin && request.options.knows_load_limit);
        assert_eq!(request.options.received_from, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(frame::call_id_of(payload).as_deref(), Some(&b"c1"[..]));
    }
}
