//! Publications to channels with many readers, over one URL and several.

use roadstead_io::Kind;
use serde_json::Value;

use crate::server::{Behaviour, Server};
use crate::{run, run_against};

pub(crate) fn subscribers_hold_their_connections(kind: Kind) {
    for encoding in ["", "--protobuf"] {
        let line = format!("idle --connections 50 --subscribe --channels 7 --duration 300ms {encoding}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        assert_eq!((run.number("/latency_us/login/count"), run.number("/messages/pings")), (50, 50));
    }
}

pub(crate) fn fan_out_is_complete(kind: Kind) {
    for flags in ["", "--protobuf", "--channels 5 --publishers 2", "--channels 2 --publishers 5 --threads 2"]
    {
        let line = format!("fanout --connections 40 --rate 100 --duration 500ms {flags}");
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        let sent = run.number("/messages/sent");
        assert!((48..=50).contains(&sent), "{sent} of 50");
        assert_eq!(run.number("/messages/answered"), sent);
        assert_eq!(run.number("/messages/received"), run.number("/messages/expected"));
        if !flags.contains("--channels") {
            assert_eq!(run.number("/messages/received"), 40 * sent);
        }
    }
}

pub(crate) fn fan_out_in_a_closed_loop_is_complete(kind: Kind) {
    for flags in ["", "--depth 4 --publishers 2 --channels 3 --threads 2"] {
        let run = run(
            kind,
            Behaviour::Hub(0),
            &format!("fanout --connections 30 --rate 0 --duration 300ms {flags}"),
        );
        run.assert_ok();
        assert!(run.number("/messages/sent") > 4);
    }
}

pub(crate) fn lost_deliveries_are_counted(kind: Kind) {
    let line = "fanout --connections 10 --rate 100 --duration 500ms --drain 200ms";
    let run = run(kind, Behaviour::Hub(7), line);
    run.assert_failed();
    let expected = run.number("/messages/expected");
    assert_eq!(expected, 10 * run.number("/messages/sent"));
    assert_eq!(run.number("/messages/lost"), expected / 7);
    assert_eq!(run.number("/messages/answered"), run.number("/messages/sent"));
}

/// Three publishers and twelve subscribers on two channels: each URL has a publisher and two readers of each channel,
/// so that a third of all deliveries stay on their URL.
pub(crate) fn several_urls_are_told_apart(kind: Kind) {
    for flags in ["--rate 300", "--rate 300 --protobuf --threads 2", "--rate 0 --depth 2"] {
        let server = Server::start(kind, Behaviour::Hub(0));
        let line = format!("fanout --connections 12 --channels 2 --publishers 3 --duration 500ms {flags}");
        let run = run_against(kind, &server.urls(), &line);
        run.assert_ok();
        let received = run.number("/messages/received");
        for url in 0..3 {
            let number = |name: &str| run.number(&format!("/urls/{url}/{name}"));
            assert_eq!((number("planned"), number("opened"), number("failed")), (5, 5, 0));
            assert_eq!((number("received"), number("expected")), (received / 3, received / 3));
            assert!(number("sent") > 0);
        }
        let (same, other) = (
            run.number("/latency_us/message_same_url/count"),
            run.number("/latency_us/message_other_url/count"),
        );
        assert_eq!((same + other, other), (received, 2 * same));
        assert!(
            run.said.contains("other URL") && run.said.contains("?second   opened 5 of 5"),
            "{}",
            run.said
        );
    }

    let server = Server::start(kind, Behaviour::Hub(0));
    let publish_url = server.url().replace("query", "second");
    let line = format!("fanout --connections 6 --rate 100 --duration 500ms --publish-url {publish_url}");
    let run = run_against(kind, &server.urls(), &line);
    run.assert_ok();
    let sent: Vec<_> = (0..3).map(|url| run.number(&format!("/urls/{url}/sent"))).collect();
    assert_eq!(sent, [0, run.number("/messages/sent"), 0]);

    let server = Server::start(kind, Behaviour::Echo);
    let run = run_against(kind, &server.urls(), "echo --connections 7 --rate 300 --duration 500ms");
    run.assert_ok();
    let opened: Vec<_> = (0..3).map(|url| run.number(&format!("/urls/{url}/opened"))).collect();
    assert_eq!(opened, [3, 2, 2]);
    let of_urls: u64 = (0..3).map(|url| run.number(&format!("/urls/{url}/received"))).sum();
    assert_eq!(of_urls, run.number("/messages/received"));
}

pub(crate) fn refused_publications_are_counted(kind: Kind) {
    let run = run(kind, Behaviour::RefusePublish, "fanout --connections 10 --rate 100 --duration 500ms");
    run.assert_failed();
    let sent = run.number("/messages/sent");
    assert_eq!(run.errors(), [("publish_error_103", sent)]);
    assert_eq!((run.number("/messages/refused"), run.number("/messages/lost")), (sent, 0));
}

pub(crate) fn connections_are_held_before_and_after(kind: Kind) {
    let line =
        "fanout --connections 5 --rate 100 --duration 300ms --hold 300ms --hold-after 200ms --progress json";
    let run = run(kind, Behaviour::Hub(0), line);
    run.assert_ok();
    let phases: Vec<Value> = run
        .said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &Value| event["event"] == "phase")
        .collect();
    let names: Vec<_> = phases.iter().map(|event| event["phase"].as_str().expect("a name")).collect();
    assert_eq!(names, ["opening", "holding", "running", "draining", "resting", "closing"]);
    let at = |index: usize| phases[index]["at"].as_f64().expect("seconds");
    assert!(at(2) - at(1) >= 0.3 && at(5) - at(4) >= 0.2, "{phases:?}");
    assert_eq!(phases[4]["open"], 6);
    assert!(run.number("/generator/memory_bytes") > 0);
}

pub(crate) fn channels_can_be_chosen_by_a_law(kind: Kind) {
    for laws in ["--pick random", "--pick zipf", "--spread zipf:1.2 --pick zipf:0.5", "--spread zipf"] {
        let line = format!(
            "fanout --connections 40 --channels 10 --publishers 2 --rate 400 --duration 500ms {laws}"
        );
        let run = run(kind, Behaviour::Hub(0), &line);
        run.assert_ok();
        assert_eq!(run.number("/messages/reordered") + run.number("/messages/duplicated"), 0);
        assert!(run.number("/messages/received") > 0);
    }
}
