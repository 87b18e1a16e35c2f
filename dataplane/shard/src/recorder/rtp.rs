//! Forks as RTP (RFC 3550): one stream for each channel, from a socket of the fork's own on the recorder's thread. Reads
//! nothing, sends no RTCP, and waits for nobody: what the kernel does not take at once is counted as lost.

use super::disk::Jobs;
use super::sink::Sink;
use super::tape::Block;
use base::Rng;
use codec::g711;
use command::ForkCoding;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Octets of speech in a packet at most: at 48 kHz 20 ms of L16 are more than an Ethernet carries, and go as two.
const PAYLOAD_MAX: usize = 1_280;
const HEADER_LEN: usize = 12;

/// See the module.
#[derive(Debug)]
pub(super) struct RtpSink {
    target: SocketAddr,
    coding: ForkCoding,
    socket: Option<UdpSocket>,
    /// The caller's or all, the callee's.
    streams: Vec<Stream>,
    /// Samples in a packet at most.
    samples_max: usize,
    packet: Vec<u8>,
    lost: u64,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The next packet is the first after nothing.
    begins: bool,
}

impl RtpSink {
    pub fn new(target: SocketAddr, coding: ForkCoding, channels: usize, rate: u32, seed: u64) -> RtpSink {
        let mut rng = Rng::from_seed(seed);
        // Even is the caller's, so that a receiver knows which is which.
        let ssrc = rng.u32() & !1;
        let stream =
            |n| Stream { ssrc: ssrc | n, sequence: rng.u32() as u16, timestamp: rng.u32(), begins: true };
        let streams = (0..channels as u32).map(stream).collect();
        let fits = PAYLOAD_MAX / octets(coding);
        let tick = rate as usize / 50;
        let samples_max = tick.div_ceil(tick.div_ceil(fits));
        let packet = Vec::with_capacity(HEADER_LEN + PAYLOAD_MAX);
        RtpSink { target, coding, socket: None, streams, samples_max, packet, lost: 0 }
    }
}

/// Of one sample.
fn octets(coding: ForkCoding) -> usize {
    match coding {
        ForkCoding::L16 => 2,
        ForkCoding::Pcmu => 1,
    }
}

impl Sink for RtpSink {
    fn begin(&mut self, _jobs: &mut Jobs<'_>) -> io::Result<()> {
        let any: SocketAddr = match self.target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.target)?;
        socket.set_nonblocking(true)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn take(&mut self, block: &Block, _jobs: &mut Jobs<'_>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut lost = 0;
        for (channel, stream) in self.streams.iter_mut().enumerate() {
            if block.silence() > 0 {
                stream.timestamp = stream.timestamp.wrapping_add(block.silence() as u32);
                stream.begins = true;
            }
            let mut lost_here = 0;
            for pcm in block.channel(channel).chunks(self.samples_max) {
                stream.write(self.coding, pcm, &mut self.packet);
                if !send(socket, &self.packet) {
                    lost_here += pcm.len() as u64;
                }
            }
            lost = lost.max(lost_here);
        }
        self.lost += lost;
        Ok(())
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

/// Whether the kernel has taken it. That nobody listens is told of the packet before, instead of sending this one.
fn send(socket: &UdpSocket, packet: &[u8]) -> bool {
    match socket.send(packet) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let _ = socket.send(packet); // whoever listens from now on hears it
            false
        }
        Err(_) => false,
    }
}

