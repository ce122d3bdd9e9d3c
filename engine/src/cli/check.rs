//! `check`: says what of this machine stands in the way of the connections, before a node serves.
//!
//! Invariant: changes nothing but the limit of open files of its own process, as `serve` does.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use clap::Args;
use roadstead_io::{Choice, Kind};
use serde_json::json;

use super::given::sources;
use super::{ConfigArguments, Exit, Output, OutputArgument, SettingFlags, answer, complain, complain_of};
use crate::admission::connection_bytes;
use crate::config::{self, Entry};
use crate::node::{CeilingOutlook, Outlook, ceiling_outlook, fixed_bytes, outlook};
use crate::settings::Settings;
use crate::tuning::{Finding, Machine, Quantities, Table, Transport, Verdict, Wanted, judge, ports, taken};

pub(super) const AFTER: &str = "\
It takes what `serve` takes, and is to be run by the user and under the limits that the node will have, such as in the service
(ExecStartPre=roadstead check --config FILE), while it does not run: an address that is in use stops it. kernel-tuning/apply sets what can
be set, and remembers what was.

Memory is counted for idle connections, 4,121 bytes each in the kernel, 612 in the process (a user and a channel of its own) and 3,850 more with
TLS: docs/operations.md says how to count other clients.

  STOP  the connections cannot be held
  COST  they can, but worse
  ?     this cannot be told here

Examples:
  roadstead check --connections 1000000
  roadstead check --config roadstead.toml --output json

Exit codes: 0 nothing stops the connections, 1 something does (with --strict also where it only costs), 2 wrong usage,
3 not everything could be told, 78 configuration not valid";

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Connections that the node is to hold [default: limits.connections]
    #[arg(long, value_name = "N")]
    pub connections: Option<String>,
    /// Exit with 1 also for what only costs
    #[arg(long)]
    pub strict: bool,
    /// File and settings.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Flags of single settings.
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgument,
}

/// Looks, and tells.
#[must_use]
pub fn run(arguments: &CheckArguments) -> Exit {
    let mut sources = sources(&arguments.config, Some(&arguments.settings));
    let given = arguments.connections.as_deref();
    sources
        .flags
        .extend(given.map(|connections| Entry::flag("--connections", "limits.connections", connections)));
    let settings = match config::load(&sources) {
        Ok(configuration) => configuration.settings,
        Err(problems) => return complain_of(&problems),
    };
    let findings = match look(&settings) {
        Ok(findings) => findings,
        Err(reason) => {
            complain(&reason);
            return Exit::Failure;
        }
    };
    let answered = match arguments.output.output {
        Output::Text => answer(&text(&settings, &findings)),
        Output::Json => answer(&as_json(&settings, &findings).to_string()),
    };
    answered.and(exit(&findings, arguments.strict))
}

fn look(settings: &Settings) -> Result<Vec<Finding>, String> {
    let machine = Machine::this();
    let (back_end, kind) = back_end(settings.io);
    let soft = machine.open_files_soft();
    let outlook =
        outlook(kind, settings).map_err(|error| format!("cannot read the descriptor limit: {error}"))?;
    let connections = settings.limits.connections;
    let quantities = Quantities {
        connections: connections.into(),
        memory_kib: machine.memory_kib(),
        page_kib: machine.page_kib(),
        open_files: i64::try_from(outlook.limit).unwrap_or(i64::MAX),
        reserved: i64::try_from(outlook.wanted).unwrap_or(i64::MAX) - i64::from(connections),
        tls: settings.tls.is_on(),
    };
    let mut findings = judge(&Table::embedded(), &machine, &quantities)?;
    for finding in &mut findings {
        match finding.name.as_str() {
            "open files" => {
                fit_descriptors(finding, &outlook, kind, settings);
                if let Some(soft) = soft.filter(|soft| *soft < quantities.open_files) {
                    finding.is = format!("{} (raised from {soft})", finding.is);
                }
            }
            "memory available" => fit_memory(finding, &quantities),
            "net.netfilter.nf_conntrack_max" => name_ports(finding, settings),
            _ => {}
        }
    }
    // The back end knows more of it than the one setting: whether the call is allowed, and what this kernel lacks.
    findings.retain(|finding| finding.name != "kernel.io_uring_disabled" || finding.verdict == Verdict::Ok);
    findings.push(ceiling(settings, &machine));
    findings.push(back_end);
    findings.extend(
        wanted(settings).iter().filter(|wanted| is_taken(wanted)).map(|wanted| taken(&machine, wanted)),
    );
    findings.extend(ports(&machine, &settings.clients(), connections));
    Ok(findings)
}

