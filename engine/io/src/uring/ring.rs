//! One ring: its set-up with what the kernel has, its queue of operations, and its completions without loss.
//!
//! Invariants: an operation that was pushed is submitted or the ring is broken for good; a full completion queue loses
//! nothing. Knows no socket.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};

use crate::limits;

/// What the kernel lacks; each thing costs speed, not function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks {
    /// Submission without an index array (6.6).
    pub(super) no_sqarray: bool,
    /// Completions worked off by the owner only, when it asks (6.1).
    pub(super) defer_taskrun: bool,
    /// Accepts that wait for a connection before they make a socket for it (6.10).
    pub(super) accept_poll_first: bool,
}

impl Lacks {
    /// A sentence for each.
    pub(super) fn notes(self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.defer_taskrun {
            notes
                .push("io_uring without DEFER_TASKRUN, which Linux 6.1 or later has: a little slower".into());
        } else if self.no_sqarray {
            notes.push("io_uring without NO_SQARRAY, which Linux 6.6 or later has: a little slower".into());
        } else if self.accept_poll_first {
            notes.push(
                "io_uring without ACCEPT_POLL_FIRST, which Linux 6.10 or later has: slower accepts".into(),
            );
        }
        notes
    }
}

/// One completion, as the kernel gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// How long an enter waits for a first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all; what is pending is worked off.
    None,
    AtMost(Duration),
    Forever,
}

pub(super) struct Ring {
    ring: IoUring,
    /// Completions that had to be taken out early.
    early: Vec<Completion>,
    broken: Option<i32>,
}

