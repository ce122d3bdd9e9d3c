//! The result as one HTML file that needs nothing else: numbers, and plots over time.
//!
//! Invariants: made from a `RunResult` alone; every text of a server or a user is escaped.

mod plot;

use std::fmt::Write as _;

use self::plot::{Line, Plot, Scale};
use crate::latency::{Summary, readable};
use crate::report;
use crate::result::RunResult;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1d2430;--dim:#66707f;--ground:#fff;--grid:#e3e7ed;--good:#1a7f4b;--bad:#c0322b;\
--c0:#2f6fdb;--c1:#d9792b;--c2:#8a4fd0;--c3:#1a9a86}
@media(prefers-color-scheme:dark){:root{--text:#e6e9ee;--dim:#98a2b1;--ground:#14181f;--grid:#2b323d;--good:#4cc38a;\
--bad:#ff7a70;--c0:#6ea0ff;--c1:#f0a35e;--c2:#b98af5;--c3:#4fd0bb}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--ground);max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:2rem 0 .5rem}.dim{color:var(--dim)}
.good{color:var(--good)}.bad{color:var(--bad)}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .9rem .15rem 0;text-align:right;font-weight:400}th{color:var(--dim)}td:first-child,th:first-child{text-align:left}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:1rem}figure{margin:0}
figcaption{font-weight:600}svg{width:100%;height:auto}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
pre{overflow:auto;padding:.8rem;border:1px solid var(--grid);font-size:12.5px}";

/// The whole page.
#[must_use]
pub(crate) fn page(result: &RunResult) -> String {
    let mut page = String::with_capacity(64 * 1_024);
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, result);
    page
}

fn write_page(to: &mut String, result: &RunResult) -> std::fmt::Result {
    let title = escaped(&format!("loadgen {}", result.scenario));
    writeln!(
        to,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>"
    )?;
    writeln!(to, "<h1>{title}</h1><p class=\"dim\">{}</p>", escaped(&result.settings.urls.join(", ")))?;
    write_verdict(to, result)?;
    write_expectations(to, result)?;
    write_latencies(to, result)?;
    writeln!(to, "<h2>Over time</h2><div class=\"plots\">")?;
    let marks: Vec<_> = result.phases.iter().map(|phase| (phase.at, phase.phase.as_str())).collect();
    for plot in plots(result) {
        writeln!(to, "{}", plot.figure(&marks))?;
    }
    writeln!(to, "</div>")?;
    write_metrics(to, result, &marks)?;
    writeln!(to, "<h2>Result</h2><pre>{}</pre>", escaped(&report::text(result)))?;
    writeln!(to, "</body></html>")
}

fn write_verdict(to: &mut String, result: &RunResult) -> std::fmt::Result {
    if result.ok {
        writeln!(to, "<p class=\"good\">Nothing failed, nothing was lost.</p>")?;
    } else {
        writeln!(to, "<p class=\"bad\">{}</p>", escaped(&result.faults_text()))?;
    }
    for reason in &result.generator.bottleneck {
        writeln!(to, "<p class=\"bad\">The generator was itself the bottleneck: {}.</p>", escaped(reason))?;
    }
    Ok(())
}

fn write_expectations(to: &mut String, result: &RunResult) -> std::fmt::Result {
    if result.expectations.is_empty() {
        return Ok(());
    }
    writeln!(to, "<h2>Expectations</h2><table><tr><th>expected</th><th>was</th><th></th></tr>")?;
    for checked in &result.expectations {
        let actual = checked.actual.map_or("nothing measured".to_owned(), |actual| format!("{actual}"));
        let (class, word) = if checked.met { ("good", "met") } else { ("bad", "failed") };
        writeln!(
            to,
            "<tr><td>{}</td><td>{actual}</td><td class=\"{class}\">{word}</td></tr>",
            escaped(&checked.expectation)
        )?;
    }
    writeln!(to, "</table>")
}

