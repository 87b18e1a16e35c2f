//! Keys of encrypted media in session descriptions: the lines `a=crypto` are read, written, offered and agreed on
//! (RFC 4568; suites of RFC 6188 and 7714). Encrypts nothing and never prints a key.

use command::{SdesKeys, Suite};
use core::fmt;
use sha2::{Digest, Sha256};

/// One `a=crypto` line that we can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoLine {
    /// Names the line in the answer; at most nine digits.
    pub tag: u32,
    /// What its writer encrypts with.
    pub keys: SdesKeys,
}

/// Both directions of one m-line, once an answer has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// What we encrypt with.
    pub ours: SdesKeys,
    /// What the peer encrypts with.
    pub theirs: SdesKeys,
}

/// Why a line is void, or an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// Not of the grammar of RFC 4568 section 9.1.
    #[error("malformed")]
    Malformed,
    /// A suite that we do not have.
    #[error("unknown suite")]
    Suite,
    /// A key that is not Base64, is of another length than its suite's, or does not come inline.
    #[error("unusable key")]
    Key,
    /// Several keys in a line: the peer could use any of them at any time, and we hold one.
    #[error("several keys")]
    Keys,
    /// A master key identifier that is longer than 128 bytes or does not fit its own length.
    #[error("unusable master key identifier")]
    Mki,
    /// A session parameter that we do not do.
    #[error("unsupported session parameter")]
    Parameter,
    /// The answer names no line of the offer, or another suite than that line's.
    #[error("an answer to no line of the offer")]
    Unmatched,
    /// There is no line at all.
    #[error("no crypto line")]
    Absent,
}

/// A line a suite, each with a key of its own, numbered from 1.
pub fn offer(suites: &[Suite], source: &mut KeySource) -> Vec<CryptoLine> {
    let line = |(tag, suite): (u32, &Suite)| CryptoLine { tag, keys: source.keys(*suite) };
    (1..).zip(suites).map(line).collect()
}

/// Answers the values of an offer's `a=crypto` lines with the first whose suite is allowed, in the offerer's order:
/// returns the line to answer with, under the offerer's tag, and the keys of both sides. `None` if no line can be used.
///
/// While the peer's key stays what it was in `before`, ours stays as well; without `before` it is new. A master key
/// identifier is echoed.
pub fn answer<'a>(
    offer: impl IntoIterator<Item = &'a [u8]>,
    allowed: &[Suite],
    before: Option<&Agreed>,
    source: &mut KeySource,
) -> Option<(CryptoLine, Agreed)> {
    let mut usable = offer.into_iter().filter_map(|value| CryptoLine::parse(value).ok());
    let chosen = usable.find(|line| allowed.contains(&line.keys.suite))?;
    let ours = match before {
        Some(before) if before.theirs == chosen.keys => before.ours.clone(),
        _ => SdesKeys { mki: chosen.keys.mki.clone(), ..source.keys(chosen.keys.suite) },
    };
    Some((CryptoLine { tag: chosen.tag, keys: ours.clone() }, Agreed { ours, theirs: chosen.keys }))
}

/// What the values of an answer's `a=crypto` lines make of the lines that we offered. There should be one; of several,
/// the first that answers a line of ours counts.
///
/// # Errors
/// Why the (last) line of the answer is void.
pub fn accept<'a>(offer: &[CryptoLine], answer: impl IntoIterator<Item = &'a [u8]>) -> Result<Agreed, Void> {
    let mut why = Void::Absent;
    for value in answer {
        let theirs = match CryptoLine::parse(value) {
            Ok(line) => line,
            Err(void) => {
                why = void;
                continue;
            }
        };
        let ours = offer.iter().find(|ours| ours.tag == theirs.tag && ours.keys.suite == theirs.keys.suite);
        match ours {
            Some(ours) => return Ok(Agreed { ours: ours.keys.clone(), theirs: theirs.keys }),
            None => why = Void::Unmatched,
        }
    }
    Err(why)
}

impl CryptoLine {
    /// Reads the value of an `a=crypto` line: what stands behind the colon.
    ///
    /// # Errors
    /// Why the line is void.
    pub fn parse(value: &[u8]) -> Result<Self, Void> {
        let mut words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        let mut word = || words.next().ok_or(Void::Malformed);
        let (tag, suite, keys) = (word()?, word()?, word()?);
        let tag = decimal(tag).filter(|_| tag.len() <= 9).ok_or(Void::Malformed)?;
        let suite = str::from_utf8(suite).ok().and_then(Suite::by_name).ok_or(Void::Suite)?;
        let keys = read_keys(suite, keys)?;
        if words.all(may_ignore) { Ok(CryptoLine { tag, keys }) } else { Err(Void::Parameter) }
    }

