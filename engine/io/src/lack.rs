//! What there was too little of when a connection could not be accepted.

use std::io;

/// A shortage, by whose limit it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// Slots of the back end: the sockets that its owner asked for are all in use.
    Slots,
    /// Descriptors of the process (`RLIMIT_NOFILE`), for a socket or for the ring that was to hold it.
    Descriptors,
    /// Files of the machine (`fs.file-max`).
    Files,
    /// Memory of the kernel.
    Memory,
    /// Something else; the operating system's error number.
    Other(i32),
}

impl From<Lack> for io::Error {
    fn from(lack: Lack) -> Self {
        Self::from_raw_os_error(match lack {
            Lack::Slots | Lack::Files => libc::ENFILE,
            Lack::Descriptors => libc::EMFILE,
            Lack::Memory => libc::ENOMEM,
            Lack::Other(errno) => errno,
        })
    }
}

impl Lack {
    /// What an error of the operating system is about.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error().unwrap_or(libc::EIO) {
            libc::EMFILE => Self::Descriptors,
            libc::ENFILE => Self::Files,
            libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC => Self::Memory,
            errno => Self::Other(errno),
        }
    }
}
