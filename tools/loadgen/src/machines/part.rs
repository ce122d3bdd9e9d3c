//! Which part of a command line an agent plays.
//!
//! Invariant: the parts of all agents together are the whole: connections, publishers, rates.

use crate::arguments::{Flags, ScenarioFlags};

/// The flags of part `part` of `parts`: its share of the numbers, and names of its own for users and channels.
pub(super) fn take_part(scenario: &mut ScenarioFlags, part: u32, parts: u32) {
    let flags = scenario.flags_mut();
    let whole = flags.connections;
    let share_of = |number: u32| number / parts + u32::from(part < number % parts);
    flags.connections = share_of(whole);
    flags.publishers = share_of(flags.publishers);
    flags.channels = share_of(flags.channels).max(flags.subscriptions);
    flags.in_flight = share_of(flags.in_flight).max(1);
    let share = f64::from(flags.connections) / f64::from(whole);
    for rate in [&mut flags.rate, &mut flags.connect_rate, &mut flags.churn_rate, &mut flags.direct_rate] {
        *rate = rate.map(|rate| rate * share);
    }
    flags.channel_prefix.push_str(&format!("m{part}-"));
    flags.user_prefix.push_str(&format!("m{part}-"));
    flags.seed = flags.seed.map(|seed| seed.wrapping_add(u64::from(part)));
    forget_outputs(flags);
}

/// What the controller does itself.
fn forget_outputs(flags: &mut Flags) {
    (flags.json, flags.html, flags.hdr, flags.metrics_url) = (None, None, None, None);
    flags.expect.clear();
    flags.agents.clear();
}

/// Makes a command line one that can be divided, for the controller: each part needs a publisher and a channel of its own, and two
/// connections.
///
/// # Errors
/// There are too few connections, as a sentence for the user.
pub(super) fn make_divisible(scenario: &mut ScenarioFlags, parts: u32) -> Result<(), String> {
    let publishes = !matches!(
        scenario,
        ScenarioFlags::Connect(_)
            | ScenarioFlags::Idle(_)
            | ScenarioFlags::Echo(_)
            | ScenarioFlags::Direct(_)
    );
    let flags = scenario.flags_mut();
    if flags.connections < 2 * parts {
        return Err(format!("{parts} agents need {} --connections at least", 2 * parts));
    }
    if publishes {
        flags.publishers = flags.publishers.max(parts);
        // Without a rate there is one by default, and it is for all together.
        flags.rate = flags.rate.or(Some(crate::plan::RATE));
    }
    if matches!(scenario, ScenarioFlags::Direct(_)) {
        let flags = scenario.flags_mut();
        flags.rate = flags.rate.or(Some(crate::plan::RATE));
    }
    let flags = scenario.flags_mut();
    flags.channels = flags.channels.max(parts * flags.subscriptions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn parts_are_the_whole() {
        let line =
            "loadgen fanout --url ws://a/ --connections 100 --publishers 2 --channels 7 --rate 30 --json x";
        let mut whole = Arguments::try_parse_from(line.split(' ')).unwrap().scenario;
        make_divisible(&mut whole, 3).unwrap();
        let parts: Vec<_> = (0..3)
            .map(|part| {
                let mut scenario = whole.clone();
                take_part(&mut scenario, part, 3);
                scenario.flags().clone()
            })
            .collect();
        let sum = |number: fn(&Flags) -> u32| parts.iter().map(number).sum::<u32>();
        assert_eq!(sum(|flags| flags.connections), 100);
        assert_eq!((sum(|flags| flags.publishers), sum(|flags| flags.channels)), (3, 7));
        let rate: f64 = parts.iter().filter_map(|flags| flags.rate).sum();
        assert!((rate - 30.0).abs() < 1e-9, "{rate}");
        assert!(parts.iter().all(|flags| flags.json.is_none()));
        assert_ne!(parts[0].channel_prefix, parts[1].channel_prefix);
        assert!(make_divisible(&mut whole, 51).is_err());
    }
}
