//! What names a transaction (RFC 3261 sections 17.1.3 and 17.2.3, with RFC 2543 where the branch lacks the cookie).
//! Peers choose these values, so they are only kept as keyed hashes: nobody can make two collide.

use crate::message::{Message, Method, Via};
use base::HashKey;
use core::hash::{BuildHasher, Hasher};

/// 128 bits of a keyed hash: long enough that no two transactions ever share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u128);

/// The server transaction that this request belongs to, as if it had the given method: an ACK and a CANCEL look
/// for their INVITE.
pub(super) fn server(key: &HashKey, message: &Message<'_>, via: &Via<'_>, method: Method<'_>) -> Id {
    if let Some(branch) = via.transaction_branch() {
        return Mix::new(key, 1)
            .part(branch)
            .host(via.host)
            .part(&via.port.unwrap_or(0).to_be_bytes())
            .part(method.as_bytes())
            .id();
    }
    // The To tag is left out: an ACK has one where its INVITE has none. Who needs it compares it.
    Mix::new(key, 2)
        .part(message.request().map_or(b"", |line| line.uri))
        .part(message.from_tag().unwrap_or_default())
        .part(message.call_id())
        .part(&message.cseq().number.to_be_bytes())
        .part(via.raw)
        .part(method.as_bytes())
        .id()
}

/// What copies of one request share that came on different ways (RFC 3261 section 8.2.2.2).
pub(super) fn merged(key: &HashKey, message: &Message<'_>) -> Id {
    Mix::new(key, 3)
        .part(message.from_tag().unwrap_or_default())
        .part(message.call_id())
        .part(&message.cseq().number.to_be_bytes())
        .part(message.method().as_bytes())
        .id()
}

/// A client transaction: our branches are unique, but a CANCEL has that of its INVITE.
pub(super) fn client(key: &HashKey, branch: &[u8], is_cancel: bool) -> Id {
    Mix::new(key, 4).part(branch).part(&[u8::from(is_cancel)]).id()
}

/// What else a response must bring back unchanged: our sent-by, and the method in CSeq.
pub(super) fn echo(key: &HashKey, via: &Via<'_>, method: Method<'_>) -> u64 {
    Mix::new(key, 5).host(via.host).part(&via.port.unwrap_or(0).to_be_bytes()).part(method.as_bytes()).short()
}

/// A To tag, to be compared with the one that we gave.
pub(super) fn tag(key: &HashKey, tag: &[u8]) -> u64 {
    Mix::new(key, 6).part(tag).short()
}

/// The To tag of an answer that we keep no state for: the same for the same hop and branch.
pub(super) fn own_tag(key: &HashKey, via: &[u8]) -> u64 {
    Mix::new(key, 7).part(via).short()
}

struct Mix(<HashKey as BuildHasher>::Hasher);

impl Mix {
    /// `kind` keeps hashes of different meaning apart.
    fn new(key: &HashKey, kind: u8) -> Self {
        let mut hasher = key.build_hasher();
        hasher.write_u8(kind);
        Mix(hasher)
    }

    /// Lengths are mixed in, so that a byte cannot move from one part to the next.
    fn part(mut self, bytes: &[u8]) -> Self {
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
        self
    }

    /// A host name: the same in any case.
    fn host(mut self, bytes: &[u8]) -> Self {
        self.0.write_usize(bytes.len());
        for part in bytes.chunks(64) {
            let mut lower = [0; 64];
            let lower = &mut lower[..part.len()];
            lower.copy_from_slice(part);
            lower.make_ascii_lowercase();
            self.0.write(lower);
        }
        self
    }

    fn short(self) -> u64 {
        self.0.finish()
    }

    fn id(self) -> Id {
        let mut more = self.0;
        more.write_u8(0);
        Id(u128::from(self.0.finish()) << 64 | u128::from(more.finish()))
    }
}
