//! A file that only grows, by whole lines. What the kernel has taken survives `kill -9`; what it refuses (disk full) is
//! kept in memory up to a bound and tried again, so that no line is written twice or in part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One such file and the lines that wait for it.
#[derive(Debug)]
pub struct Appender {
    path: PathBuf,
    file: File,
    /// What a new file begins with.
    header: Vec<u8>,
    /// Whole lines that the kernel has not (wholly) taken.
    pending: Vec<u8>,
    /// Bytes of `pending` that are in the file already.
    sent: usize,
    /// Bytes in the file.
    len: u64,
    failing: bool,
    dirty: bool,
    /// Writes that failed.
    pub errors: u64,
    /// Lines given up because too many waited.
    pub lost: u64,
}

/// Lines that wait for a disk at most; beyond that they are lost and counted.
const PENDING_MAX: usize = 64 << 20;

/// A torn line is looked for so far back; longer ones are not ours.
const TORN_MAX: u64 = 1 << 20;

/// Records hold at most what fits into a SIP message or two.
const LINE_MAX: u64 = 4 << 20;

impl Appender {
    /// Opens or makes the file; an empty one begins with `header`. A last line without end, as a crash in the middle of
    /// a write leaves it, is moved to `PATH.torn`; its length is the second value.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::ResourceBusy`] when another process writes the file.
    pub fn open(path: &Path, header: &[u8]) -> io::Result<(Appender, u64)> {
        let file = open_locked(path)?;
        let metadata = file.metadata()?;
        let torn = if metadata.is_file() { repair(path, &file, metadata.len())? } else { 0 };
        let len = file.metadata()?.len();
        let mut appender = Appender {
            path: path.to_owned(),
            file,
            header: header.to_owned(),
            pending: Vec::new(),
            sent: 0,
            len,
            failing: false,
            dirty: false,
            errors: 0,
            lost: 0,
        };
        appender.begin();
        Ok((appender, torn))
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next line will begin.
    pub fn len(&self) -> u64 {
        self.len + (self.pending.len() - self.sent) as u64
    }

    /// Puts a line (its newline included) behind those that wait; `false` if too many wait: it is lost.
    pub fn push(&mut self, line: &[u8]) -> bool {
        if self.pending.len() + line.len() > PENDING_MAX {
            self.lost += 1;
            return false;
        }
        self.pending.extend_from_slice(line);
        true
    }

    /// Gives the kernel all that waits, usually in one `write`. `true` when nothing waits any more.
    pub fn pump(&mut self) -> bool {
        while self.sent < self.pending.len() {
            match self.file.write(&self.pending[self.sent..]) {
                Ok(0) => return self.failed(&io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.sent += n;
                    self.len += n as u64;
                    self.dirty = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
        if self.failing {
            tracing::info!(path = %self.path.display(), bytes = self.pending.len(), "written again, nothing waits");
            self.failing = false;
        }
        self.pending.clear();
        self.pending.shrink_to(1 << 20);
        self.sent = 0;
        true
    }

    fn failed(&mut self, error: &io::Error) -> bool {
        self.errors += 1;
        if !self.failing {
            let path = self.path.display();
            tracing::error!(%path, %error, "cannot be written; lines are kept and tried again each second");
            self.failing = true;
        }
        false
    }

    /// Reads back what was pumped.
    ///
    /// # Errors
    /// As the system says; also if it has not been pumped.
    pub fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Asks the disk to keep what was written, for the machine's crash.
    pub fn sync(&mut self) {
        if core::mem::take(&mut self.dirty)
            && let Err(error) = self.file.sync_data()
        {
            self.failed(&error);
        }
    }

    /// Whether something waits for a retry or a sync.
    pub fn has_work(&self) -> bool {
        self.dirty || !self.pending.is_empty()
    }

    fn begin(&mut self) {
        if self.len == 0 {
            self.pending.splice(0..0, self.header.iter().copied());
        }
    }

    /// Follows a rotation: when the path names another file by now, later lines go there. `true` if it did.
    pub fn follow(&mut self) -> bool {
        // A line that is half in the old file is finished there.
        if self.sent > 0 || !self.moved().unwrap_or(false) {
            return false;
        }
        match open_locked(&self.path) {
            Ok(file) => {
                // Nobody will sync the old one later.
                self.sync();
                self.len = file.metadata().map_or(0, |metadata| metadata.len());
                self.file = file;
                self.begin();
                true
            }
            Err(error) => self.failed(&error),
        }
    }

    fn moved(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) != (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ours.is_file()),
            Err(error) => Err(error),
        }
    }
}

fn open_locked(path: &Path) -> io::Result<File> {
    // Records name people: others have no business in them.
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path);
    // Pipes and terminals can only be written.
    let file = match file {
        Err(error) if error.kind() != io::ErrorKind::NotFound && !path.is_file() => {
            OpenOptions::new().append(true).open(path).map_err(|_| error)?
        }
        opened => opened?,
    };
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        // Not every file system can lock; then nothing guards against two engines on one file.
        Err(fs::TryLockError::Error(_)) | Ok(()) => Ok(file),
    }
}

