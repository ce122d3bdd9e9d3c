//! The command line: flags, their help, and how their values are written.
//!
//! Invariant: says what was asked for; whether it makes sense together is for `plan` to judge.

mod help;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::expect::Expectation;

use crate::limits::{CONNECTIONS_MAX, DEPTH_MAX, SUBSCRIPTIONS_MAX, THREADS_MAX};
use crate::scrape::MetricsUrl;
use crate::target::{SourceChoice, Url};
use crate::zipf::Law;

use help::{ABOUT, AGENT_EXAMPLE, EXAMPLES};
pub(crate) use values::Seconds;
use values::{duration, header_value, name_prefix, rate, share, size};

/// The whole command line, with what is not a scenario by itself.
#[must_use]
pub(crate) fn command_line() -> Command {
    let run = Flags::augment_args(Command::new("run"))
        .about("Play a scenario from a TOML file: its keys are the names of flags, and flags given here go first")
        .mut_arg("url", |url| url.required(false))
        .arg(Arg::new("file").value_name("FILE").required(true).value_parser(clap::value_parser!(PathBuf)));
    let agent = Command::new("agent")
        .about("Wait for controllers (--agents) and play the parts that they give")
        .after_help(AGENT_EXAMPLE)
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS")
                .help("Where controllers connect: 0.0.0.0:7900")
                .required(true)
                .value_parser(clap::value_parser!(SocketAddr)),
        )
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("FILE")
                .help("File whose first line is the key that controllers must have")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf)),
        );
    let conform = Command::new("conform")
        .about("Run the cases of an Autobahn fuzzing server, as its client: sends back what it is sent")
        .arg(
            Arg::new("io")
                .long("io")
                .value_name("NAME")
                .help("The io back end")
                .default_value("auto")
                .value_parser(clap::value_parser!(IoChoice)),
        )
        .arg(Arg::new("url").value_name("URL").required(true).value_parser(clap::value_parser!(Url)));
    Arguments::command().subcommands([run, agent, conform])
}

/// A command line that names a scenario.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) scenario: ScenarioFlags,
}

/// The scenarios; all share the flags, so that a line can be changed by one word.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ScenarioFlags {
    /// Open connections at a rate, each with a whole WebSocket upgrade, then close them properly
    #[command(after_help = EXAMPLES)]
    Connect(Flags),
    /// Open connections and hold them for the duration, answering pings
    #[command(after_help = EXAMPLES)]
    Idle(Flags),
    /// Send messages to a server that sends them back (any WebSocket echo server)
    #[command(after_help = EXAMPLES)]
    Echo(Flags),
    /// Publish to channels with many subscribers (any server of the Centrifuge client protocol)
    #[command(after_help = EXAMPLES)]
    Fanout(Flags),
    /// Every user writes to another user, by way of that user's channel (#USER)
    #[command(after_help = EXAMPLES)]
    Direct(Flags),
    /// fanout and direct together, with a few slow clients and some that come and go
    #[command(after_help = EXAMPLES)]
    Mixed(Flags),
    /// fanout with a share of subscribers that read slowly or not at all
    #[command(after_help = EXAMPLES)]
    Slow(Flags),
    /// fanout during which a share of subscribers is cut off at once and comes back with full-jitter back-off
    #[command(after_help = EXAMPLES)]
    Storm(Flags),
    /// fanout during which subscribers leave and come back at a steady rate
    #[command(after_help = EXAMPLES)]
    Churn(Flags),
}

impl ScenarioFlags {
    /// The flags of whichever scenario was chosen.
    #[must_use]
    pub(crate) fn flags(&self) -> &Flags {
        match self {
            Self::Connect(flags)
            | Self::Idle(flags)
            | Self::Echo(flags)
            | Self::Fanout(flags)
            | Self::Direct(flags)
            | Self::Mixed(flags)
            | Self::Slow(flags)
            | Self::Storm(flags)
            | Self::Churn(flags) => flags,
        }
    }

    /// The same, to change them.
    pub(crate) fn flags_mut(&mut self) -> &mut Flags {
        match self {
            Self::Connect(flags)
            | Self::Idle(flags)
            | Self::Echo(flags)
            | Self::Fanout(flags)
            | Self::Direct(flags)
            | Self::Mixed(flags)
            | Self::Slow(flags)
            | Self::Storm(flags)
            | Self::Churn(flags) => flags,
        }
    }

