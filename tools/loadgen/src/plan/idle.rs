//! Flags that were given and have no effect on the scenario.

use crate::arguments::ScenarioFlags;
use crate::zipf::Law;

/// The flags without effect, for a note to the user.
#[must_use]
pub(crate) fn idle_flags(scenario: &ScenarioFlags) -> Vec<&'static str> {
    use ScenarioFlags::{Churn, Connect, Direct, Echo, Fanout, Idle, Mixed, Slow, Storm};
    let flags = scenario.flags();
    let is_fanout = matches!(scenario, Fanout(_) | Mixed(_) | Slow(_) | Storm(_) | Churn(_));
    let publishes = is_fanout || matches!(scenario, Direct(_));
    let sends = !matches!(scenario, Connect(_) | Idle(_));
    let speaks = publishes || flags.connect || flags.subscribe;
    let reads = is_fanout || flags.subscribe;
    let open_loop = sends && flags.rate.map_or(publishes, |rate| rate > 0.0);
    let is_tls = flags.url.iter().chain(&flags.publish_url).any(|url| url.is_tls);
    let is_connect = matches!(scenario, Connect(_));
    let table = [
        ("--size", flags.size.is_some() && !sends),
        ("--depth", flags.depth != 1 && (!sends || open_loop)),
        ("--warmup", flags.warmup.0 > 0.0 && is_connect),
        ("--hold", flags.hold.0 > 0.0 && is_connect),
        ("--hold-after", flags.hold_after.0 > 0.0 && is_connect),
        ("--text", flags.text && !matches!(scenario, Echo(_))),
        ("--publishers", flags.publishers != 1 && !is_fanout),
        ("--publish-url", !flags.publish_url.is_empty() && !is_fanout),
        ("--pick", flags.pick != Law::Turn && !is_fanout),
        ("--spread", flags.spread != Law::Turn && !reads),
        ("--channels", flags.channels != 1 && !reads),
        ("--subscriptions", flags.subscriptions != 1 && !reads),
        ("--direct-rate", flags.direct_rate.is_some() && !matches!(scenario, Mixed(_))),
        ("--ca", flags.ca.is_some() && !is_tls),
        ("--insecure-tls", flags.insecure_tls && !is_tls),
        ("--tls-name", flags.tls_name.is_some() && !is_tls),
        ("--tls-resume", flags.tls_resume && !is_tls),
        ("--protobuf", flags.protobuf && !speaks),
        ("--token", flags.token.is_some() && !speaks),
        ("--token-secret", flags.token_secret.is_some() && !speaks),
    ];
    table.into_iter().filter_map(|(name, is_idle)| is_idle.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

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
