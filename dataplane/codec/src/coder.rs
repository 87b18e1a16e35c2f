//! What a codec is to the engine: a decoder and an encoder of mono speech behind two traits, made when a call is set
//! up, used without allocating. What each format does is in its own file; the registry lists them.

/// One negotiated payload format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// Encoding name as in SDP, in any case.
    pub name: &'a str,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Channels as in SDP, 1 if not said.
    pub channels: u8,
    /// Format parameters as in SDP, empty if none.
    pub fmtp: &'a str,
}

/// A payload is not what its format allows; nothing was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// The longest packet that is decoded, in milliseconds: what Opus allows (RFC 6716 section 3.2.5).
pub const PACKET_MS_MAX: u32 = 120;
/// The longest payload that an encoder writes, in bytes.
pub const PAYLOAD_MAX: usize = 1_280;

/// From payloads to samples. Mono, 16 bits. Never allocates, never panics, whatever the payload holds.
pub trait Decoder: Send {
    /// Samples a second that it yields.
    fn rate(&self) -> u32;

    /// How many samples the payload holds, without decoding it.
    ///
    /// # Errors
    /// Empty, or lengths that contradict each other, or longer than [`PACKET_MS_MAX`].
    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable>;

    /// Decodes one packet in order; `pcm` must hold [`PACKET_MS_MAX`]. Returns how many samples were written.
    ///
    /// # Errors
    /// As [`Decoder::samples`]; conceal instead.
    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable>;

    /// Wins back the samples just before a packet from what that packet holds of them (forward error correction):
    /// fills `pcm`, whose length is what is missing. `false` if the packet holds nothing; `pcm` is then untouched.
    fn recover(&mut self, next_payload: &[u8], pcm: &mut [i16]) -> bool {
        let _ = (next_payload, pcm);
        false
    }

    /// Fills `pcm` with what probably was there (at most 120 ms a call; frames of 10 or 20 ms each time).
    fn conceal(&mut self, pcm: &mut [i16]);

    /// Whether this payload only says that the sender is silent (Opus DTX); decoding it gives comfort noise.
    fn is_silence(&self, payload: &[u8]) -> bool {
        let _ = payload;
        false
    }
}

/// What an encoder is to do beyond its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Samples a second that it is fed: the codec's own, or for codecs with several (Opus) the narrowest that holds
    /// what the other side can say.
    pub rate: u32,
    /// How hard it tries, 0 to 10; ignored by codecs that have no choice.
    pub complexity: u8,
}

/// From samples to payloads. Mono, 16 bits. Never allocates.
pub trait Encoder: Send {
    /// Samples a second that it takes.
    fn rate(&self) -> u32;

    /// Encodes the samples of one packet (10, 20, 30, 40 or 60 ms). Returns the payload's length; 0 when nothing need
    /// be sent (DTX).
    fn encode(&mut self, pcm: &[i16], payload: &mut [u8; PAYLOAD_MAX]) -> usize;

    /// The far end loses this much, 0 to 100 percent: forward error correction is encoded above 0, where negotiated.
    fn set_loss(&mut self, percent: u8) {
        let _ = percent;
    }

    /// How hard it tries from now on, 0 to 10 (adapts to load).
    fn set_complexity(&mut self, complexity: u8) {
        let _ = complexity;
    }

    /// Begins anew, as if just made: after its stream has been made by another one.
    fn reset(&mut self);
}
