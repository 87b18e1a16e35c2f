//! Entries for fuzzers: plain functions on bytes that must neither panic nor break what they state.

use crate::bencode::{BencodeError, Value, Writer};

/// Reads whatever comes; what can be read is written and read again, and means the same.
pub fn bencode(bytes: &[u8]) {
    match Value::read_first(bytes) {
        Ok((value, rest)) => {
            assert!(bytes.ends_with(rest), "what follows is handed back");
            let mut writer = Writer::default();
            writer.value(&value);
            let written = writer.finish();
            let again = Value::read(&written).expect("what was written can be read");
            assert_eq!(again, value, "and means the same");
        }
        Err(BencodeError::Truncated) => {}
        // More bytes cannot mend it: a stream is given up here.
        Err(error) => {
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(b"e0:e");
            assert_eq!(Value::read_first(&longer).unwrap_err(), error);
        }
    }
}
