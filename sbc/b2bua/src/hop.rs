//! Loops through us (RFC 7332): a B2BUA hides Via and Call-ID, so each pass leaves a sealed mark in the request instead.
//! A mark is a keyed hash of what would be the same at the next pass; without the secret it says nothing, and a forged
//! one only refuses its forger's own call.

use base::HashKey;

/// Header that carries the marks. X- headers survive most other B2BUAs, our own included.
pub const HEADER: &str = "X-Hop-Token";
/// Passes through us that a call may make.
pub const PASSES_MAX: usize = 8;

/// The mark of one pass: the same call at the same place gives the same mark.
pub fn mark(secret: &HashKey, trunk: &str, caller: &[u8], callee: &[u8]) -> u64 {
    let mut text = Vec::with_capacity(trunk.len() + caller.len() + callee.len() + 2);
    for part in [trunk.as_bytes(), caller, callee] {
        text.extend_from_slice(part);
        text.push(0);
    }
    secret.of(&text)
}

/// Whether this pass has happened before: `values` are the header's values as received. Also true when there are more
/// marks than a sound call can have.
pub fn is_loop<'a>(values: impl Iterator<Item = &'a [u8]>, mark: u64) -> bool {
    let wanted = format!("{mark:016x}");
    let mut seen = 0;
    for value in values {
        for token in value.split(|b| !b.is_ascii_alphanumeric()).filter(|t| !t.is_empty()) {
            seen += 1;
            if token.eq_ignore_ascii_case(wanted.as_bytes()) || seen >= PASSES_MAX {
                return true;
            }
        }
    }
    false
}

/// The header's value for the next leg: earlier marks, then ours.
pub fn append<'a>(values: impl Iterator<Item = &'a [u8]>, mark: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        for token in value.split(|b| !b.is_ascii_alphanumeric()).filter(|t| t.len() == 16).take(PASSES_MAX) {
            out.extend_from_slice(token);
            out.push(b'.');
        }
    }
    out.extend_from_slice(format!("{mark:016x}").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_pass_is_a_loop_and_another_number_is_a_spiral() {
        let secret = HashKey::new([1, 2]);
        let first = mark(&secret, "pbx", b"100", b"200");
        let header = append([].into_iter(), first);
        assert!(is_loop([header.as_slice()].into_iter(), first));
        let forwarded = mark(&secret, "pbx", b"100", b"201");
        assert!(!is_loop([header.as_slice()].into_iter(), forwarded));
        let both = append([header.as_slice()].into_iter(), forwarded);
        assert!(
            is_loop([both.as_slice()].into_iter(), first)
                && is_loop([both.as_slice()].into_iter(), forwarded)
        );
        assert_ne!(first, mark(&HashKey::new([1, 3]), "pbx", b"100", b"200"), "another installation's mark");
    }

    #[test]
    fn too_many_passes_are_a_loop() {
        let header = [b"0123456789abcdef".as_slice(); PASSES_MAX].join(&b'.');
        assert!(is_loop([header.as_slice()].into_iter(), 7));
    }
}
