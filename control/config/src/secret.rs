//! Secrets: the configuration only says where they are. Values are read when the engine starts or applies.

use crate::value::{Bad, Word};
use core::fmt;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file, without its last line break.
    File(String),
}

/// A secret cannot be had now. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or is empty.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// The file cannot be read, or is empty.
    #[error("the file {file} cannot be read: {why}")]
    NoFile {
        /// As written.
        file: String,
        /// From the system.
        why: String,
    },
}

impl Secret {
    /// Reads the secret.
    ///
    /// # Errors
    /// It is not there, is empty, or is larger than 64 KiB.
    pub fn resolve(&self) -> Result<String, SecretError> {
        match self {
            Secret::Env(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(value),
                _ => Err(SecretError::NoVariable(name.clone())),
            },
            Secret::File(file) => {
                let refused = |why: String| SecretError::NoFile { file: file.clone(), why };
                let size = std::fs::metadata(file).map_err(|e| refused(e.to_string()))?.len();
                if size > SECRET_MAX {
                    return Err(refused(format!("it is larger than {SECRET_MAX} bytes")));
                }
                let text = std::fs::read_to_string(file).map_err(|e| refused(e.to_string()))?;
                let value = text.trim_end_matches(['\r', '\n']);
                if value.is_empty() { Err(refused("it is empty".to_owned())) } else { Ok(value.to_owned()) }
            }
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env(name) => write!(f, "env:{name}"),
            Secret::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Word for Secret {
    const FORM: &'static str = "a secret: \"env:NAME\" or \"file:PATH\"";
    const ECHO: bool = false;

    fn parse(text: &str) -> Result<Self, Bad> {
        let name_char = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && name.chars().all(name_char) => {
                Ok(Secret::Env(name.to_owned()))
            }
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => {
                Ok(Secret::File(path.to_owned()))
            }
            _ => Err(Bad::new("stands in the file")),
        }
    }

    fn word(&self) -> String {
        self.to_string()
    }

    fn secret(&self) -> Option<&Secret> {
        Some(self)
    }
}

const SECRET_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_from_where_the_file_says() {
        assert!(Secret::parse("env:PATH").unwrap().resolve().is_ok());
        let missing = Secret::parse("env:STROWGER_NO_SUCH_VARIABLE").unwrap();
        assert_eq!(
            missing.resolve().unwrap_err().to_string(),
            "the environment variable STROWGER_NO_SUCH_VARIABLE is not set"
        );
        let file = Secret::parse(concat!("file:", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert!(file.resolve().unwrap().starts_with("[package]"));
        assert!(Secret::parse("file:/no/such/file").unwrap().resolve().is_err());
        for text in ["hunter2", "env:", "env:A B", "file:", ""] {
            assert!(Secret::parse(text).is_err(), "{text}");
        }
    }
}
