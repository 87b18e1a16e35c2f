//! Dialogs: what two user agents remember of each other between requests (RFC 3261 section 12). Owned plain data;
//! it knows neither transactions nor sessions, and the map from Call-ID to dialog is the user's.

use crate::message::write::Writer;
use crate::message::{Message, Method, Name, NameAddr, Uri, unfold};

/// One dialog, seen from our side. Some 300 octets plus what the peers wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    state: State,
    call_id: Box<[u8]>,
    /// From of our requests and To of theirs, with our tag.
    local: Box<[u8]>,
    /// To of our requests and From of theirs; RFC 2543 devices give no tag.
    remote: Box<[u8]>,
    /// Where our requests are meant for: the URI of the peer's Contact.
    remote_target: Box<[u8]>,
    /// Values of Route, in the order that our requests carry them.
    routes: Box<[Box<[u8]>]>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

/// How far a dialog has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Our INVITE is out, nobody has answered with a tag: what [`Dialog::fork`] makes dialogs of.
    Pending,
    /// A provisional response made it.
    Early,
    /// A 2xx made it.
    Confirmed,
}

/// Why a message makes no dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDialog {
    /// Contact is no `sip:` or `sips:` URI (RFC 3261 section 12.1.1), or both it and From are none.
    #[error("Contact is no SIP URI")]
    Contact,
    /// The route set is longer than [`ROUTES_BYTES_MAX`].
    #[error("the route set is too long")]
    Routes,
}

impl NoDialog {
    /// SIP status for the peer.
    pub fn status(self) -> u16 {
        match self {
            Self::Contact => 400,
            Self::Routes => 513,
        }
    }
}

/// A request with a number below one that came before: to be answered with 500 (RFC 3261 section 12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CSeq is out of order")]
pub struct OutOfOrder;

/// Octets that all routes of a dialog may have together.
pub const ROUTES_BYTES_MAX: usize = 8_192;

impl Dialog {
    /// The dialog of a request that we answer: early until [`Dialog::confirm`].
    ///
    /// # Errors
    /// [`NoDialog`]; the request is to be refused with its status.
    pub fn uas(request: &Message<'_>, local_tag: &[u8]) -> Result<Dialog, NoDialog> {
        let mut local = unfold(request.to().raw).into_owned();
        if request.to_tag().is_none() {
            local.extend_from_slice(b";tag=");
            local.extend_from_slice(local_tag);
        }
        Ok(Dialog {
            state: State::Early,
            call_id: request.call_id().into(),
            local: local.into(),
            remote: unfold(request.from().raw).into(),
            remote_target: caller_uri(request).ok_or(NoDialog::Contact)?.into(),
            routes: routes(request.record_routes(), false)?,
            local_cseq: 0,
            remote_cseq: Some(request.cseq().number),
        })
    }

    /// What an INVITE of ours, as sent, will have in common with every dialog that it makes.
    pub fn uac(request: &Message<'_>) -> Dialog {
        Dialog {
            state: State::Pending,
            call_id: request.call_id().into(),
            local: unfold(request.from().raw).into(),
            remote: unfold(request.to().raw).into(),
            remote_target: request.request().map_or(&b""[..], |line| line.uri).into(),
            routes: request.routes().map(|route| unfold(route.raw).into()).collect(),
            local_cseq: request.cseq().number,
            remote_cseq: None,
        }
    }

    /// The dialog that a response (101 to 299) to our INVITE makes: one for each To tag, as forks give several.
    /// `None` if it makes none: other codes, a provisional one without tag, another Call-ID, an endless route set.
    pub fn fork(&self, response: &Message<'_>) -> Option<Dialog> {
        let state = match response.status()? {
            101..200 if response.to_tag().is_some() => State::Early,
            200..300 => State::Confirmed,
            _ => return None,
        };
        if response.call_id() != &*self.call_id || tag(response.from()) != self.local_tag() {
            return None;
        }
        Some(Dialog {
            state,
            remote: unfold(response.to().raw).into(),
            // A 2xx without Contact is broken, but its call can still be ended.
            remote_target: contact_uri(response).map_or_else(|| self.remote_target.clone(), Box::from),
            routes: routes(response.record_routes(), true).ok()?,
            ..self.clone()
        })
    }

