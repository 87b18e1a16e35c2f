//! A SIP ladder as text becomes a SIPp scenario, so that a test shows what both parties do in a few lines. Headers that
//! every message needs are written here once; SIPp does the rest.
//!
//! ```text
//! > INVITE sdp              sends a request with an SDP body (variants: see `Sdp`)
//! + X-Sign-ID: 42           … with this header line
//! | Signal=5                … with this line of body
//! < 180 ? nosdp             receives a response; `?` if it may be missing
//! ? X-Ring: ^ *soft         … whose header must match; `?body`, `?msg` look at the body or all
//! ! Server: .               … and must not match
//! play speech.wav           RTP of SIPp's own, from a file in its folder
//! pause 300                 milliseconds; any message in them fails the call
//! > 200 INVITE sdp          the response to the last request of that method
//! ```
//! Words on a sending line: `once` (no retransmission), `rel` (100rel), `sdp`, `tag=x` (another local tag), `uri=x`,
//! `max=n` (Max-Forwards), `old` (CSeq of the last request again). On a receiving line: `?`, `rel`, `sdp`, `nosdp`.

use std::fmt::Write;
use std::net::SocketAddr;

/// Which side of a call SIPp plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Uac,
    Uas,
}

/// A scenario being written.
struct Scenario<'a> {
    role: Role,
    media: SocketAddr,
    number: &'a str,
    xml: String,
    /// Variables that SIPp wants to see used.
    variables: Vec<String>,
    /// Number of the element that comes next.
    index: usize,
    /// Where the last INVITE was sent.
    invite_index: usize,
    cseq: u32,
    invite_cseq: u32,
    rseq: u32,
    /// The far end's tag and Contact are known.
    in_dialog: bool,
    /// Status of the last final response to an INVITE of ours.
    last_final: u16,
    /// Methods of requests received so far, in order.
    received: Vec<String>,
    checks: usize,
}

/// The scenario of a ladder as XML; `media` goes into its SDP, `number` is who is called.
pub fn scenario(role: Role, ladder: &str, media: SocketAddr, number: &str) -> String {
    let mut scenario = Scenario {
        role,
        media,
        number,
        xml: "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<scenario name=\"ladder\">\n".into(),
        variables: Vec::new(),
        index: 0,
        invite_index: 0,
        cseq: if role == Role::Uac { 0 } else { 100 },
        invite_cseq: 0,
        rseq: 0,
        in_dialog: false,
        last_final: 0,
        received: Vec::new(),
        checks: 0,
    };
    let lines: Vec<&str> =
        ladder.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut at = 0;
    while at < lines.len() {
        let more = lines[at + 1..].iter().take_while(|line| line.starts_with(['+', '|', '?', '!'])).count();
        let details = &lines[at + 1..at + 1 + more];
        let next = lines.get(at + 1 + more).copied().unwrap_or_default();
        scenario.step(lines[at], details, next);
        at += 1 + more;
    }
    if !scenario.variables.is_empty() {
        let _ = writeln!(scenario.xml, "<Reference variables=\"{}\"/>", scenario.variables.join(","));
    }
    scenario.xml + "</scenario>\n"
}