impl Stream {
    /// The next packet.
    fn write(&mut self, coding: ForkCoding, pcm: &[i16], packet: &mut Vec<u8>) {
        let payload_type = match coding {
            ForkCoding::L16 => 96,
            ForkCoding::Pcmu => 0,
        };
        let marker = u8::from(core::mem::take(&mut self.begins)) << 7;
        packet.clear();
        packet.extend_from_slice(&[0x80, marker | payload_type]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        match coding {
            ForkCoding::L16 => pcm.iter().for_each(|sample| packet.extend_from_slice(&sample.to_be_bytes())),
            ForkCoding::Pcmu => {
                packet.resize(HEADER_LEN + pcm.len(), 0);
                g711::encode_ulaw(pcm, &mut packet[HEADER_LEN..]);
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(pcm.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::BlockingDisk;
    use super::super::tape::Spec;
    use super::*;
    use std::time::Duration;

    /// A packet of an RTP fork.
    #[derive(Debug)]
    struct Heard {
        marker: bool,
        payload_type: u8,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
        payload: Vec<u8>,
    }

    /// What a receiver gets of these blocks.
    fn heard(coding: ForkCoding, channels: usize, rate: u32, blocks: &[Block]) -> Vec<Heard> {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut sink = RtpSink::new(receiver.local_addr().unwrap(), coding, channels, rate, 7);
        let mut disk = BlockingDisk::default();
        let mut jobs = Jobs { disk: &mut disk, owner: 0, backlog: 0 };
        sink.begin(&mut jobs).unwrap();
        let mut heard = Vec::new();
        let mut packet = [0; 2_048];
        for block in blocks {
            sink.take(block, &mut jobs).unwrap();
        }
        while let Ok(len) = receiver.recv(&mut packet) {
            let four = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
            assert_eq!(packet[0], 0x80);
            heard.push(Heard {
                marker: packet[1] & 0x80 != 0,
                payload_type: packet[1] & 0x7f,
                sequence: four(0) as u16,
                timestamp: four(4),
                ssrc: four(8),
                payload: packet[HEADER_LEN..len].to_vec(),
            });
        }
        assert_eq!(sink.lost(), 0);
        heard
    }

    fn block(rate: u32, left: i16, right: i16, silence: u64) -> Block {
        let frames = rate as usize / 50;
        Block::holding(Spec::fork(2, rate), [&vec![left; frames], &vec![right; frames]], silence)
    }

    #[test]
    fn each_channel_is_a_stream_whose_time_goes_on_over_what_is_lost() {
        let blocks = [block(8_000, 256, -2, 0), block(8_000, 3, 4, 0), block(8_000, 5, 6, 480)];
        let heard = heard(ForkCoding::L16, 2, 8_000, &blocks);
        assert_eq!(heard.len(), 6);
        for (side, values) in [[256, 3, 5], [-2, 4, 6]].into_iter().enumerate() {
            let stream: Vec<&Heard> = heard.iter().skip(side).step_by(2).collect();
            assert_eq!(stream[0].ssrc % 2, side as u32, "the caller's is even");
            assert_eq!(stream[0].ssrc & !1, heard[0].ssrc);
            let first = stream[0];
            for (n, (packet, value)) in stream.iter().zip(values).enumerate() {
                assert_eq!((packet.ssrc, packet.payload_type), (first.ssrc, 96));
                assert_eq!(packet.sequence, first.sequence.wrapping_add(n as u16));
                assert_eq!(packet.payload, i16::to_be_bytes(value).repeat(160));
            }
            let times = [0, 160, 800].map(|time| first.timestamp.wrapping_add(time));
            assert_eq!([0, 1, 2].map(|n| stream[n].timestamp), times);
            assert_eq!([0, 1, 2].map(|n| stream[n].marker), [true, false, true]);
        }
    }

    #[test]
    fn samples_are_ulaw_where_that_is_wanted() {
        let heard = heard(ForkCoding::Pcmu, 1, 8_000, &[block(8_000, 0, 0, 0)]);
        assert_eq!((heard.len(), heard[0].payload_type), (1, 0));
        assert_eq!(heard[0].payload, [0xff; 160]);
    }

    #[test]
    fn packets_fit_an_ethernet() {
        for (rate, packets, octets) in [(24_000, 1, 960), (32_000, 1, 1_280), (48_000, 2, 960)] {
            let heard = heard(ForkCoding::L16, 1, rate, &[block(rate, 1, 1, 0)]);
            assert_eq!((heard.len(), heard[0].payload.len()), (packets, octets), "{rate}");
            let last = heard.last().unwrap().timestamp.wrapping_sub(heard[0].timestamp);
            assert_eq!(last as usize, (packets - 1) * octets / 2);
        }
    }

    #[test]
    fn what_nobody_takes_is_counted_and_ends_nothing() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = receiver.local_addr().unwrap();
        drop(receiver);
        let mut sink = RtpSink::new(target, ForkCoding::L16, 2, 8_000, 7);
        let mut disk = BlockingDisk::default();
        let mut jobs = Jobs { disk: &mut disk, owner: 0, backlog: 0 };
        sink.begin(&mut jobs).unwrap();
        for _ in 0..10 {
            sink.take(&block(8_000, 1, 1, 0), &mut jobs).unwrap();
        }
        assert!(sink.lost() > 0 && sink.lost() <= 1_600, "{}", sink.lost());
    }
}
