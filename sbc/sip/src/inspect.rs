//! What one message is, for `strowger inspect sip FILE`: is it SIP, what is wrong with it, what does it earn, what
//! does it say. It reads one datagram and decides nothing.
use crate::frame::Framing;
use crate::message::{ErrorClass, Message, NameAddr, OPTION_TAGS, Via, unfold};

/// The findings about one message.
#[derive(Clone, Debug)]
pub struct Inspection<'a> {
    /// The fault in its syntax; `None` if it is valid.
    pub error: Option<ErrorClass>,
    /// The status that the message earns whoever sends it; `None` where processing would be normal, and for
    /// what is never answered: responses and ACK.
    pub response: Option<u16>,
    /// What could be read.
    pub message: Message<'a>,
}

/// Reads `bytes` as one datagram.
#[must_use]
pub fn inspect(bytes: &[u8]) -> Inspection<'_> {
    match Message::parse(bytes, Framing::Datagram) {
        Ok(message) => Inspection { error: None, response: message.earns(&OPTION_TAGS), message },
        Err(malformed) => Inspection {
            error: Some(malformed.class),
            response: malformed.status(),
            message: malformed.into_readable(),
        },
    }
}

impl Inspection<'_> {
    /// Whether the syntax is right.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.error.is_none()
    }

    /// One JSON object over several lines. Text that is UTF-8 stays as it is; every other octet is written as
    /// `\u00XX`, as if it were Latin-1. Field values are unfolded.
    #[must_use]
    pub fn to_json(&self) -> String {
        let message = &self.message;
        let mut json = Json { out: String::with_capacity(2_048), first: true, depth: 0 };
        json.open(b'{');
        json.key("valid").raw(if self.is_valid() { "true" } else { "false" });
        json.key("error").text_or_null(self.error.map(|class| class.name().as_bytes()));
        json.key("error_text").text_or_null(self.error.map(|class| class.to_string()).as_ref());
        json.key("response").number_or_null(self.response);
        json.key("kind").text(if message.is_request() { b"request" } else { b"response" });
        json.key("method").text(message.method().as_bytes());
        json.key("uri").text_or_null(message.request().map(|line| line.uri));
        json.key("status").number_or_null(message.status());
        json.key("reason").text_or_null(message.status().map(|_| message.reason()));
        json.key("via").open(b'[');
        for via in message.vias() {
            json.item().via(&via);
        }
        json.close(b']');
        json.key("from").address(&message.from());
        json.key("to").address(&message.to());
        json.key("call_id").text(message.call_id());
        json.key("cseq").open(b'{');
        json.key("number").number_or_null(Some(message.cseq().number));
        json.key("method").text(message.cseq().method.as_bytes());
        json.close(b'}');
        json.key("max_forwards").number_or_null(message.max_forwards());
        json.key("contact").open(b'[');
        for contact in message.contacts() {
            json.item().address(&contact);
        }
        json.close(b']');
        json.key("content_type").text_or_null(message.content_type());
        json.key("body_len").number_or_null(Some(message.body().len()));
        json.key("headers").open(b'[');
        for field in message.headers() {
            json.item().open(b'{');
            json.key("name").text(field.raw_name);
            json.key("value").text(field.value);
            json.close(b'}');
        }
        json.close(b']');
        json.close(b'}');
        json.out.push('\n');
        json.out
    }
}

/// Just enough of a JSON writer: indented by two, commas by itself.
struct Json {
    out: String,
    /// Whether the next member is the first of its object or array.
    first: bool,
    depth: usize,
}

impl Json {
    fn open(&mut self, bracket: u8) {
        self.out.push(char::from(bracket));
        self.first = true;
        self.depth += 1;
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        if !self.first {
            self.new_line();
        }
        self.out.push(char::from(bracket));
        self.first = false;
    }

    fn item(&mut self) -> &mut Self {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.new_line();
        self
    }

    fn new_line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    fn key(&mut self, name: &str) -> &mut Self {
        self.item().text(name.as_bytes());
        self.out.push_str(": ");
        self
    }

    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn number_or_null(&mut self, number: Option<impl std::fmt::Display>) {
        match number {
            Some(number) => self.raw(&number.to_string()),
            None => self.raw("null"),
        }
    }

    fn text_or_null(&mut self, text: Option<impl AsRef<[u8]>>) {
        match text {
            Some(text) => self.text(text.as_ref()),
            None => self.raw("null"),
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push('"');
        for chunk in unfold(text).utf8_chunks() {
            for symbol in chunk.valid().chars() {
                match symbol {
                    '"' => self.out.push_str("\\\""),
                    '\\' => self.out.push_str("\\\\"),
                    control if control.is_control() => self.escape(u32::from(control)),
                    plain => self.out.push(plain),
                }
            }
            for &octet in chunk.invalid() {
                self.escape(u32::from(octet));
            }
        }
        self.out.push('"');
    }

    fn escape(&mut self, code: u32) {
        self.out.push_str(&format!("\\u{code:04x}"));
    }

    fn address(&mut self, address: &NameAddr<'_>) {
        if address.raw.is_empty() {
            return self.raw("null");
        }
        self.open(b'{');
        let display = address.display_text();
        self.key("display").text_or_null((!display.is_empty()).then_some(&display));
        self.key("uri").text(address.uri);
        self.key("tag").text_or_null(address.tag());
        self.key("params").text(address.params.raw());
        self.close(b'}');
    }

    fn via(&mut self, via: &Via<'_>) {
        self.open(b'{');
        self.key("transport").text(via.transport);
        self.key("host").text(via.host);
        self.key("port").number_or_null(via.port);
        self.key("branch").text_or_null(via.branch());
        self.key("received").text_or_null(via.received());
        self.key("rport").number_or_null(via.rport().flatten());
        self.close(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_as_json() {
        let bytes = b"BYE sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP a:5062;rport;branch=z9hG4bK1\r\n\
            From: \"A \\\"\xff\xc3\xa9\" <sip:a@a>;tag=1;x\r\nTo: sip:b@b\r\nCall-ID: 1\\2\r\nCSeq: 1 BYE\r\n\r\n";
        insta::assert_snapshot!(inspect(bytes).to_json(), @r#"
        {
          "valid": true,
          "error": null,
          "error_text": null,
          "response": null,
          "kind": "request",
          "method": "BYE",
          "uri": "sip:b@b",
          "status": null,
          "reason": null,
          "via": [
            {
              "transport": "UDP",
              "host": "a",
              "port": 5062,
              "branch": "z9hG4bK1",
              "received": null,
              "rport": null
            }
          ],
          "from": {
            "display": "A \"\u00ffé",
            "uri": "sip:a@a",
            "tag": "1",
            "params": ";tag=1;x"
          },
          "to": {
            "display": null,
            "uri": "sip:b@b",
            "tag": null,
            "params": ""
          },
          "call_id": "1\\2",
          "cseq": {
            "number": 1,
            "method": "BYE"
          },
          "max_forwards": null,
          "contact": [],
          "content_type": null,
          "body_len": 0,
          "headers": [
            {
              "name": "Via",
              "value": "SIP/2.0/UDP a:5062;rport;branch=z9hG4bK1"
            },
            {
              "name": "From",
              "value": "\"A \\\"\u00ffé\" <sip:a@a>;tag=1;x"
            },
            {
              "name": "To",
              "value": "sip:b@b"
            },
            {
              "name": "Call-ID",
              "value": "1\\2"
            },
            {
              "name": "CSeq",
              "value": "1 BYE"
            }
          ]
        }
        "#);
    }
}
