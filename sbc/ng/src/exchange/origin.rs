//! The o= and s= lines that a side is told: the source's as they are, or kept the same for as long as the call lives, as
//! the client wants it (`replace`).

use super::write::{OriginLine, family};
use crate::options::SdpOptions;
use core::net::IpAddr;
use sdp::{Sdp, trim};

/// What a side has been told of origins.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    /// The first o= that it was told.
    first: Option<OriginLine>,
    /// The first s=.
    name: Option<Vec<u8>>,
    /// The last version that was counted here.
    version: Option<u64>,
}

impl Origins {
    /// The o= and s= of the next SDP, whose version is that of the source or of the last time, and what is to be kept if
    /// it is really told.
    pub fn next(
        &self,
        source: &Sdp<'_>,
        ours: IpAddr,
        options: &SdpOptions,
    ) -> (OriginLine, Vec<u8>, Origins) {
        let mut line = read(source, ours);
        let name =
            source.session_lines().find(|line| line.letter == b's').map_or(&b"-"[..], |line| line.value);
        let first = self.first.clone().unwrap_or_else(|| line.clone());
        let is_full = options.replace_origin_full;
        if is_full || options.replace_username {
            line.username.clone_from(&first.username);
        }
        if is_full {
            line.session_id.clone_from(&first.session_id);
        }
        if is_full || options.replace_origin {
            line.at = format!("IN {} {ours}", family(ours)).into_bytes();
        }
        let is_counted = options.replace_version || options.force_version || is_full;
        if let Some(version) = self.version.filter(|_| is_counted) {
            line.version = version.to_string().into_bytes();
        }
        let kept = self.name.clone().unwrap_or_else(|| name.to_vec());
        let told = if options.replace_session_name { kept.clone() } else { name.to_vec() };
        let next = Origins { first: Some(first), name: Some(kept), version: self.version };
        (line, told, next)
    }

    /// Counts the version on, for an SDP that differs from the last.
    pub fn count(&mut self, line: &mut OriginLine, is_first: bool) {
        let version = str::from_utf8(&line.version).ok().and_then(|text| text.parse::<u64>().ok());
        let version = version.map_or(1, |version| if is_first { version } else { version.wrapping_add(1) });
        self.version = Some(version);
        line.version = version.to_string().into_bytes();
    }
}

/// The source's o=, or one of ours for a source without.
fn read(source: &Sdp<'_>, ours: IpAddr) -> OriginLine {
    let at = || format!("IN {} {ours}", family(ours)).into_bytes();
    let Some(origin) = source.origin() else {
        return OriginLine {
            username: b"-".to_vec(),
            session_id: b"0".to_vec(),
            version: b"0".to_vec(),
            at: at(),
        };
    };
    let value =
        source.session_lines().find(|line| line.letter == b'o').map_or(&b""[..], |line| trim(line.value));
    let fields: Vec<&[u8]> = sdp::words(value).collect();
    let at = match fields[..] {
        [.., net, family, address] => [net, b" ", family, b" ", address].concat(),
        _ => at(),
    };
    OriginLine {
        username: origin.username.to_vec(),
        session_id: origin.session_id.to_vec(),
        version: origin.version.to_vec(),
        at,
    }
}