    /// We send a 2xx to the INVITE: the dialog stays when the INVITE ends.
    pub fn confirm(&mut self) {
        self.state = State::Confirmed;
    }

    /// A response to a request of ours within this dialog: it may move the target, and the first 2xx confirms
    /// (RFC 3261 sections 12.2.1.2 and 13.2.2.4).
    pub fn handle_response(&mut self, response: &Message<'_>) {
        let (code, method) = (response.status().unwrap_or_default(), response.method());
        if !(101..300).contains(&code) {
            return;
        }
        if is_target_refresh(method)
            && let Some(uri) = contact_uri(response)
        {
            self.remote_target = uri.into();
        }
        if method == Method::Invite && code >= 200 && self.state != State::Confirmed {
            self.state = State::Confirmed;
            // Only the 2xx is sure to tell the whole way: RFC 2543 proxies leave it out of provisional ones.
            if let Ok(routes) = routes(response.record_routes(), true) {
                self.routes = routes;
            }
        }
    }

    /// A request of the peer that we accept: it may move the target (RFC 3261 section 12.2.2).
    pub fn handle_request(&mut self, request: &Message<'_>) {
        if is_target_refresh(request.method())
            && let Some(uri) = contact_uri(request)
        {
            self.remote_target = uri.into();
        }
    }

    /// Whether a request within this dialog comes in order; if so, its number is the new mark. An ACK has the number
    /// of its INVITE and is not checked.
    ///
    /// # Errors
    /// [`OutOfOrder`]: answer 500 and change nothing.
    pub fn check_cseq(&mut self, request: &Message<'_>) -> Result<(), OutOfOrder> {
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let number = request.cseq().number;
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// Whether a message belongs to this dialog: Call-ID and both tags.
    pub fn matches(&self, message: &Message<'_>) -> bool {
        let (local, remote) = match message.is_request() {
            true => (message.to(), message.from()),
            false => (message.from(), message.to()),
        };
        message.call_id() == &*self.call_id
            && tag(local) == self.local_tag()
            && tag(remote) == self.remote_tag()
    }

    /// The next request of ours: all but Contact, body and what the method wants. `via` is the whole Via value with
    /// a fresh branch.
    pub fn next_request(&mut self, method: Method<'_>, via: &[u8]) -> Writer {
        self.local_cseq += 1;
        self.write(method, self.local_cseq, via)
    }

    /// The ACK for a 2xx to our INVITE that had this CSeq number.
    pub fn ack(&self, cseq: u32, via: &[u8]) -> Writer {
        self.write(Method::Ack, cseq, via)
    }

    /// The URI that says where our requests are sent next: the first route, else the peer itself.
    pub fn next_hop(&self) -> &[u8] {
        self.routes.first().map_or(&*self.remote_target, |route| NameAddr::read(route).uri)
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        self.state
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    /// Our tag.
    pub fn local_tag(&self) -> &[u8] {
        tag(self.local())
    }

    /// The peer's tag; empty for an RFC 2543 device, and while pending.
    pub fn remote_tag(&self) -> &[u8] {
        tag(self.remote())
    }

    /// Our address with our tag.
    pub fn local(&self) -> NameAddr<'_> {
        NameAddr::read(&self.local)
    }

    /// The peer's address with its tag.
    pub fn remote(&self) -> NameAddr<'_> {
        NameAddr::read(&self.remote)
    }

    /// The URI that our requests are meant for.
    pub fn remote_target(&self) -> &[u8] {
        &self.remote_target
    }

    /// Values of Route, in the order that our requests carry them.
    pub fn routes(&self) -> impl Iterator<Item = &[u8]> {
        self.routes.iter().map(|route| &**route)
    }