    /// Writes the value of the line: what stands behind `a=crypto:`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let SdesKeys { suite, key, mki } = &self.keys;
        out.extend_from_slice(self.tag.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(suite.name().as_bytes());
        out.extend_from_slice(b" inline:");
        write_base64(key, out);
        if !mki.is_empty() {
            out.push(b'|');
            write_number(mki, out);
            out.push(b':');
            out.extend_from_slice(mki.len().to_string().as_bytes());
        }
    }
}

/// `inline:` key and salt, then a lifetime, which nobody keeps to, and a master key identifier; either may be missing.
fn read_keys(suite: Suite, word: &[u8]) -> Result<SdesKeys, Void> {
    if word.contains(&b';') {
        return Err(Void::Keys);
    }
    const METHOD: &[u8] = b"inline:";
    let (method, rest) = word.split_at_checked(METHOD.len()).ok_or(Void::Malformed)?;
    if !method.eq_ignore_ascii_case(METHOD) {
        return Err(Void::Key);
    }
    let mut pieces = rest.split(|byte| *byte == b'|');
    let key = pieces.next().and_then(read_base64).ok_or(Void::Key)?;
    if key.len() != suite.key_len() + suite.salt_len() {
        return Err(Void::Key);
    }
    let mut mki = Vec::new();
    for (n, piece) in pieces.enumerate() {
        match piece.iter().position(|byte| *byte == b':') {
            Some(colon) if mki.is_empty() && n < 2 => mki = read_mki(&piece[..colon], &piece[colon + 1..])?,
            None if n == 0 && is_lifetime(piece) => {}
            _ => return Err(Void::Malformed),
        }
    }
    Ok(SdesKeys { suite, key, mki })
}

fn is_lifetime(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"2^").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// A window size is a hint that we may disregard, and what begins with a dash may be ignored by whoever does not know
/// it (RFC 4568 section 6.3.7). All others change what is sent: key derivation rates, parts left in the clear or without
/// a tag, the order of error correction.
fn may_ignore(parameter: &[u8]) -> bool {
    parameter.first() == Some(&b'-')
        || parameter.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"WSH="))
}

/// A number in decimal as so many bytes.
fn read_mki(number: &[u8], len: &[u8]) -> Result<Vec<u8>, Void> {
    let len = decimal(len).ok_or(Void::Malformed)?;
    if !(1..=MKI_MAX).contains(&len) {
        return Err(Void::Mki);
    }
    // 2^1024 has 309 digits.
    if number.is_empty() || number.len() > 309 || !number.iter().all(u8::is_ascii_digit) {
        return Err(Void::Malformed);
    }
    let mut mki = vec![0; len as usize];
    for digit in number {
        let mut carry = u16::from(digit - b'0');
        for byte in mki.iter_mut().rev() {
            carry += u16::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return Err(Void::Mki);
        }
    }
    Ok(mki)
}

/// The number that the bytes are, in decimal.
fn write_number(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes.to_vec();
    let start = out.len();
    loop {
        let mut remainder = 0;
        for byte in &mut rest {
            let value = remainder << 8 | u16::from(*byte);
            (*byte, remainder) = ((value / 10) as u8, value % 10);
        }
        out.push(b'0' + remainder as u8);
        if rest.iter().all(|byte| *byte == 0) {
            break;
        }
    }
    out[start..].reverse();
}

fn decimal(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

/// Bytes of a master key identifier at most (RFC 4568 section 6.1).
const MKI_MAX: u32 = 128;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= chunk.len() { digit } else { b'=' });
        }
    }
}

/// `None` for what is not Base64. Padding may be missing: some leave it out behind the keys of GCM.
fn read_base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding).filter(|_| padding <= 2)?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut bits = 0;
        for digit in chunk {
            bits = bits << 6 | BASE64.iter().position(|known| known == digit)? as u32;
        }
        bits <<= 6 * (4 - chunk.len());
        // One digit alone is no byte.
        let len = chunk.len().checked_sub(1).filter(|len| *len > 0)?;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..=len]);
    }
    Some(bytes)
}

/// Where keys come from: random bytes that nobody can tell who does not know the seed, whatever else was seen of them
/// (SHA-256 of a secret that is replaced at each use). A seed replays them, so that only the shell asks the system.
pub struct KeySource {
    secret: [u8; 32],
}

impl KeySource {
    /// From the operating system's random bytes; in tests from a number.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        KeySource { secret: seed }
    }

    /// A source of its own, whose bytes do not depend on how often this one is used later.
    pub fn fork(&mut self) -> KeySource {
        KeySource { secret: self.next() }
    }

    /// A new master key and salt for a suite, without identifier.
    pub fn keys(&mut self, suite: Suite) -> SdesKeys {
        let mut key = vec![0; suite.key_len() + suite.salt_len()];
        for chunk in key.chunks_mut(32) {
            chunk.copy_from_slice(&self.next()[..chunk.len()]);
        }
        SdesKeys { suite, key, mki: Vec::new() }
    }

    fn next(&mut self) -> [u8; 32] {
        let of = |what: u8| Sha256::new().chain_update(self.secret).chain_update([what]).finalize().into();
        let (out, secret) = (of(0), of(1));
        self.secret = secret;
        out
    }
}

