//! `floor`: serves bare TCP on loopback, as the budget that a protocol server is judged against.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
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
    let (service, serving) = match argument {
        ServiceArgument::Tls { serving, certificate, key } => {
            encrypted = Some((certificate, key));
            (Service::Echo, serving)
        }
        ServiceArgument::Echo(serving) => (Service::Echo, serving),
        ServiceArgument::Handshake(serving) => (Service::Handshake, serving),
        ServiceArgument::Fanout { serving, message_bytes } => {
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
    let (listener, port) = kernel::listen(serving.port)
        .map_err(|e| io::Error::other(format!("cannot listen on 127.0.0.1:{}: {e}", serving.port)))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "floor ready listen=127.0.0.1:{port}")?;
    stdout.flush()?;
    if let Some((certificate, key)) = encrypted {
        return tls::serve(listener, &certificate, &key, serving.buffer);
    }
    match serving.backend {
        Backend::Epoll => epoll::serve(listener, service, serving.buffer),
        Backend::IoUring => {
            let reading = match serving.mode {
                Mode::Multishot => Reading::Multishot,
                Mode::Poll => Reading::Polled,
            };
            uring::serve(
                listener,
                service,
                reading,
                Buffers { bytes: serving.buffer, count: serving.buffers },
            )
        }
    }
}