    /// The CSeq number of our last request; 0 before the first.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The highest CSeq number that the peer has used.
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// RFC 3261 section 12.2.1.1: with a strict router first, the target travels as the last route.
    fn write(&self, method: Method<'_>, cseq: u32, via: &[u8]) -> Writer {
        let strict = match self.routes.split_first() {
            Some((first, rest)) if !is_loose(first) => Some((NameAddr::read(first).uri, rest)),
            Some(_) | None => None,
        };
        let uri = strict.map_or(&*self.remote_target, |(uri, _)| uri);
        let mut writer = Writer::request(method.as_bytes(), without_headers(uri));
        writer.header("Via", via).header("Max-Forwards", "70");
        match strict {
            None => {
                for route in &self.routes {
                    writer.header("Route", route);
                }
            }
            Some((_, rest)) => {
                for route in rest {
                    writer.header("Route", route);
                }
                writer.header("Route", [b"<", &*self.remote_target, b">"].concat());
            }
        }
        writer.header("From", &self.local).header("To", &self.remote).header("Call-ID", &self.call_id);
        writer.header("CSeq", [cseq.to_string().as_bytes(), b" ", method.as_bytes()].concat());
        writer
    }
}

/// Whether the method may move the target of its dialog (RFC 3261 section 12.2, RFC 3311, RFC 6665).
fn is_target_refresh(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}

fn tag(address: NameAddr<'_>) -> &[u8] {
    address.tag().unwrap_or_default()
}

fn contact_uri<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let contact = message.contact()?;
    contact.parsed().filter(Uri::is_sip).map(|_| contact.uri)
}

/// Where the sender of a request wants ours. RFC 2543 let it leave out Contact and mean the From URI.
fn caller_uri<'a>(request: &Message<'a>) -> Option<&'a [u8]> {
    if request.header(Name::Contact).is_some() {
        return contact_uri(request);
    }
    let from = request.from();
    from.parsed().filter(Uri::is_sip).map(|_| from.uri)
}

/// `reverse`: the first hop of the one who sent the request is the last of the one who answers.
fn routes<'a>(
    values: impl Iterator<Item = NameAddr<'a>>,
    reverse: bool,
) -> Result<Box<[Box<[u8]>]>, NoDialog> {
    let mut routes: Vec<Box<[u8]>> = values.map(|route| unfold(route.raw).into()).collect();
    if routes.iter().map(|route| route.len()).sum::<usize>() > ROUTES_BYTES_MAX {
        return Err(NoDialog::Routes);
    }
    if reverse {
        routes.reverse();
    }
    Ok(routes.into())
}

fn is_loose(route: &[u8]) -> bool {
    NameAddr::read(route).parsed().is_some_and(|uri| uri.lr())
}

