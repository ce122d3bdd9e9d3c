//! What a run will do: flags checked against each other and turned into numbers that threads can follow.
//!
//! Invariant: made once before any thread starts, never changed after; threads share it read-only.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roadstead_protocol::Encoding;

use crate::arguments::{Flags, IoChoice, ScenarioFlags, Seconds};
use crate::limits::{
    CHECKERS_MAX, DESCRIPTORS_RESERVED, PAYLOAD_BYTES_MAX, PUBLICATION_BYTES_MAX, STREAMS_MAX, THREADS_MAX,
};
use crate::ports::Ports;
use crate::schedule::{Nanos, SECOND};
use crate::spread::Spread;
use crate::stamp::{PUBLICATION_BYTES_MIN, RUN_BITS};
use crate::streams::{Picker, Streams};
use crate::target::{Sources, Target, Url};
use crate::token::Tokens;
use crate::zipf::{Law, Zipf};

/// A checked run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What happens on the connections.
    pub(crate) load: Load,
    /// Where they go: different URLs, the subscribers' first.
    pub(crate) targets: Vec<Target>,
    /// Which of them goes where.
    pub(crate) spread: Arc<Spread>,
    /// Where they come from, in turn.
    pub(crate) sources: Sources,
    /// `Origin` header.
    pub(crate) origin: Option<String>,
    /// Connections in all, publishers included. They are numbered from 0; publishers come last.
    pub(crate) clients: u32,
    /// How they open.
    pub(crate) opening: Opening,
    /// What they say after the upgrade; `None`: nothing.
    pub(crate) login: Option<Login>,
    /// Time between the start and the first measured message.
    pub(crate) warmup: Nanos,
    /// Measured time.
    pub(crate) duration: Nanos,
    /// Time for messages under way at the end.
    pub(crate) drain: Nanos,
    /// Time to hold connections before the first message.
    pub(crate) hold: Nanos,
    /// Time to hold them after the last.
    pub(crate) hold_after: Nanos,
    /// Threads. Client `number` lives on thread `number % threads`.
    pub(crate) threads: u32,
    /// Cores that threads are pinned to, in turn; empty: they are not.
    pub(crate) cores: Vec<usize>,
    /// Back end.
    pub(crate) io: IoChoice,
    /// Seed of all random numbers.
    pub(crate) seed: u64,
    /// Marks this run's publications.
    pub(crate) run: u32,
}

/// How connections open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// Connections per second over all threads; `None`: as fast as they open.
    pub(crate) rate: Option<f64>,
    /// Handshakes in progress at most, over all threads.
    pub(crate) in_flight: u32,
    /// Time for one connection.
    pub(crate) timeout: Nanos,
    /// Time for all; `None`: whatever it takes.
    pub(crate) limit: Option<Nanos>,
}

/// What happens on open connections.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// Nothing: they are closed once all are open.
    Connect,
    /// Nothing but answers to pings.
    Idle,
    /// Messages that come back.
    Echo(EchoLoad),
    /// Publications to subscribers.
    Fanout(FanoutLoad),
}

/// Echo messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EchoLoad {
    /// Payload, bytes.
    pub(crate) size: usize,
    /// When messages are sent.
    pub(crate) pace: Pace,
    /// Text frames instead of binary.
    pub(crate) text: bool,
}

/// Publications.
#[derive(Clone, Debug)]
pub(crate) struct FanoutLoad {
    /// Payload, bytes.
    pub(crate) size: usize,
    /// When publications are sent.
    pub(crate) pace: Pace,
    /// Who publishes where.
    pub(crate) streams: Streams,
}

/// Open or closed loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many messages per second in all, whatever the server does.
    Open(f64),
    /// So many outstanding on each connection (echo) or of each publisher (fan-out).
    Closed(u32),
}

/// The client protocol after the upgrade.
#[derive(Debug)]
pub(crate) struct Login {
    /// JSON or Protobuf.
    pub(crate) encoding: Encoding,
    /// Tokens to log in with.
    pub(crate) tokens: Tokens,
    /// Channels to subscribe to; `None`: only log in.
    pub(crate) channels: Option<Channels>,
}

