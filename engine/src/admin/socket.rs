//! The Unix socket of the command line: where it is, and how it is made.
//!
//! Invariants: only its owner and its group may connect (mode 0660); a socket whose process lives is never replaced;
//! the environment is an argument.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const NAME: &str = "admin.sock";
/// The runtime directory of a node that root runs, and of the systemd unit.
const SYSTEM_DIRECTORY: &str = "/run/roadstead";

/// What decides where the socket is when no setting says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// `RUNTIME_DIRECTORY` of systemd.
    pub runtime_directory: Option<&'a OsStr>,
    /// `XDG_RUNTIME_DIR` of a login.
    pub xdg_runtime_dir: Option<&'a OsStr>,
    /// Whether this process is root.
    pub is_root: bool,
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Where a node puts its socket by default; `None`: nowhere, the user has no runtime directory.
#[must_use]
pub fn served_at(surroundings: Surroundings<'_>) -> Option<PathBuf> {
    if let Some(directories) = surroundings.runtime_directory.and_then(OsStr::to_str) {
        // systemd separates several directories by colons.
        let first = directories.split(':').next().filter(|directory| !directory.is_empty());
        if let Some(directory) = first {
            return Some(Path::new(directory).join(NAME));
        }
    }
    if surroundings.is_root {
        return Some(Path::new(SYSTEM_DIRECTORY).join(NAME));
    }
    let directory = surroundings.xdg_runtime_dir.filter(|directory| !directory.is_empty())?;
    Some(Path::new(directory).join("roadstead.sock"))
}

/// Where the command line looks by default, in this order: the user's own node, then the system's.
#[must_use]
pub fn looked_for_at(surroundings: Surroundings<'_>) -> Vec<PathBuf> {
    let system = Path::new(SYSTEM_DIRECTORY).join(NAME);
    let mut places: Vec<PathBuf> = served_at(surroundings).into_iter().collect();
    if !places.contains(&system) {
        places.push(system);
    }
    places
}

/// Makes the socket. Its directory is made if only that is missing; a left-over of a dead process is replaced.
///
/// # Errors
/// `AddrInUse` if a living process serves there; else what the operating system says.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
        && !directory.exists()
    {
        fs::create_dir(directory)?;
    }
    match UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        // Nobody listens: the file is what a dead process left.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_surroundings() {
        for (runtime, xdg, is_root, served) in [
            (Some("/run/roadstead"), None, false, Some("/run/roadstead/admin.sock")),
            (Some("/run/a:/run/b"), Some("/run/user/1"), true, Some("/run/a/admin.sock")),
            (Some(""), None, true, Some("/run/roadstead/admin.sock")),
            (None, Some("/run/user/1"), true, Some("/run/roadstead/admin.sock")),
            (None, Some("/run/user/1"), false, Some("/run/user/1/roadstead.sock")),
            (None, Some(""), false, None),
            (None, None, false, None),
        ] {
            let surroundings = Surroundings {
                runtime_directory: runtime.map(OsStr::new),
                xdg_runtime_dir: xdg.map(OsStr::new),
                is_root,
            };
            assert_eq!(served_at(surroundings), served.map(PathBuf::from), "{surroundings:?}");
            let looked = looked_for_at(surroundings);
            assert!(looked.contains(&PathBuf::from("/run/roadstead/admin.sock")), "{looked:?}");
        }
    }

    #[test]
    fn a_living_socket_is_kept_and_a_dead_one_replaced() {
        let directory = std::env::temp_dir().join(format!("roadstead-socket-{}", std::process::id()));
        let path = directory.join(NAME);
        let listener = bind(&path).expect("made with its directory");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o660);
        assert_eq!(bind(&path).expect_err("alive").kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        drop(bind(&path).expect("replaced"));
        fs::remove_dir_all(&directory).expect("removed");
    }
}
