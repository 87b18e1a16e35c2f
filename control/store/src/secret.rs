//! The secret of an installation: 32 bytes from the operating system, made at first start, readable by its owner only.
//! There is no default and no way to go on without one.

use base::HashKey;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Seals what we must carry through strangers' hands, such as the hop token. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or made.
    #[error("secret {path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not 64 hexadecimal digits.
    #[error("secret {path}: not 64 hexadecimal digits; restore it, or remove it to get a new one")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("secret {path}: mode {mode:03o} lets others read it; chmod 600 {path}")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Reads the secret, or makes it if the file does not exist. Of two processes that start at once one makes it.
    ///
    /// # Errors
    /// The file cannot be had, is damaged, or is readable by others.
    pub fn load_or_create(path: &Path) -> Result<Secret, SecretError> {
        match read(path) {
            Err(SecretError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(|error| SecretError::File { path: path.to_owned(), error })?;
                read(path)
            }
            done => done,
        }
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash key for one purpose. Keys of two purposes say nothing about each other.
    pub fn hash_key(&self, purpose: &str) -> HashKey {
        let word = |at: usize| u64::from_le_bytes(self.0[at..at + 8].try_into().expect("8 bytes of 32"));
        let (first, second) = (HashKey::new([word(0), word(8)]), HashKey::new([word(16), word(24)]));
        HashKey::new([first.of(purpose.as_bytes()), second.of(purpose.as_bytes())])
    }
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let file_error = |error| SecretError::File { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(file_error)?;
    let mode = file.metadata().map_err(file_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(128).read_to_end(&mut text).map_err(file_error)?;
    parse(&text).map(Secret).ok_or_else(|| SecretError::Damaged { path: path.to_owned() })
}

fn parse(text: &[u8]) -> Option<[u8; 32]> {
    let text = text.trim_ascii_end();
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// Written aside and linked into place, so that nobody ever sees half a secret.
fn create(path: &Path) -> io::Result<()> {
    let mut bytes = [0u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let aside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let linked = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&aside, path))
        // Another process was first: its secret counts.
        .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) });
    fs::remove_file(&aside)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_may_read_it() {
        let folder = Folder::new("secret");
        let path = folder.path("strowger.secret");
        let made = Secret::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Secret::load_or_create(&path).unwrap(), made);
        assert_eq!(fs::read_dir(folder.root()).unwrap().count(), 1, "nothing is left aside");
        let other = Secret::load_or_create(&folder.path("other")).unwrap();
        assert_ne!(made, other);
        assert_eq!(format!("{made:?}"), "Secret(..)");
        assert_ne!(made.hash_key("hop").of(b"x"), made.hash_key("branch").of(b"x"));
        assert_eq!(made.hash_key("hop").of(b"x"), made.hash_key("hop").of(b"x"));
    }

    #[test]
    fn a_damaged_or_exposed_secret_is_an_error_with_a_remedy() {
        let folder = Folder::new("secret-bad");
        let path = folder.path("s");
        Secret::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Secret::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("mode 644") && error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(66)] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(Secret::load_or_create(&path), Err(SecretError::Damaged { .. })), "{bad:?}");
        }
    }
}
