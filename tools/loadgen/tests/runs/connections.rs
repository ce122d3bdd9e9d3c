//! Connections that open and close, and servers that refuse, ignore, cut or break them.

use roadstead_io::Kind;

use crate::server::Behaviour;
use crate::{run, run_against};

pub(crate) fn connections_open_and_close(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "connect --connections 300 --rate 3000");
    run.assert_ok();
    assert_eq!((run.number("/connections/opened"), run.number("/connections/closed")), (300, 300));
    assert_eq!(run.number("/latency_us/handshake/count"), 300);
}

/// A server that answers no close frame shows that none is sent.
pub(crate) fn connections_can_be_cut_at_the_end(kind: Kind) {
    let run = run(kind, Behaviour::Deaf, "idle --connections 50 --duration 100ms --cut");
    run.assert_ok();
}

pub(crate) fn a_refused_upgrade_names_its_status(kind: Kind) {
    let run = run(kind, Behaviour::Refuse(503), "connect --connections 20");
    run.assert_failed();
    assert_eq!(run.errors(), [("status_503", 20)]);
    assert_eq!((run.number("/connections/opened"), run.number("/connections/failed")), (0, 20));
    assert!(run.said.contains("HTTP/1.1 503"), "{}", run.said);
}

pub(crate) fn a_silent_server_times_out(kind: Kind) {
    let run = run(kind, Behaviour::Ignore, "idle --connections 5 --timeout 300ms --duration 1");
    run.assert_failed();
    assert_eq!(run.errors(), [("timeout_upgrading", 5)]);
}

pub(crate) fn a_cut_connection_is_a_failure(kind: Kind) {
    let run = run(kind, Behaviour::Cut, "idle --connections 5 --duration 300ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("cut", 5)]);
    assert_eq!(run.number("/connections/dropped"), 5);
}

pub(crate) fn a_close_names_its_code(kind: Kind) {
    let run =
        run(kind, Behaviour::Close(3008), "echo --connections 4 --rate 1000 --duration 500ms --drain 100ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("closed_3008", 4)]);
    assert!(run.number("/messages/lost") >= 4, "the tenth message of each connection");
    assert!(run.said.contains("enough"), "the reason is shown: {}", run.said);
}

pub(crate) fn a_violation_is_named(kind: Kind) {
    let run = run(kind, Behaviour::Violate, "idle --connections 5 --duration 300ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("violation_1002", 5)]);
    assert_eq!(run.number("/connections/dropped"), 5);
}

pub(crate) fn a_server_that_does_not_close_is_noticed(kind: Kind) {
    let run = run(kind, Behaviour::Deaf, "connect --connections 3");
    run.assert_failed();
    assert_eq!((run.number("/connections/opened"), run.number("/connections/unclean")), (3, 3));
    assert_eq!(run.errors(), [("timeout_closing", 3)]);
}

/// The connections beyond what the server takes wait in its backlog until they time out.
pub(crate) fn a_full_server_is_noticed(kind: Kind) {
    let run = run(kind, Behaviour::Echo, "idle --connections 1010 --timeout 4 --duration 200ms");
    run.assert_failed();
    assert_eq!(run.errors(), [("timeout_upgrading", 10)]);
    assert_eq!(run.number("/connections/opened"), 1_000);
}

pub(crate) fn nobody_listens(kind: Kind) {
    let run = run_against(kind, "ws://127.0.0.1:1/", "echo --connections 3 --duration 1");
    run.assert_failed();
    assert_eq!(run.errors(), [("refused", 3)]);
}