impl Ring {
    /// A ring with an empty table of `files` direct descriptors.
    ///
    /// # Errors
    /// As the kernel says; `Unsupported` if it lacks something that there is no doing without.
    pub(super) fn new(files: u32) -> io::Result<(Self, Lacks)> {
        let mut lacks = Lacks::default();
        let ring = loop {
            match build(lacks) {
                Ok(ring) => break ring,
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match lacks {
                    Lacks { no_sqarray: false, .. } => lacks.no_sqarray = true,
                    Lacks { defer_taskrun: false, .. } => lacks.defer_taskrun = true,
                    _ => return Err(error),
                },
                Err(error) => return Err(error),
            }
        };
        if !has_what_is_needed(&ring)? {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // No feature is named for it; bundles came with the same release.
        lacks.accept_poll_first = !ring.params().is_feature_recvsend_bundle();
        ring.submitter().register_files_sparse(files)?;
        // Where it is refused the kernel's own bound holds.
        let _ = ring.submitter().register_iowq_max_workers(&mut [limits::RING_WORKERS; 2]);
        Ok((Self { ring, early: Vec::new(), broken: None }, lacks))
    }

    /// Queues an operation, submitting first what is queued if there is no more room.
    ///
    /// # Safety
    /// What the entry points to stays valid, and is touched by nobody else, until its completion: for an operation
    /// that completes while it is submitted, until the next [`Ring::enter`] or [`Ring::submit`] has returned.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller vouches for what the entry points to.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return;
        }
        self.submit();
        // SAFETY: as before.
        if unsafe { self.ring.submission().push(entry) }.is_err() {
            self.broken.get_or_insert(libc::EBUSY);
        }
    }

    /// Whether operations wait to be submitted.
    pub(super) fn has_queued(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Whether an enter would do anything without waiting.
    pub(super) fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Whether completions are there or would be after an enter.
    pub(super) fn has_news(&mut self) -> bool {
        let queue = self.ring.submission();
        let pending = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        pending || !self.early.is_empty() || !self.ring.completion().is_empty()
    }

    /// Submits what is queued. Operations that never wait are complete afterwards.
    pub(super) fn submit(&mut self) {
        self.enter(Patience::None, EnterFlags::empty());
    }

    /// Submits what is queued, works off what is pending, and waits for a completion as long as `patience` says.
    pub(super) fn submit_and_wait(&mut self, patience: Patience) {
        self.enter(patience, EnterFlags::GETEVENTS);
    }

    fn enter(&mut self, patience: Patience, flags: EnterFlags) {
        let mut refusals = 0;
        while self.broken.is_none() {
            let queued = self.ring.submission().len() as u32;
            match self.enter_once(queued, patience, flags) {
                // The kernel takes all; it stops short only where it is out of memory.
                Ok(taken) if taken as u32 >= queued => return,
                Ok(_) => {}
                Err(error) => match error.raw_os_error().unwrap_or(libc::EIO) {
                    libc::ETIME | libc::EINTR => return,
                    // Completions are in the way, or memory is short for the moment.
                    libc::EBUSY | libc::EAGAIN | libc::ENOMEM if refusals < limits::ENTER_REFUSALS => {
                        refusals += 1;
                        self.take_early();
                        std::thread::yield_now();
                    }
                    errno => self.broken = Some(errno),
                },
            }
        }
    }

    fn enter_once(&self, queued: u32, patience: Patience, flags: EnterFlags) -> io::Result<usize> {
        let submitter = self.ring.submitter();
        let none = None::<&libc::sigset_t>;
        let timeout = match patience {
            // SAFETY: no argument is passed; queued entries are vouched for by whoever pushed them.
            Patience::None => return unsafe { submitter.enter(queued, 0, flags.bits(), none) },
            // SAFETY: as before.
            Patience::Forever => return unsafe { submitter.enter(queued, 1, flags.bits(), none) },
            Patience::AtMost(timeout) => Timespec::from(timeout),
        };
        let arguments = SubmitArgs::new().timespec(&timeout);
        let flags = flags | EnterFlags::EXT_ARG;
        // SAFETY: the flag says that the argument is of this type; it and the timespec outlive the call.
        unsafe { submitter.enter(queued, 1, flags.bits(), Some(&arguments)) }
    }

    /// Moves all completions that there are to `to`, in order.
    pub(super) fn reap(&mut self, to: &mut Vec<Completion>) {
        to.append(&mut self.early);
        loop {
            to.extend(self.ring.completion().map(|entry| Completion {
                tag: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            }));
            // What did not fit into the queue is kept by the kernel until it is asked for.
            if self.broken.is_some() || !self.ring.submission().cq_overflow() {
                return;
            }
            self.submit_and_wait(Patience::None);
        }
    }

    fn take_early(&mut self) {
        self.early.extend(self.ring.completion().map(|entry| Completion {
            tag: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// The error after which nothing of this ring works any more.
    pub(super) fn broken(&self) -> Option<io::Error> {
        self.broken.map(io::Error::from_raw_os_error)
    }

    /// Puts `descriptor` into the table; the caller may close its own afterwards.
    pub(super) fn install(&self, file: u32, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_files_update(file, &[descriptor.as_raw_fd()]).map(drop)
    }

    /// Has `descriptor` signalled when something is pending, while [`Ring::ring_bell`] allows it.
    pub(super) fn set_bell(&mut self, descriptor: RawFd) -> io::Result<()> {
        self.ring_bell(false);
        self.ring.submitter().register_eventfd(descriptor)
    }

    pub(super) fn ring_bell(&mut self, allowed: bool) {
        let queue = self.ring.completion();
        if allowed { queue.enable_eventfd() } else { queue.disable_eventfd() }
    }

    /// Cancels everything and empties the table; nothing that was pushed is touched by the kernel afterwards. False if
    /// that could not be done.
    pub(super) fn end(&mut self) -> bool {
        let submitter = self.ring.submitter();
        let all = CancelBuilder::any().all();
        let cancelled = submitter.register_sync_cancel(Some(Timespec::from(limits::CANCEL_PATIENCE)), all);
        let quiet = match cancelled {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        };
        while self.broken.is_none() && self.has_news() {
            self.early.clear();
            self.submit_and_wait(Patience::None);
            self.ring.completion().for_each(drop);
        }
        // Closes every direct descriptor now; otherwise the kernel does so some time after the ring is dropped.
        let _ = self.ring.submitter().unregister_files();
        quiet
    }
}

fn build(lacks: Lacks) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_submit_all().setup_taskrun_flag().setup_cqsize(limits::RING_COMPLETIONS).dontfork();
    if lacks.defer_taskrun {
        builder.setup_coop_taskrun();
    } else {
        builder.setup_single_issuer().setup_defer_taskrun();
    }
    if !lacks.no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(limits::RING_SUBMISSIONS)
}

fn has_what_is_needed(ring: &IoUring) -> io::Result<bool> {
    let parameters = ring.params();
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let operations = [
        opcode::PollAdd::CODE,
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::Accept::CODE,
        opcode::Connect::CODE,
        opcode::Close::CODE,
        opcode::Shutdown::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Read::CODE,
    ];
    Ok(parameters.is_feature_nodrop()
        && parameters.is_feature_ext_arg()
        && parameters.is_feature_fast_poll()
        && parameters.is_feature_skip_cqe_on_success()
        && operations.iter().all(|operation| probe.is_supported(*operation)))
}
