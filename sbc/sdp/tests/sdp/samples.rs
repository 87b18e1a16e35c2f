//! One sample for each rule of docs/sdp.md: `NAME.sdp` offered by A becomes `NAME.out` towards B, byte for byte but for
//! the line ends. `STROWGER_WRITE_SAMPLES=1` writes the outputs anew, to be read before they are committed.

use crate::call::{OUR_A, OUR_B, call_between, text};
use sdp::Side;
use std::path::Path;

#[test]
fn each_rule_has_its_sample() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .expect("the samples are in the repository")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "sdp"))
        .collect();
    names.sort();
    for path in &names {
        let offer = std::fs::read(path).expect("readable");
        let our_a = if text(&offer).contains("c=IN IP6") { "2001:db8:a::1" } else { OUR_A };
        let offered = call_between(our_a, OUR_B, 4).offer(Side::A, &offer).expect("a sample can be passed");
        assert!(offered.ends_with(b"\r\n"), "{}", path.display());
        let offered = text(&offered);
        let expected = path.with_extension("out");
        if std::env::var_os("STROWGER_WRITE_SAMPLES").is_some() {
            std::fs::write(&expected, &offered).expect("writable");
        }
        let expected = std::fs::read_to_string(&expected).expect("each sample has its output");
        assert_eq!(offered, expected, "{}", path.display());
    }
    assert!(names.len() >= 15, "samples are missing");
}
