//! `drive`: loads one server from one core and prints what it did and what that cost, as one JSON line.

use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use benches::drive::{Encoding, Period, Protocol, Server, echo, fan_out, handshakes, idle, tls};
use benches::kernel;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// An own client: closed-loop load with frames encoded ahead of time, and the server's CPU time beside it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Messages that come back, each replaced by a new one.
    Echo {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        time: Time,
        /// Open connections.
        #[arg(long, default_value_t = 200)]
        connections: usize,
        /// Messages outstanding on each connection.
        #[arg(long, default_value_t = 1, value_parser = parse_positive)]
        depth: usize,
        /// Bytes of a message's payload.
        #[arg(long, default_value_t = 20)]
        bytes: usize,
        /// Send text instead of binary messages.
        #[arg(long)]
        text: bool,
    },
    /// Publications of one publisher, received by every subscriber.
    Fanout {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        time: Time,
        /// Subscribers.
        #[arg(long, default_value_t = 5000, value_parser = parse_positive)]
        subscribers: usize,
        /// Publications outstanding.
        #[arg(long, default_value_t = 1, value_parser = parse_positive)]
        window: usize,
        /// Bytes of a publication's data (a JSON string with its quotes).
        #[arg(long, default_value_t = 128, value_parser = parse_data_bytes)]
        bytes: usize,
        /// Bytes of one message of a floor.
        #[arg(long, default_value_t = 180, value_parser = parse_positive)]
        floor_bytes: usize,
        /// Descriptor tables for the subscribers, each with a thread: more than one where one does not hold them.
        #[arg(long, default_value_t = 1, value_parser = parse_positive)]
        tables: usize,
        /// Shard of Roadstead that the publisher is to be on.
        #[arg(long)]
        publisher_shard: Option<u16>,
        /// Shard of Roadstead that all subscribers are to be on.
        #[arg(long)]
        subscriber_shard: Option<u16>,
    },
    /// Process memory of the server for each open, silent connection.
    Idle {
        #[command(flatten)]
        target: Target,
        /// Connections.
        #[arg(long, default_value_t = 18_000, value_parser = parse_positive)]
        connections: usize,
        /// Connect each as a user of its own with a token signed with this secret, and subscribe it.
        #[arg(long)]
        token_secret: Option<String>,
        /// Subscribe each session to a channel of its own instead of one for all.
        #[arg(long, requires = "token_secret")]
        own_channel: bool,
        /// Subscriptions of each session, among a thousand channels if more than one.
        #[arg(long, default_value_t = 1, requires = "token_secret", value_parser = parse_positive)]
        subscriptions: usize,
        /// Seconds of rest before memory is read.
        #[arg(long, default_value_t = 10.0, value_parser = parse_seconds)]
        settle: f64,
    },
    /// Connections opened and upgraded.
    Handshakes {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        time: Time,
        /// Connections opened before they are closed again.
        #[arg(long, default_value_t = 10_000, value_parser = parse_positive)]
        round: usize,
    },
    /// Over TLS: messages that come back, handshakes, or process memory of the server for each silent connection.
    Tls {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        time: Time,
        /// The server's certificate (PEM), which is trusted.
        #[arg(long)]
        certificate: PathBuf,
        /// The name in it.
        #[arg(long, default_value = "roadstead")]
        name: String,
        /// What is measured.
        #[arg(long, value_enum)]
        what: TlsArgument,
        /// Version of TLS.
        #[arg(long, value_enum, default_value = "1.3")]
        version: VersionArgument,
        /// Open connections of echo and idle.
        #[arg(long, default_value_t = 200, value_parser = parse_positive)]
        connections: usize,
        /// Messages of the echo outstanding on each connection.
        #[arg(long, default_value_t = 1, value_parser = parse_positive)]
        depth: usize,
        /// Bytes of the echo's payload.
        #[arg(long, default_value_t = 20)]
        bytes: usize,
        /// Seconds of rest before memory is read.
        #[arg(long, default_value_t = 10.0, value_parser = parse_seconds)]
        settle: f64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TlsArgument {
    Echo,
    Full,
    Resumed,
    Idle,
}

#[derive(Clone, Copy, ValueEnum)]
enum VersionArgument {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

#[derive(Args)]
struct Target {
    /// Address of the server; a floor of several tables has several.
    #[arg(long, required = true, value_delimiter = ',')]
    to: Vec<SocketAddrV4>,
    /// Process of the server.
    #[arg(long)]
    pid: u32,
    /// What the server speaks.
    #[arg(long, value_enum, default_value = "ws")]
    protocol: ProtocolArgument,
    /// How the client protocol is written.
    #[arg(long, value_enum, default_value = "json")]
    encoding: EncodingArgument,
    /// Path of the upgrade request.
    #[arg(long, default_value = "/echo")]
    path: String,
    /// Core to run on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

#[derive(Args)]
struct Time {
    /// Seconds measured.
    #[arg(long, default_value_t = 5.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Seconds under load before that.
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    warm_up: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum EncodingArgument {
    Json,
    Protobuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProtocolArgument {
    Raw,
    Ws,
}

fn parse_number(text: &str, least: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("{text} is not a number of at least {least}")),
    }
}

fn parse_positive(text: &str) -> Result<usize, String> {
    parse_number(text, 1)
}

fn parse_data_bytes(text: &str) -> Result<usize, String> {
    parse_number(text, 2)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text} is not a number of seconds from 0 to 3600")),
    }
}

impl Target {
    /// Binds the driver to its core and describes the server.
    fn take(self) -> io::Result<Server> {
        kernel::pin(self.core)?;
        kernel::raise_descriptor_limit()?;
        let protocol = match self.protocol {
            ProtocolArgument::Raw => Protocol::Raw,
            ProtocolArgument::Ws => Protocol::WebSocket,
        };
        let encoding = match self.encoding {
            EncodingArgument::Json => Encoding::Json,
            EncodingArgument::Protobuf => Encoding::Protobuf,
        };
        Ok(Server { addresses: self.to, pid: self.pid, protocol, encoding, path: self.path })
    }
}

impl Time {
    fn period(&self) -> Period {
        Period {
            warm_up: Duration::from_secs_f64(self.warm_up),
            measured: Duration::from_secs_f64(self.seconds),
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: Bench) -> io::Result<()> {
    match bench {
        Bench::Echo { target, time, connections, depth, bytes, text } => {
            let load = echo::Load { connections, depth, message_bytes: bytes, text };
            print(&echo::drive(&target.take()?, &load, &time.period())?)
        }
        Bench::Fanout {
            target,
            time,
            subscribers,
            window,
            bytes,
            floor_bytes,
            tables,
            publisher_shard,
            subscriber_shard,
        } => {
            let load = fan_out::Load {
                subscribers,
                tables,
                window,
                data_bytes: bytes,
                floor_message_bytes: floor_bytes,
                placement: fan_out::Placement { publisher: publisher_shard, subscribers: subscriber_shard },
            };
            print(&fan_out::drive(&target.take()?, &load, &time.period())?)
        }
        Bench::Idle { target, connections, token_secret, own_channel, subscriptions, settle } => {
            let kind = match token_secret {
                None => idle::Kind::Upgraded,
                Some(token_secret) => idle::Kind::Session { token_secret, own_channel, subscriptions },
            };
            let settle = Duration::from_secs_f64(settle);
            print(&idle::drive(&target.take()?, &kind, connections, settle)?)
        }
        Bench::Handshakes { target, time, round } => {
            print(&handshakes::drive(&target.take()?, round, &time.period())?)
        }
        Bench::Tls { target, time, certificate, name, what, version, connections, depth, bytes, settle } => {
            let version = match version {
                VersionArgument::Tls12 => tls::Version::Tls12,
                VersionArgument::Tls13 => tls::Version::Tls13,
            };
            let resumes = what == TlsArgument::Resumed;
            let trust = tls::Trust::new(&certificate, &name, version, resumes)?;
            let (server, period) = (target.take()?, time.period());
            match what {
                TlsArgument::Echo => {
                    let load = tls::Load { connections, depth, message_bytes: bytes };
                    print(&tls::echo(&server, &trust, &load, &period)?)
                }
                TlsArgument::Full | TlsArgument::Resumed => {
                    print(&tls::handshakes(&server, &trust, resumes, &period)?)
                }
                TlsArgument::Idle => {
                    let settle = Duration::from_secs_f64(settle);
                    print(&tls::idle(&server, &trust, connections, settle)?)
                }
            }
        }
    }
}

fn print(result: &impl Serialize) -> io::Result<()> {
    let mut stdout = io::stdout();
    serde_json::to_writer(&mut stdout, result)?;
    writeln!(stdout)
}
