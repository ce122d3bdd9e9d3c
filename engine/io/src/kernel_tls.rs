//! Whether the kernel can read and write TLS records for a socket (kTLS).
//!
//! Invariant: asks with a socket pair of its own, which is closed again; no socket of anybody else is touched.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use crate::sys;

/// Asks the kernel for its TLS on a connection of loopback: a name is only looked up on one that is established.
///
/// # Errors
/// `ENOENT`: the kernel was built without it, or its module (`tls`) is not loaded and this process may not load it. Others: there was no
/// connection to ask with.
pub fn kernel_tls() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    sys::set_option_bytes(stream.as_fd(), libc::SOL_TCP, libc::TCP_ULP, b"tls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_what_the_kernel_says_of_itself() {
        let named = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap_or_default();
        let is_loaded = named.split_ascii_whitespace().any(|name| name == "tls");
        match kernel_tls() {
            // Asking may have loaded it.
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
                assert!(!is_loaded, "{named}");
            }
        }
    }
}
