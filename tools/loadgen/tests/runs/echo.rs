//! Messages that come back, and servers that lose, repeat, swap or damage them.

use roadstead_io::Kind;

use crate::server::{Behaviour, Server};
use crate::{run, run_against};

pub(crate) fn an_echo_at_a_rate_is_complete(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "echo --connections 20 --rate 2000 --duration 1");
    run.assert_ok();
    let sent = run.number("/messages/sent");
    assert!((1_998..=2_000).contains(&sent), "{sent} of 2,000");
    assert_eq!(run.number("/messages/received"), sent);
    assert_eq!(run.number("/latency_us/message/count"), sent);
}

pub(crate) fn an_echo_in_a_closed_loop_is_complete(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "echo --connections 10 --depth 8 --duration 500ms --warmup 100ms");
    run.assert_ok();
    let sent = run.number("/messages/sent");
    assert!(sent >= 80, "{sent}");
    assert_eq!(run.number("/messages/received"), sent);
    assert!(run.number("/latency_us/message/count") < sent, "the warm-up is not measured");
}

pub(crate) fn every_size_comes_back(kind: Kind) {
    for size in [0, 1, 5, 125, 126, 65_535, 65_536] {
        let line = format!("echo --connections 3 --depth 3 --duration 100ms --size {size}");
        let run = run(kind, Behaviour::Echo, &line);
        run.assert_ok();
        assert!(run.number("/messages/sent") >= 9);
    }
}

pub(crate) fn large_messages_block_and_come_back(kind: Kind) {
    let run =
        run(kind, Behaviour::Echo, "echo --connections 4 --depth 4 --duration 500ms --size 4MiB --drain 30");
    run.assert_ok();
    assert!(run.number("/messages/sent") >= 16);
}

pub(crate) fn several_threads_share_a_run(kind: Kind) {
    let server = Server::start(kind, Behaviour::Echo);
    let run =
        run_against(kind, &server.url(), "echo --connections 31 --rate 3000 --duration 500ms --threads 3");
    run.assert_ok();
    assert_eq!(run.number("/connections/opened"), 31);
    let sent = run.number("/messages/sent");
    assert!((1_497..=1_503).contains(&sent), "{sent} of 1,500");
}

pub(crate) fn pings_are_answered(kind: Kind) {
    let run = run(kind, Behaviour::EchoAfterPong, "echo --connections 8 --rate 100 --duration 500ms");
    run.assert_ok();
    assert_eq!(run.number("/messages/pings"), 8);
}

pub(crate) fn fragments_are_joined(kind: Kind) {
    let run = run(kind, Behaviour::Fragment, "echo --connections 3 --depth 2 --duration 200ms --size 70000");
    run.assert_ok();
    assert_eq!(run.number("/messages/pings"), 2 * run.number("/messages/received"));
}

pub(crate) fn lost_messages_are_counted(kind: Kind) {
    for remainder in [0, 5, 9] {
        let line = "echo --connections 2 --rate 200 --duration 500ms --drain 200ms";
        let run = run(kind, Behaviour::Forget(remainder), line);
        run.assert_failed();
        let (sent, lost) = (run.number("/messages/sent"), run.number("/messages/lost"));
        assert_eq!((lost, run.number("/messages/received")), (sent / 10, sent - sent / 10));
        assert_eq!(run.number("/messages/duplicated") + run.number("/messages/reordered"), 0);
    }
}

pub(crate) fn repeated_messages_are_counted(kind: Kind) {
    let run = run(kind, Behaviour::Repeat, "echo --connections 2 --rate 200 --duration 500ms");
    run.assert_failed();
    let sent = run.number("/messages/sent");
    assert_eq!((run.number("/messages/duplicated"), run.number("/messages/lost")), (sent / 10, 0));
}

pub(crate) fn swapped_messages_are_counted(kind: Kind) {
    // One message more than a multiple of ten on the connection, so that none waits for its successor.
    let run = run(kind, Behaviour::Swap, "echo --connections 1 --rate 202 --duration 500ms");
    run.assert_failed();
    assert_eq!((run.number("/messages/sent"), run.number("/messages/reordered")), (101, 10));
    assert_eq!((run.number("/messages/lost"), run.number("/messages/duplicated")), (0, 0));
}

pub(crate) fn damaged_messages_are_counted(kind: Kind) {
    let run = run(kind, Behaviour::Damage, "echo --connections 2 --rate 200 --duration 500ms --drain 200ms");
    run.assert_failed();
    assert_eq!(run.number("/messages/corrupt"), run.number("/messages/sent") / 10);
}

pub(crate) fn the_raw_payload_can_be_text(kind: Kind) {
    run(kind, Behaviour::Echo, "echo --connections 3 --depth 3 --duration 100ms --size 1000 --text")
        .assert_ok();
}