impl Scenario<'_> {
    fn step(&mut self, line: &str, details: &[&str], next: &str) {
        let (verb, rest) = line.split_once(' ').expect("a step has a verb and an object");
        let words: Vec<&str> = rest.split_whitespace().collect();
        let code = words[0].parse::<u16>().ok();
        match (verb, code) {
            ("pause", Some(_)) => self.element(&format!("<pause milliseconds=\"{}\"/>", words[0])),
            ("play", _) => {
                self.element(&format!(
                    "<nop><action><exec rtp_stream=\"{},-1,0\"/></action></nop>",
                    words[0]
                ));
            }
            (">", None) => {
                self.request(words[0], &words[1..], details);
                if words[0] == "INVITE" && next.starts_with("< ") && !next.starts_with("< 100") {
                    self.element("<recv response=\"100\" optional=\"true\"/>");
                }
            }
            (">", Some(code)) => self.response(code, &words[1..], details),
            ("<", None) => self.receive_request(words[0], &words[1..], details),
            ("<", Some(code)) => self.receive_response(code, &words[1..], details),
            _ => panic!("no step of a ladder: {line}"),
        }
    }

    fn element(&mut self, xml: &str) {
        self.xml.push_str(xml);
        self.xml.push('\n');
        self.index += 1;
    }

    fn request(&mut self, method: &str, words: &[&str], details: &[&str]) {
        let of_invite = matches!(method, "ACK" | "CANCEL");
        // ACK of a refusal and CANCEL belong to the INVITE's transaction (RFC 3261 sections 9.1, 17.1.1.3).
        let in_transaction = method == "CANCEL" || (method == "ACK" && self.last_final >= 300);
        if !of_invite && !words.contains(&"old") {
            self.cseq += 1;
        }
        if method == "INVITE" {
            (self.invite_index, self.invite_cseq) = (self.index, self.cseq);
        }
        let first_uri = format!("sip:{}@[remote_ip]:[remote_port]", self.number);
        let uri = match value(words, "uri") {
            Some(uri) => uri.to_owned(),
            None if self.in_dialog && !in_transaction => "[$uri]".into(),
            None => first_uri.clone(),
        };
        let branch = if in_transaction {
            format!("[branch-{}]", self.index - self.invite_index)
        } else {
            "[branch]".into()
        };
        let (from, to) = match self.role {
            Role::Uac => {
                let known = self.in_dialog && method != "CANCEL" || (method == "ACK" && in_transaction);
                let to = if known { "[$peer]".into() } else { format!("<{first_uri}>") };
                let tag = format!("c[pid]x[call_number]{}", value(words, "tag").unwrap_or_default());
                (format!("\"Caller\" <sip:2001@[local_ip]:[local_port]>;tag={tag}"), to)
            }
            Role::Uas => (format!("[$me]{}", self.tag(words)), "[$peer]".into()),
        };
        let cseq = if of_invite { self.invite_cseq } else { self.cseq };
        let mut text = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\n\
             From: {from}\nTo: {to}\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n\
             Contact: <sip:ladder@[local_ip]:[local_port];transport=[transport]>\nMax-Forwards: {}\n",
            value(words, "max").unwrap_or("70")
        );
        if method == "PRACK" {
            let _ = writeln!(text, "RAck: [$rseq] {} INVITE", self.invite_cseq);
        }
        if method == "INVITE" && !details.iter().any(|d| d.starts_with("+ Allow:")) {
            text.push_str("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO\n");
        }
        self.send(text, words, details, method != "ACK");
    }

    fn response(&mut self, code: u16, words: &[&str], details: &[&str]) {
        let method = match words.first() {
            Some(word) if word.bytes().all(|b| b.is_ascii_uppercase()) => (*word).to_owned(),
            _ => self.received.last().cloned().expect("a response answers a request"),
        };
        // A request outside of a dialog gets its To tag from us.
        let initial = self.role == Role::Uas
            && (method == "CANCEL" || self.received.iter().filter(|m| **m == method).count() == 1)
            && self.received.first().is_some_and(|first| *first == method || method == "CANCEL");
        let tag = if initial && code > 100 { self.tag(words) } else { String::new() };
        let mut text = format!(
            "SIP/2.0 {code} {}\nVia:[$via_{method}]\nFrom:[$from_{method}]\nTo:[$to_{method}]{tag}\nCall-ID: [call_id]\n\
             CSeq:[$cseq_{method}]\nContact: <sip:ladder@[local_ip]:[local_port];transport=[transport]>\n",
            phrase(code)
        );
        if words.contains(&"rel") {
            self.rseq += 1;
            let _ = writeln!(text, "Require: 100rel\nRSeq: {}", self.rseq);
        }
        self.send(text, words, details, method == "INVITE" && (200..300).contains(&code));
    }

    fn send(&mut self, mut text: String, words: &[&str], details: &[&str], resend: bool) {
        let mut body = String::new();
        for detail in details {
            match detail.split_at(1) {
                ("+", header) => text.push_str(&format!("{}\n", header.trim())),
                ("|", line) => body.push_str(&format!("{}\n", line.trim())),
                _ => panic!("`{detail}` asks something of a message that is sent"),
            }
        }
        if words.iter().any(|word| *word == "sdp" || word.starts_with("sdp=")) {
            text.push_str("Content-Type: application/sdp\n");
            body = sdp(value(words, "sdp").unwrap_or("PCMU"), self.media, self.index);
        }
        let retrans = if resend && !words.contains(&"once") { " retrans=\"500\"" } else { "" };
        self.element(&format!("<send{retrans}><![CDATA[\n{text}Content-Length: [len]\n\n{body}]]></send>"));
    }

    fn receive_request(&mut self, method: &str, words: &[&str], details: &[&str]) {
        let first = self.received.is_empty();
        self.received.push(method.to_owned());
        let mut actions = String::new();
        for (name, header) in [("via", "Via:"), ("from", "From:"), ("to", "To:"), ("cseq", "CSeq:")] {
            actions += &self.keep(&format!("{name}_{method}"), ".*", header);
        }
        if first && self.role == Role::Uas {
            actions += &self.keep("me", ".*", "To:");
            actions += &self.keep("peer", ".*", "From:");
        }
        if matches!(method, "INVITE" | "UPDATE") {
            actions += &self.keep("uri", "sip:[^>]*", "Contact:");
            self.in_dialog = true;
        }
        actions += &self.checks(method, words, details);
        let optional = if words.contains(&"?") { " optional=\"true\"" } else { "" };
        self.element(&format!("<recv request=\"{method}\"{optional}><action>\n{actions}</action></recv>"));
    }

    fn receive_response(&mut self, code: u16, words: &[&str], details: &[&str]) {
        let mut actions = String::new();
        if code > 100 && self.role == Role::Uac {
            actions += &self.keep("peer", ".*", "To:");
        }
        if code >= 200 {
            self.last_final = code;
        }
        if (101..300).contains(&code) {
            if self.role == Role::Uac {
                actions += &self.keep("uri", "sip:[^>]*", "Contact:");
            }
            self.in_dialog = true;
        }
        if words.contains(&"rel") {
            actions += &self.keep("rseq", "[0-9]+", "RSeq:");
        }
        actions += &self.checks(&code.to_string(), words, details);
        let optional = if words.contains(&"?") { " optional=\"true\"" } else { "" };
        self.element(&format!("<recv response=\"{code}\"{optional}><action>\n{actions}</action></recv>"));
    }

    /// What a received message must hold.
    fn checks(&mut self, message: &str, words: &[&str], details: &[&str]) -> String {
        let mut actions = String::new();
        let mut check = |scenario: &mut Self, place: &str, pattern: &str, wanted: bool| {
            scenario.checks += 1;
            let variable = scenario.variable(&format!("check{}", scenario.checks));
            let check = if wanted { "check_it" } else { "check_it_inverse" };
            let pattern = escaped(pattern);
            let _ = writeln!(
                actions,
                "<ereg regexp=\"{pattern}\" {place} {check}=\"true\" assign_to=\"{variable}\"/>"
            );
            variable
        };
        for detail in details {
            let (place, pattern) =
                detail[1..].trim().split_once(' ').map_or((&detail[1..], ""), |(a, b)| (a, b));
            let wanted = detail.starts_with('?');
            assert!(wanted || detail.starts_with('!'), "`{detail}` adds to a message that is received");
            // Some lines look at `body` or `msg`, the others at the header that they name.
            let place = match place.trim() {
                "body" => "search_in=\"body\"".to_owned(),
                "msg" => "search_in=\"msg\"".to_owned(),
                header => format!("search_in=\"hdr\" header=\"{header}\""),
            };
            check(self, &place, pattern.trim(), wanted);
        }
        if words.contains(&"nosdp") {
            check(self, "search_in=\"msg\"", "m=audio", false);
        }
        if words.contains(&"sdp") {
            let address = check(self, "search_in=\"body\"", "c=IN IP[46] [0-9a-fA-F.:]+", true);
            let port = check(self, "search_in=\"body\"", "m=audio [0-9]+", true);
            let _ = writeln!(actions, "<log message=\"media {message} [${address}] [${port}] .\"/>");
        }
        actions
    }

    /// Keeps what matches in a header for later messages.
    fn keep(&mut self, name: &str, pattern: &str, header: &str) -> String {
        let variable = self.variable(name);
        format!(
            "<ereg regexp=\"{}\" search_in=\"hdr\" header=\"{header}\" assign_to=\"{variable}\"/>\n",
            escaped(pattern)
        )
    }

    fn variable(&mut self, name: &str) -> String {
        if !self.variables.iter().any(|v| v == name) {
            self.variables.push(name.to_owned());
        }
        name.to_owned()
    }

    fn tag(&self, words: &[&str]) -> String {
        format!(";tag=s[pid]x[call_number]{}", value(words, "tag").unwrap_or_default())
    }
}

