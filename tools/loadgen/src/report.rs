//! The result as text for a terminal.
//!
//! Invariant: reads a `RunResult` and nothing else.

use std::fmt::Write as _;

use crate::latency::{Summary, readable};
use crate::result::RunResult;

/// With fewer connections, what threads and histograms take would pass for the cost of a connection.
const MEMORY_SHOWN_FROM: u64 = 10_000;

/// The whole text, lines ended by LF.
#[must_use]
pub(crate) fn text(result: &RunResult) -> String {
    let mut text = String::with_capacity(2_048);
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, result);
    text
}

fn write_all(to: &mut String, result: &RunResult) -> std::fmt::Result {
    write_head(to, result)?;
    write_connections(to, result)?;
    write_messages(to, result)?;
    write_unrest(to, result)?;
    write_urls(to, result)?;
    write_latencies(to, result)?;
    write_errors(to, result)?;
    write_generator(to, result)?;
    write_verdict(to, result)
}

fn write_head(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let settings = &result.settings;
    write!(to, "{} of {}", result.scenario, settings.urls.join(", "))?;
    if result.interrupted {
        write!(to, " (ended early)")?;
    }
    writeln!(to)
}

fn write_connections(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let connections = &result.connections;
    writeln!(
        to,
        "connections   planned {}   opened {}   failed {}   closed {}",
        grouped(connections.planned),
        grouped(connections.opened),
        grouped(connections.failed),
        grouped(connections.closed),
    )?;
    writeln!(to, "opening       {:.2} s   {:.0}/s", connections.opening_s, connections.opened_per_s)?;
    if connections.tls_handshakes > 0 {
        let (full, resumed) = (connections.tls_handshakes - connections.tls_resumed, connections.tls_resumed);
        writeln!(to, "TLS           {} full handshakes, {} resumed", grouped(full), grouped(resumed))?;
    }
    if connections.dropped > 0 {
        writeln!(to, "lost          {} connections after they had opened", grouped(connections.dropped))?;
    }
    if connections.unclean > 0 {
        writeln!(to, "unclean       {} connections without a proper end", grouped(connections.unclean))?;
    }
    Ok(())
}

fn write_messages(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let messages = &result.messages;
    if messages.pings > 0 {
        writeln!(to, "pings         {} answered", grouped(messages.pings))?;
    }
    if messages.expected == 0 && messages.sent == 0 {
        return Ok(());
    }
    writeln!(
        to,
        "messages      sent {}   received {}   lost {}   duplicated {}   out of order {}   damaged {}",
        grouped(messages.sent),
        grouped(messages.received),
        grouped(messages.lost),
        grouped(messages.duplicated),
        grouped(messages.reordered),
        grouped(messages.corrupt),
    )?;
    writeln!(
        to,
        "rate          sent {:.0}/s   received {:.0}/s   over {:.2} s, {} bytes each",
        messages.sent_per_s, messages.received_per_s, messages.measured_s, result.settings.size,
    )?;
    if let Some(rate) = result.settings.rate.filter(|rate| messages.sent_per_s < 0.98 * rate) {
        writeln!(to, "              only {:.0} of the {rate:.0}/s asked for were sent", messages.sent_per_s)?;
    }
    if messages.unsent > 0 {
        writeln!(
            to,
            "unsent        {} (connection gone or not reading, or the generator too slow)",
            grouped(messages.unsent)
        )?;
    }
    if messages.foreign > 0 {
        writeln!(to, "foreign       {} messages of other senders", grouped(messages.foreign))?;
    }
    Ok(())
}

/// What was done to connections, where anything was.
fn write_unrest(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let unrest = &result.unrest;
    if unrest.cut + unrest.churned + unrest.torn > 0 {
        writeln!(
            to,
            "unrest        cut off {}   left {}   ended by the server {}   came back {}   after failed attempts {}   away {}",
            grouped(unrest.cut),
            grouped(unrest.churned),
            grouped(unrest.torn),
            grouped(unrest.back),
            grouped(unrest.retries),
            grouped(unrest.away + unrest.given_up),
        )?;
        for setback in &unrest.setbacks {
            writeln!(to, "  {:>9}  {:<20} {}", grouped(setback.count), setback.kind, setback.text)?;
        }
    }
    if unrest.slow > 0 {
        writeln!(
            to,
            "slow          {} of the subscribers, {} of them ended by the server",
            grouped(unrest.slow),
            grouped(unrest.slow_ended)
        )?;
    }
    if result.messages.excused > 0 {
        writeln!(
            to,
            "excused       {} deliveries to connections that were ended on purpose, or of refused publications",
            grouped(result.messages.excused)
        )?;
    }
    Ok(())
}

