//! `strowger route explain --config FILE`: what a file would do with a call, decided by the code of the engine, without
//! one.

use base::Clock;
use config::{Config, PoolBook};
use serde_json::Value;
use std::path::Path;

/// The decision as the API gives it; the question is the API's too.
///
/// # Errors
/// The file is invalid, or the question makes no sense; a line for each mistake.
#[expect(clippy::disallowed_methods, reason = "a command: time windows are judged now")]
pub fn offline(file: &Path, question: &str) -> Result<Value, String> {
    let question = api::explain::question(question)?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let checked = Config::check(&text, &file.display().to_string())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let spec = checked.spec(1, &mut PoolBook::new());
    let told = b2bua::switch::explain_offline(Clock::start().now(), &spec, &question)?;
    serde_json::to_value(api::explain::Decision::from(told)).map_err(|error| error.to_string())
}