fn write_latencies(to: &mut String, result: &RunResult) -> std::fmt::Result {
    writeln!(
        to,
        "<h2>Latency</h2><table><tr><th></th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th>\
         <th>count</th></tr>"
    )?;
    for (name, summary) in result.latency_us.rows() {
        let Some(Summary { count, p50, p90, p99, p999, max, .. }) = summary else { continue };
        write!(to, "<tr><td>{name}</td>")?;
        for value in [p50, p90, p99, p999, max] {
            write!(to, "<td>{}</td>", readable(*value))?;
        }
        writeln!(to, "<td>{}</td></tr>", report::grouped(*count))?;
    }
    writeln!(to, "</table>")
}

fn plots(result: &RunResult) -> Vec<Plot<'static>> {
    let over_time = |value: fn(&crate::outcome::Second) -> f64| -> Vec<(f64, f64)> {
        result.series.iter().map(|second| (second.at, value(second))).collect()
    };
    vec![
        Plot {
            title: "Rate, per second".into(),
            scale: Scale::Linear,
            lines: vec![
                Line { name: "opened", points: over_time(|second| second.opened as f64) },
                Line { name: "sent", points: over_time(|second| second.sent as f64) },
                Line { name: "received", points: over_time(|second| second.received as f64) },
            ],
        },
        Plot {
            title: "Latency (while opening: of handshakes)".into(),
            scale: Scale::Latency,
            lines: vec![
                Line { name: "p50", points: over_time(|second| second.p50_us) },
                Line { name: "p99", points: over_time(|second| second.p99_us) },
                Line { name: "p99.9", points: over_time(|second| second.p999_us) },
            ],
        },
        Plot {
            title: "Connections".into(),
            scale: Scale::Linear,
            lines: vec![
                Line { name: "open", points: over_time(|second| second.open as f64) },
                Line { name: "failed or lost", points: over_time(|second| second.failed as f64) },
            ],
        },
    ]
}

fn write_metrics(to: &mut String, result: &RunResult, marks: &[(f64, &str)]) -> std::fmt::Result {
    if result.metrics.is_empty() {
        return Ok(());
    }
    writeln!(to, "<h2>The server's metrics</h2><div class=\"plots\">")?;
    for metric in &result.metrics {
        let (title, points) = if metric.is_counter {
            (format!("{}, per second", metric.name), rates(&metric.points))
        } else {
            (metric.name.clone(), metric.points.clone())
        };
        let plot = Plot { title: title.into(), scale: Scale::Linear, lines: vec![Line { name: "", points }] };
        writeln!(to, "{}", plot.figure(marks))?;
    }
    writeln!(to, "</div>")
}

/// What a counter grew by per second, between one look and the next. A server that began anew counts from nothing.
fn rates(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let steps = points.iter().zip(points.iter().skip(1));
    steps
        .filter(|(from, to)| to.0 > from.0)
        .map(|(from, to)| (to.0, (to.1 - from.1).max(0.0) / (to.0 - from.0)))
        .collect()
}

/// Text that may stand in HTML and in attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Expectation;
    use crate::result::Fault;
    use crate::result::tests::{good_outcome, plan};
    use crate::scrape::MetricSeries;

    #[test]
    fn a_page_holds_all_and_needs_nothing() {
        let mut result = RunResult::new(&plan(), good_outcome());
        result.faults = vec![Fault { number: None, text: "<script>alert(1)</script>".to_owned() }];
        result.ok = false;
        let value = serde_json::to_value(&result).unwrap();
        result.expectations = vec!["p99<1ms".parse::<Expectation>().unwrap().check(&value)];
        result.metrics = vec![MetricSeries {
            name: "x_total".to_owned(),
            is_counter: true,
            points: vec![(0.0, 1.0), (1.0, 3.0), (2.0, 3.0)],
        }];
        let page = page(&result);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert_eq!(page.matches("<svg").count(), 4);
        assert!(
            page.contains("x_total, per second") && page.contains("p99&lt;1ms") && page.contains(">met<")
        );
        for foreign in ["<script", "http://", "https://", "src=", "@import", "NaN"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn counters_are_shown_as_rates() {
        assert_eq!(rates(&[(0.0, 5.0), (2.0, 9.0), (3.0, 1.0)]), [(2.0, 2.0), (3.0, 0.0)]);
        assert!(rates(&[(0.0, 5.0)]).is_empty());
    }
}
