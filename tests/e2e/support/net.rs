//! Addresses and a folder that belong to one test alone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Eight loopback addresses of one test. They come from the test's name and process, so that tests run side by side
/// as threads or processes, and every peer can use the port that it likes.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    base: u32,
}

impl Net {
    /// Addresses that nobody else uses.
    pub fn new() -> Net {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let mut hasher = DefaultHasher::new();
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        (std::process::id(), count, std::thread::current().name().unwrap_or_default()).hash(&mut hasher);
        // 127.1.0.0 to 127.255.255.255, in blocks of eight; the first block of all is everybody's.
        let block = (hasher.finish() as u32) % (0x00ff_0000 / 8);
        Net { base: 0x7f01_0000 + block * 8 }
    }

    /// Address `n` of 0 to 7. By custom 1 is the engine, 2 the caller, 3 the callee.
    pub fn ip(&self, n: u32) -> Ipv4Addr {
        assert!(n < 8, "a test has eight addresses");
        Ipv4Addr::from(self.base + n)
    }

    /// Puts the addresses in the place of the words `IP0` to `IP7`, except in `IN IP4` and `IN IP6` of SDP.
    pub fn fill(&self, text: &str) -> String {
        let text = text.replace("IN IP", "IN\0");
        let filled = (0..8).fold(text, |text, n| text.replace(&format!("IP{n}"), &self.ip(n).to_string()));
        filled.replace("IN\0", "IN IP")
    }
}

/// A folder that goes with its owner, unless the test fails.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new() -> Folder {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the folder of tests is writable");
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
