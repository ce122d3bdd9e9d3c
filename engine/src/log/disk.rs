//! The disk below the log, as little of it as the log needs; and the real one, a folder.
//!
//! Invariants: nothing is durable before a sync, neither bytes nor names; a folder is one process's.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where segments are.
pub trait Disk: fmt::Debug + Send {
    /// An open segment.
    type File: SegmentFile;

    /// Names of all files.
    ///
    /// # Errors
    /// The disk failed.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes a new file. Its name is durable after [`Disk::sync_names`].
    ///
    /// # Errors
    /// The disk failed, or is full; there may be an empty file of the name.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;

    /// Opens a file.
    ///
    /// # Errors
    /// The disk failed.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Removes a file.
    ///
    /// # Errors
    /// The disk failed.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes what was created and removed durable.
    ///
    /// # Errors
    /// The disk failed.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Bytes that are free.
    ///
    /// # Errors
    /// The disk failed.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A file that only grows at its end.
pub trait SegmentFile: fmt::Debug + Send {
    /// Its length, bytes.
    ///
    /// # Errors
    /// The disk failed.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from a place on.
    ///
    /// # Errors
    /// The disk failed, or there are not so many.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes to its end, which is at `at`.
    ///
    /// # Errors
    /// The disk failed, or is full; some of the bytes may be there.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes what was written, and the length, durable.
    ///
    /// # Errors
    /// The disk failed; what was written since the last sync may be durable or not.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts it off.
    ///
    /// # Errors
    /// The disk failed.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

const LOCK: &str = "lock";

/// Why a folder cannot be had.
#[derive(Debug)]
pub enum FolderError {
    /// Another process has it.
    Taken,
    /// It is not there, and was not to be made.
    Missing,
    /// The disk failed.
    Io(io::Error),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("another process has it, such as a running node; end that first"),
            Self::Missing => f.write_str("there is no log"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for FolderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A folder of this process's own.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Takes the folder, and makes it first if it is not there.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn make(path: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Self::take(path)
    }

    /// Takes a folder that is there.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        if !path.is_dir() {
            return Err(FolderError::Missing);
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FolderError::Taken,
            TryLockError::Error(error) => FolderError::Io(error),
        })?;
        Ok(Self { path: path.into(), _lock: lock })
    }
}

impl Disk for Folder {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&mut self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

impl SegmentFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
