//! Whether values that are allowed one by one also fit together.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::entry::{Origin, Problem};
use super::{api, cluster, token};
use crate::limits::NAMESPACES_MAX;
use crate::settings::{Channel, ClientUser, Settings};

const USED_TWICE: &str = "the address is used twice; each listen, admin and cluster address needs its own";

/// What makes the node refuse to start.
pub(super) fn problems(settings: &Settings, origins: &BTreeMap<String, Origin>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |key: &str, value: String, reason: &str| {
        problems.push(Problem {
            key: Some(key.into()),
            value: Some(value),
            origin: Some(origins.get(key).cloned().unwrap_or(Origin::Default)),
            reason: reason.into(),
        });
    };

    let client = &settings.client;
    if client.ping_s > 0 && client.pong_timeout_s >= client.ping_s {
        refuse(
            "client.pong_timeout_s",
            client.pong_timeout_s.to_string(),
            &format!(
                "allowed is less than client.ping_s ({}): one ping is outstanding at a time",
                client.ping_s
            ),
        );
    }
    let limits = &settings.limits;
    if limits.outbox_bytes < limits.message_bytes {
        refuse(
            "limits.outbox_bytes",
            limits.outbox_bytes.to_string(),
            &format!(
                "allowed is at least limits.message_bytes ({}): else a message that may be published could never be delivered",
                limits.message_bytes
            ),
        );
    }
    let largest = limits.message_bytes.max(if settings.echo { limits.echo_message_bytes } else { 0 });
    if limits.inbound_bytes_per_shard < largest {
        refuse(
            "limits.inbound_bytes_per_shard",
            limits.inbound_bytes_per_shard.to_string(),
            &format!("allowed is at least the largest message ({largest})"),
        );
    }
    if limits.connections < u32::from(settings.shards) {
        refuse(
            "limits.connections",
            limits.connections.to_string(),
            &format!("allowed is at least one for each shard ({})", settings.shards),
        );
    }
    match (&settings.tls.certificate, &settings.tls.key) {
        (Some(path), None) => {
            refuse("tls.certificate", path.display().to_string(), "it needs tls.key as well");
        }
        (None, Some(path)) => {
            refuse("tls.key", path.display().to_string(), "it needs tls.certificate as well")
        }
        (Some(_), Some(_)) => {}
        (None, None) => {
            let without = "it needs tls.certificate and tls.key as well";
            if let Some(entry) = settings.tls.certificates.first() {
                refuse("tls.certificates", entry.clone(), without);
            }
            if let Some(path) = &settings.tls.client_ca {
                refuse("tls.client_ca", path.display().to_string(), without);
            }
        }
    }
    if settings.tls.client_user != ClientUser::Off && settings.tls.client_ca.is_none() {
        refuse(
            "tls.client_user",
            settings.tls.client_user.word().into(),
            "it needs tls.client_ca as well: nobody else says that a certificate is true",
        );
    }
    if settings.insecure
        && !settings.insecure_force
        && let Some(open) =
            settings.listen.iter().chain(&settings.proxy.listen).find(|address| !is_loopback(address))
    {
        refuse(
            "insecure",
            "true".into(),
            &format!(
                "others can reach the listen address {open}, and insecure lets everybody do everything; \
                 listen on loopback, leave insecure off, or give --insecure-force"
            ),
        );
    }
    if let Some(admin) = settings.admin
        && !is_loopback(&admin)
        && settings.admin_key.is_none()
    {
        refuse(
            "admin",
            admin.to_string(),
            "an admin address that others can reach needs admin_key or admin_key_file; or use a loopback address",
        );
    }
    let others = [settings.admin, settings.cluster.listen];
    let (listen, proxied) = (&settings.listen, &settings.proxy.listen);
    for (index, address) in listen.iter().enumerate().filter(|(_, address)| address.port() != 0) {
        if listen[..index].contains(address) || others.contains(&Some(*address)) {
            refuse("listen", address.to_string(), USED_TWICE);
        }
    }
    for (index, address) in proxied.iter().enumerate().filter(|(_, address)| address.port() != 0) {
        let is_taken = proxied[..index].contains(address) || listen.contains(address);
        if is_taken || others.contains(&Some(*address)) {
            refuse("proxy.listen", address.to_string(), USED_TWICE);
        }
    }
    if let Some(address) = proxied.first()
        && settings.proxy.trusted.is_empty()
    {
        let reason = "nobody may connect there: name the proxies in proxy.trusted";
        refuse("proxy.listen", address.to_string(), reason);
    }
    if let Some(address) = settings.cluster.listen.filter(|address| address.port() != 0)
        && settings.admin == Some(address)
    {
        refuse("cluster.listen", address.to_string(), USED_TWICE);
    }
    let proxies = proxied.iter().map(|address| ("proxy.listen", address));
    let listens = listen.iter().map(|address| ("listen", address)).chain(proxies);
    for (key, address) in
        listens.chain(settings.cluster.listen.iter().map(|address| ("cluster.listen", address)))
    {
        if let IpAddr::V6(ip) = address.ip()
            && let Some(v4) = ip.to_ipv4_mapped()
        {
            let plain = SocketAddr::from((v4, address.port()));
            refuse(
                key,
                address.to_string(),
                &format!("that is an IPv4 address in the form of IPv6; write {plain}"),
            );
        }
    }
    if settings.namespaces.len() > NAMESPACES_MAX {
        let count = settings.namespaces.len();
        refuse("namespace", count.to_string(), &format!("allowed are {NAMESPACES_MAX} namespaces"));
    }
    let of_parts = cluster::problems(settings).into_iter().chain(token::problems(settings));
    for (key, value, reason) in of_parts.chain(api::problems(settings)) {
        refuse(key, value, &reason);
    }
    problems
}