/// Channel names and who reads which.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    /// How many there are.
    pub(crate) count: u32,
    /// Their names begin with this and end with their number.
    pub(crate) prefix: String,
    /// Who reads which.
    pub(crate) spread: Arc<Spread>,
}

impl Channels {
    /// The name of channel `number`.
    #[must_use]
    pub(crate) fn name(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The number of the channel that client `number` subscribes to.
    #[must_use]
    pub(crate) fn of_client(&self, number: u32) -> Option<u32> {
        self.spread.channel_of(number, self.count)
    }
}

impl Plan {
    /// Checks the flags and resolves the targets.
    ///
    /// # Errors
    /// What is wrong, as a sentence for the user.
    pub(crate) fn new(scenario: &ScenarioFlags) -> Result<Self, String> {
        let flags = scenario.flags();
        let seed = flags.seed.unwrap_or_else(unix_nanos);
        let load = load(scenario, seed)?;
        let publishers = if matches!(load, Load::Fanout(_)) { flags.publishers } else { 0 };
        let clients = flags
            .connections
            .checked_add(publishers)
            .ok_or_else(|| "too many connections and publishers".to_owned())?;
        let (targets, spread) = targets(flags)?;
        let peers: Vec<_> = targets.iter().map(|target| target.peer).collect();
        let sources = Sources::new(flags.source.as_ref(), &peers, clients, Ports::of_this_machine())?;
        let threads = flags.threads.unwrap_or_else(|| threads_default(flags.cores.len())).min(clients);
        Ok(Self {
            opening: opening(scenario),
            login: login(scenario, &load, &spread),
            load,
            targets,
            spread,
            sources,
            origin: flags.origin.clone(),
            clients,
            warmup: nanos(flags.warmup),
            duration: nanos(flags.duration.unwrap_or(Seconds(10.0))),
            drain: nanos(flags.drain),
            hold: nanos(flags.hold),
            hold_after: nanos(flags.hold_after),
            threads,
            cores: cores(flags)?,
            io: flags.io,
            seed,
            run: run_mark(),
        })
    }

    /// Takes more threads where `descriptors` do not suffice for the connections of one: each thread has a table of its
    /// own (epoll). True: threads were added.
    ///
    /// # Errors
    /// The user asked for fewer threads than are needed.
    pub(crate) fn fit(&mut self, descriptors: u64, threads_asked: Option<u32>) -> Result<bool, String> {
        let room = descriptors.saturating_sub(DESCRIPTORS_RESERVED).clamp(1, u64::from(u32::MAX)) as u32;
        let needed = self.clients.div_ceil(room);
        if needed <= self.threads {
            return Ok(false);
        }
        if threads_asked.is_some() || needed > THREADS_MAX {
            return Err(format!(
                "epoll needs a descriptor for each connection, and {descriptors} are allowed (RLIMIT_NOFILE): use \
                 --threads {needed}, each with descriptors of its own, or --io io_uring, or raise the limit"
            ));
        }
        self.threads = needed;
        Ok(true)
    }

    /// Clients of thread `thread`: their numbers are `thread`, `thread + threads`, ...
    #[must_use]
    pub(crate) fn clients_of(&self, thread: u32) -> u32 {
        (self.clients - thread.min(self.clients)).div_ceil(self.threads)
    }

    /// The target of client `number`.
    #[must_use]
    pub(crate) fn target_of(&self, number: u32) -> &Target {
        &self.targets[self.spread.target_of(number)]
    }

    /// Name of the scenario.
    #[must_use]
    pub(crate) fn scenario(&self) -> &'static str {
        match self.load {
            Load::Connect => "connect",
            Load::Idle => "idle",
            Load::Echo(_) => "echo",
            Load::Fanout(_) => "fanout",
        }
    }

    /// Size of a message's payload, bytes; 0 where none is sent.
    #[must_use]
    pub(crate) fn payload_bytes(&self) -> usize {
        match &self.load {
            Load::Connect | Load::Idle => 0,
            Load::Echo(echo) => echo.size,
            Load::Fanout(fanout) => fanout.size,
        }
    }
}