/// A Request-URI has no header fields, though a Contact may (RFC 3261 section 19.1.1).
fn without_headers(uri: &[u8]) -> &[u8] {
    match Uri::parse(uri).and_then(|uri| uri.headers) {
        Some(headers) => &uri[..uri.len() - headers.len() - 1],
        None => uri,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Framing;

    const VIA: &[u8] = b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx";

    fn parse(text: &str, then: impl FnOnce(&Message<'_>)) {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        then(&Message::parse(&bytes, Framing::Datagram).expect(text));
    }

    /// What `writer` writes, as text; it must be SIP.
    fn text(mut writer: Writer) -> String {
        let bytes = writer.finish();
        Message::parse(&bytes, Framing::Stream).expect("what we write is SIP");
        String::from_utf8(bytes).expect("text").replace('\r', "")
    }

    fn sent() -> Dialog {
        let mut dialog = None;
        parse(
            "INVITE sip:carol@c.example SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\n\
             Route: <sip:out.example;lr>\nFrom: <sip:bob@b.example>;tag=b1\nTo: Carol\n <sip:carol@c.example>\n\
             Call-ID: call-2\nCSeq: 17 INVITE\nContact: <sip:bob@192.0.2.9>\nContent-Length: 0\n\n",
            |invite| dialog = Some(Dialog::uac(invite)),
        );
        dialog.expect("parsed")
    }

    /// A response to [`sent`].
    fn answer(code: u16, tag: &str, fields: &str) -> String {
        format!(
            "SIP/2.0 {code} X\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\n{fields}From: <sip:bob@b.example>;tag=b1\n\
             To: <sip:carol@c.example>{tag}\nCall-ID: call-2\nCSeq: 17 INVITE\nContent-Length: 0\n\n"
        )
    }

    fn fork(text: &str) -> Option<Dialog> {
        let mut dialog = None;
        parse(text, |response| dialog = sent().fork(response));
        dialog
    }

    /// A request of the peer within a dialog that we answered.
    fn theirs(method: &str, cseq: u32, fields: &str) -> String {
        format!(
            "{method} sip:bob@192.0.2.9 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\n{fields}\
             From: <sip:alice@a.example>;tag=a1\nTo: <sip:bob@b.example>;tag=b7\nCall-ID: call-1\nCSeq: {cseq} {method}\n\
             Content-Length: 0\n\n"
        )
    }

    fn answered(fields: &str) -> Result<Dialog, NoDialog> {
        let mut dialog = None;
        let invite = theirs("INVITE", 5, fields).replace(";tag=b7", "");
        parse(&invite, |invite| dialog = Some(Dialog::uas(invite, b"b7")));
        dialog.expect("parsed")
    }

    #[test]
    fn a_caller_takes_the_route_backwards() {
        let mut dialog = fork(&answer(
            200,
            ";tag=c1",
            "Record-Route: <sip:p3.example;lr>, <sip:p2.example;lr>\nRecord-Route: <sip:p1.example;lr>\n\
             Contact: \"C\" <sip:carol@192.0.2.3:5070>\n",
        ))
        .unwrap();
        assert_eq!((dialog.state(), dialog.next_hop()), (State::Confirmed, &b"sip:p1.example;lr"[..]));
        insta::assert_snapshot!(text(dialog.ack(17, VIA)), @"
        ACK sip:carol@192.0.2.3:5070 SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx
        Max-Forwards: 70
        Route: <sip:p1.example;lr>
        Route: <sip:p2.example;lr>
        Route: <sip:p3.example;lr>
        From: <sip:bob@b.example>;tag=b1
        To: <sip:carol@c.example>;tag=c1
        Call-ID: call-2
        CSeq: 17 ACK
        Content-Length: 0
        ");
        let bye = text(dialog.next_request(Method::Bye, VIA));
        assert!(
            bye.starts_with("BYE sip:carol@192.0.2.3:5070 SIP/2.0\n") && bye.contains("\nCSeq: 18 BYE\n")
        );
        assert_eq!(dialog.local_cseq(), 18);
    }

    #[test]
    fn a_pending_invite_can_be_asked_again() {
        let mut dialog = sent();
        assert_eq!((dialog.state(), dialog.remote_tag()), (State::Pending, &b""[..]));
        insta::assert_snapshot!(text(dialog.next_request(Method::Invite, VIA)), @"
        INVITE sip:carol@c.example SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx
        Max-Forwards: 70
        Route: <sip:out.example;lr>
        From: <sip:bob@b.example>;tag=b1
        To: Carol <sip:carol@c.example>
        Call-ID: call-2
        CSeq: 18 INVITE
        Content-Length: 0
        ");
    }

    #[test]
    fn a_called_one_takes_the_route_as_it_is() {
        let mut dialog = answered(
            "Record-Route: <sip:p1.example;lr>\nRecord-Route: <sip:p2.example;lr>\nContact: <sip:alice@192.0.2.1>\n",
        )
        .unwrap();
        assert_eq!((dialog.state(), dialog.local_cseq(), dialog.remote_cseq()), (State::Early, 0, Some(5)));
        dialog.confirm();
        assert_eq!(dialog.state(), State::Confirmed);
        insta::assert_snapshot!(text(dialog.next_request(Method::Bye, VIA)), @"
        BYE sip:alice@192.0.2.1 SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx
        Max-Forwards: 70
        Route: <sip:p1.example;lr>
        Route: <sip:p2.example;lr>
        From: <sip:bob@b.example>;tag=b7
        To: <sip:alice@a.example>;tag=a1
        Call-ID: call-1
        CSeq: 1 BYE
        Content-Length: 0
        ");
    }

    #[test]
    fn a_strict_router_gets_itself_as_request_uri_and_the_target_as_last_route() {
        let mut dialog = answered(
            "Record-Route: <sip:strict.example?x=y>, <sip:p2.example;lr>\nContact: <sip:alice@192.0.2.1?Subject=x>\n",
        )
        .unwrap();
        assert_eq!(dialog.next_hop(), b"sip:strict.example?x=y");
        insta::assert_snapshot!(text(dialog.next_request(Method::Info, VIA)), @"
        INFO sip:strict.example SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx
        Max-Forwards: 70
        Route: <sip:p2.example;lr>
        Route: <sip:alice@192.0.2.1?Subject=x>
        From: <sip:bob@b.example>;tag=b7
        To: <sip:alice@a.example>;tag=a1
        Call-ID: call-1
        CSeq: 1 INFO
        Content-Length: 0
        ");
        let mut direct = answered("Contact: <sip:alice@192.0.2.1?Subject=x>\n").unwrap();
        assert!(text(direct.next_request(Method::Bye, VIA)).starts_with("BYE sip:alice@192.0.2.1 SIP/2.0\n"));
    }

    #[test]
    fn each_fork_is_a_dialog_of_its_own() {
        let (early, other) = (
            answer(183, ";tag=c1", "Contact: <sip:one@192.0.2.3>\n"),
            answer(200, ";tag=c2", "Contact: <sip:two@192.0.2.4>\n"),
        );
        let (first, second) = (fork(&early).unwrap(), fork(&other).unwrap());
        assert_eq!((first.state(), second.state()), (State::Early, State::Confirmed));
        assert_eq!((first.remote_tag(), second.remote_tag()), (&b"c1"[..], &b"c2"[..]));
        assert_eq!(first.remote_target(), b"sip:one@192.0.2.3");
        parse(&early, |response| assert!(first.matches(response) && !second.matches(response)));
        parse(&other, |response| assert!(!first.matches(response) && second.matches(response)));
    }

    #[test]
    fn what_makes_no_dialog() {
        let contact = "Contact: <sip:x@192.0.2.3>\n";
        assert_eq!(fork(&answer(180, "", contact)), None);
        assert_eq!(fork(&answer(100, "", contact)), None);
        assert_eq!(fork(&answer(486, ";tag=c1", contact)), None);
        assert_eq!(fork(&answer(200, ";tag=c1", contact).replace("call-2", "call-3")), None);
        assert_eq!(fork(&answer(200, ";tag=c1", contact).replace("tag=b1", "tag=b2")), None);
        for fields in ["Contact: <tel:+15551234>\n", "Contact: *\n"] {
            assert_eq!(answered(fields), Err(NoDialog::Contact), "{fields}");
        }
        assert_eq!(NoDialog::Contact.status(), 400);
        let long = "Record-Route: <sip:p.example;lr>, <sip:p.example;lr>, <sip:p.example;lr>\n".repeat(120);
        assert!(answered(&format!("{long}{contact}")).is_ok());
        let too_long =
            "Record-Route: <sip:a-rather-long-name-of-a-proxy.example.com;lr;x=0123456789012345>\n"
                .repeat(120);
        assert_eq!(answered(&format!("{too_long}{contact}")), Err(NoDialog::Routes));
    }

    #[test]
    fn a_2xx_without_tag_or_contact_can_still_be_ended() {
        let dialog = fork(&answer(200, "", "")).unwrap();
        assert_eq!((dialog.remote_tag(), dialog.remote_target()), (&b""[..], &b"sip:carol@c.example"[..]));
        parse(&answer(200, "", ""), |response| assert!(dialog.matches(response)));
    }

    #[test]
    fn the_2xx_says_the_route_anew_and_confirms_once() {
        let mut dialog = fork(&answer(
            180,
            ";tag=c1",
            "Contact: <sip:one@192.0.2.3>\nRecord-Route: <sip:old.example;lr>\n",
        ))
        .unwrap();
        let ok = answer(200, ";tag=c1", "Contact: <sip:two@192.0.2.3>\nRecord-Route: <sip:new.example;lr>\n");
        parse(&ok, |response| dialog.handle_response(response));
        assert_eq!((dialog.state(), dialog.remote_target()), (State::Confirmed, &b"sip:two@192.0.2.3"[..]));
        assert_eq!(dialog.next_hop(), b"sip:new.example;lr");
        // The route of a confirmed dialog never changes, its target may.
        let again =
            answer(200, ";tag=c1", "Contact: <sip:three@192.0.2.3>\nRecord-Route: <sip:evil.example;lr>\n");
        parse(&again, |response| dialog.handle_response(response));
        assert_eq!(
            (dialog.remote_target(), dialog.next_hop()),
            (&b"sip:three@192.0.2.3"[..], &b"sip:new.example;lr"[..])
        );
        let before = dialog.clone();
        parse(&answer(486, ";tag=c1", "Contact: <sip:four@192.0.2.3>\n"), |r| dialog.handle_response(r));
        parse(&ok.replace("INVITE", "INFO"), |response| dialog.handle_response(response));
        assert_eq!(dialog, before);
    }

    #[test]
    fn requests_must_come_in_order() {
        let mut dialog = answered("Contact: <sip:alice@192.0.2.1>\n").unwrap();
        for (method, cseq, fine) in [
            ("ACK", 5, true),
            ("INFO", 4, false),
            ("UPDATE", 7, true),
            ("BYE", 6, false),
            ("ACK", 5, true),
            ("BYE", 2_147_483_647, true),
        ] {
            parse(&theirs(method, cseq, ""), |request| {
                assert_eq!(dialog.check_cseq(request).is_ok(), fine, "{cseq} {method}");
            });
        }
        assert_eq!(dialog.remote_cseq(), Some(2_147_483_647));
        let mut ours = sent();
        parse(&theirs("BYE", 1, ""), |request| assert_eq!(ours.check_cseq(request), Ok(())));
    }

    #[test]
    fn only_target_refresh_requests_move_the_target() {
        let mut dialog = answered("Contact: <sip:alice@192.0.2.1>\n").unwrap();
        let contact = "Contact: <sip:alice@192.0.2.2:5080;transport=tcp>\n";
        parse(&theirs("INFO", 6, contact), |request| {
            assert!(dialog.matches(request));
            dialog.handle_request(request);
        });
        assert_eq!(dialog.remote_target(), b"sip:alice@192.0.2.1");
        parse(&theirs("INVITE", 6, contact), |request| dialog.handle_request(request));
        assert_eq!(dialog.remote_target(), b"sip:alice@192.0.2.2:5080;transport=tcp");
        for wrong in [
            theirs("BYE", 7, "").replace("call-1", "call-2"),
            theirs("BYE", 7, "").replace("tag=a1", "tag=a2"),
            theirs("BYE", 7, "").replace(";tag=b7", ""),
        ] {
            parse(&wrong, |request| assert!(!dialog.matches(request), "{wrong}"));
        }
    }

    #[test]
    fn a_dialog_is_small() {
        let dialog = answered("Record-Route: <sip:p1.example;lr>\nContact: <sip:alice@192.0.2.1>\n").unwrap();
        let heap =
            dialog.call_id.len() + dialog.local.len() + dialog.remote.len() + dialog.remote_target.len();
        let routes: usize = dialog.routes.iter().map(|route| 16 + route.len()).sum();
        assert!(size_of::<Dialog>() + heap + routes < 400, "{}", size_of::<Dialog>() + heap + routes);
    }
}
