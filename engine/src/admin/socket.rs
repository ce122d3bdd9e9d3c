//! The Unix socket of the command line: where it is, and how it is made.
//!
//! Invariants: only its owner and its group may connect (mode 0660); only a socket is ever replaced, and none whose
//! process lives; the environment is an argument.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const NAME: &str = "admin.sock";
/// The runtime directory of a node that root runs, and of the systemd unit.
const SYSTEM_DIRECTORY: &str = "/run/roadstead";

/// Bytes of a path in the address of a Unix socket, which ends with a zero byte (unix(7): `sun_path` has 108).
const PATH_BYTES_MAX: usize = 107;

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

/// Why there is no socket.
#[derive(Debug)]
pub enum BindError {
    /// A living process serves there.
    Taken,
    /// Something else is there, and stays there.
    NotASocket,
    /// The address of a socket has no room for a path of so many bytes.
    TooLong(usize),
    /// What the operating system says.
    Io(io::Error),
}

impl BindError {
    /// Whether another try would end the same way.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::NotASocket | Self::TooLong(_))
    }
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("another node serves it; choose another with --admin-socket"),
            Self::NotASocket => {
                f.write_str("it exists and is not a socket; remove it or choose another with --admin-socket")
            }
            Self::TooLong(bytes) => {
                write!(f, "the path has {bytes} bytes; a socket's path has at most {PATH_BYTES_MAX}")
            }
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Makes the socket. Its directory is made if only that is missing; a socket that a dead process left is replaced.
///
/// # Errors
/// [`BindError`]; what was there is as it was.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > PATH_BYTES_MAX {
        return Err(BindError::TooLong(bytes));
    }
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
        && !directory.exists()
    {
        fs::create_dir(directory)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(BindError::NotASocket),
        Ok(_) => make_way(path)?,
        // Nothing is there, or why nobody can look is said when the socket is made.
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Removes a socket that nobody listens on.
fn make_way(path: &Path) -> Result<(), BindError> {
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Taken),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) => Err(error.into()),
    }
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
        assert!(matches!(bind(&path), Err(BindError::Taken)));
        drop(listener);
        drop(bind(&path).expect("replaced"));
        fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn what_is_not_a_socket_stays_as_it_was() {
        let directory = std::env::temp_dir().join(format!("roadstead-no-socket-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("made");
        let path = |name: &str| directory.join(name);
        fs::write(path("file"), "precious").expect("written");
        fs::create_dir(path("directory")).expect("made");
        std::os::unix::fs::symlink(path("file"), path("link")).expect("linked");
        for name in ["file", "directory", "link"] {
            assert!(matches!(bind(&path(name)), Err(BindError::NotASocket)), "{name}");
            assert!(fs::symlink_metadata(path(name)).is_ok(), "{name} is gone");
        }
        assert_eq!(fs::read_to_string(path("file")).expect("there"), "precious");
        fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn a_path_has_as_many_bytes_as_an_address_takes() {
        let directory = std::env::temp_dir();
        let fill = PATH_BYTES_MAX - directory.as_os_str().len() - 1;
        let path = |bytes: usize| directory.join(format!("{:0>bytes$}", std::process::id()));
        let longest = path(fill);
        drop(bind(&longest).expect("as long as can be"));
        fs::remove_file(&longest).expect("removed");
        assert!(matches!(bind(&path(fill + 1)), Err(BindError::TooLong(108))));
    }
}
