//! The binary's own commands against a running engine.

use super::Engine;
use std::process::{Command, Output};

/// Runs `strowger ARGUMENTS --api ENGINE` and gives what it said.
pub fn strowger(engine: &Engine, arguments: &[&str]) -> Output {
    alone(&[arguments, &["--api", &format!("http://{}", engine.api())]].concat())
}

/// Runs `strowger ARGUMENTS`.
pub fn alone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strowger"))
        .args(arguments)
        .env_remove("STROWGER_API")
        .env_remove("STROWGER_TOKEN")
        .output()
        .expect("the binary that cargo built starts")
}

/// Standard output of a command that must end well.
pub fn said(engine: &Engine, arguments: &[&str]) -> String {
    let output = strowger(engine, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} ended with {}: {error}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