/// The different URLs, and who goes to which. A URL that is named twice gets twice as many.
fn targets(flags: &Flags) -> Result<(Vec<Target>, Arc<Spread>), String> {
    let mut targets: Vec<Target> = Vec::new();
    let mut number_of = |url: &Url| match targets.iter().position(|target| target.url == *url) {
        Some(known) => Ok(known as u32),
        None => {
            targets.push(Target::resolve(url)?);
            Ok(targets.len() as u32 - 1)
        }
    };
    let urls = flags.url.iter().map(&mut number_of).collect::<Result<Vec<_>, String>>()?;
    let mut publish_urls =
        flags.publish_url.iter().map(&mut number_of).collect::<Result<Vec<_>, String>>()?;
    if publish_urls.is_empty() {
        publish_urls.clone_from(&urls);
    }
    let zipf = match flags.spread {
        Law::Zipf(exponent) => Some(Zipf::new(exponent, flags.channels.min(STREAMS_MAX as u32))),
        Law::Turn | Law::Random => None,
    };
    Ok((targets, Arc::new(Spread { subscribers: flags.connections, urls, publish_urls, zipf })))
}

fn load(scenario: &ScenarioFlags, seed: u64) -> Result<Load, String> {
    Ok(match scenario {
        ScenarioFlags::Connect(_) => Load::Connect,
        ScenarioFlags::Idle(_) => Load::Idle,
        ScenarioFlags::Echo(flags) => Load::Echo(echo(flags)?),
        ScenarioFlags::Fanout(flags) => Load::Fanout(fanout(flags, seed)?),
    })
}

fn echo(flags: &Flags) -> Result<EchoLoad, String> {
    let size = flags.size.unwrap_or(20);
    if size > PAYLOAD_BYTES_MAX {
        return Err(format!("--size of an echo message is at most {PAYLOAD_BYTES_MAX} bytes"));
    }
    Ok(EchoLoad { size, pace: pace(flags.rate.unwrap_or(0.0), flags.depth), text: flags.text })
}

fn fanout(flags: &Flags, seed: u64) -> Result<FanoutLoad, String> {
    let size = flags.size.unwrap_or(128);
    if !(PUBLICATION_BYTES_MIN..=PUBLICATION_BYTES_MAX).contains(&size) {
        return Err(format!(
            "--size of a publication is from {PUBLICATION_BYTES_MIN} (its stamp) to {PUBLICATION_BYTES_MAX} bytes"
        ));
    }
    let (channels, publishers) = (flags.channels, flags.publishers);
    if u64::from(channels) * u64::from(publishers.div_ceil(channels)) > STREAMS_MAX {
        return Err(format!("channels and publishers make more than {STREAMS_MAX} streams"));
    }
    let picker = Picker::new(flags.pick, channels.div_ceil(publishers), seed);
    let streams = Streams { subscribers: flags.connections, channels, publishers, picker };
    if u64::from(streams.subscribers) * u64::from(streams.per_channel()) > CHECKERS_MAX {
        return Err(format!(
            "subscribers times publishers of one channel is more than {CHECKERS_MAX}: use more channels"
        ));
    }
    Ok(FanoutLoad { size, pace: pace(flags.rate.unwrap_or(100.0), flags.depth), streams })
}

fn pace(rate: f64, depth: u32) -> Pace {
    if rate > 0.0 { Pace::Open(rate) } else { Pace::Closed(depth) }
}

fn opening(scenario: &ScenarioFlags) -> Opening {
    let flags = scenario.flags();
    let rate = match scenario {
        ScenarioFlags::Connect(_) | ScenarioFlags::Idle(_) => flags.connect_rate.or(flags.rate),
        ScenarioFlags::Echo(_) | ScenarioFlags::Fanout(_) => flags.connect_rate,
    };
    let limit = match scenario {
        ScenarioFlags::Connect(_) => flags.duration.map(nanos),
        _ => None,
    };
    Opening {
        rate: rate.filter(|rate| *rate > 0.0),
        in_flight: flags.in_flight,
        timeout: nanos(flags.timeout),
        limit,
    }
}

fn login(scenario: &ScenarioFlags, load: &Load, spread: &Arc<Spread>) -> Option<Login> {
    let flags = scenario.flags();
    let is_fanout = matches!(load, Load::Fanout(_));
    let subscribes = flags.subscribe || is_fanout;
    if !subscribes && !flags.connect {
        return None;
    }
    Some(Login {
        encoding: if flags.protobuf { Encoding::Protobuf } else { Encoding::Json },
        tokens: Tokens::new(flags.token.as_deref(), flags.token_secret.as_deref(), &flags.user_prefix),
        channels: subscribes.then(|| Channels {
            count: flags.channels,
            prefix: flags.channel_prefix.clone(),
            spread: Arc::clone(spread),
        }),
    })
}

