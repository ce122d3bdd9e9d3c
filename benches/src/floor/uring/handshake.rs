//! The handshake exchange without a handshake: a head is received, a canned answer is sent.

use std::io;
use std::os::fd::OwnedFd;

use super::Buffers;
use super::ring::{Kind, Provided, Ring};
use crate::floor::{SWITCHING, ends_head};

pub(super) fn serve(listener: OwnedFd, buffers: Buffers) -> io::Result<()> {
    let mut ring = Ring::new(listener)?;
    let mut provided = Provided::new(&ring, buffers)?;
    let mut starved = Vec::new();
    loop {
        ring.turn()?;
        while let Some(completion) = ring.completion() {
            let slot = completion.slot;
            match completion.kind {
                Kind::Accept => {
                    if completion.result >= 0 {
                        ring.arm_receive(completion.result as u32)?;
                    }
                    if !completion.is_armed() {
                        ring.arm_accept()?;
                    }
                }
                Kind::Receive => {
                    if let Some(buffer) = completion.chosen() {
                        if ends_head(provided.memory.filled(buffer, completion.bytes())) {
                            ring.send(slot, 0, SWITCHING)?;
                        }
                        provided.give(buffer);
                    }
                    match completion.result {
                        _ if completion.is_armed() => {}
                        1.. => ring.arm_receive(slot)?,
                        result if result == -libc::ENOBUFS => starved.push(slot),
                        _ => ring.close(slot)?,
                    }
                }
                Kind::Readable | Kind::Send | Kind::FanOut | Kind::Close => {}
            }
        }
        provided.publish();
        for slot in starved.drain(..) {
            ring.arm_receive(slot)?;
        }
    }
}
