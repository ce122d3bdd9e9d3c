//! One io_uring with a table of direct descriptors and provided buffers, reduced to what the floors need.
//!
//! A request is named by its kind, the slot of its connection and the buffer it uses, packed in its user
//! data; there is no table of requests.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, Fixed};
use io_uring::{IoUring, cqueue, opcode};

use super::Buffers;
use crate::limits;

/// What a completion belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Accept,
    Readable,
    Receive,
    Send,
    FanOut,
    Close,
}

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Accept, Kind::Readable, Kind::Receive, Kind::Send, Kind::FanOut, Kind::Close];
}

/// One completion.
pub(super) struct Completion {
    pub(super) kind: Kind,
    pub(super) slot: u32,
    /// The buffer the request was made with (sends, single receives).
    pub(super) buffer: u16,
    /// Bytes, a slot, or a negated errno.
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// The multishot request stays armed.
    pub(super) fn is_armed(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer the kernel chose.
    pub(super) fn chosen(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// The socket holds more bytes than were received.
    pub(super) fn has_more_bytes(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }

    /// Bytes moved; 0 on any failure.
    pub(super) fn bytes(&self) -> usize {
        self.result.max(0) as usize
    }
}

fn name(kind: Kind, slot: u32, buffer: u16) -> u64 {
    (kind as u64) << 56 | u64::from(buffer) << 32 | u64::from(slot)
}

pub(super) struct Ring {
    uring: IoUring,
    listener: OwnedFd,
}

impl Ring {
    /// A ring that accepts from `listener` into its table. Refused where io_uring is not allowed or lacks
    /// the features of kernel 6.6.
    pub(super) fn new(listener: OwnedFd) -> io::Result<Self> {
        let mut ring = Self::quiet(listener)?;
        ring.uring.submitter().register_ring_fd()?;
        ring.arm_accept()?;
        Ok(ring)
    }

    /// As [`Ring::new`], but it accepts when it is told to ([`Ring::accept_one`]) and has no registered
    /// descriptor, of which a thread may have 16.
    pub(super) fn quiet(listener: OwnedFd) -> io::Result<Self> {
        let explain = |e: io::Error| io::Error::other(format!("io_uring is not to be had: {e}"));
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(limits::FLOOR_COMPLETIONS)
            .build(limits::FLOOR_SUBMISSIONS)
            .map_err(explain)?;
        let ring = Self { uring, listener };
        ring.uring.submitter().register_files_sparse(limits::FLOOR_SLOTS).map_err(|e| {
            let slots = limits::FLOOR_SLOTS;
            io::Error::other(format!("no table of {slots} direct descriptors: {e} (raise RLIMIT_NOFILE)"))
        })?;
        Ok(ring)
    }

    fn push(&mut self, entry: Entry) -> io::Result<()> {
        loop {
            // SAFETY: entries point to provided or pooled buffers of the same floor, to static bytes, or
            // to bytes the floor keeps until the send is done; all outlive the request.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.submit()?;
        }
    }

    pub(super) fn arm_accept(&mut self) -> io::Result<()> {
        let listener = io_uring::types::Fd(self.listener.as_raw_fd());
        let accept = opcode::AcceptMulti::new(listener).allocate_file_index(true).build();
        self.push(accept.user_data(name(Kind::Accept, 0, 0)))
    }

    /// Accepts one connection: a multishot accept would lose one when the table is full.
    pub(super) fn accept_one(&mut self) -> io::Result<()> {
        let listener = io_uring::types::Fd(self.listener.as_raw_fd());
        let accept = opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut())
            .file_index(Some(io_uring::types::DestinationSlot::auto_target()))
            .build();
        self.push(accept.user_data(name(Kind::Accept, 0, 0)))
    }

    /// Poll for bytes until the connection ends.
    pub(super) fn arm_poll(&mut self, slot: u32) -> io::Result<()> {
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let poll = opcode::PollAdd::new(Fixed(slot), events).multi(true).build();
        self.push(poll.user_data(name(Kind::Readable, slot, 0)))
    }

    /// Receive into provided buffers until the connection ends or no buffer is left.
    pub(super) fn arm_receive(&mut self, slot: u32) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fixed(slot), 0).build();
        self.push(receive.user_data(name(Kind::Receive, slot, 0)))
    }

    /// One receive of what is there now.
    pub(super) fn receive(&mut self, slot: u32, buffer: u16, memory: &Memory) -> io::Result<()> {
        let receive = opcode::Recv::new(Fixed(slot), memory.pointer(buffer), memory.bytes as u32)
            .flags(libc::MSG_DONTWAIT)
            .build();
        self.push(receive.user_data(name(Kind::Receive, slot, buffer)))
    }

    /// Sends all of `bytes`, waiting for room in the kernel. The caller keeps them until the completion.
    pub(super) fn send(&mut self, slot: u32, buffer: u16, bytes: &[u8]) -> io::Result<()> {
        let send = opcode::Send::new(Fixed(slot), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.push(send.user_data(name(Kind::Send, slot, buffer)))
    }

    /// Sends `bytes` while it is submitted, and completes only if not all were taken: MSG_DONTWAIT keeps
    /// the request from waiting, and MSG_WAITALL makes a short send a failure, which is not skipped.
    pub(super) fn send_now(&mut self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        let send = opcode::Send::new(Fixed(slot), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT)
            .build();
        self.push(send.flags(Flags::SKIP_SUCCESS).user_data(name(Kind::FanOut, slot, 0)))
    }

    /// Disarms a slot's poll, then closes it: closed alone, it would send no FIN while the poll holds it.
    pub(super) fn disarm_and_close(&mut self, slot: u32) -> io::Result<()> {
        let remove = opcode::PollRemove::new(name(Kind::Readable, slot, 0)).build();
        self.push(remove.user_data(name(Kind::Close, slot, 0)))?;
        self.close(slot)
    }

    /// Closes a slot that has nothing armed.
    pub(super) fn close(&mut self, slot: u32) -> io::Result<()> {
        self.push(opcode::Close::new(Fixed(slot)).build().user_data(name(Kind::Close, slot, 0)))
    }

    /// Hands over what was pushed without waiting.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        match self.uring.submit() {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }

    /// Hands over what was pushed and waits for at least one completion.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        match self.uring.submit_and_wait(1) {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }

    /// Hands over what was pushed and takes what has completed, without waiting.
    pub(super) fn turn_now(&mut self) -> io::Result<()> {
        const GET_EVENTS: u32 = 1;
        let pushed = self.uring.submission().len() as u32;
        // SAFETY: no argument is passed; what was pushed is valid as said in `push`.
        match unsafe { self.uring.submitter().enter::<()>(pushed, 0, GET_EVENTS, None) } {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }

    /// The next completion that is already there.
    pub(super) fn completion(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let data = entry.user_data();
        Some(Completion {
            kind: Kind::ALL[(data >> 56) as usize],
            slot: data as u32,
            buffer: (data >> 32) as u16,
            result: entry.result(),
            flags: entry.flags(),
        })
    }
}

/// Receive buffers in one block. Neighbours lie one cache line more than their size apart, so that the
/// first lines of all buffers do not compete for one cache set.
pub(super) struct Memory {
    base: *mut u8,
    layout: Layout,
    stride: usize,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(buffers: Buffers) -> io::Result<Self> {
        let stride = buffers.bytes + 64;
        let huge_page = 2 << 20;
        let size = (stride * usize::from(buffers.count)).next_multiple_of(huge_page);
        let layout = Layout::from_size_align(size, huge_page).map_err(io::Error::other)?;
        // SAFETY: the layout has a size above zero; advice about the block changes no byte of it.
        let base = unsafe {
            let base = alloc_zeroed(layout);
            if base.is_null() {
                handle_alloc_error(layout);
            }
            libc::madvise(base.cast(), size, libc::MADV_HUGEPAGE);
            base
        };
        Ok(Self { base, layout, stride, bytes: buffers.bytes })
    }

    fn pointer(&self, buffer: u16) -> *mut u8 {
        // SAFETY: callers name buffers below the count the block was made for.
        unsafe { self.base.add(usize::from(buffer) * self.stride) }
    }

    /// Writes `bytes` to the front of a buffer that the floor has taken and not lent to the kernel.
    pub(super) fn fill(&mut self, buffer: u16, bytes: &[u8]) {
        assert!(bytes.len() <= self.bytes, "an answer fits into a buffer");
        // SAFETY: within the block, and nobody else reads or writes this buffer now.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.pointer(buffer), bytes.len()) }
    }

    /// The first `count` bytes of a buffer that the kernel has filled and a floor has not given back.
    pub(super) fn filled(&self, buffer: u16, count: usize) -> &[u8] {
        debug_assert!(count <= self.bytes);
        // SAFETY: within the block; the kernel writes to a buffer only after it was given back or named
        // in a receive, and floors do either only when they are done with its bytes.
        unsafe { std::slice::from_raw_parts(self.pointer(buffer), count) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the rings using it are dropped by the same ending floor.
        unsafe { dealloc(self.base, self.layout) }
    }
}

/// Buffers lent to the kernel through a buffer ring of group 0.
pub(super) struct Provided {
    pub(super) memory: Memory,
    entries: *mut BufRingEntry,
    layout: Layout,
    mask: u16,
    tail: u16,
}

impl Provided {
    pub(super) fn new(ring: &Ring, buffers: Buffers) -> io::Result<Self> {
        let memory = Memory::new(buffers)?;
        let layout = Layout::array::<BufRingEntry>(usize::from(buffers.count))
            .and_then(|l| l.align_to(4096))
            .map_err(io::Error::other)?;
        // SAFETY: the layout has a size above zero; the ring of entries is page-aligned, zeroed, as long
        // as told, and lives as long as the floor.
        let entries = unsafe {
            let entries = alloc_zeroed(layout).cast::<BufRingEntry>();
            if entries.is_null() {
                handle_alloc_error(layout);
            }
            ring.uring.submitter().register_buf_ring_with_flags(entries as u64, buffers.count, 0, 0)?;
            entries
        };
        let mut provided = Self { memory, entries, layout, mask: buffers.count - 1, tail: 0 };
        for buffer in 0..buffers.count {
            provided.give(buffer);
        }
        provided.publish();
        Ok(provided)
    }

    /// Gives a buffer back; the kernel sees it after [`Provided::publish`].
    pub(super) fn give(&mut self, buffer: u16) {
        // SAFETY: the masked index lies within the ring of entries.
        let entry = unsafe { &mut *self.entries.add(usize::from(self.tail & self.mask)) };
        entry.set_addr(self.memory.pointer(buffer) as u64);
        entry.set_len(self.memory.bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes the buffers given back visible to the kernel.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry of the initialised ring and is only shared with the
        // kernel, which reads it as an atomic.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the ring that reads it is dropped by the same ending floor.
        unsafe { dealloc(self.entries.cast(), self.layout) }
    }
}
