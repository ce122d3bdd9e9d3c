//! The system calls of this package, each wrapped once into a safe function.
//!
//! Invariants: no state, no policy, no retry except after a signal; every error is the operating system's number.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::limits;

/// A socket address in the kernel's form, at least as large as any that it writes.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct Address {
    storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl Address {
    /// Room for the kernel to write an address into.
    pub(crate) fn empty() -> Self {
        // SAFETY: sockaddr_storage is plain integers and arrays of them, for which all zeroes is a value.
        let storage = unsafe { std::mem::zeroed() };
        Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// The address, if it is one of the internet.
    pub(crate) fn decode(&self) -> Option<SocketAddr> {
        match c_int::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that the storage holds a sockaddr_in; storage is larger and better aligned.
                let v4 = unsafe { &*self.as_ptr().cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the storage holds a sockaddr_in6; storage is larger and better aligned.
                let v6 = unsafe { &*self.as_ptr().cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(
                    ip,
                    port,
                    u32::from_be(v6.sin6_flowinfo),
                    v6.sin6_scope_id,
                )))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut encoded = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: storage is larger than a sockaddr_in, aligned for it, and zeroed, which is a value of it.
                let to = unsafe { &mut *encoded.as_mut_ptr().cast::<libc::sockaddr_in>() };
                to.sin_family = libc::AF_INET as libc::sa_family_t;
                to.sin_port = v4.port().to_be();
                to.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                encoded.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                // SAFETY: storage is larger than a sockaddr_in6, aligned for it, and zeroed, which is a value of it.
                let to = unsafe { &mut *encoded.as_mut_ptr().cast::<libc::sockaddr_in6>() };
                to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                to.sin6_port = v6.port().to_be();
                to.sin6_flowinfo = v6.flowinfo().to_be();
                to.sin6_addr.s6_addr = v6.ip().octets();
                to.sin6_scope_id = v6.scope_id();
                encoded.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        encoded
    }
}

/// A TCP socket of the family of `address`.
pub(crate) fn stream_socket(address: SocketAddr, nonblocking: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let blocking = if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: takes integers only.
    own(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | blocking, 0) })
}

pub(crate) fn set_option(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option_bytes(fd, level, name, &value.to_ne_bytes())
}

pub(crate) fn set_option_bytes(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &[u8],
) -> io::Result<()> {
    let (pointer, len) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
    // SAFETY: pointer and length are of one live slice, which the kernel only reads.
    done(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, pointer, len) })
}

/// The error that the socket keeps (`SO_ERROR`), which is cleared; 0 if none.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> i32 {
    let mut errno: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    let value = (&raw mut errno).cast();
    // SAFETY: value points to a live integer of the length given; the kernel writes no more than that.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, value, &raw mut len) };
    if result == 0 { errno } else { last_errno() }
}

pub(crate) fn bind(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    // SAFETY: the address is live and at least as long as its length says.
    done(unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr(), address.len) })
}

pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    // SAFETY: takes integers only.
    done(unsafe { libc::listen(fd.as_raw_fd(), backlog.min(i32::MAX as u32) as c_int) })
}

pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut address = Address::empty();
    let pointer = address.as_mut_ptr();
    // SAFETY: pointer and length describe the live storage of `address`; the kernel writes no more than that.
    done(unsafe { libc::getsockname(fd.as_raw_fd(), pointer, &raw mut address.len) })?;
    address.decode().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

/// Starts a connection; `EINPROGRESS` is the usual answer of a non-blocking socket.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    // SAFETY: the address is live and at least as long as its length says.
    done(unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr(), address.len) })
}

/// Accepts one connection as a non-blocking socket.
pub(crate) fn accept_nonblocking(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    accept(fd, libc::SOCK_NONBLOCK)
}

/// Accepts one connection as a blocking socket, which operations of io_uring need.
pub(crate) fn accept_blocking(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    accept(fd, 0)
}

fn accept(fd: BorrowedFd<'_>, blocking: c_int) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut peer = Address::empty();
    let (pointer, flags) = (peer.as_mut_ptr(), blocking | libc::SOCK_CLOEXEC);
    // SAFETY: pointer and length describe the live storage of `peer`; the kernel writes no more than that.
    let accepted = own(unsafe { libc::accept4(fd.as_raw_fd(), pointer, &raw mut peer.len, flags) })?;
    let peer = peer.decode().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
    Ok((accepted, peer))
}

/// Receives what is there, at most `room.len()` bytes; 0 is the end of the stream.
pub(crate) fn receive(fd: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are of one live slice that nobody else uses meanwhile.
    count(unsafe { libc::recv(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) })
}