/// Moves what stands behind the last newline to `PATH.torn`.
fn repair(path: &Path, mut file: &File, len: u64) -> io::Result<u64> {
    let from = len.saturating_sub(TORN_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TORN_MAX).read_to_end(&mut tail)?;
    if tail.last().is_none_or(|byte| *byte == b'\n') {
        return Ok(0);
    }
    let Some(whole) =
        tail.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1).or((from == 0).then_some(0))
    else {
        // Not one of our lines: leave it, and begin our own line.
        file.write_all(b"\n")?;
        return Ok(0);
    };
    let torn = &tail[whole..];
    let aside = PathBuf::from(format!("{}.torn", path.display()));
    let mut aside = OpenOptions::new().append(true).create(true).mode(0o640).open(aside)?;
    aside.write_all(torn)?;
    aside.write_all(b"\n")?;
    aside.sync_all()?;
    file.set_len(from + whole as u64)?;
    Ok(torn.len() as u64)
}

/// Hands on each line of a file from `start` on, newline cut off; a last line without one is no line.
///
/// # Errors
/// As the system says.
pub fn each_line(path: &Path, start: u64, mut line: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut reader = io::BufReader::with_capacity(1 << 16, file);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        Read::by_ref(&mut reader).take(LINE_MAX).read_until(b'\n', &mut buffer)?;
        if buffer.is_empty() {
            return Ok(());
        }
        if let Some(whole) = buffer.strip_suffix(b"\n") {
            line(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_torn_last_line_is_moved_aside() {
        let folder = Folder::new("torn");
        let path = folder.path("f");
        for (before, after, torn) in [
            ("", "", 0),
            ("a\nb\n", "a\nb\n", 0),
            ("a\nbroken", "a\n", 6),
            ("broken", "", 6),
            ("\n", "\n", 0),
        ] {
            fs::write(&path, before).unwrap();
            let (mut file, found) = Appender::open(&path, &[]).unwrap();
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), found), (after, torn), "{before:?}");
            assert!(file.push(b"new\n") && file.pump());
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{after}new\n"));
            assert_eq!(file.len(), after.len() as u64 + 4);
        }
        assert_eq!(fs::read_to_string(folder.path("f.torn")).unwrap(), "broken\nbroken\n");
    }

    #[test]
    fn two_writers_of_one_file_are_refused() {
        let folder = Folder::new("locked");
        let first = Appender::open(&folder.path("f"), &[]).unwrap();
        assert_eq!(Appender::open(&folder.path("f"), &[]).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        Appender::open(&folder.path("f"), &[]).unwrap();
    }

    #[test]
    fn a_full_disk_keeps_lines_in_order_and_counts() {
        // /dev/full answers every write with "no space left".
        let (mut file, _) = Appender::open(Path::new("/dev/full"), &[]).unwrap();
        assert!(file.push(b"one\n") && !file.pump() && !file.pump());
        assert_eq!((file.errors, file.lost), (2, 0));
        let folder = Folder::new("full");
        file.file = open_locked(&folder.path("f")).unwrap();
        assert!(file.push(b"two\n") && file.pump());
        assert_eq!(fs::read_to_string(folder.path("f")).unwrap(), "one\ntwo\n");
        file.pending = vec![b'x'; PENDING_MAX];
        assert!(!file.push(b"three\n"));
        assert_eq!(file.lost, 1);
    }

    #[test]
    fn a_rotated_file_is_followed() {
        let folder = Folder::new("rotated");
        let (mut file, _) = Appender::open(&folder.path("f"), &[]).unwrap();
        assert!(file.push(b"old\n") && file.pump() && !file.follow());
        fs::rename(folder.path("f"), folder.path("f.1")).unwrap();
        assert!(file.follow() && !file.follow());
        assert!(file.push(b"new\n") && file.pump());
        assert_eq!(fs::read_to_string(folder.path("f.1")).unwrap(), "old\n");
        assert_eq!(fs::read_to_string(folder.path("f")).unwrap(), "new\n");
    }
}
