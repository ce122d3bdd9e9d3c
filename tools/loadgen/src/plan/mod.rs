//! What a run will do: flags checked against each other and turned into numbers that threads can follow.
//!
//! Invariant: made once before any thread starts, never changed after; threads share it read-only.

mod channels;
mod idle;
mod load;
mod unrest;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roadstead_protocol::Encoding;
use wsproto::deflate::Offer;

use crate::arguments::{Flags, IoChoice, ScenarioFlags, Seconds};
use crate::limits::{DESCRIPTORS_RESERVED, STREAMS_MAX, THREADS_MAX};
use crate::ports::Ports;
use crate::schedule::{Nanos, SECOND};
use crate::spread::Spread;
use crate::stamp::RUN_BITS;
use crate::target::{Sources, Target, Url};
use crate::tls::Trust;
use crate::token::Tokens;
use crate::zipf::{Law, Zipf};

/// Nothing leans on anything, so that no connection has to keep what it has heard.
const OFFER: Offer = Offer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: None,
};

pub(crate) use channels::Channels;
pub(crate) use idle::idle_flags;
pub(crate) use load::{EchoLoad, Flow, FlowKind, Load, Pace, RATE};
pub(crate) use unrest::Unrest;

/// A checked run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Name of the scenario.
    pub(crate) scenario: &'static str,
    /// What happens on the connections.
    pub(crate) load: Load,
    /// Where they go: different URLs, the subscribers' first.
    pub(crate) targets: Vec<Target>,
    /// Which of them goes where.
    pub(crate) spread: Arc<Spread>,
    /// Where they come from, in turn.
    pub(crate) sources: Sources,
    /// Whom TLS trusts; `None`: no URL needs it.
    pub(crate) trust: Option<Trust>,
    /// `Origin` header.
    pub(crate) origin: Option<String>,
    /// How messages may be deflated; `None`: not at all.
    pub(crate) deflate: Option<Offer>,
    /// Connections in all, publishers included. They are numbered from 0; publishers come last.
    pub(crate) clients: u32,
    /// How they open.
    pub(crate) opening: Opening,
    /// What they say after the upgrade; `None`: nothing.
    pub(crate) login: Option<Login>,
    /// What is done to connections on purpose.
    pub(crate) unrest: Unrest,
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
    /// At the end connections are cut off instead of closed.
    pub(crate) cuts: bool,
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

/// The client protocol after the upgrade.
#[derive(Debug)]
pub(crate) struct Login {
    /// JSON or Protobuf.
    pub(crate) encoding: Encoding,
    /// Tokens to log in with.
    pub(crate) tokens: Tokens,
    /// Channels to subscribe to; empty: only log in. Those of each flow of publications, in their order.
    pub(crate) channels: Vec<Channels>,
}

impl Plan {
    /// Checks the flags and resolves the targets.
    ///
    /// # Errors
    /// What is wrong, as a sentence for the user.
    pub(crate) fn new(scenario: &ScenarioFlags) -> Result<Self, String> {
        Self::build(scenario, true)
    }

    /// The same for a run that agents play: this machine's addresses and ports do not matter.
    ///
    /// # Errors
    /// What is wrong, as a sentence for the user.
    pub(crate) fn of_many(scenario: &ScenarioFlags) -> Result<Self, String> {
        Self::build(scenario, false)
    }

