//! What is revoked, on disk: a folder that one process has for itself, and in it one file that is replaced as a whole.
//!
//! Invariants: the file is the old set or the new one, whatever breaks in between; a file that is not whole stops the start, since
//! a node that forgot what was revoked would let everybody in again.
//!
//! The file is a line that says what it is and holds the SHA-256 of the rest, and a line of JSON for each revocation.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::limits::{REVOCATION_NAME_BYTES_MAX, REVOCATIONS_MAX};
use crate::revocations::{Revocation, Revocations, Subject, Terms};

const NAME: &str = "revocations";
const NAME_NEW: &str = "revocations.new";
const LOCK: &str = "lock";
const FORMAT: &str = "roadstead revocations";
const VERSION: u32 = 1;
/// A line holds a name, whose every byte JSON may write as six, and two numbers.
const FILE_BYTES_MAX: u64 = ((6 * REVOCATION_NAME_BYTES_MAX + 128) * REVOCATIONS_MAX) as u64;

/// The file, and the folder that is held for it.
#[derive(Debug)]
pub(super) struct RevocationFile {
    folder: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    count: usize,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
    until: u64,
}

impl RevocationFile {
    /// Takes the folder, which is made if it is not there, and reads what it holds.
    ///
    /// # Errors
    /// Why the node cannot start with it, and the cure.
    pub(super) fn open(folder: &Path) -> Result<(Self, Revocations), String> {
        let shown = folder.display();
        let unusable = |error: io::Error| format!("cannot use data_dir {shown}: {error}");
        fs::create_dir_all(folder).map_err(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                format!("data_dir {shown} is in use by another process; give each node a folder of its own")
            }
            TryLockError::Error(error) => unusable(error),
        })?;
        let path = folder.join(NAME);
        let set = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Revocations::default()),
            Err(error) => Err(error.to_string()),
            Ok(file) if file.len() > FILE_BYTES_MAX => Err(format!("it has {} bytes", file.len())),
            Ok(_) => {
                fs::read_to_string(&path).map_err(|error| error.to_string()).and_then(|text| read(&text))
            }
        };
        let set = set.map_err(|why| {
            format!(
                "cannot read {}: {why}. Put back a copy of it, or move it away: then this node starts without what it held, \
                 and gets what other nodes of its fleet know from them",
                path.display()
            )
        })?;
        Ok((Self { folder: folder.into(), _lock: lock }, set))
    }

    /// Replaces the file; when this returns, the disk has the new one.
    ///
    /// # Errors
    /// The file is the old one, or, if the disk failed at the very end, either.
    pub(super) fn write(&self, set: &Revocations) -> io::Result<()> {
        let new = self.folder.join(NAME_NEW);
        let mut file = File::create(&new)?;
        file.write_all(written(set)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(NAME))?;
        File::open(&self.folder)?.sync_all()
    }
}

fn written(set: &Revocations) -> io::Result<String> {
    let mut lines = String::new();
    for Revocation { subject, terms } in set.iter() {
        let name = Some(subject.name().to_string());
        let line = match subject {
            Subject::Token(_) => {
                Line { token_id: name, user: None, issued_before: None, until: terms.until_s }
            }
            Subject::User(_) => Line {
                token_id: None,
                user: name,
                issued_before: Some(terms.issued_before_s),
                until: terms.until_s,
            },
        };
        lines.push_str(&serde_json::to_string(&line)?);
        lines.push('\n');
    }
    let sha256 = sum(&lines);
    let head = Head { format: FORMAT.into(), version: VERSION, count: set.len(), sha256 };
    Ok(format!("{}\n{lines}", serde_json::to_string(&head)?))
}

