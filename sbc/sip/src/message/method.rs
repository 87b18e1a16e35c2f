//! Request methods. Any token is a method; only these have names (RFC 3261 section 7.1 and extensions).

/// A request method. Methods are compared byte for byte: `invite` is not `INVITE` (RFC 3261 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant is the method of that name")]
pub enum Method<'a> {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Message,
    Refer,
    Notify,
    Subscribe,
    Publish,
    /// Any other token, as it was written.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// Every method that has a name, in the order of the enum.
    pub const KNOWN: [Method<'static>; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Options,
        Method::Register,
        Method::Prack,
        Method::Update,
        Method::Info,
        Method::Message,
        Method::Refer,
        Method::Notify,
        Method::Subscribe,
        Method::Publish,
    ];

    /// The method that these bytes name.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        match bytes {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"INFO" => Self::Info,
            b"MESSAGE" => Self::Message,
            b"REFER" => Self::Refer,
            b"NOTIFY" => Self::Notify,
            b"SUBSCRIBE" => Self::Subscribe,
            b"PUBLISH" => Self::Publish,
            _ => Self::Other(bytes),
        }
    }

    /// The method as it stands on the wire.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Invite => b"INVITE",
            Self::Ack => b"ACK",
            Self::Bye => b"BYE",
            Self::Cancel => b"CANCEL",
            Self::Options => b"OPTIONS",
            Self::Register => b"REGISTER",
            Self::Prack => b"PRACK",
            Self::Update => b"UPDATE",
            Self::Info => b"INFO",
            Self::Message => b"MESSAGE",
            Self::Refer => b"REFER",
            Self::Notify => b"NOTIFY",
            Self::Subscribe => b"SUBSCRIBE",
            Self::Publish => b"PUBLISH",
            Self::Other(bytes) => bytes,
        }
    }

    /// The same method without the borrow, if it has a name: for tables that outlive the message.
    #[must_use]
    pub fn known(self) -> Option<Method<'static>> {
        match self {
            Self::Invite => Some(Method::Invite),
            Self::Ack => Some(Method::Ack),
            Self::Bye => Some(Method::Bye),
            Self::Cancel => Some(Method::Cancel),
            Self::Options => Some(Method::Options),
            Self::Register => Some(Method::Register),
            Self::Prack => Some(Method::Prack),
            Self::Update => Some(Method::Update),
            Self::Info => Some(Method::Info),
            Self::Message => Some(Method::Message),
            Self::Refer => Some(Method::Refer),
            Self::Notify => Some(Method::Notify),
            Self::Subscribe => Some(Method::Subscribe),
            Self::Publish => Some(Method::Publish),
            Self::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_is_its_bytes() {
        for method in Method::KNOWN {
            assert_eq!(Method::of(method.as_bytes()), method);
            assert_eq!(method.known(), Some(method));
        }
        assert_eq!(Method::of(b"invite"), Method::Other(b"invite"));
        assert_eq!(Method::of(b"invite").known(), None);
    }
}