/// Sends what fits into the socket's buffer, without a signal on a broken pipe.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length are of one live slice, which the kernel only reads.
    count(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Sends a FIN after what was sent before.
pub(crate) fn shutdown(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes integers only.
    done(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) })
}

/// Makes the kernel refuse connections to the listener `fd` from now on, whoever else still holds it: a cancelled accept,
/// or another descriptor table. What waits in its backlog is reset.
pub(crate) fn stop_listening(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes integers only.
    done(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RD) })
}

/// Whether calls on `fd` wait, which operations of io_uring need to be able to.
pub(crate) fn set_blocking(fd: BorrowedFd<'_>, waits: bool) -> io::Result<()> {
    // SAFETY: takes integers only.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    done(flags)?;
    let flags = if waits { flags & !libc::O_NONBLOCK } else { flags | libc::O_NONBLOCK };
    // SAFETY: takes integers only.
    done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })
}

pub(crate) fn event_descriptor(nonblocking: bool) -> io::Result<OwnedFd> {
    let blocking = if nonblocking { libc::EFD_NONBLOCK } else { 0 };
    // SAFETY: takes integers only.
    own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | blocking) })
}

/// Adds one to an event descriptor.
pub(crate) fn signal(fd: BorrowedFd<'_>) -> io::Result<()> {
    let one = 1_u64;
    // SAFETY: the pointer is to a live integer of eight bytes, which the kernel only reads.
    count(unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast::<c_void>(), size_of::<u64>()) })
        .map(drop)
}

pub(crate) fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: takes integers only.
    own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// `operation` is `EPOLL_CTL_ADD` or `EPOLL_CTL_MOD`; `tag` comes back with every event.
pub(crate) fn epoll_control(
    epoll: BorrowedFd<'_>,
    operation: c_int,
    fd: BorrowedFd<'_>,
    interest: c_int,
    tag: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events: interest as u32, u64: tag };
    // SAFETY: the event is live during the call; the kernel copies it.
    done(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) })
}

/// Waits with the precision of the clock where the kernel can (5.11), else rounded up to milliseconds. A signal ends
/// it without events.
pub(crate) fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let (pointer, len) = (events.as_mut_ptr(), events.len().min(i32::MAX as usize) as c_int);
    let whole_ms = match timeout {
        None => Some(-1),
        Some(Duration::ZERO) => Some(0),
        Some(_) => None,
    };
    let result = if let Some(timeout_ms) = whole_ms {
        // SAFETY: pointer and length are of one live slice; the kernel writes no more than that.
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), pointer, len, timeout_ms) }
    } else {
        let timeout = timeout.unwrap_or_default().min(limits::SLEEP_MAX);
        let precise = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: pointer and length are of one live slice, the timespec is live, the mask may be null.
        let waited = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                pointer,
                len,
                &raw const precise,
                no_mask,
                size_of::<u64>(),
            )
        } as c_int;
        if waited < 0 && last_errno() == libc::ENOSYS {
            let timeout_ms = timeout.as_micros().div_ceil(1_000) as c_int;
            // SAFETY: pointer and length are of one live slice; the kernel writes no more than that.
            unsafe { libc::epoll_wait(epoll.as_raw_fd(), pointer, len, timeout_ms) }
        } else {
            waited
        }
    };
    match count(result as isize) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other,
    }
}

/// Gives the calling thread a descriptor table of its own, a copy of the process's.
pub(crate) fn unshare_descriptors() -> io::Result<()> {
    // SAFETY: takes integers only. Which descriptors exist in which table afterwards is the caller's business; no
    // memory depends on it.
    done(unsafe { libc::unshare(libc::CLONE_FILES) })
}

/// Soft and hard limit of descriptors (`RLIMIT_NOFILE`).
pub(crate) fn descriptor_limits() -> io::Result<(u64, u64)> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit.
    done(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) })?;
    Ok((limits.rlim_cur, limits.rlim_max))
}

pub(crate) fn set_descriptor_limits(soft: u64, hard: u64) -> io::Result<()> {
    let limits = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer is to a live rlimit, which the kernel only reads.
    done(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) })
}

/// Whether the system is short of something (descriptors, memory, room), so that trying again at once is of no use.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().unwrap_or(0);
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC)
}

pub(crate) fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn own(result: c_int) -> io::Result<OwnedFd> {
    done(result)?;
    // SAFETY: the call that returned this number opened it; nobody else knows it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["127.0.0.1:80", "255.1.2.3:65535", "[::1]:8000", "[fe80::1%7]:1", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Address::from(address).decode(), Some(address), "{text}");
        }
        assert_eq!(Address::empty().decode(), None);
    }
}
