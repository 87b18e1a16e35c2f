//! What a phone says of its media, and what it understands of the other side's.

use core::net::SocketAddr;
use sdp::Sdp;

/// What the other side wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub rtp: Option<SocketAddr>,
    pub receives: bool,
    pub sends: bool,
    pub codecs: Vec<u8>,
}

/// One audio line at this address.
pub fn write(rtp: SocketAddr, version: u32, codecs: &[u8], direction: &str) -> Vec<u8> {
    let (ip, port) = (rtp.ip(), rtp.port());
    let numbers: Vec<String> = codecs.iter().map(u8::to_string).collect();
    let mut text = format!(
        "v=0\r\no=phone 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {}\r\n",
        numbers.join(" ")
    );
    for codec in codecs {
        text.push_str(match codec {
            0 => "a=rtpmap:0 PCMU/8000\r\n",
            8 => "a=rtpmap:8 PCMA/8000\r\n",
            101 => "a=rtpmap:101 telephone-event/8000\r\n",
            other => panic!("no phone has payload {other}"),
        });
    }
    text.push_str(&format!("a={direction}\r\n"));
    text.into_bytes()
}

pub fn read(sdp: &[u8]) -> Option<Remote> {
    let sdp = Sdp::parse(sdp).ok()?;
    let line = sdp.media().first()?;
    let direction = line.effective_direction();
    Some(Remote {
        rtp: line.rtp().filter(|_| line.port() != 0),
        receives: direction.receives(),
        sends: direction.sends(),
        codecs: line.payload_numbers().collect(),
    })
}

/// The direction that answers an offer, as far as we want it.
pub fn answering(offer: &Remote, wanted: &str) -> &'static str {
    let (sends, receives) = match wanted {
        "sendrecv" => (true, true),
        "sendonly" => (true, false),
        "recvonly" => (false, true),
        _ => (false, false),
    };
    match (sends && offer.receives, receives && offer.sends) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    }
}
