//! `floor`: serves bare TCP on loopback, as the budget that a protocol server is judged against.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use benches::floor::uring::{Buffers, Reading};
use benches::floor::{Service, epoll, tls, uring};
use benches::{kernel, limits};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Minimal TCP servers without any protocol: the kernel's floor.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    service: ServiceArgument,
}

#[derive(Subcommand)]
enum ServiceArgument {
    /// Send back what is received.
    Echo(Serving),
    /// Write every message of the publisher (a connection that begins with P) to every subscriber (S).
    Fanout {
        #[command(flatten)]
        serving: Serving,
        /// Bytes of one message of the publisher.
        #[arg(long)]
        message_bytes: std::num::NonZeroUsize,
        /// Loops, each a thread with a descriptor table and an address of its own, for more connections than one table holds.
        #[arg(long, default_value_t = std::num::NonZeroUsize::MIN)]
        tables: std::num::NonZeroUsize,
    },
    /// Send back what is received, over TLS (epoll).
    Tls {
        #[command(flatten)]
        serving: Serving,
        /// Certificate chain (PEM).
        #[arg(long)]
        certificate: PathBuf,
        /// Its key (PEM).
        #[arg(long)]
        key: PathBuf,
    },
    /// Answer each HTTP head with a canned upgrade of 129 bytes.
    Handshake(Serving),
    /// Upgrade WebSocket clients and ping each of them once in every period (io_uring).
    Exchange {
        #[command(flatten)]
        serving: Serving,
        /// Connections at most.
        #[arg(long)]
        connections: u32,
        /// Seconds between two pings of one connection.
        #[arg(long, default_value_t = 25.0)]
        period: f64,
    },
}

#[derive(Args)]
struct Serving {
    #[arg(long, value_enum)]
    backend: Backend,
    /// How io_uring reads (echo only).
    #[arg(long, value_enum, default_value = "multishot")]
    mode: Mode,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Bytes of one receive buffer.
    #[arg(long, default_value_t = limits::FLOOR_BUFFER_BYTES)]
    buffer: usize,
    /// Receive buffers of io_uring, a power of two.
    #[arg(long, default_value_t = limits::FLOOR_BUFFERS)]
    buffers: u16,
    /// Core to run on.
    #[arg(long, default_value_t = 0)]
    core: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Epoll,
    #[value(name = "io_uring")]
    IoUring,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Multishot,
    Poll,
}

fn main() -> ExitCode {
    match serve(Arguments::parse().service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(argument: ServiceArgument) -> io::Result<()> {
    let mut encrypted = None;
    let mut tables = 1;
    let (service, serving) = match argument {
        ServiceArgument::Tls { serving, certificate, key } => {
            encrypted = Some(Arc::new((certificate, key)));
            (Service::Echo, serving)
        }
        ServiceArgument::Echo(serving) => (Service::Echo, serving),
        ServiceArgument::Handshake(serving) => (Service::Handshake, serving),
        ServiceArgument::Fanout { serving, message_bytes, tables: several } => {
            tables = several.get();
            (Service::FanOut { message_bytes: message_bytes.get() }, serving)
        }
        ServiceArgument::Exchange { serving, connections, period } => {
            let period = Duration::try_from_secs_f64(period).map_err(io::Error::other)?;
            (Service::Exchange { connections, period }, serving)
        }
    };
    if !serving.buffers.is_power_of_two() || serving.buffer == 0 {
        return Err(io::Error::other("--buffers takes a power of two, --buffer at least 1"));
    }
    kernel::pin(serving.core)?;
    kernel::raise_descriptor_limit()?;
    let (ports, opened) = mpsc::channel();
    let (failed, failures) = mpsc::channel();
    let apart = Arc::new(Barrier::new(tables));
    let serving = Arc::new(serving);
    for table in 0..tables {
        let (ports, failed) = (ports.clone(), failed.clone());
        let (apart, serving, encrypted) = (apart.clone(), serving.clone(), encrypted.clone());
        thread::spawn(move || {
            let unshared = if tables > 1 { kernel::unshare_descriptors() } else { Ok(()) };
            apart.wait();
            let port = if table == 0 { serving.port } else { 0 };
            // Nobody waits for a reason any more once the program ends.
            let _ = failed.send(
                unshared.and_then(|()| serve_one(service, &serving, encrypted.as_deref(), port, &ports)),
            );
        });
    }
    // Those of the threads remain; when a loop ends before it listens, so do its ends of both channels.
    drop((ports, failed));
    let mut addresses = Vec::new();
    for _ in 0..tables {
        match opened.recv() {
            Ok(port) => addresses.push(format!("127.0.0.1:{port}")),
            Err(_) => break,
        }
    }
    if addresses.len() == tables {
        let mut stdout = io::stdout();
        writeln!(stdout, "floor ready listen={}", addresses.join(","))?;
        stdout.flush()?;
    }
    failures.recv().map_err(io::Error::other)?
}

/// A certificate chain and its key.
type Encrypted = (PathBuf, PathBuf);

/// One loop on the calling thread; its port goes to `ports`.
fn serve_one(
    service: Service,
    serving: &Serving,
    encrypted: Option<&Encrypted>,
    port: u16,
    ports: &mpsc::Sender<u16>,
) -> io::Result<()> {
    let (listener, port) = kernel::listen(port)
        .map_err(|e| io::Error::other(format!("cannot listen on 127.0.0.1:{port}: {e}")))?;
    ports.send(port).map_err(io::Error::other)?;
    if let Some((certificate, key)) = encrypted {
        return tls::serve(listener, certificate, key, serving.buffer);
    }
    match serving.backend {
        Backend::Epoll => epoll::serve(listener, service, serving.buffer),
        Backend::IoUring => {
            let reading = match serving.mode {
                Mode::Multishot => Reading::Multishot,
                Mode::Poll => Reading::Polled,
            };
            let buffers = Buffers { bytes: serving.buffer, count: serving.buffers };
            uring::serve(listener, service, reading, buffers)
        }
    }
}
