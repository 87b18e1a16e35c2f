//! RTP: a packet now and then, named by the number of its call.

use super::super::plan::ms;
use super::dialog::{State, Todo};
use super::{Phone, Sent};
use base::Instant;
use media::wire::rtp::Header;

impl Phone {
    pub(super) fn start_rtp(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        if dialog.plan.rtp_every.is_some() && !std::mem::replace(&mut dialog.rtp_runs, true) {
            self.later(now + ms(20), id, Todo::Rtp);
        }
    }

    pub(super) fn send_rtp(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        let Some(every) =
            dialog.plan.rtp_every.filter(|_| dialog.state != State::Ended && !dialog.has_vanished)
        else {
            dialog.rtp_runs = false;
            return;
        };
        let sends = matches!(dialog.direction, "sendrecv" | "sendonly");
        if let Some(remote) = dialog.remote.as_ref().filter(|remote| sends && remote.receives)
            && let Some(to) = remote.rtp
        {
            let payload_type = dialog.codecs.iter().copied().find(|c| remote.codecs.contains(c)).unwrap_or(0);
            dialog.rtp_sequence = dialog.rtp_sequence.wrapping_add(1);
            let header = Header {
                marker: false,
                payload_type,
                sequence: dialog.rtp_sequence,
                timestamp: (now.0 / 125_000) as u32,
                ssrc: dialog.number * 2 + u32::from(!dialog.is_caller),
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend([0x55; 20]);
            let port = dialog.rtp_port;
            self.outbox.push(Sent::Rtp { port, to, bytes });
        }
        self.later(now + every, id, Todo::Rtp);
    }
}