    fn build(scenario: &ScenarioFlags, is_played_here: bool) -> Result<Self, String> {
        let flags = scenario.flags();
        let seed = flags.seed.unwrap_or_else(unix_nanos);
        if flags.subscriptions > flags.channels && !matches!(scenario, ScenarioFlags::Direct(_)) {
            return Err("--subscriptions are at most as many as --channels".to_owned());
        }
        let load = Load::new(scenario, seed)?;
        let publishers = load.publishers();
        let clients = flags
            .connections
            .checked_add(publishers)
            .ok_or_else(|| "too many connections and publishers".to_owned())?;
        let (targets, spread) = targets(flags)?;
        let peers: Vec<_> = targets.iter().map(|target| target.peer).collect();
        let sources = match is_played_here {
            true => Sources::new(flags.source.as_ref(), &peers, clients, Ports::of_this_machine())?,
            false => Sources::default(),
        };
        let threads = flags.threads.unwrap_or_else(|| threads_default(flags.cores.len())).min(clients);
        Ok(Self {
            scenario: scenario.name(),
            opening: opening(scenario),
            login: login(scenario, &load, &spread),
            unrest: Unrest::new(scenario)?,
            load,
            trust: trust(flags, &targets)?,
            targets,
            spread,
            sources,
            origin: flags.origin.clone(),
            deflate: flags.compression.then_some(OFFER),
            clients,
            warmup: nanos(flags.warmup),
            duration: nanos(flags.duration.unwrap_or(Seconds(10.0))),
            drain: nanos(flags.drain),
            hold: nanos(flags.hold),
            hold_after: nanos(flags.hold_after),
            cuts: flags.cut,
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

    /// Size of the largest message's payload, bytes; 0 where none is sent.
    #[must_use]
    pub(crate) fn payload_bytes(&self) -> usize {
        match &self.load {
            Load::Connect | Load::Idle => 0,
            Load::Echo(echo) => echo.size,
            Load::Flows(flows) => flows.iter().map(|flow| flow.size).max().unwrap_or(0),
        }
    }

    /// Whether client `number` is one that does not keep up: they are spread evenly over the subscribers.
    #[must_use]
    pub(crate) fn is_slow(&self, number: u32) -> bool {
        number < self.spread.subscribers && self.unrest.is_slow(number)
    }
}

/// The different URLs, and who goes to which. A URL that is named twice gets twice as many.
fn targets(flags: &Flags) -> Result<(Vec<Target>, Arc<Spread>), String> {
    let mut targets: Vec<Target> = Vec::new();
    let mut number_of = |url: &Url| match targets.iter().position(|target| target.url == *url) {
        Some(known) => Ok(known as u32),
        None => {
            targets.push(Target::resolve(url, flags.tls_name.as_deref())?);
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

fn opening(scenario: &ScenarioFlags) -> Opening {
    let flags = scenario.flags();
    let rate = match scenario {
        ScenarioFlags::Connect(_) | ScenarioFlags::Idle(_) => flags.connect_rate.or(flags.rate),
        _ => flags.connect_rate,
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
    let channels = match load {
        Load::Flows(flows) => flows.iter().map(|flow| Channels::of_flow(flow, flags, spread)).collect(),
        _ if flags.subscribe => vec![Channels::shared(flags, spread)],
        _ => Vec::new(),
    };
    if channels.is_empty() && !flags.connect {
        return None;
    }
    Some(Login {
        encoding: if flags.protobuf { Encoding::Protobuf } else { Encoding::Json },
        tokens: Tokens::new(flags.token.as_deref(), flags.token_secret.as_deref(), &flags.user_prefix),
        channels,
    })
}

fn trust(flags: &Flags, targets: &[Target]) -> Result<Option<Trust>, String> {
    let needs_it = targets.iter().any(|target| target.url.is_tls);
    needs_it.then(|| Trust::new(flags.ca.as_deref(), flags.insecure_tls, flags.tls_resume)).transpose()
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
            matches!(echo.load, Load::Echo(load::EchoLoad { pace: Pace::Open(rate), size: 20, .. }) if rate == 50.0)
        );
        let closed = plan("loadgen echo --url ws://127.0.0.1/ --depth 3").unwrap();
        assert!(matches!(closed.load, Load::Echo(load::EchoLoad { pace: Pace::Closed(3), .. })));
        let fanout = plan("loadgen fanout --url ws://127.0.0.1/ --connect-rate 9 --publishers 2").unwrap();
        assert_eq!((fanout.opening.rate, fanout.clients), (Some(9.0), 102));
        assert!(
            matches!(&fanout.load, Load::Flows(flows) if matches!(flows[0].pace, Pace::Open(rate) if rate == 100.0))
        );
    }

    #[test]
    fn the_client_protocol_is_spoken_where_asked_for() {
        let none = plan("loadgen idle --url ws://127.0.0.1/").unwrap();
        assert!(none.login.is_none());
        let connect = plan("loadgen idle --url ws://127.0.0.1/ --connect").unwrap();
        assert!(connect.login.unwrap().channels.is_empty());
        let subscribe = plan("loadgen idle --url ws://127.0.0.1/ --subscribe --channels 7").unwrap();
        let channels = &subscribe.login.unwrap().channels[0];
        assert_eq!((channels.of_client(9), channels.name(2)), (Some(2), "loadgen-2".to_owned()));
        let fanout = plan("loadgen fanout --url ws://127.0.0.1/ --connections 10 --publishers 2").unwrap();
        let channels = &fanout.login.unwrap().channels[0];
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
            "loadgen fanout --url ws://127.0.0.1/ --channels 3 --subscriptions 4",
            "loadgen mixed --url ws://127.0.0.1/ --rate 0",
            "loadgen direct --url ws://127.0.0.1/ --connections 1",
            "loadgen echo --url ws://127.0.0.1/ --storm-share 0.5",
            "loadgen storm --url ws://127.0.0.1/ --storm-every 0",
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
}