    /// Its name.
    #[must_use]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Idle(_) => "idle",
            Self::Echo(_) => "echo",
            Self::Fanout(_) => "fanout",
            Self::Direct(_) => "direct",
            Self::Mixed(_) => "mixed",
            Self::Slow(_) => "slow",
            Self::Storm(_) => "storm",
            Self::Churn(_) => "churn",
        }
    }
}

/// Flags of all scenarios.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// Where to connect: ws://HOST:PORT/PATH, or wss:// for TLS. Several, repeated or with commas, take the connections in turn; fanout
    /// then spreads the readers of every channel over them, and tells what it costs to cross from one to another
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',', help_heading = "Target")]
    pub(crate) url: Vec<Url>,

    /// fanout: where the publishers connect [default: like the subscribers, in turn]
    #[arg(long, value_name = "URL", value_delimiter = ',', help_heading = "Target")]
    pub(crate) publish_url: Vec<Url>,

    /// Addresses to connect from: 127.0.0.2-127.0.0.9, a list with commas, or a count of addresses of 127.0.0.0/8.
    /// Automatic for loopback targets: one for each 20,000 connections, fewer where ephemeral ports are few
    #[arg(long, value_name = "ADDRESSES", help_heading = "Target")]
    pub(crate) source: Option<SourceChoice>,

    /// wss: trust the certificate authorities in this file (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure_tls", help_heading = "Target")]
    pub(crate) ca: Option<PathBuf>,

    /// wss: trust any certificate
    #[arg(long, help_heading = "Target")]
    pub(crate) insecure_tls: bool,

    /// wss: the name that the certificate must have [default: the URL's host]
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub(crate) tls_name: Option<String>,

    /// wss: let connections that come back resume earlier sessions; otherwise they make full handshakes, as first ones do
    #[arg(long, help_heading = "Target")]
    pub(crate) tls_resume: bool,

    /// Value of the Origin header; none by default
    #[arg(long, value_name = "ORIGIN", value_parser = header_value, help_heading = "Target")]
    pub(crate) origin: Option<String>,

    /// Offer permessage-deflate without context takeover; what is sent stays as it is, what comes may be deflated
    #[arg(long, help_heading = "Target")]
    pub(crate) compression: bool,

    /// Connections to open (fanout: subscribers)
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)), help_heading = "Load")]
    pub(crate) connections: u32,

    /// echo, fanout: messages per second in all; 0: closed loop, see --depth. connect, idle: connections per second;
    /// 0: as fast as they open [default: 0; fanout: 100]
    #[arg(short, long, value_name = "R", value_parser = rate, help_heading = "Load")]
    pub(crate) rate: Option<f64>,

    /// How long to send or to hold, in seconds, or with a unit: 90s, 5m, 1h. connect: the time in which all must be
    /// open [default: 10; connect: no limit]
    #[arg(short, long, value_name = "S", value_parser = duration, help_heading = "Load")]
    pub(crate) duration: Option<Seconds>,

    /// Time before the duration in which messages are sent and checked, but not measured
    #[arg(long, value_name = "S", value_parser = duration, default_value = "0", help_heading = "Load")]
    pub(crate) warmup: Seconds,

    /// Time to hold all connections before anything is sent, answering pings
    #[arg(long, value_name = "S", value_parser = duration, default_value = "0", help_heading = "Load")]
    pub(crate) hold: Seconds,

    /// The same after everything has arrived, before connections are closed
    #[arg(long, value_name = "S", value_parser = duration, default_value = "0", help_heading = "Load")]
    pub(crate) hold_after: Seconds,

    /// At the end, end connections without close frames, as a crash of their clients does: sooner done with many
    #[arg(long, help_heading = "Load")]
    pub(crate) cut: bool,

    /// Payload of a message, in bytes, or with a unit: 16KiB [default: echo 20, fanout 128]
    #[arg(short, long, value_name = "B", value_parser = size, help_heading = "Load")]
    pub(crate) size: Option<usize>,

    /// Closed loop: messages outstanding on each connection (fanout: publications of each publisher that are not
    /// yet delivered to all)
    #[arg(long, value_name = "D", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(DEPTH_MAX)), help_heading = "Load")]
    pub(crate) depth: u32,

    /// Connections opened per second; 0: as fast as they open [default: 0; connect, idle: --rate]
    #[arg(long, value_name = "C", value_parser = rate, help_heading = "Load")]
    pub(crate) connect_rate: Option<f64>,

    /// Handshakes in progress at most, over all threads
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Load")]
    pub(crate) in_flight: u32,

    /// mixed: messages from user to user per second [default: as many as publications]
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Load")]
    pub(crate) direct_rate: Option<f64>,

    /// echo: send text frames instead of binary ones
    #[arg(long, help_heading = "Load")]
    pub(crate) text: bool,

    /// Time for one connection to open
    #[arg(long, value_name = "S", value_parser = duration, default_value = "10", help_heading = "Load")]
    pub(crate) timeout: Seconds,

    /// Time at the end for messages that are still under way
    #[arg(long, value_name = "S", value_parser = duration, default_value = "5", help_heading = "Load")]
    pub(crate) drain: Seconds,

    /// Log in with the client protocol on every connection, and answer its pings (fanout always does)
    #[arg(long, help_heading = "Client protocol")]
    pub(crate) connect: bool,

    /// Log in and subscribe each connection to one channel (fanout always does)
    #[arg(long, help_heading = "Client protocol")]
    pub(crate) subscribe: bool,

    /// Channels; the connections of each URL subscribe to them in turn
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Client protocol")]
    pub(crate) channels: u32,

    /// Channels that each connection subscribes to, one after the other from its first
    #[arg(long, value_name = "M", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(SUBSCRIPTIONS_MAX)),
          help_heading = "Client protocol")]
    pub(crate) subscriptions: u32,

    /// How subscribers spread over the channels: evenly, or by Zipf's law (channel number k has a share of 1/(k+1)^S)
    #[arg(long, value_name = "even|zipf[:S]", value_parser = Law::parse_spread, default_value = "even",
          help_heading = "Client protocol")]
    pub(crate) spread: Law,

    /// Which of its channels a publisher takes: one after the other, any at random, or by Zipf's law
    #[arg(long, value_name = "turn|random|zipf[:S]", value_parser = Law::parse_pick, default_value = "turn",
          help_heading = "Client protocol")]
    pub(crate) pick: Law,

    /// Channels are named by this and their number
    #[arg(long, value_name = "TEXT", default_value = "loadgen-", value_parser = name_prefix,
          help_heading = "Client protocol")]
    pub(crate) channel_prefix: String,

    /// fanout: connections that publish, beside the subscribers
    #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Client protocol")]
    pub(crate) publishers: u32,

    /// Speak the Protobuf form of the client protocol instead of JSON
    #[arg(long, help_heading = "Client protocol")]
    pub(crate) protobuf: bool,

    /// The token that every connection logs in with
    #[arg(long, value_name = "JWT", conflicts_with = "token_secret", help_heading = "Client protocol")]
    pub(crate) token: Option<String>,

    /// HS256 secret to make a token of its own for the user of every connection
    #[arg(
        long,
        value_name = "SECRET",
        env = "LOADGEN_TOKEN_SECRET",
        hide_env_values = true,
        help_heading = "Client protocol"
    )]
    pub(crate) token_secret: Option<String>,

    /// Users are named by this and the number of their connection (with --token-secret)
    #[arg(long, value_name = "TEXT", default_value = "loadgen-", value_parser = name_prefix,
          help_heading = "Client protocol")]
    pub(crate) user_prefix: String,

    /// Share of the subscribers that do not keep up while messages are sent: 0.1 [default: slow 0.1, mixed 0.01, others 0]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Unrest")]
    pub(crate) slow_share: Option<f64>,

    /// Bytes per second that each of them reads; 0: it stalls
    #[arg(long, value_name = "B", value_parser = size, default_value = "0", help_heading = "Unrest")]
    pub(crate) slow_read: usize,

    /// Share of the subscribers that is cut off at once, without a close frame, and comes back with full-jitter
    /// back-off [default: storm 0.5, others 0]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Unrest")]
    pub(crate) storm_share: Option<f64>,

    /// When that happens, counted from the first message
    #[arg(long, value_name = "S", value_parser = duration, default_value = "1", help_heading = "Unrest")]
    pub(crate) storm_after: Seconds,

    /// Time to the next one, and between those that follow [default: there is one only]
    #[arg(long, value_name = "S", value_parser = duration, help_heading = "Unrest")]
    pub(crate) storm_every: Option<Seconds>,

    /// Subscribers that leave per second, with a close frame, and come back at once [default: churn and mixed 1 % of
    /// the connections, others 0]
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Unrest")]
    pub(crate) churn_rate: Option<f64>,

    /// Open connections again that the server ends, with full-jitter back-off, instead of counting them as lost
    #[arg(long, help_heading = "Unrest")]
    pub(crate) reconnect: bool,

    /// Longest pause before the first attempt to come back; it doubles with each further attempt, and the pause is
    /// anything from nothing to it
    #[arg(long, value_name = "S", value_parser = duration, default_value = "500ms", help_heading = "Unrest")]
    pub(crate) backoff_min: Seconds,

    /// What it grows to at most
    #[arg(long, value_name = "S", value_parser = duration, default_value = "20", help_heading = "Unrest")]
    pub(crate) backoff_max: Seconds,

    /// Threads that drive connections [default: as many as --cores, else half of the machine's cores]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=i64::from(THREADS_MAX)),
          help_heading = "Generator")]
    pub(crate) threads: Option<u32>,

    /// Cores to pin the threads to, in turn: 1,3
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Generator")]
    pub(crate) cores: Vec<usize>,

    /// How to talk to the kernel
    #[arg(long, value_enum, default_value_t = IoChoice::Auto, help_heading = "Generator")]
    pub(crate) io: IoChoice,

    /// Seed of masking and handshake keys [default: by time]
    #[arg(long, value_name = "N", help_heading = "Generator")]
    pub(crate) seed: Option<u64>,

    /// Play it from several machines: agents (loadgen agent) at these addresses, each with a part of the connections and
    /// rates, and with channels and users of its own
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires = "agents_key",
        help_heading = "Generator"
    )]
    pub(crate) agents: Vec<String>,

    /// File whose first line is the key that the agents have
    #[arg(long, value_name = "FILE", requires = "agents", help_heading = "Generator")]
    pub(crate) agents_key: Option<PathBuf>,

    /// Silence of an agent after which it is given up, which fails the run; they report each second
    #[arg(long, value_name = "S", value_parser = duration, default_value = "30", help_heading = "Generator")]
    pub(crate) agents_timeout: Seconds,

    /// Write the result as JSON to this file; -: to stdout, and the text to stderr
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) json: Option<PathBuf>,

    /// What the result must show: p99<50ms, lost==0, comeback.max<10s; repeats. Expectations decide the exit code
    #[arg(long, value_name = "NAME<VALUE", help_heading = "Output")]
    pub(crate) expect: Vec<Expectation>,

    /// Write the result as a page with plots to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,

    /// Write the latencies of each second to this file, as a histogram log for HDR tools
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hdr: Option<PathBuf>,

    /// Look at the server's metrics meanwhile (Prometheus text format), for --json and --html
    #[arg(long, value_name = "http://HOST:PORT/PATH", help_heading = "Output")]
    pub(crate) metrics_url: Option<MetricsUrl>,

    /// What is said on stderr while it runs, once a second and when a phase begins
    #[arg(long, value_enum, default_value_t = ProgressChoice::Auto, help_heading = "Output")]
    pub(crate) progress: ProgressChoice,

    /// No progress while it runs: --progress none
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
}