/// Flags that were given and have no effect on the scenario, for a note to the user.
#[must_use]
pub(crate) fn idle_flags(scenario: &ScenarioFlags) -> Vec<&'static str> {
    let flags = scenario.flags();
    let sends = matches!(scenario, ScenarioFlags::Echo(_) | ScenarioFlags::Fanout(_));
    let is_fanout = matches!(scenario, ScenarioFlags::Fanout(_));
    let speaks = is_fanout || flags.connect || flags.subscribe;
    let open_loop = sends && flags.rate.map_or(is_fanout, |rate| rate > 0.0);
    let table = [
        ("--size", flags.size.is_some() && !sends),
        ("--depth", flags.depth != 1 && (!sends || open_loop)),
        ("--warmup", flags.warmup.0 > 0.0 && matches!(scenario, ScenarioFlags::Connect(_))),
        ("--text", flags.text && !matches!(scenario, ScenarioFlags::Echo(_))),
        ("--publishers", flags.publishers != 1 && !is_fanout),
        ("--publish-url", !flags.publish_url.is_empty() && !is_fanout),
        ("--pick", flags.pick != Law::Turn && !is_fanout),
        ("--spread", flags.spread != Law::Turn && !is_fanout && !flags.subscribe),
        ("--hold", flags.hold.0 + flags.hold_after.0 > 0.0 && matches!(scenario, ScenarioFlags::Connect(_))),
        ("--channels", flags.channels != 1 && !is_fanout && !flags.subscribe),
        ("--protobuf", flags.protobuf && !speaks),
        ("--token", flags.token.is_some() && !speaks),
        ("--token-secret", flags.token_secret.is_some() && !speaks),
    ];
    table.into_iter().filter_map(|(name, is_idle)| is_idle.then_some(name)).collect()
}

fn nanos(seconds: Seconds) -> Nanos {
    (seconds.0 * SECOND as f64) as Nanos
}

/// The cores of the command line, if this process may use them.
fn cores(flags: &Flags) -> Result<Vec<usize>, String> {
    let usable = core_affinity::get_core_ids().unwrap_or_default();
    match flags.cores.iter().find(|core| !usable.iter().any(|usable| usable.id == **core)) {
        Some(core) => {
            let usable: Vec<_> = usable.iter().map(|core| core.id.to_string()).collect();
            Err(format!("--cores: core {core} cannot be used; these can: {}", usable.join(",")))
        }
        None => Ok(flags.cores.clone()),
    }
}

/// As many as cores were named; without, half of the machine's: the server under test usually needs the other half.
fn threads_default(cores_named: usize) -> u32 {
    if cores_named > 0 {
        return (cores_named as u32).min(THREADS_MAX);
    }
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() as u32 / 2).max(1))
}

fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |elapsed| elapsed.as_nanos() as u64)
}

