//! What an open, silent TLS connection costs the server in process memory.

use std::io;
use std::thread;
use std::time::Duration;

use super::{Stream, Trust};
use crate::drive::Server;
use crate::drive::idle::{Footprint, Memory};

/// Opens `count` connections, lets them rest for `settle` at half and at all of them, and measures.
pub fn drive(server: &Server, trust: &Trust, count: usize, settle: Duration) -> io::Result<Footprint> {
    let mut streams = Vec::with_capacity(count);
    let before = Memory::of(server.pid)?;
    open(&mut streams, server, trust, count / 2)?;
    thread::sleep(settle);
    let half = Memory::of(server.pid)?;
    open(&mut streams, server, trust, count)?;
    thread::sleep(settle);
    let after = Memory::of(server.pid)?;
    for stream in &mut streams {
        // Pings are no messages, and may have come; the end of a connection is an error.
        stream.hear(&mut [0; 1024])?;
    }
    Ok(Footprint::between(count, before, half, after))
}

fn open(streams: &mut Vec<Stream>, server: &Server, trust: &Trust, count: usize) -> io::Result<()> {
    while streams.len() < count {
        let stream = Stream::open(server, trust)?;
        stream.socket.set_nonblocking(true)?;
        streams.push(stream);
    }
    Ok(())
}
