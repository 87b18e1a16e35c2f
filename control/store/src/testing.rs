//! What the tests of this crate share: folders of their own, and records.

use base::{Duration, Wall};
use ledger::{CallId, Cdr, Direction, ReleasedBy};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of its own for each test, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("strowger-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn a_cdr(call: u128, leg: u16) -> Cdr {
    let call: CallId = format!("{call:024x}").parse().unwrap();
    let created = Wall(1_795_248_116_500_000);
    Cdr {
        call,
        leg,
        direction: Direction::In,
        trunk: Some("pbx".into()),
        group: None,
        route: Some("us".into()),
        account: None,
        account_code: None,
        sip_call_id: "abc@example".into(),
        from_user: "2001".into(),
        from_name: "Ann".into(),
        from_header: "\"Ann\" <sip:2001@example>;tag=1".into(),
        to_user: "+15035550100".into(),
        to_host: "example".into(),
        to_uri: "sip:+15035550100@example".into(),
        local: Some("192.0.2.1:5060".parse().unwrap()),
        remote: Some("[2001:db8::1]:5060".parse().unwrap()),
        created,
        progress: Some(Wall(created.0 + 1_000_000)),
        progress_status: Some(180),
        progress_reason: "Ringing".into(),
        answered: Some(Wall(created.0 + 4_000_000)),
        final_status: Some(200),
        final_reason: "OK".into(),
        ended: Wall(created.0 + 34_000_000),
        post_dial_delay: Some(Duration::from_secs(1)),
        duration: Duration::from_secs(30),
        released_by: ReleasedBy::Caller,
        release_cause: "normal".into(),
        release_reason: None,
        policy: None,
        billable: true,
        price_per_minute: None,
        cost: None,
        tags: Vec::new(),
        quality: None,
    }
}
