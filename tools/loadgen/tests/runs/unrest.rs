//! Users who write to each other, and connections that stall, leave, are cut off and come back.

use roadstead_io::Kind;

use crate::run;
use crate::server::Behaviour;

pub(crate) fn users_write_to_each_other(kind: Kind) {
    for flags in ["--rate 500", "--rate 500 --threads 2 --protobuf", "--rate 0 --depth 2"] {
        let line = format!("direct --connections 20 --duration 500ms {flags}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        assert_eq!(run.number("/connections/opened"), 20);
        let sent = run.number("/messages/sent");
        assert!(sent >= 40, "{sent}");
        assert_eq!((run.number("/messages/received"), run.number("/latency_us/direct/count")), (sent, sent));
    }
}

pub(crate) fn several_subscriptions_are_checked_each(kind: Kind) {
    for flags in ["--publishers 1", "--publishers 13", "--publishers 2 --spread zipf"] {
        let line = format!(
            "fanout --connections 12 --channels 6 --subscriptions 4 --rate 300 --duration 500ms {flags}"
        );
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        if !flags.contains("zipf") {
            assert_eq!(run.number("/messages/received"), 8 * run.number("/messages/sent"));
        }
    }
}

pub(crate) fn a_storm_is_survived(kind: Kind) {
    let line = "storm --connections 60 --channels 4 --rate 200 --duration 1500ms --storm-after 200ms \
                --storm-every 500ms --backoff-min 100ms";
    for flags in ["--storm-share 1", "--storm-share 0.3 --threads 2"] {
        let run = run(kind, Behaviour::Hub(0), &format!("{line} {flags}"));
        run.assert_ok();
        let cut = run.number("/unrest/cut");
        assert!(cut >= 30, "{cut}");
        assert_eq!((run.number("/unrest/back"), run.number("/unrest/away")), (cut, 0));
        assert_eq!(run.number("/latency_us/comeback/count"), cut);
        assert_eq!(run.number("/connections/opened"), 61, "comebacks are not counted as new ones");
    }
    let run =
        run(kind, Behaviour::Echo, "idle --connections 30 --duration 1 --storm-share 1 --storm-after 100ms");
    run.assert_ok();
    assert_eq!((run.number("/unrest/cut"), run.number("/unrest/back")), (30, 30));
}

pub(crate) fn churn_loses_nothing(kind: Kind) {
    for flags in ["", "--threads 2 --publishers 9"] {
        let line =
            format!("churn --connections 40 --channels 4 --rate 400 --duration 1 --churn-rate 200 {flags}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        let churned = run.number("/unrest/churned");
        assert!(churned > 100, "{churned}");
        assert_eq!((run.number("/unrest/back"), run.number("/unrest/retries")), (churned, 0));
    }
}

pub(crate) fn slow_clients_are_apart(kind: Kind) {
    for flags in ["", "--slow-read 20KiB"] {
        let line = format!("slow --connections 20 --slow-share 0.25 --rate 200 --duration 500ms {flags}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        assert_eq!(run.number("/unrest/slow"), 5);
        assert_eq!(run.number("/messages/expected"), 15 * run.number("/messages/sent"));
        // What the slow ones missed they read at the end, unchecked.
        assert!(run.number("/messages/unchecked") > 0);
    }
}

pub(crate) fn everything_at_once_is_complete(kind: Kind) {
    let line = "mixed --connections 50 --channels 5 --rate 200 --direct-rate 300 --duration 1500ms --slow-share 0.1 \
                --churn-rate 50 --storm-share 0.3 --storm-after 300ms --backoff-min 100ms";
    let run = run(kind, Behaviour::Hub(0), line);
    run.assert_ok();
    assert!(run.number("/latency_us/direct/count") > 0 && run.number("/latency_us/message/count") > 0);
    assert!(run.number("/unrest/churned") > 0 && run.number("/unrest/cut") > 0);
}

/// The server closes each connection at its tenth message; with `--reconnect` that is no failure by itself.
pub(crate) fn ended_connections_come_back(kind: Kind) {
    let line =
        "fanout --connections 6 --rate 50 --duration 800ms --reconnect --backoff-min 50ms --drain 500ms";
    let run = run(kind, Behaviour::HubThatTires(10), line);
    let torn = run.number("/unrest/torn");
    assert!(torn > 0, "{}", run.said);
    assert_eq!((run.number("/unrest/back"), run.number("/unrest/away")), (torn, 0));
    assert_eq!(run.number("/connections/dropped"), 0);
    assert_eq!(run.result["unrest"]["setbacks"][0]["kind"], "closed_3001");
}

/// Nobody listens any more when the clients want to come back.
pub(crate) fn who_cannot_come_back_is_a_failure(kind: Kind) {
    let line = "storm --connections 5 --rate 10 --duration 1 --storm-after 100ms --storm-share 1 --drain 300ms \
                --backoff-min 200ms --backoff-max 200ms";
    let run = run(kind, Behaviour::HubOnce(6), line);
    run.assert_failed();
    assert_eq!((run.number("/unrest/cut"), run.number("/unrest/away")), (5, 5));
    assert!(run.number("/unrest/retries") >= 5);
    assert_eq!(run.result["unrest"]["setbacks"][0]["kind"], "status_503");
}
