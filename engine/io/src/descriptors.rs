//! The process's limit of descriptors, which bounds the sockets of a back end.

use std::io;

use crate::sys;

/// Descriptors that a table of this process may hold now (soft `RLIMIT_NOFILE`).
///
/// # Errors
/// Refused by the operating system.
pub fn descriptor_limit() -> io::Result<u64> {
    sys::descriptor_limits().map(|(soft, _)| soft)
}

/// Raises the soft limit to the hard one, and both to `wanted` where that is allowed (`CAP_SYS_RESOURCE`). Returns the
/// soft limit that holds afterwards, which may be below `wanted`.
///
/// # Errors
/// Refused by the operating system; the limit is unchanged.
pub fn raise_descriptor_limit(wanted: u64) -> io::Result<u64> {
    let (soft, hard) = sys::descriptor_limits()?;
    if soft >= wanted {
        return Ok(soft);
    }
    if hard < wanted && sys::set_descriptor_limits(wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let reachable = wanted.min(hard);
    if reachable > soft {
        sys::set_descriptor_limits(reachable, hard)?;
    }
    Ok(reachable.max(soft))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_suffices_is_left_alone() {
        let before = descriptor_limit().expect("a limit");
        assert_eq!(raise_descriptor_limit(1).expect("allowed"), before);
        assert_eq!(descriptor_limit().expect("a limit"), before);
    }
}
