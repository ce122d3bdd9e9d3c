//! The doors of the admin interface, opened before anything else, so that a taken address is known at once.

use std::env;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::admin::Doors;
use crate::admin::socket::{self, Surroundings};
use crate::settings::Settings;

/// Open doors. The Unix socket's file goes when this does.
#[derive(Debug)]
pub(super) struct Open {
    doors: Doors,
    address: Option<SocketAddr>,
    api_address: Option<SocketAddr>,
    /// Held for its end only.
    _file: Option<SocketFile>,
}

/// A killed node leaves its file behind; the next one replaces it.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that cannot be removed now is replaced at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn open(settings: &Settings) -> Result<Open, Failure> {
    let tcp = settings.admin.map(|address| bind(address, "admin", "--admin")).transpose()?;
    let api = settings.api.listen.map(|address| bind(address, "server API's", "api.listen")).transpose()?;
    let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
    let (unix, file) = unix(settings)?.unzip();
    let api_address = api.as_ref().and_then(|listener| listener.local_addr().ok());
    let doors = Doors { tcp, key: settings.admin_key.clone(), unix, api };
    Ok(Open { doors, address, api_address, _file: file })
}

impl Open {
    /// The doors, to be served.
    pub(super) fn take(&mut self) -> Doors {
        std::mem::take(&mut self.doors)
    }

    /// The real TCP address.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The real address of the server API alone.
    pub(super) fn api_address(&self) -> Option<SocketAddr> {
        self.api_address
    }

    /// Origins of the built-in page, whose clients connect to the listen addresses: another origin for a browser.
    /// An address that stands for all interfaces has no name of its own; its page needs `client.allowed_origins`.
    pub(super) fn page_origins(&self) -> Vec<String> {
        let Some(address) = self.address.filter(|address| !address.ip().is_unspecified()) else {
            return Vec::new();
        };
        let mut origins = vec![format!("http://{address}")];
        if address.ip().is_loopback() {
            origins.push(format!("http://localhost:{}", address.port()));
        }
        origins
    }
}

/// `setting` is how another address is given.
fn bind(address: SocketAddr, whose: &str, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("port in use by another process; stop it or choose another with {setting}")
            }
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address".into(),
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE".into(),
            _ => error.to_string(),
        };
        Failure::Start(format!("cannot listen on the {whose} address {address}: {why}"))
    })
}

/// A socket that the operator named must be there; the default one is a convenience, and its absence is said.
fn unix(settings: &Settings) -> Result<Option<(UnixListener, SocketFile)>, Failure> {
    if let Some(path) = &settings.admin_socket {
        return match socket::bind(path) {
            Ok(listener) => Ok(Some((listener, SocketFile(path.clone())))),
            Err(error) => {
                let why = format!("cannot make the admin socket {}: {error}", path.display());
                Err(if error.is_lasting() { Failure::Demand(why) } else { Failure::Start(why) })
            }
        };
    }
    let (runtime, xdg) = (env::var_os("RUNTIME_DIRECTORY"), env::var_os("XDG_RUNTIME_DIR"));
    let surroundings = Surroundings {
        runtime_directory: runtime.as_deref(),
        xdg_runtime_dir: xdg.as_deref(),
        is_root: socket::is_root(),
    };
    let Some(path) = socket::served_at(surroundings) else {
        tracing::warn!(
            "no runtime directory for the admin socket: `roadstead status` needs --admin-socket on both sides"
        );
        return Ok(None);
    };
    Ok(bind_default(&path))
}

fn bind_default(path: &Path) -> Option<(UnixListener, SocketFile)> {
    match socket::bind(path) {
        Ok(listener) => Some((listener, SocketFile(path.into()))),
        Err(error) => {
            tracing::warn!(
                "no admin socket at {}: {error}; `roadstead status` does not reach this node without --admin-socket",
                path.display()
            );
            None
        }
    }
}
