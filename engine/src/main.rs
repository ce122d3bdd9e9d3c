//! The program `roadstead`: its commands, each in a file of its own.

use std::process::ExitCode;

use clap::Parser;
use roadstead_engine::cli::{self, Arguments, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => cli::serve(&arguments),
        Command::Check(arguments) => cli::check(&arguments),
        Command::Token(arguments) => cli::token(&arguments),
        Command::ClusterKey => cli::cluster_key(),
        Command::Config(arguments) => cli::config(&arguments),
        Command::Status(arguments) => cli::status(&arguments),
        Command::Shards(arguments) => cli::shards(&arguments),
        Command::Nodes(arguments) => cli::nodes(&arguments),
        Command::Where(arguments) => cli::where_is(&arguments),
        Command::Bans(arguments) => cli::bans(&arguments),
        Command::Sources(arguments) => cli::sources(&arguments),
        Command::Revoke(arguments) => cli::revoke(&arguments),
        Command::Revocations(arguments) => cli::revocations(&arguments),
        Command::Drain(arguments) => cli::drain(&arguments),
        Command::Log(command) => cli::log(&command),
        Command::Version(arguments) => cli::version(&arguments),
    }
    .into()
}
