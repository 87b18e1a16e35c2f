//! Coders allocate when they are made and never again, counted by the allocator of this test binary. What libopus takes
//! it takes from that allocator too, and only when it is made.

#[path = "../../../tests/support/counting.rs"]
mod counting;

use codec::coder::{EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry::CODECS;
use counting::allocations;

#[test]
fn coding_takes_nothing_from_the_heap() {
    for codec in CODECS {
        for rate in codec.rates {
            let fmtp = "useinbandfec=1;usedtx=1";
            let format = Format { name: codec.name, clock: codec.clock, channels: codec.channels, fmtp };
            let mut encoder = codec.encoder(&format, EncoderSettings { rate: *rate, complexity: 9 });
            let mut decoder = codec.decoder(&format, *rate);
            let spoken: Vec<i16> = (0..*rate as usize).map(|n| (n * 7_919 % 9_973) as i16).collect();
            let (mut pcm, mut payload) = ([0; 5_760], [0; PAYLOAD_MAX]);
            let taken = allocations(|| {
                for ptime in codec.ptimes {
                    let samples = *rate as usize / 1_000 * usize::from(*ptime);
                    for (number, block) in spoken.chunks_exact(samples).enumerate() {
                        encoder.set_loss((number % 3 * 10) as u8);
                        encoder.set_complexity((number % 11) as u8);
                        let len = encoder.encode(block, &mut payload);
                        let payload = &payload[..len];
                        if number % 5 == 2 && !decoder.recover(payload, &mut pcm[..samples]) {
                            decoder.conceal(&mut pcm[..samples]);
                        }
                        // Nothing was sent in silence.
                        let _ = decoder.decode(payload, &mut pcm);
                    }
                    encoder.reset();
                }
            });
            assert_eq!(taken, 0, "{codec:?} at {rate}");
        }
    }
}