/// Whether somebody else has an address, a node that runs already among them. The kernel says so; nobody is listened to, so nobody's
/// connection is lost.
fn is_taken(wanted: &Wanted) -> bool {
    let bound = match wanted.transport {
        Transport::Tcp => roadstead_io::try_bind(wanted.address),
        Transport::Udp => UdpSocket::bind(wanted.address).map(drop),
    };
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// All that the node listens on.
fn wanted(settings: &Settings) -> Vec<Wanted> {
    use Transport::{Tcp, Udp};
    let (clients, proxies) = (settings.listen.iter(), settings.proxy.listen.iter());
    let (admin, fleet) = (settings.admin.iter(), settings.cluster.listen.iter());
    let wanted =
        |transport, setting| move |address: &SocketAddr| Wanted { address: *address, transport, setting };
    clients
        .map(wanted(Tcp, "listen"))
        .chain(proxies.map(wanted(Tcp, "proxy.listen")))
        .chain(admin.map(wanted(Tcp, "admin")))
        .chain(fleet.clone().map(wanted(Tcp, "cluster.listen")))
        .chain(fleet.map(wanted(Udp, "cluster.listen")))
        .collect()
}

/// Whether the memory ceiling lets so many in.
fn ceiling(settings: &Settings, machine: &Machine) -> Finding {
    let CeilingOutlook { bytes, connections } = ceiling_outlook(settings, machine);
    let wanted = u64::from(settings.limits.connections);
    let each = connection_bytes(settings.tls.is_on());
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let stops = connections < wanted;
    Finding {
        name: "limits.memory_bytes".into(),
        verdict: if stops { Verdict::Stops } else { Verdict::Ok },
        is: if bytes == 0 { "none".into() } else { mib(bytes) },
        should: format!(">= {}", mib(fixed_bytes(settings.shards) + wanted * each)),
        why: format!(
            "past the ceiling new clients are refused; {} shards count {} of it, and an idle connection {each} bytes, the kernel's \
             included",
            settings.shards,
            mib(fixed_bytes(settings.shards))
        ),
        cost: format!("some {connections} connections are let in"),
        cure: match (stops, connections) {
            (false, _) => String::new(),
            (true, 0) => "a higher --memory, or 0 for none, or fewer --shards".into(),
            (true, _) => {
                format!("--set limits.connections={connections}, or a higher --memory, or 0 for none")
            }
        },
        see: "roadstead_memory_bytes and roadstead_memory_bytes_max of /metrics".into(),
        source: "docs/limits.md".into(),
    }
}

/// Whether the back end that is asked for is to be had, and the one that would be taken.
fn back_end(choice: Choice) -> (Finding, Kind) {
    let (verdict, kind, cost) = match roadstead_io::select(choice) {
        Ok(selected) if selected.notes.is_empty() => (Verdict::Ok, selected.kind, String::new()),
        Ok(selected) if selected.kind == Kind::Uring => {
            (Verdict::Note, selected.kind, selected.notes.join("; "))
        }
        Ok(selected) => (Verdict::Costs, selected.kind, selected.notes.join("; ")),
        Err(unavailable) => (Verdict::Stops, Kind::Uring, unavailable.to_string()),
    };
    let bad = verdict >= Verdict::Costs;
    let finding = Finding {
        name: "io back end".into(),
        verdict,
        is: if verdict == Verdict::Stops { "none".into() } else { kind.to_string() },
        should: if choice == Choice::Epoll { "epoll".into() } else { "io_uring".into() },
        why: "io_uring takes fewer calls into the kernel; whoever forbids it has a reason, so that is yours to decide".into(),
        cost,
        cure: if bad { "sysctl -w kernel.io_uring_disabled=0, or allow io_uring_setup in the seccomp filter; or --io epoll".into() } else { String::new() },
        see: "io= in the line that the node prints when it serves".into(),
        source: "io_uring_setup(2); Documentation/admin-guide/sysctl/kernel.rst".into(),
    };
    (finding, kind)
}

/// The limit of open files stops nobody as long as rings, or tables of shards, make up for it.
fn fit_descriptors(finding: &mut Finding, outlook: &Outlook, kind: Kind, settings: &Settings) {
    let connections = settings.limits.connections;
    if outlook.connections < connections {
        finding.verdict = Verdict::Stops;
        finding.cost = format!("at most {} connections are served on {kind}", outlook.connections);
    } else if finding.verdict == Verdict::Costs {
        let rings = u64::from(connections).div_ceil(outlook.limit.max(1));
        finding.cost = if outlook.own_tables {
            format!("each of the {} shards takes a table of its own", settings.shards)
        } else {
            format!("io_uring takes {rings} rings, 253 KiB each and no visible time")
        };
    }
}

/// Says how many connections the memory is enough for.
fn fit_memory(finding: &mut Finding, quantities: &Quantities) {
    if finding.verdict < Verdict::Costs {
        return;
    }
    let numbers = (finding.is.parse::<i64>(), finding.should.trim_start_matches(">= ").parse::<i64>());
    if let (Ok(is), Ok(should)) = numbers {
        let enough = i128::from(quantities.connections) * i128::from(is) / i128::from(should.max(1));
        finding.cure = format!("add memory, or --set limits.connections={enough}");
    }
}

fn name_ports(finding: &mut Finding, settings: &Settings) {
    let ports: Vec<String> = settings.clients().iter().map(|address| address.port().to_string()).collect();
    finding.cure = finding.cure.replace("PORT", &ports.join(" --port "));
}

fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
}

