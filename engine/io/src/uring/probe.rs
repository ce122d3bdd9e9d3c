//! Whether this kernel lets this process use io_uring, and if not, why and what to do about it.

use std::io;

use super::ring::Ring;

const ENOUGH_FILES: u32 = 16;
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Notes on what is missing without harm.
///
/// # Errors
/// Why there is no io_uring here, as the first part of a sentence.
pub(super) fn probe() -> Result<Vec<String>, String> {
    match Ring::new(ENOUGH_FILES) {
        Ok((_, lacks)) => Ok(lacks.notes()),
        Err(error) => Err(explain(&error, std::fs::read_to_string(SWITCH).ok().as_deref())),
    }
}

fn explain(error: &io::Error, switch: Option<&str>) -> String {
    match (error.raw_os_error(), switch.map(str::trim)) {
        (Some(libc::EPERM), Some("2")) => {
            "io_uring is disabled by kernel.io_uring_disabled=2 (sysctl kernel.io_uring_disabled=0 allows it)"
                .into()
        }
        (Some(libc::EPERM), Some("1")) => {
            "io_uring is reserved by kernel.io_uring_disabled=1 (allow it with \
             sysctl kernel.io_uring_disabled=0, or add the user to the group of kernel.io_uring_group)"
                .into()
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden here, as container runtimes do by a seccomp \
             filter (allow io_uring_setup, io_uring_enter and io_uring_register)"
                .into()
        }
        (Some(libc::ENOSYS), _) => "io_uring is not in this kernel (it takes Linux 5.19 or later)".into(),
        (Some(libc::ENOMEM), _) => {
            "io_uring may lock too little memory here (raise ulimit -l or LimitMEMLOCK=)".into()
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "io_uring found no free descriptor (raise ulimit -n or LimitNOFILE=)".into()
        }
        (Some(libc::EINVAL), _) | (None, _) => {
            "io_uring of this kernel is too old (it takes Linux 5.19 or later)".into()
        }
        (Some(_), _) => format!("io_uring does not start: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        for (errno, switch, words) in [
            (libc::EPERM, Some("2\n"), "sysctl kernel.io_uring_disabled=0"),
            (libc::EPERM, Some("1\n"), "kernel.io_uring_group"),
            (libc::EPERM, Some("0\n"), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::ENOSYS, None, "5.19"),
            (libc::EINVAL, Some("0\n"), "5.19"),
            (libc::ENOMEM, Some("0\n"), "ulimit -l"),
            (libc::EMFILE, Some("0\n"), "ulimit -n"),
        ] {
            let text = explain(&io::Error::from_raw_os_error(errno), switch);
            assert!(text.starts_with("io_uring ") && text.contains(words), "{errno}: {text}");
        }
        assert!(explain(&io::ErrorKind::Unsupported.into(), None).contains("too old"));
    }
}
