//! Settings that are words: how each is read, and how it is written.

use roadstead_control::{ClusterName, Region};
use roadstead_io::Congestion;

use crate::settings::{ClientCertificates, ClientUser, KernelTls, LogFormat, LogLevel, Settings};

pub(super) fn set_region(settings: &mut Settings, word: &str) -> bool {
    Region::new(word).map(|region| settings.node.region = region).is_ok()
}

pub(super) fn set_cluster(settings: &mut Settings, word: &str) -> bool {
    ClusterName::new(word).map(|name| settings.cluster.name = name).is_ok()
}

pub(super) fn set_level(settings: &mut Settings, word: &str) -> bool {
    settings.log.level = match word {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => return false,
    };
    true
}

pub(super) fn level(settings: &Settings) -> String {
    match settings.log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
    .into()
}

pub(super) fn set_format(settings: &mut Settings, word: &str) -> bool {
    settings.log.format = match word {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return false,
    };
    true
}

pub(super) fn format(settings: &Settings) -> String {
    match settings.log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
    .into()
}

pub(super) fn set_client_certificates(settings: &mut Settings, word: &str) -> bool {
    let known = ClientCertificates::WORDS.iter().find(|(_, known)| *known == word);
    known.map(|(demanded, _)| settings.tls.client_certificates = *demanded).is_some()
}

pub(super) fn client_certificates(settings: &Settings) -> String {
    ClientCertificates::WORDS[settings.tls.client_certificates as usize].1.into()
}

pub(super) fn set_client_user(settings: &mut Settings, word: &str) -> bool {
    let known = ClientUser::WORDS.iter().find(|(_, known)| *known == word);
    known.map(|(rule, _)| settings.tls.client_user = *rule).is_some()
}

pub(super) fn set_kernel_tls(settings: &mut Settings, word: &str) -> bool {
    let known = KernelTls::WORDS.iter().find(|(_, known)| *known == word);
    known.map(|(choice, _)| settings.tls.kernel = *choice).is_some()
}

/// The kernel's names have at most 15 bytes (TCP_CA_NAME_MAX with its zero).
pub(super) fn set_congestion(settings: &mut Settings, word: &str) -> bool {
    settings.net.congestion = match word {
        "auto" => Congestion::Auto,
        "system" => Congestion::System,
        name if (1..=15).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b)) =>
        {
            Congestion::Named(name.into())
        }
        _ => return false,
    };
    true
}

pub(super) fn congestion(settings: &Settings) -> String {
    match &settings.net.congestion {
        Congestion::Auto => "auto".into(),
        Congestion::System => "system".into(),
        Congestion::Named(name) => name.clone(),
    }
}
