//! Entries for fuzzers: plain functions on bytes that must not panic.

use crate::root::Config;
use crate::{PoolBook, diff};

/// Checks a configuration, and uses what was read in every way.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let files = &mut |_: &std::path::Path| Ok("1,0.01\n".to_owned());
    match Config::check_with(&text, "fuzz.toml", files) {
        Ok(checked) => {
            let pools = &mut PoolBook::new();
            let _ =
                (checked.not_in_effect(), checked.defaults(), checked.spec(1, pools), checked.ng_spec(pools));
            let printed = checked.config().to_string();
            let again = Config::check_with(&printed, "printed.toml", files);
            let again =
                again.unwrap_or_else(|errors| panic!("what we print must read: {errors:?}\n{printed}"));
            assert_eq!(again.config(), checked.config(), "what we print reads back equal");
            assert_eq!(diff::diff(checked.config(), again.config()), Vec::<String>::new());
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "a refusal says why");
            for error in errors {
                assert!(error.line > 0 && error.column > 0 && !error.to_string().is_empty());
            }
        }
    }
}
