//! A TCP echo server over the io trait and nothing else: what the trait itself costs beside a bare loop.
//!
//! `echo_bare 127.0.0.1:7000 io_uring`, or with a group of rings of 16 sockets each: `echo_bare 127.0.0.1:7000 io_uring 16`

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use roadstead_io::{
    Arena, Choice, Epoll, Event, Io, Kind, ListenOptions, Options, Payload, Socket, Uring, bind, select,
};

const ARENA_BYTES: usize = 256 * 1024;
const SOCKETS_MAX: u32 = 16_384;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_bare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(choice)) = (arguments.next(), arguments.next()) else {
        return Err("usage: echo_bare ADDRESS auto|io_uring|epoll [SOCKETS_PER_RING]".into());
    };
    let selected = select(choice.parse::<Choice>()?)?;
    eprintln!("listening on {address} by {} {:?}", selected.kind, selected.notes);
    let listener = bind(address.parse()?, &ListenOptions::default())?;
    let ring_sockets = arguments.next().map(|count| count.parse()).transpose()?;
    let options = Options { ring_sockets, ..Options::new(SOCKETS_MAX) };
    match selected.kind {
        Kind::Uring => serve(Uring::new(&options)?, listener),
        Kind::Epoll => serve(Epoll::new(&options)?, listener),
    }
}

fn serve(mut io: impl Io, listener: roadstead_io::Listener) -> Result<(), Box<dyn std::error::Error>> {
    io.listen(listener)?;
    let mut arena = Arena::new(ARENA_BYTES);
    let mut events = Vec::new();
    let mut sockets: Vec<Echo> = Vec::new();
    let mut answering: Vec<(Socket, usize, usize)> = Vec::new();
    // Sockets with bytes that had to wait for another turn.
    let mut behind: Vec<Socket> = Vec::new();
    let mut shared = Rc::new(Vec::new());
    loop {
        events.clear();
        io.wait(&mut arena, &mut events, (!behind.is_empty()).then_some(Duration::ZERO))?;
        // All answers of a turn lie in one buffer, as a shard's do; after a wait nobody else holds it.
        let mut answers = Rc::try_unwrap(shared).unwrap_or_default();
        answers.clear();
        for socket in std::mem::take(&mut behind) {
            let echo = &mut sockets[socket.0 as usize];
            if !echo.blocked && !echo.kept.is_empty() {
                answering.push((socket, answers.len(), echo.kept.len()));
                answers.append(&mut echo.kept);
                echo.answering = true;
            }
        }
        for event in &events {
            match *event {
                Event::Accepted { socket, .. } => {
                    let len = sockets.len().max(socket.0 as usize + 1);
                    sockets.resize_with(len, Echo::default);
                    sockets[socket.0 as usize] = Echo::default();
                }
                Event::Received { socket, start, len } => {
                    let echo = &mut sockets[socket.0 as usize];
                    let bytes = arena.received(start, len);
                    if echo.blocked || echo.answering {
                        echo.kept.extend_from_slice(bytes);
                        behind.push(socket);
                    } else {
                        echo.answering = true;
                        answering.push((socket, answers.len(), bytes.len()));
                        answers.extend_from_slice(bytes);
                    }
                }
                Event::Blocked { socket, .. } => {
                    sockets[socket.0 as usize].blocked = true;
                    io.pause(socket);
                }
                Event::Drained { socket } => {
                    sockets[socket.0 as usize].blocked = false;
                    behind.push(socket);
                    io.resume(socket);
                }
                Event::PeerClosed { socket } | Event::Failed { socket, .. } => io.close(socket),
                _ => {}
            }
        }
        shared = Rc::new(answers);
        for (socket, start, len) in answering.drain(..) {
            let echo = &mut sockets[socket.0 as usize];
            echo.answering = false;
            if echo.blocked {
                echo.kept.extend_from_slice(&shared[start..start + len]);
            } else {
                io.send(socket, Payload::new(Rc::clone(&shared), start, len));
            }
        }
    }
}

#[derive(Default)]
struct Echo {
    blocked: bool,
    /// Has an answer in this turn's buffer.
    answering: bool,
    kept: Vec<u8>,
}
