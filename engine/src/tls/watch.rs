//! Notices that files have been exchanged, by looking at them now and then.
//!
//! Invariants: looks, and reads nothing; files that are still being written are not reported, since a chain and its key come one
//! after the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells one state of a file from another: device, inode, length, time of change. `None`: there is no such file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files that were read, and how they looked.
#[derive(Clone, Default, Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl Watch {
    /// Watches these files, as they are now. Make it before they are read.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        let read = stamps(&files);
        Self { files, seen: read.clone(), read }
    }

    /// Whether the files have changed since they were last reported, or watched, and have stayed so since the last look.
    pub fn has_changed(&mut self) -> bool {
        let now = stamps(&self.files);
        let is_settled = now == self.seen;
        self.seen = now;
        if !is_settled || self.seen == self.read {
            return false;
        }
        self.read.clone_from(&self.seen);
        true
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once_and_not_before_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("roadstead-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (one, two) = (folder.join("one"), folder.join("two"));
        fs::write(&one, "1").unwrap();
        let mut watch = Watch::new(vec![one.clone(), two.clone()]);
        assert!(!watch.has_changed());
        fs::write(&one, "11").unwrap();
        assert!(!watch.has_changed(), "seen for the first time");
        fs::write(&two, "2").unwrap();
        assert!(!watch.has_changed(), "still changing");
        assert_eq!([watch.has_changed(), watch.has_changed()], [true, false]);
        fs::remove_file(&two).unwrap();
        assert_eq!([watch.has_changed(), watch.has_changed(), watch.has_changed()], [false, true, false]);
        // A rename, as renewals do it.
        fs::write(folder.join("new"), "11").unwrap();
        fs::rename(folder.join("new"), &one).unwrap();
        assert_eq!([watch.has_changed(), watch.has_changed()], [false, true]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