/// `--io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoChoice {
    /// io_uring where the kernel allows it, otherwise epoll
    Auto,
    /// io_uring or nothing
    #[value(name = "io_uring")]
    Uring,
    /// epoll
    Epoll,
}

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressChoice {
    /// A line that is redrawn on a terminal, lines of text elsewhere
    Auto,
    /// Lines of text
    Text,
    /// Lines of JSON
    Json,
    /// Nothing
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn every_scenario_takes_the_documented_flags() {
        for scenario in ["connect", "idle", "echo", "fanout", "direct", "mixed", "slow", "storm", "churn"] {
            let line = "--url ws://a/ --connections 3 --rate 5 --duration 2 --size 64 --depth 2 --json out";
            let words = ["loadgen", scenario].into_iter().chain(line.split(' '));
            let parsed = Arguments::try_parse_from(words).expect("parses");
            assert_eq!(parsed.scenario.flags().connections, 3);
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "loadgen",
            "loadgen echo",
            "loadgen echo --url http://a/",
            "loadgen echo --url ws://a/ --connections 0",
            "loadgen echo --url ws://a/ --depth 0",
            "loadgen echo --url ws://a/ --threads 0",
            "loadgen echo --url ws://a/ --io kqueue",
            "loadgen idle --url ws://a/ --token x --token-secret y",
            "loadgen dance --url ws://a/",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
