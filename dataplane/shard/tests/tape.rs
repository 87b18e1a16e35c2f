//! The shard's side of a recording allocates nothing, whether the recorder keeps up or not.

#[path = "../../../tests/support/counting.rs"]
mod counting;

use base::Wake;
use command::{BridgeId, FileFormat, Layout, Outcome, Recording, Ticket};
use counting::allocations;
use shard::recorder::{Recorder, RecorderConfig};
use std::sync::mpsc::{Sender, channel};

struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

#[test]
fn pushing_and_pausing_allocate_nothing() {
    let folder = std::env::temp_dir().join(format!("strowger-tape-{}", std::process::id()));
    let recorder = Recorder::start(RecorderConfig::new(&folder)).unwrap();
    let (sender, bell) = channel();
    let mut deck = recorder.deck(Bell(sender));
    let recording = Recording {
        path: "a".to_owned(),
        layout: Layout::Stereo,
        format: FileFormat::OggOpus,
        rate: None,
        mask_digits: false,
        from_first_packet: false,
    };
    let mut tape = deck.record(BridgeId::new(0, 0, 0, 1), Ticket(1), &recording, 16_000).unwrap();
    // Faster than time, so that blocks run out, too.
    let allocated = allocations(|| {
        for tick in 0..2_000 {
            tape.push(&[1; 320], &[2; 320]);
            if tick % 100 == 0 {
                tape.mark_pause(tick % 200 == 0);
            }
        }
    });
    assert_eq!(allocated, 0);
    tape.finish(Outcome::Done);
    bell.recv_timeout(std::time::Duration::from_secs(60)).expect("an end comes");
    let ended = deck.poll().unwrap().ended;
    assert_eq!((ended.outcome, ended.length.as_secs()), (Outcome::Done, 40));
    let _ = std::fs::remove_dir_all(&folder);
}
