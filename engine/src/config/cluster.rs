//! Whether what is said of the fleet fits together, and the fleet's keys.
//!
//! Invariant: no key is printed; a key file that would stop the node later stops it at start, with its line and the cure.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use roadstead_control::ClusterKeys;

use super::check::is_loopback;
use crate::settings::{Cluster, Settings};

/// A file of eight keys with their comments has some hundred bytes; a larger one is surely another file.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// The mode bits that let others than owner and group read.
const OTHERS_READ: u32 = 0o004;

/// Reads the keys of a fleet.
///
/// # Errors
/// Why there are none: what the operating system says, or the line that is wrong and the cure.
pub fn read_keys(path: &Path) -> Result<ClusterKeys, String> {
    let unreadable = |error| {
        format!("cannot read {}: {error}; make one with: roadstead cluster-key >> {0}", path.display())
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > KEY_FILE_BYTES_MAX {
        return Err(format!("{} has {length} bytes; that is no file of keys", path.display()));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    ClusterKeys::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What makes the node refuse to start: key, value, reason.
pub(super) fn problems(settings: &Settings) -> Vec<(&'static str, String, String)> {
    let cluster = &settings.cluster;
    let mut problems = Vec::new();
    let mut refuse = |key, value: String, reason: String| problems.push((key, value, reason));
    let Some(listen) = cluster.listen else {
        if let Some(seed) = cluster.join.first() {
            refuse(
                "cluster.join",
                seed.to_string(),
                "it needs cluster.listen (--cluster-listen) as well: other nodes must reach this one".into(),
            );
        }
        return problems;
    };
    match &cluster.key_file {
        None => refuse(
            "cluster.listen",
            listen.to_string(),
            "it needs cluster.key_file (--cluster-key-file) as well; make one with: \
             roadstead cluster-key >> FILE, the same file on every node"
                .into(),
        ),
        Some(path) => {
            if let Err(reason) = read_keys(path) {
                refuse("cluster.key_file", path.display().to_string(), reason);
            }
        }
    }
    if cluster.join.is_empty() && !cluster.alone {
        refuse(
            "cluster.listen",
            listen.to_string(),
            format!(
                "it needs nodes to join through, cluster.join (--join); the same list on every node, the own address \
                 {} may be in it. The only node of a fleet serves with cluster.alone (--alone)",
                cluster.advertise.unwrap_or(listen)
            ),
        );
    }
    for (key, address) in [("cluster.listen", Some(listen)), ("cluster.advertise", cluster.advertise)] {
        let Some(address) = address.filter(|address| address.ip().is_unspecified()) else { continue };
        if key == "cluster.advertise" || cluster.advertise.is_none() {
            refuse(
                key,
                address.to_string(),
                "others cannot connect to an address that stands for all interfaces: set cluster.advertise to one \
                 that they reach this node at"
                    .into(),
            );
        }
    }
    if let Some(address) = cluster.advertise.filter(|address| address.port() == 0) {
        refuse("cluster.advertise", address.to_string(), "it needs the port that others connect to".into());
    }
    if let Some(seed) = cluster.join.iter().find(|seed| seed.port() == 0 || seed.ip().is_unspecified()) {
        refuse(
            "cluster.join",
            seed.to_string(),
            "nobody can be reached there: name an address and a port of each node".into(),
        );
    }
    let parts = [
        ("cluster.tls_certificate", &cluster.tls_certificate),
        ("cluster.tls_key", &cluster.tls_key),
        ("cluster.tls_ca", &cluster.tls_ca),
    ];
    if let Some((key, Some(path))) = parts.iter().find(|(_, path)| path.is_some())
        && let Some((missing, _)) = parts.iter().find(|(_, path)| path.is_none())
    {
        refuse(key, path.display().to_string(), format!("it needs {missing} as well"));
    }
    let queue_bytes_min = u64::from(settings.limits.message_bytes) + (64 << 10);
    if u64::from(cluster.link_queue_bytes) < queue_bytes_min {
        refuse(
            "cluster.link_queue_bytes",
            cluster.link_queue_bytes.to_string(),
            format!(
                "allowed is at least limits.message_bytes and 64 KiB ({queue_bytes_min}): else the largest message could \
                 never be sent to another node"
            ),
        );
    }
    problems
}

/// What is worth a word at start.
pub(super) fn warnings(cluster: &Cluster) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(listen) = cluster.listen else {
        for (key, given) in [
            ("cluster.key_file", cluster.key_file.is_some()),
            ("cluster.advertise", cluster.advertise.is_some()),
            ("cluster.tls_certificate", cluster.tls_certificate.is_some()),
            ("cluster.alone", cluster.alone),
        ] {
            if given {
                warnings.push(format!("{key} does nothing without cluster.listen"));
            }
        }
        return warnings;
    };
    if let Some(path) = &cluster.key_file
        && fs::metadata(path).is_ok_and(|file| file.mode() & OTHERS_READ != 0)
    {
        warnings.push(format!(
            "everybody on this machine can read the fleet's keys in {}: chmod 0640 {0}",
            path.display()
        ));
    }
    let told = cluster.advertise.unwrap_or(listen);
    if let Some(far) = cluster.join.iter().find(|seed| !is_loopback(seed))
        && is_loopback(&told)
    {
        warnings.push(format!("other nodes are told the loopback address {told}; {far} cannot reach it"));
    }
    warnings
}