/// A line for each URL, where there are several.
fn write_urls(to: &mut String, result: &RunResult) -> std::fmt::Result {
    if result.urls.len() < 2 {
        return Ok(());
    }
    for of_url in &result.urls {
        writeln!(
            to,
            "  {}   opened {} of {}   sent {}   received {}   lost {}   duplicated {}   out of order {}",
            of_url.url,
            grouped(of_url.opened),
            grouped(of_url.planned),
            grouped(of_url.sent),
            grouped(of_url.received),
            grouped(of_url.lost),
            grouped(of_url.duplicated),
            grouped(of_url.reordered),
        )?;
    }
    Ok(())
}

fn write_latencies(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let rows = result.latency_us.rows();
    if rows.iter().all(|(_, summary)| summary.is_none()) {
        return Ok(());
    }
    writeln!(
        to,
        "latency       {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "p50", "p90", "p99", "p99.9", "max", "count"
    )?;
    for (name, summary) in rows {
        let Some(Summary { count, p50, p90, p99, p999, max, .. }) = summary else { continue };
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|value| readable(*value));
        let count = grouped(*count);
        writeln!(to, "  {name:<11} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10} {count:>12}")?;
    }
    Ok(())
}

fn write_errors(to: &mut String, result: &RunResult) -> std::fmt::Result {
    if result.errors.is_empty() {
        return writeln!(to, "errors        none");
    }
    writeln!(to, "errors")?;
    for error in &result.errors {
        writeln!(to, "  {:>9}  {:<20} {}", grouped(error.count), error.kind, error.text)?;
    }
    writeln!(to, "the first of them")?;
    for example in &result.examples {
        writeln!(to, "  {example}")?;
    }
    Ok(())
}

fn write_generator(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let generator = &result.generator;
    writeln!(
        to,
        "generator     {}   {} thread{}   {:.2} cores   busiest thread {:.0} %, waiting for a core {:.0} %",
        generator.io,
        generator.threads,
        if generator.threads == 1 { "" } else { "s" },
        generator.cpu_cores,
        100.0 * generator.busiest_thread,
        100.0 * generator.busiest_thread_waiting,
    )?;
    if result.connections.opened >= MEMORY_SHOWN_FROM {
        writeln!(
            to,
            "memory        {:.1} MiB, {:.0} bytes a connection",
            generator.memory_bytes as f64 / 1_048_576.0,
            generator.memory_per_connection,
        )?;
    }
    for reason in &generator.bottleneck {
        writeln!(to, "              the generator was itself the bottleneck: {reason}")?;
    }
    Ok(())
}

fn write_verdict(to: &mut String, result: &RunResult) -> std::fmt::Result {
    for checked in &result.expectations {
        let word = if checked.met { "met" } else { "FAILED" };
        writeln!(to, "expected      {:<24} {word}: {}", checked.expectation, checked.shown())?;
    }
    let unmet = result.expectations.iter().filter(|checked| !checked.met).count();
    if result.ok && unmet > 0 {
        writeln!(to, "result        FAILED: not as expected ({unmet} of {})", result.expectations.len())
    } else if result.ok {
        writeln!(to, "result        ok")
    } else {
        writeln!(to, "result        FAILED: {}", result.faults_text())
    }
}

/// A number with commas between groups of three digits.
#[must_use]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::result::tests::{good_outcome, plan};

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_good_run_says_so() {
        let text = text(&RunResult::new(&plan(), good_outcome()));
        assert!(text.contains("messages      sent 1,000   received 1,000   lost 0"), "{text}");
        assert!(text.contains("  message         500 us"), "{text}");
        assert!(text.contains("errors        none"), "{text}");
        assert!(text.ends_with("result        ok\n"), "{text}");
    }

    #[test]
    fn expectations_are_told_with_their_units() {
        let mut result = RunResult::new(&plan(), good_outcome());
        let expected = ["message.p50<1s", "message.count>0", "message.p50<1us"];
        let expected: Vec<_> = expected.iter().map(|text| text.parse().unwrap()).collect();
        result.check(&expected).unwrap();
        let text = text(&result);
        for line in ["message.p50<1s           met: 500 us", "message.p50<1us          FAILED: 500 us"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("message.count>0          met: 1"), "{text}");
        assert!(text.ends_with("result        FAILED: not as expected (1 of 3)\n"), "{text}");
    }

    #[test]
    fn a_bad_run_says_why() {
        let mut outcome = good_outcome();
        outcome.counters.failed = 2;
        outcome.failures.add(Failure::Status(503), || "client 7: busy".to_owned());
        outcome.failures.add_times(Failure::Status(503), 1);
        let text = text(&RunResult::new(&plan(), outcome));
        assert!(text.contains("status_503"), "{text}");
        assert!(text.contains("  client 7: busy\n"), "{text}");
        assert!(text.contains("result        FAILED: 2 connections could not be opened\n"), "{text}");
    }
}