/// What is worth a word at start.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.insecure {
        warnings.push(
            "insecure mode: everybody may connect, subscribe and publish; token expiry is ignored".into(),
        );
    }
    warnings.extend(api::warnings(settings));
    warnings.extend(token::warnings(settings));
    warnings.extend(channel_warnings("channel", &settings.channel));
    for (name, rules) in &settings.namespaces {
        warnings.extend(channel_warnings(&format!("namespace.{name}"), rules));
    }
    if settings.client.allowed_origins.iter().any(|origin| origin == "*") {
        warnings.push(
            "client.allowed_origins holds *: any web page can connect from its visitors' browsers".into(),
        );
    }
    for origin in settings.client.allowed_origins.iter().filter(|origin| !can_be_origin(origin)) {
        warnings.push(format!(
            "client.allowed_origins holds {origin:?}, which no browser sends: an origin is such as https://example.com, without a path"
        ));
    }
    warnings.extend(cluster::warnings(&settings.cluster));
    warnings
}

/// What the rules of one section can hardly mean.
fn channel_warnings(section: &str, rules: &Channel) -> Vec<String> {
    let mut warnings = Vec::new();
    if rules.allow_subscribe_for_anonymous && !rules.allow_subscribe_for_client {
        warnings.push(format!(
            "{section}.allow_subscribe_for_anonymous does nothing without {section}.allow_subscribe_for_client"
        ));
    }
    if rules.allow_publish_for_anonymous
        && !rules.allow_publish_for_client
        && !rules.allow_publish_for_subscriber
    {
        warnings.push(format!(
            "{section}.allow_publish_for_anonymous does nothing without {section}.allow_publish_for_client or \
             allow_publish_for_subscriber"
        ));
    }
    warnings.extend(history_warnings(section, rules));
    if rules.channel_regex.as_ref().is_some_and(|pattern| !pattern.is_anchored()) {
        warnings.push(format!(
            "{section}.channel_regex allows every name that it matches somewhere; ^ and $ tie it to the ends"
        ));
    }
    warnings
}

fn history_warnings(section: &str, rules: &Channel) -> Vec<String> {
    let history = &rules.history;
    let mut warnings = Vec::new();
    if (history.size > 0) != (history.ttl_ms > 0) {
        warnings.push(format!("{section} keeps no history: that needs both history_size and history_ttl"));
    }
    if history.is_on() && history.meta_ttl_ms < history.ttl_ms {
        warnings.push(format!(
            "{section}.history_meta_ttl is shorter than history_ttl: publications go with the epoch"
        ));
    }
    let needing = [
        ("force_positioning", rules.force_positioning),
        ("allow_positioning", rules.allow_positioning),
        ("force_recovery", rules.force_recovery),
        ("allow_recovery", rules.allow_recovery),
        ("allow_history_for_client", rules.allow_history_for_client),
        ("allow_history_for_subscriber", rules.allow_history_for_subscriber),
    ];
    for (option, _) in needing.into_iter().filter(|(_, is_set)| *is_set && !history.is_on()) {
        warnings.push(format!("{section}.{option} does nothing without history_size and history_ttl"));
    }
    let reads = rules.allow_history_for_client || rules.allow_history_for_subscriber;
    if rules.allow_history_for_anonymous && !reads {
        warnings.push(format!(
            "{section}.allow_history_for_anonymous does nothing without {section}.allow_history_for_client or \
             allow_history_for_subscriber"
        ));
    }
    warnings
}

/// Whether it looks like what a browser sends, or a pattern of it.
fn can_be_origin(text: &str) -> bool {
    let is_host = |rest: &str| {
        let host = rest.strip_prefix("*.").unwrap_or(rest);
        !host.is_empty() && !host.contains(['/', '*', '@', ' '])
    };
    matches!(text, "*" | "null") || text.split_once("://").is_some_and(|(_, rest)| is_host(rest))
}

pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