fn read(text: &str) -> Result<Revocations, String> {
    let (head, lines) = text.split_once('\n').ok_or("it is no file of revocations, or cut short")?;
    let head: Head = serde_json::from_str(head).map_err(|_| "it is no file of revocations, or damaged")?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(format!(
            "it is {} of version {}; this program knows version {VERSION}",
            head.format, head.version
        ));
    }
    if sum(lines) != head.sha256 {
        return Err("it is damaged: its SHA-256 does not fit".into());
    }
    let mut set = Revocations::default();
    for (number, line) in lines.lines().enumerate() {
        let wrong = || format!("line {} is no revocation", number + 2);
        let Line { token_id, user, issued_before, until } =
            serde_json::from_str(line).map_err(|_| wrong())?;
        let subject = match (token_id, user) {
            (Some(id), None) => Subject::Token(id.into()),
            (None, Some(user)) => Subject::User(user.into()),
            _ => return Err(wrong()),
        };
        let terms = Terms { issued_before_s: issued_before.unwrap_or(0), until_s: until };
        if !subject.is_valid() || set.add(&Revocation { subject, terms }).is_err() {
            return Err(wrong());
        }
    }
    if set.len() != head.count {
        return Err(format!("it holds {} revocations where it says {}", set.len(), head.count));
    }
    Ok(set)
}

fn sum(lines: &str) -> String {
    digest(&SHA256, lines.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocations::tests::{token, user};

    /// A folder of this test's own, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("roadstead-data-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn some() -> Revocations {
        let mut set = Revocations::default();
        for revocation in
            [token("t \"1\"\n", 9), token("é", 1), user("ann", 5, 1 << 60), user(&"u".repeat(255), 0, 1)]
        {
            set.add(&revocation).expect("room");
        }
        set
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let folder = Folder::new("restart");
        let (file, set) = RevocationFile::open(&folder.0).expect("a fresh folder");
        assert!(set.is_empty());
        file.write(&some()).expect("written");
        drop(file);
        fs::write(folder.0.join(NAME_NEW), "half of a later o").expect("written");
        let (file, set) = RevocationFile::open(&folder.0).expect("whole");
        assert_eq!(set, some());
        file.write(&Revocations::default()).expect("written");
        drop(file);
        assert!(RevocationFile::open(&folder.0).expect("whole").1.is_empty());
    }

    #[test]
    fn a_folder_is_one_process_s() {
        let folder = Folder::new("lock");
        let first = RevocationFile::open(&folder.0).expect("free");
        assert!(RevocationFile::open(&folder.0).expect_err("taken").contains("in use by another process"));
        drop(first);
        assert!(RevocationFile::open(&folder.0).is_ok());
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused() {
        let good = written(&some()).expect("written");
        assert_eq!(read(&good), Ok(some()));
        for cut in 0..good.len() {
            assert!(good.get(..cut).is_none_or(|text| read(text).is_err()), "cut at {cut}");
        }
        let (head, lines) = good.split_once('\n').expect("lines");
        let with = |lines: &str, count: usize| {
            let head = Head { format: FORMAT.into(), version: VERSION, count, sha256: sum(lines) };
            format!("{}\n{lines}", serde_json::to_string(&head).expect("JSON"))
        };
        for (text, words) in [
            (good.replace("ann", "bob"), "SHA-256"),
            (good.replace("\"version\":1", "\"version\":2"), "version 2"),
            (good.replace(FORMAT, "a shopping list"), "a shopping list"),
            (format!("{head}\n"), "SHA-256"),
            (with(lines, 3), "holds 4"),
            (with("{\"until\":1}\n", 1), "line 2"),
            (with("{\"user\":\"a\",\"token_id\":\"b\",\"until\":1}\n", 1), "line 2"),
            (with("{\"user\":\"\",\"until\":1}\n", 1), "line 2"),
            (with("{\"user\":\"a\",\"until\":1,\"more\":1}\n", 1), "line 2"),
            (with("{\"user\":\"a\",\"until\":1}\n{\"user\":\"a\",\"until\":1}\n", 2), "holds 1"),
        ] {
            assert!(read(&text).expect_err(words).contains(words), "{text}");
        }
        let folder = Folder::new("broken");
        drop(RevocationFile::open(&folder.0).expect("fresh"));
        fs::write(folder.0.join(NAME), "nonsense").expect("written");
        let why = RevocationFile::open(&folder.0).expect_err("broken");
        assert!(why.contains("move it away") && why.contains(NAME), "{why}");
    }
}