/// By time, not by seed: two runs with one seed must not take each other's publications for their own.
fn run_mark() -> u32 {
    let mut random = crate::random::Random::new(unix_nanos() ^ u64::from(std::process::id()) << 32);
    (random.next() & ((1 << RUN_BITS) - 1)) as u32
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn plan(line: &str) -> Result<Plan, String> {
        let words = line.split(' ');
        let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        Plan::new(&arguments.scenario)
    }

    #[test]
    fn a_rate_means_what_the_scenario_needs() {
        let connect = plan("loadgen connect --url ws://127.0.0.1/ --rate 50").unwrap();
        assert_eq!(connect.opening.rate, Some(50.0));
        assert_eq!(connect.opening.limit, None);
        let echo = plan("loadgen echo --url ws://127.0.0.1/ --rate 50 --depth 3").unwrap();
        assert_eq!(echo.opening.rate, None);
        assert!(
            matches!(echo.load, Load::Echo(EchoLoad { pace: Pace::Open(rate), size: 20, .. }) if rate == 50.0)
        );
        let closed = plan("loadgen echo --url ws://127.0.0.1/ --depth 3").unwrap();
        assert!(matches!(closed.load, Load::Echo(EchoLoad { pace: Pace::Closed(3), .. })));
        let fanout = plan("loadgen fanout --url ws://127.0.0.1/ --connect-rate 9 --publishers 2").unwrap();
        assert_eq!((fanout.opening.rate, fanout.clients), (Some(9.0), 102));
        assert!(
            matches!(fanout.load, Load::Fanout(FanoutLoad { pace: Pace::Open(rate), .. }) if rate == 100.0)
        );
    }

    #[test]
    fn the_client_protocol_is_spoken_where_asked_for() {
        let none = plan("loadgen idle --url ws://127.0.0.1/").unwrap();
        assert!(none.login.is_none());
        let connect = plan("loadgen idle --url ws://127.0.0.1/ --connect").unwrap();
        assert!(connect.login.unwrap().channels.is_none());
        let subscribe = plan("loadgen idle --url ws://127.0.0.1/ --subscribe --channels 7").unwrap();
        let channels = subscribe.login.unwrap().channels.unwrap();
        assert_eq!((channels.of_client(9), channels.name(2)), (Some(2), "loadgen-2".to_owned()));
        let fanout = plan("loadgen fanout --url ws://127.0.0.1/ --connections 10 --publishers 2").unwrap();
        let channels = fanout.login.unwrap().channels.unwrap();
        assert_eq!((channels.of_client(9), channels.of_client(10)), (Some(0), None));
    }

    #[test]
    fn several_urls_share_the_clients() {
        let line =
            "loadgen fanout --url ws://127.0.0.1/a,ws://127.0.0.1/b --url ws://127.0.0.1/a --connections 6";
        let plan =
            plan(&format!("{line} --publish-url ws://127.0.0.1/b,ws://127.0.0.1/c --publishers 3")).unwrap();
        let paths: Vec<_> = (0..9).map(|number| plan.target_of(number).url.target.as_str()).collect();
        assert_eq!(paths, ["/a", "/b", "/a", "/a", "/b", "/a", "/b", "/c", "/b"]);
        assert_eq!(plan.targets.len(), 3);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "loadgen fanout --url ws://127.0.0.1/ --size 10",
            "loadgen echo --url ws://127.0.0.1/ --size 1000MiB",
            "loadgen echo --url ws://127.0.0.1/ --source ::1",
            "loadgen echo --url ws://127.0.0.1/ --cores 99999",
            "loadgen fanout --url ws://127.0.0.1/ --channels 2000000000 --publishers 2",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
    }

    #[test]
    fn clients_are_spread_over_threads() {
        let plan = plan("loadgen echo --url ws://127.0.0.1/ --connections 10 --threads 4").unwrap();
        let counts: Vec<_> = (0..4).map(|thread| plan.clients_of(thread)).collect();
        assert_eq!(counts, [3, 3, 2, 2]);
    }

    #[test]
    fn threads_follow_the_descriptors() {
        let table = [
            (20_000, None, Ok(3)),
            (1_000_000, None, Ok(1)),
            (20_000, Some(3), Ok(3)),
            (20_000, Some(2), Err(())),
            (100, None, Err(())),
        ];
        for (descriptors, asked, expected) in table {
            let line = "loadgen idle --url ws://127.0.0.1/ --connections 59000";
            let mut plan = plan(&format!("{line} --threads {}", asked.unwrap_or(1))).unwrap();
            let fit = plan.fit(descriptors, asked).map(|_| plan.threads).map_err(drop);
            assert_eq!(fit, expected, "{descriptors} {asked:?}");
        }
    }

    #[test]
    fn flags_without_effect_are_named() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap().scenario;
        let idle = parse("loadgen idle --url ws://a/ --size 5 --publishers 2 --protobuf");
        assert_eq!(idle_flags(&idle), ["--size", "--publishers", "--protobuf"]);
        let echo = parse("loadgen echo --url ws://a/ --size 5 --depth 4");
        assert!(idle_flags(&echo).is_empty());
        let open = parse("loadgen echo --url ws://a/ --rate 5 --depth 4");
        assert_eq!(idle_flags(&open), ["--depth"]);
    }
}
