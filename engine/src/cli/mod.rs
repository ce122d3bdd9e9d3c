//! The command line: what can be asked, and how answers look and end.
//!
//! Invariants: answers go to stdout, everything else to stderr; every query takes `--output json`; how a command ends
//! is one of [`Exit`]. What a setting may be is decided by [`crate::config`] alone.

mod asking;
mod bans;
mod check;
mod cluster_key;
mod configuration;
mod drain;
mod fleet;
mod given;
mod import;
mod inspect;
mod log;
mod query;
mod revoke;
mod serve;
mod token;
mod version;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Problem;

pub use bans::{BansAction, BansArguments, bans, sources};
pub use check::{CheckArguments, run as check};
pub use cluster_key::run as cluster_key;
pub use configuration::run as config;
pub use drain::{DrainArguments, run as drain};
pub use fleet::{WhereArguments, nodes, where_is};
pub use given::{ConfigArguments, SettingFlags};
pub use import::ImportArguments;
pub use inspect::InspectArguments;
pub use log::{LogAction, LogCommand, LogCopy, LogExport, LogInspect, LogQuery, run as log};
pub use query::{shards, status};
pub use revoke::{RevokeArguments, revocations, revoke};
pub use serve::run as serve;
pub use token::{MintArguments, TokenAction, TokenArguments, run as token};
pub use version::run as version;

/// How a command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Ok,
    /// Not done.
    Failure,
    /// What was asked for makes no sense.
    Usage,
    /// Answered, but not everything could be told: a shard or a node did not answer in time, a setting cannot be read.
    Partial,
    /// The configuration is not valid, or this machine does not offer what it demands (sysexits EX_CONFIG). A
    /// restart would not help.
    Configuration,
}

impl Exit {
    /// This end, unless it is a good one: then `next`.
    #[must_use]
    fn and(self, next: Self) -> Self {
        if self == Self::Ok { next } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::SUCCESS,
            Exit::Failure => Self::FAILURE,
            Exit::Usage => Self::from(2),
            Exit::Partial => Self::from(3),
            Exit::Configuration => Self::from(78),
        }
    }
}

const ABOUT: &str = "Roadstead: a WebSocket gateway for millions of long-lived connections";

const AFTER: &str = "\
Examples:
  roadstead serve --insecure --echo             develop: everybody may do everything, on loopback only
  roadstead serve --config roadstead.toml       serve with a configuration file
  roadstead config print --config roadstead.toml
                                                each setting, its value and where it came from
  roadstead check --connections 1000000         what of this machine stands in the way, and the command that cures it
  roadstead token --user ann --ttl 1h           a token that lets ann connect
  roadstead token inspect TOKEN                 what a token says, and whether a node would take it
  roadstead status --output json                what a running node says of itself
  roadstead drain                               out of service, clients first, then the process

Settings: flags win over the environment, the environment over the file, the file over defaults.
  file         [limits] connections = 100000
  environment  ROADSTEAD_LIMITS__CONNECTIONS=100000  (`__` separates; ROADSTEAD_CONFIG names the file)
  flag         --set limits.connections=100000

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not everything could be told (a shard or node did not answer), 78 configuration not valid";

/// The command line as it was given.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, about = ABOUT, after_help = AFTER, subcommand_required = true)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, args_override_self = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop (SIGTERM or SIGINT; SIGHUP reads the configuration again)
    #[command(after_help = SERVE_AFTER)]
    Serve(ServeArguments),
    /// Say what of this machine stands in the way of the connections, before serving
    #[command(after_help = check::AFTER)]
    Check(CheckArguments),
    /// Print a token (JWT) that lets a user connect or opens a channel to it; `inspect` takes one apart
    #[command(after_help = token::AFTER)]
    Token(TokenArguments),
    /// Print a fresh key for the nodes of a fleet
    #[command(after_help = cluster_key::AFTER)]
    ClusterKey,
    /// Check, print or import a configuration
    Config(ConfigCommand),
    /// What a running node says of itself
    Status(QueryArguments),
    /// Each shard of a running node
    Shards(QueryArguments),
    /// The nodes of the fleet, as a running node sees them
    Nodes(QueryArguments),
    /// Where a user is connected, asked at any node of the fleet
    #[command(after_help = fleet::WHERE_AFTER)]
    Where(WhereArguments),
    /// Whom a running node has banned, and taking a ban back
    #[command(after_help = bans::AFTER)]
    Bans(BansArguments),
    /// Which sources of connections stand out at a running node, and in what
    Sources(QueryArguments),
    /// Take a token, or a user's tokens, back on the whole fleet, and close whoever is connected by them
    #[command(after_help = revoke::AFTER)]
    Revoke(RevokeArguments),
    /// What is revoked, as a running node knows it
    Revocations(QueryArguments),
    /// Take a running node out of service without harm to its clients, or back
    #[command(after_help = drain::AFTER)]
    Drain(DrainArguments),
    /// Look at, copy or restore the durable log of a node that does not run
    #[command(after_help = log::AFTER)]
    Log(LogCommand),
    /// The version of this program
    Version(OutputArgument),
}

const SERVE_AFTER: &str = "\
When the node serves, one line goes to stdout:
  roadstead ready listen=ADDRESS[,ADDRESS] admin=ADDRESS io=NAME shards=N [node=NAME cluster=ADDRESS]
The log goes to stderr. `roadstead config print` lists all settings; any of them can be given by --set.

A node of a fleet serves when it has found the others; without --cluster-listen it is alone.

Examples:
  roadstead serve --insecure --listen 127.0.0.1:8000 --listen '[::1]:8000'
  roadstead serve --config roadstead.toml --cluster-listen 10.0.0.1:7800 --cluster-key-file cluster-key \\
      --join 10.0.0.1:7800,10.0.0.2:7800,10.0.0.3:7800
  roadstead serve --config roadstead.toml --set client.ping_s=20 --log-format json

Exit codes: 0 stopped cleanly, 1 failed, 2 wrong usage, 78 configuration not valid";

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// File and settings.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Flags of single settings.
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// `config`.
#[derive(Debug, Args)]
pub struct ConfigCommand {
    /// What to do with it.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Say whether it is valid, and every problem if not (exit code 78)
    Check(ConfigQuery),
    /// Print each setting, its value and its origin; secrets are redacted
    Print(ConfigQuery),
    /// Make a configuration file of Centrifugo's, and say of each of its keys what became of it
    #[command(after_help = import::AFTER)]
    Import(ImportArguments),
}

/// `config check` and `config print` take what `serve` takes, so that they see what it would.
#[derive(Debug, Args)]
pub struct ConfigQuery {
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

/// Questions to a running node.
#[derive(Debug, Args)]
pub struct QueryArguments {
    /// The node's Unix socket [default: in the runtime directory, as `serve` makes it]
    #[arg(long, value_name = "PATH", env = "ROADSTEAD_ADMIN_SOCKET")]
    pub admin_socket: Option<PathBuf>,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgument,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgument {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Writes an answer. A reader that has gone away (a closed pipe) is its own business; an answer that is lost otherwise is a
/// failure.
#[must_use]
fn answer(text: &str) -> Exit {
    let mut stdout = io::stdout();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write the answer: {error}"));
            Exit::Failure
        }
        Ok(()) | Err(_) => Exit::Ok,
    }
}

/// Says on stderr why a command did not succeed.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "roadstead: {text}");
}

fn complain_of(problems: &[Problem]) -> Exit {
    complain("the configuration is not valid:");
    for problem in problems {
        let _ = writeln!(io::stderr(), "  {problem}");
    }
    Exit::Configuration
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
