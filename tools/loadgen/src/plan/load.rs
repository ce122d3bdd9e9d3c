//! What happens on open connections: echoes, or flows of publications.

use crate::arguments::{Flags, ScenarioFlags};
use crate::limits::{CHECKERS_MAX, PAYLOAD_BYTES_MAX, PUBLICATION_BYTES_MAX, STREAMS_MAX};
use crate::stamp::PUBLICATION_BYTES_MIN;
use crate::streams::{Pairing, Picker, Streams};

/// Publications per second where no rate is given.
pub(crate) const RATE: f64 = 100.0;

/// What happens on open connections.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// Nothing: they are closed once all are open.
    Connect,
    /// Nothing but answers to pings.
    Idle,
    /// Messages that come back.
    Echo(EchoLoad),
    /// Publications to subscribers; one flow or more.
    Flows(Vec<Flow>),
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

/// Publications of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Of which kind.
    pub(crate) kind: FlowKind,
    /// Payload, bytes.
    pub(crate) size: usize,
    /// When publications are sent.
    pub(crate) pace: Pace,
    /// Who publishes where.
    pub(crate) streams: Streams,
    /// Number of its first stream among those of all flows.
    pub(crate) first_stream: u32,
}

/// To whom publications go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowKind {
    /// From connections that only publish to channels with many readers.
    Fanout,
    /// From each user to the channel of another.
    Direct,
}

/// Open or closed loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many messages per second in all, whatever the server does.
    Open(f64),
    /// So many outstanding on each connection (echo) or of each publisher (publications).
    Closed(u32),
}

impl Load {
    /// The load of a scenario; `seed` decides what is left to chance.
    ///
    /// # Errors
    /// What is wrong, as a sentence for the user.
    pub(crate) fn new(scenario: &ScenarioFlags, seed: u64) -> Result<Self, String> {
        Ok(match scenario {
            ScenarioFlags::Connect(_) => Load::Connect,
            ScenarioFlags::Idle(_) => Load::Idle,
            ScenarioFlags::Echo(flags) => Load::Echo(echo(flags)?),
            ScenarioFlags::Fanout(flags)
            | ScenarioFlags::Slow(flags)
            | ScenarioFlags::Storm(flags)
            | ScenarioFlags::Churn(flags) => Load::Flows(vec![fanout(flags, seed)?]),
            ScenarioFlags::Direct(flags) => Load::Flows(vec![direct(flags, flags.rate, 0)?]),
            ScenarioFlags::Mixed(flags) => Load::Flows(mixed(flags, seed)?),
        })
    }

    /// Connections that only publish.
    #[must_use]
    pub(crate) fn publishers(&self) -> u32 {
        let Load::Flows(flows) = self else { return 0 };
        let apart = flows.iter().filter(|flow| flow.kind == FlowKind::Fanout);
        apart.map(|flow| flow.streams.publishers).sum()
    }

    /// Streams of all flows.
    #[must_use]
    pub(crate) fn streams(&self) -> u32 {
        let Load::Flows(flows) = self else { return 0 };
        flows.iter().map(|flow| flow.streams.count()).sum()
    }
}

fn echo(flags: &Flags) -> Result<EchoLoad, String> {
    let size = flags.size.unwrap_or(20);
    if size > PAYLOAD_BYTES_MAX {
        return Err(format!("--size of an echo message is at most {PAYLOAD_BYTES_MAX} bytes"));
    }
    Ok(EchoLoad { size, pace: pace(flags.rate.unwrap_or(0.0), flags.depth), text: flags.text })
}

fn fanout(flags: &Flags, seed: u64) -> Result<Flow, String> {
    let (channels, publishers) = (flags.channels, flags.publishers);
    if u64::from(channels) * u64::from(publishers.div_ceil(channels)) > STREAMS_MAX {
        return Err(format!("channels and publishers make more than {STREAMS_MAX} streams"));
    }
    let checked = u64::from(flags.connections) * u64::from(publishers.div_ceil(channels));
    if checked * u64::from(flags.subscriptions) > CHECKERS_MAX {
        return Err(format!(
            "subscriptions times publishers of one channel is more than {CHECKERS_MAX}: use more channels"
        ));
    }
    let picker = Picker::new(flags.pick, channels.div_ceil(publishers), seed);
    let streams =
        Streams { pairing: Pairing::Apart, subscribers: flags.connections, channels, publishers, picker };
    let pace = pace(flags.rate.unwrap_or(RATE), flags.depth);
    Ok(Flow { kind: FlowKind::Fanout, size: publication_size(flags)?, pace, streams, first_stream: 0 })
}

fn direct(flags: &Flags, rate: Option<f64>, first_stream: u32) -> Result<Flow, String> {
    let users = flags.connections;
    if users < 2 {
        return Err("messages from user to user need two --connections at least".to_owned());
    }
    if u64::from(users) > STREAMS_MAX {
        return Err(format!("more than {STREAMS_MAX} users that write to each other"));
    }
    let streams = Streams {
        pairing: Pairing::Next,
        subscribers: users,
        channels: users,
        publishers: users,
        picker: Picker::Turn,
    };
    let pace = pace(rate.unwrap_or(RATE), flags.depth);
    Ok(Flow { kind: FlowKind::Direct, size: publication_size(flags)?, pace, streams, first_stream })
}

fn mixed(flags: &Flags, seed: u64) -> Result<Vec<Flow>, String> {
    let fanout = fanout(flags, seed)?;
    let first_stream = fanout.streams.count();
    let direct = direct(flags, flags.direct_rate.or(flags.rate), first_stream)?;
    let is_open = |flow: &Flow| matches!(flow.pace, Pace::Open(_));
    if !is_open(&fanout) || !is_open(&direct) {
        return Err("mixed needs rates: --rate and --direct-rate above 0".to_owned());
    }
    Ok(vec![fanout, direct])
}

fn publication_size(flags: &Flags) -> Result<usize, String> {
    let size = flags.size.unwrap_or(128);
    if (PUBLICATION_BYTES_MIN..=PUBLICATION_BYTES_MAX).contains(&size) {
        return Ok(size);
    }
    Err(format!(
        "--size of a publication is from {PUBLICATION_BYTES_MIN} (its stamp) to {PUBLICATION_BYTES_MAX} bytes"
    ))
}

fn pace(rate: f64, depth: u32) -> Pace {
    if rate > 0.0 { Pace::Open(rate) } else { Pace::Closed(depth) }
}