impl fmt::Debug for KeySource {
    /// Secrets are never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 30 bytes, as most phones write them.
    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn source() -> KeySource {
        KeySource::from_seed([7; 32])
    }

    fn void(value: &str, expected: Void) {
        assert_eq!(CryptoLine::parse(value.as_bytes()), Err(expected), "{value}");
    }

    fn text(line: &CryptoLine) -> String {
        let mut out = Vec::new();
        line.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_4568_are_read() {
        let line =
            CryptoLine::parse(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4").as_bytes()).unwrap();
        assert_eq!((line.tag, line.keys.suite), (1, Suite::AesCm128Sha1_80));
        assert_eq!(line.keys.key, b"YS___semctl () {\t220;}\n}\nunles");
        assert_eq!(line.keys.mki, [0, 0, 0, 1]);
        // Error correction before encryption and derivation of new keys are not done here.
        void(&format!("2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 FEC_ORDER=FEC_SRTP"), Void::Parameter);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4"), Void::Keys);
        void(&format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"), Void::Suite);
    }

    #[test]
    fn lines_as_phones_write_them_are_read() {
        let check = |value: String, suite, mki: &[u8]| {
            let line = CryptoLine::parse(value.as_bytes()).unwrap_or_else(|why| panic!("{value}: {why}"));
            assert_eq!((line.keys.suite, line.keys.mki.as_slice()), (suite, mki), "{value}");
            assert_eq!(line.keys.key.len(), suite.key_len() + suite.salt_len());
        };
        // baresip
        check(format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"), Suite::AesCm128Sha1_32, &[]);
        // Asterisk: with a lifetime it is a power of two
        check(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^48"), Suite::AesCm128Sha1_80, &[]);
        // Cisco: parameters that only hint, and its own default identifier
        check(format!("1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31|1:1"), Suite::AesCm128Sha1_32, &[1]);
        // Polycom, Snom: an identifier without lifetime, a lifetime in decimal
        check(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:1 WSH=128"), Suite::AesCm128Sha1_80, &[1]);
        check(
            format!("3 aes_cm_128_hmac_sha1_80 INLINE:{KEY}|2147483648|258:2"),
            Suite::AesCm128Sha1_80,
            &[1, 2],
        );
        check(format!("1  AES_CM_128_HMAC_SHA1_80  inline:{KEY} -XYZ=1 "), Suite::AesCm128Sha1_80, &[]);
        // 28, 44 and 46 bytes: padded, or by some not
        for (suite, len, padding) in [
            (Suite::AeadAes128Gcm, 38, "=="),
            (Suite::AeadAes256Gcm, 59, "="),
            (Suite::AesCm256Sha1_80, 62, "=="),
        ] {
            check(format!("9 {} inline:{}{padding}", suite.name(), "Q".repeat(len)), suite, &[]);
            check(format!("9 {} inline:{}", suite.name(), "Q".repeat(len)), suite, &[]);
        }
    }

    #[test]
    fn void_lines_say_why() {
        void("", Void::Malformed);
        void("1 AES_CM_128_HMAC_SHA1_80", Void::Malformed);
        void(&format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), Void::Malformed);
        void(&format!("1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), Void::Malformed);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 prompt:{KEY}"), Void::Key);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}", &KEY[1..]), Void::Key);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}*", &KEY[1..]), Void::Key);
        void(&format!("1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}"), Void::Key);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:0"), Void::Mki);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|256:1"), Void::Mki);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:129"), Void::Mki);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:1|2^20"), Void::Malformed);
        void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|soon"), Void::Malformed);
        for parameter in
            ["KDR=1", "UNENCRYPTED_SRTP", "UNENCRYPTED_SRTCP", "UNAUTHENTICATED_SRTP", "FEC_KEY=x", "X"]
        {
            void(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=64 {parameter}"), Void::Parameter);
        }
    }

    #[test]
    fn an_offer_has_a_line_a_suite_with_a_key_of_its_own() {
        let lines = offer(&Suite::ALL, &mut source());
        assert_eq!(lines.iter().map(|line| line.tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(lines.iter().map(|line| line.keys.suite).collect::<Vec<_>>(), Suite::ALL);
        for (n, line) in lines.iter().enumerate() {
            assert!(lines[..n].iter().all(|other| other.keys.key[..16] != line.keys.key[..16]));
            assert_eq!(CryptoLine::parse(text(line).as_bytes()).as_ref(), Ok(line));
        }
        assert!(text(&lines[0]).starts_with("1 AEAD_AES_256_GCM inline:"), "{}", text(&lines[0]));
    }

    #[test]
    fn the_first_line_that_we_can_use_is_answered_under_its_tag() {
        let values = [
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            "2 F8_128_HMAC_SHA1_80 inline:x".to_owned(),
            format!("7 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^20|5:2"),
            format!("8 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
        ];
        let answer = |allowed: &[Suite], before: Option<&Agreed>| {
            answer(values.iter().map(String::as_bytes), allowed, before, &mut source())
        };
        let (line, agreed) = answer(&Suite::ALL, None).unwrap();
        assert_eq!((line.tag, line.keys.suite), (7, Suite::AesCm128Sha1_32));
        assert_eq!((&line.keys, line.keys.mki.as_slice()), (&agreed.ours, &[0, 5][..]));
        assert!(text(&line).ends_with("|5:2"), "the identifier is echoed");
        assert_ne!(agreed.ours.key, agreed.theirs.key);
        assert_eq!(answer(&[Suite::AesCm128Sha1_80], None).unwrap().0.tag, 8);
        assert_eq!(answer(&[Suite::AeadAes128Gcm], None), None);

        // Ours lives as long as theirs.
        let before = Agreed { ours: KeySource::from_seed([9; 32]).keys(Suite::AesCm128Sha1_32), ..agreed };
        assert_eq!(answer(&Suite::ALL, Some(&before)).unwrap().1, before);
        let mut other = before.clone();
        other.theirs.key[0] ^= 1;
        assert_ne!(answer(&Suite::ALL, Some(&other)).unwrap().1.ours, before.ours);
    }

    #[test]
    fn an_answer_is_to_a_line_of_the_offer() {
        let ours = offer(&[Suite::AeadAes128Gcm, Suite::AesCm128Sha1_80], &mut source());
        let accept = |answer: &[String]| accept(&ours, answer.iter().map(String::as_bytes));
        let agreed = accept(&[format!("2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]).unwrap();
        assert_eq!((&agreed.ours, agreed.theirs.suite), (&ours[1].keys, Suite::AesCm128Sha1_80));
        let wrong = |value: &str| accept(&[value.to_owned()]).unwrap_err();
        assert_eq!(wrong(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")), Void::Unmatched);
        assert_eq!(wrong(&format!("3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")), Void::Unmatched);
        assert_eq!(wrong(&format!("2 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=5")), Void::Parameter);
        assert_eq!(accept(&[]), Err(Void::Absent));
    }

    #[test]
    fn both_sides_of_an_agreement_hold_the_same_keys() {
        let lines = offer(&Suite::ALL, &mut source());
        let values: Vec<_> = lines.iter().map(text).collect();
        let suites = [Suite::AesCm128Sha1_80, Suite::AesCm256Sha1_32];
        let (line, far) =
            answer(values.iter().map(String::as_bytes), &suites, None, &mut KeySource::from_seed([8; 32]))
                .unwrap();
        let near = accept(&lines, [text(&line).as_bytes()]).unwrap();
        assert_eq!((near.ours, near.theirs), (far.theirs, far.ours));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_key() {
        let (mut one, mut same) = (source(), source());
        let line = CryptoLine { tag: 1, keys: one.keys(Suite::AeadAes256Gcm) };
        assert_eq!(
            format!("{line:?} {one:?}"),
            "CryptoLine { tag: 1, keys: SdesKeys(AEAD_AES_256_GCM) } KeySource"
        );
        assert_eq!(same.keys(Suite::AeadAes256Gcm), line.keys, "a seed replays");
        assert_ne!(same.fork().keys(Suite::AeadAes256Gcm), one.keys(Suite::AeadAes256Gcm));
    }

    proptest! {
        #[test]
        fn a_written_line_reads_back(
            tag in 0..1_000_000_000u32,
            suite in 0..6usize,
            seed: [u8; 32],
            mki in proptest::collection::vec(any::<u8>(), 0..=128),
        ) {
            let keys = SdesKeys { mki, ..KeySource::from_seed(seed).keys(Suite::ALL[suite]) };
            let line = CryptoLine { tag, keys };
            prop_assert_eq!(CryptoLine::parse(text(&line).as_bytes()), Ok(line));
        }

        #[test]
        fn any_bytes_are_read_or_void(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("1".to_owned()),
                    Just("AEAD_AES_128_GCM".to_owned()),
                    Just(format!("inline:{KEY}|2^31")),
                    "(inline:)?[A-Za-z0-9+/=|:^;]{0,50}",
                    "\\PC{0,20}",
                ],
                0..6,
            ),
        ) {
            crate::fuzz::crypto(words.join(" ").as_bytes());
        }
    }
}
