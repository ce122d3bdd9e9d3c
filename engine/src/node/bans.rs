//! The log's lines about bans: a few a second one by one, the rest as a number.

use crate::guards::{Ban, News, Signal};

/// Logs what is new.
pub(super) fn tell(news: &News) {
    for ban in &news.bans {
        tracing::warn!("{}", line(ban));
    }
    if news.more > 0 {
        tracing::warn!("{} more sources are banned; roadstead bans lists them", news.more);
    }
}

fn line(ban: &Ban) -> String {
    let faults =
        Signal::ALL.iter().zip(ban.signals).filter(|(signal, count)| signal.points() > 0.0 && *count >= 0.5);
    let faults: Vec<String> = faults
        .map(|(signal, count)| format!("{} {}", count.round(), signal.word().replace('_', " ")))
        .collect();
    format!("{} is banned for {} s: {}", ban.source, ban.left_ms.div_ceil(1_000), faults.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_says_what_led_to_it() {
        let ban = Ban {
            source: "2001:db8::/64".parse().expect("a prefix"),
            left_ms: 59_001,
            times: 1,
            signals: [70.0, 3.0, 40.2, 29.9, 0.2, 0.0],
        };
        assert_eq!(line(&ban), "2001:db8::/64 is banned for 60 s: 40 handshake failures, 30 token failures");
    }
}