fn value<'w>(words: &[&'w str], name: &str) -> Option<&'w str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Session descriptions by name; `version` grows within a scenario.
fn sdp(name: &str, media: SocketAddr, version: usize) -> String {
    let family = if media.is_ipv4() { 4 } else { 6 };
    let ip = if name == "zero" { "0.0.0.0".to_owned() } else { media.ip().to_string() };
    let (formats, lines) = match name {
        "PCMA" => ("8", "a=rtpmap:8 PCMA/8000\n"),
        "both" => ("0 8", "a=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n"),
        "sendonly" => ("0", "a=rtpmap:0 PCMU/8000\na=sendonly\n"),
        "recvonly" => ("0", "a=rtpmap:0 PCMU/8000\na=recvonly\n"),
        "inactive" => ("0", "a=rtpmap:0 PCMU/8000\na=inactive\n"),
        "PCMU" | "zero" => ("0", "a=rtpmap:0 PCMU/8000\n"),
        _ => panic!("no SDP is called {name}"),
    };
    format!(
        "v=0\no=ladder 4711 {} IN IP{family} {}\ns=-\nc=IN IP{family} {ip}\nt=0 0\nm=audio {} RTP/AVP {formats}\n{lines}",
        version + 1,
        media.ip(),
        media.port()
    )
}

fn phrase(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        302 => "Moved Temporarily",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        503 => "Service Unavailable",
        202 => "Accepted",
        _ => "As It Is",
    }
}
