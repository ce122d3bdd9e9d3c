//! Settings on the command line, as entries for the configuration.
//!
//! Invariant: no value is judged here; a flag is only another spelling of a key.

use std::env;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Entry, Sources};

/// Where settings come from, besides the environment.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// The configuration file (TOML) [env: ROADSTEAD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting by its key; repeats [example: --set limits.connections=100000]
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

/// The settings that have a flag of their own.
#[derive(Debug, Args)]
pub struct SettingFlags {
    /// Where clients connect; repeats; port 0 lets the kernel choose [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Where probes, Prometheus and the built-in page are served; off for none [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Unix socket of the command line [default: in the runtime directory]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<String>,
    /// Memory ceiling, such as 16GiB; new clients are refused past it; 0 for none [default: 80 % of the machine's]
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Threads that serve clients [default: the cores this process may use]
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
    /// The io back end: auto, io_uring or epoll [default: auto]
    #[arg(long, value_name = "NAME")]
    pub io: Option<String>,
    /// Development mode: everybody may connect and do everything; on loopback addresses only
    #[arg(long)]
    pub insecure: bool,
    /// Allow --insecure on addresses that others can reach
    #[arg(long)]
    pub insecure_force: bool,
    /// Serve /echo, a raw WebSocket echo
    #[arg(long)]
    pub echo: bool,
    /// Deflate messages of clients that offer it (permessage-deflate)
    #[arg(long)]
    pub compression: bool,
    /// Name of the node, unique in its fleet [default: made from the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where the node stands [default: default]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Where other nodes reach this one (UDP and TCP); makes it part of a fleet
    #[arg(long, value_name = "ADDRESS")]
    pub cluster_listen: Option<String>,
    /// Nodes to join through, separated by commas; repeats; the own address may be among them
    #[arg(long, value_name = "ADDRESS")]
    pub join: Vec<String>,
    /// File of the fleet's keys, one a line; `roadstead cluster-key` makes one
    #[arg(long, value_name = "FILE")]
    pub cluster_key_file: Option<String>,
    /// Serve at once, without waiting for another node to answer
    #[arg(long)]
    pub alone: bool,
    /// Certificate chain (PEM); with it and its key, every listen address speaks TLS
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Least important level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Form of a log line: text or json [default: text]
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<String>,
}

impl SettingFlags {
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (flag, key, values) in
            [("--listen", "listen", &self.listen), ("--join", "cluster.join", &self.join)]
        {
            entries.extend(values.iter().map(|value| Entry::flag(flag, key, value.as_str())));
        }
        for (flag, key, value) in [
            ("--admin", "admin", &self.admin),
            ("--admin-socket", "admin_socket", &self.admin_socket),
            ("--memory", "limits.memory_bytes", &self.memory),
            ("--shards", "shards", &self.shards),
            ("--io", "io", &self.io),
            ("--node-name", "node.name", &self.node_name),
            ("--region", "node.region", &self.region),
            ("--cluster-listen", "cluster.listen", &self.cluster_listen),
            ("--cluster-key-file", "cluster.key_file", &self.cluster_key_file),
            ("--tls-cert", "tls.certificate", &self.tls_cert),
            ("--tls-key", "tls.key", &self.tls_key),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ] {
            entries.extend(value.as_deref().map(|value| Entry::flag(flag, key, value)));
        }
        for (flag, key, given) in [
            ("--insecure", "insecure", self.insecure),
            ("--insecure-force", "insecure_force", self.insecure_force),
            ("--echo", "echo", self.echo),
            ("--compression", "compression.enabled", self.compression),
            ("--alone", "cluster.alone", self.alone),
        ] {
            entries.extend(given.then(|| Entry::flag(flag, key, "true")));
        }
        entries
    }
}

/// All sources of a command: its file, its flags, and the environment of this process.
pub(super) fn sources(config: &ConfigArguments, settings: Option<&SettingFlags>) -> Sources {
    let set = config.set.iter().map(|(key, value)| Entry::flag("--set", key, value.as_str()));
    Sources {
        file: config.config.clone(),
        environment: env::vars_os().collect(),
        flags: settings.map(SettingFlags::entries).unwrap_or_default().into_iter().chain(set).collect(),
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().into(), value.trim().into())),
        _ => Err("a key and a value are wanted, such as limits.connections=100000".into()),
    }
}