fn exit(findings: &[Finding], strict: bool) -> Exit {
    let failing = if strict { Verdict::Costs } else { Verdict::Stops };
    if worst(findings) >= failing {
        Exit::Failure
    } else if findings.iter().any(|finding| finding.verdict == Verdict::Unknown) {
        Exit::Partial
    } else {
        Exit::Ok
    }
}

fn text(settings: &Settings, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Unknown => "?",
            Verdict::Costs => "COST",
            Verdict::Stops => "STOP",
        };
        let is = if finding.is.is_empty() { "absent" } else { &finding.is };
        let _ = writeln!(text, "{word:<5} {:<34} {is:<24} {}", finding.name, finding.should);
        if matches!(finding.verdict, Verdict::Note | Verdict::Costs | Verdict::Stops) {
            let _ = writeln!(text, "        otherwise: {}", finding.cost);
        }
        if !finding.cure.is_empty() {
            let _ = writeln!(text, "        cure:      {}", finding.cure);
        }
    }
    let connections = settings.limits.connections;
    let _ = match worst(findings) {
        Verdict::Stops => writeln!(text, "{connections} connections cannot be held on this machine as it is"),
        Verdict::Costs => {
            writeln!(text, "{connections} connections can be held, at a cost that can be avoided")
        }
        _ => writeln!(text, "{connections} connections can be held"),
    };
    text
}

fn as_json(settings: &Settings, findings: &[Finding]) -> serde_json::Value {
    let all: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "name": finding.name,
                "verdict": finding.verdict.word(),
                "is": (!finding.is.is_empty()).then_some(&finding.is),
                "should": finding.should,
                "why": finding.why,
                "cost": finding.cost,
                "cure": (!finding.cure.is_empty()).then_some(&finding.cure),
                "see": finding.see,
                "source": finding.source,
            })
        })
        .collect();
    json!({
        "connections": settings.limits.connections,
        "verdict": worst(findings).word(),
        "findings": all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(verdict: Verdict) -> Finding {
        Finding {
            name: "memory available".into(),
            verdict,
            is: "500".into(),
            should: ">= 2000".into(),
            why: String::new(),
            cost: String::new(),
            cure: String::new(),
            see: String::new(),
            source: String::new(),
        }
    }

    #[test]
    fn the_exit_code_is_of_the_worst() {
        use Verdict::{Costs, Note, Ok, Stops, Unknown};
        for (verdicts, plain, strict) in [
            (&[Ok, Note][..], Exit::Ok, Exit::Ok),
            (&[Ok, Costs], Exit::Ok, Exit::Failure),
            (&[Unknown, Costs], Exit::Partial, Exit::Failure),
            (&[Unknown, Ok], Exit::Partial, Exit::Partial),
            (&[Unknown, Stops, Costs], Exit::Failure, Exit::Failure),
            (&[], Exit::Ok, Exit::Ok),
        ] {
            let findings: Vec<Finding> = verdicts.iter().map(|verdict| finding(*verdict)).collect();
            assert_eq!((exit(&findings, false), exit(&findings, true)), (plain, strict), "{verdicts:?}");
        }
    }

    #[test]
    fn too_few_descriptors_stop_only_what_they_cannot_hold() {
        let mut settings = Settings::default();
        settings.limits.connections = 1_000_000;
        settings.shards = 2;
        for (kind, limit, connections, own_tables, verdict, words) in [
            (Kind::Uring, 20_000, 1_000_000, false, Verdict::Costs, "50 rings"),
            (
                Kind::Epoll,
                20_000,
                39_700,
                true,
                Verdict::Stops,
                "at most 39700 connections are served on epoll",
            ),
            (Kind::Epoll, 600_000, 1_000_000, true, Verdict::Costs, "each of the 2 shards"),
        ] {
            let mut found = finding(Verdict::Costs);
            let outlook = Outlook { wanted: 1_000_500, limit, connections, own_tables };
            fit_descriptors(&mut found, &outlook, kind, &settings);
            assert_eq!(found.verdict, verdict);
            assert!(found.cost.contains(words), "{}", found.cost);
        }
    }

    #[test]
    fn memory_is_enough_for_so_many() {
        let mut found = finding(Verdict::Stops);
        let quantities = Quantities {
            connections: 1_000,
            memory_kib: 0,
            page_kib: 4,
            open_files: 1,
            reserved: 0,
            tls: false,
        };
        fit_memory(&mut found, &quantities);
        assert_eq!(found.cure, "add memory, or --set limits.connections=250");
    }
}
