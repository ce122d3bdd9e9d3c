//! One connection's outbox, turn by turn.

use super::*;

fn payload(text: &str) -> Payload {
    Payload::from(text.as_bytes().to_vec())
}

impl Speakers for Outbox {
    fn outbox(&mut self, _slot: u32) -> Option<&mut Outbox> {
        Some(self)
    }
}

struct Pair {
    outboxes: Outboxes,
    outbox: Outbox,
}

impl Pair {
    fn new(ring_entries: usize, bytes_max: u32) -> Self {
        Self { outboxes: Outboxes::new(ring_entries, bytes_max), outbox: Outbox::EMPTY }
    }

    fn push(&mut self, lane: Lane, tag: u32, text: &str) -> Result<(), Full> {
        self.outboxes.push(&mut self.outbox, 0, lane, tag, payload(text))
    }

    fn turn(&mut self) -> Vec<String> {
        self.outboxes.plan(1 << 20, &mut self.outbox);
        let mut said = Vec::new();
        self.outboxes.speak(|_, payload| said.push(String::from_utf8_lossy(&payload).into_owned()));
        said
    }
}

#[test]
fn one_send_a_turn_in_lane_order() {
    let mut pair = Pair::new(8, 1000);
    pair.push(Lane::Low, NO_TAG, "close").unwrap();
    pair.push(Lane::Normal, 1, "a").unwrap();
    pair.push(Lane::Control, NO_TAG, "reply ").unwrap();
    pair.push(Lane::Normal, 1, "b ").unwrap();
    pair.push(Lane::High, 2, "urgent ").unwrap();
    assert_eq!(pair.turn(), ["reply urgent ab close"]);
    assert!(pair.outbox.is_empty());
    assert_eq!(pair.turn(), Vec::<String>::new());
    pair.push(Lane::Normal, 1, "single").unwrap();
    assert_eq!(pair.turn(), ["single"]);
}

#[test]
fn blocked_waits_and_drains() {
    let mut pair = Pair::new(8, 1000);
    let _ = pair.outboxes.block(&mut pair.outbox);
    pair.push(Lane::Normal, 1, "x").unwrap();
    pair.push(Lane::Normal, 1, "y").unwrap();
    assert_eq!(pair.turn(), Vec::<String>::new());
    pair.outboxes.unblock(&mut pair.outbox, 0);
    assert_eq!(pair.turn(), ["xy"]);
}

#[test]
fn limits_are_strict_but_one_large_message_passes() {
    let mut pair = Pair::new(2, 10);
    pair.push(Lane::Normal, 1, "a message larger than the limit").unwrap();
    assert_eq!(pair.push(Lane::Normal, 1, "x"), Err(Full));
    assert_eq!(pair.turn().len(), 1);
    let _ = pair.outboxes.block(&mut pair.outbox);
    pair.push(Lane::Normal, 1, "a").unwrap();
    pair.push(Lane::Normal, 1, "b").unwrap();
    assert_eq!(pair.push(Lane::Normal, 1, "c"), Err(Full), "the ring of the lane is full");
    pair.push(Lane::Control, NO_TAG, "d").unwrap();
    assert_eq!(pair.outbox.bytes(), 3);
    assert_eq!(pair.outboxes.clear(&mut pair.outbox), 3);
    assert!(pair.outbox.is_empty());
}

#[test]
fn purge_removes_only_its_tag() {
    let mut pair = Pair::new(8, 1000);
    pair.push(Lane::Normal, 7, "gone").unwrap();
    assert_eq!(pair.outboxes.purge(&mut pair.outbox, 7), 1);
    assert!(pair.outbox.is_empty());
    let _ = pair.outboxes.block(&mut pair.outbox);
    for (tag, text) in [(1, "a"), (7, "x"), (2, "b"), (7, "y"), (1, "c")] {
        pair.push(Lane::Normal, tag, text).unwrap();
    }
    assert_eq!(pair.outboxes.purge(&mut pair.outbox, 7), 2);
    pair.outboxes.unblock(&mut pair.outbox, 0);
    assert_eq!(pair.turn(), ["abc"]);
}

#[test]
fn neighbours_in_one_buffer_become_one_reference() {
    let mut pair = Pair::new(1, 1000);
    let _ = pair.outboxes.block(&mut pair.outbox);
    let buffer = Rc::new(b"abcdef".to_vec());
    for start in [0, 2, 4] {
        let piece = Payload::new(Rc::clone(&buffer), start, 2);
        pair.outboxes.push(&mut pair.outbox, 0, Lane::Control, NO_TAG, piece).unwrap();
    }
    pair.outboxes.unblock(&mut pair.outbox, 0);
    assert_eq!(pair.turn(), ["abcdef"]);
}

#[test]
fn what_lies_in_the_arena_goes_at_once_or_is_copied() {
    let mut pair = Pair::new(8, 1000);
    let arena = Rc::new(b"echo".to_vec());
    let lent = || Payload::new(Rc::clone(&arena), 0, 4);
    let push = |pair: &mut Pair| pair.outboxes.push(&mut pair.outbox, 0, Lane::Control, LENT, lent());
    push(&mut pair).unwrap();
    assert_eq!(Rc::strong_count(&arena), 2, "one message: no copy");
    assert_eq!(pair.turn(), ["echo"]);
    // A second message of the turn, or one before it, or a socket that is blocked: it may have to wait.
    push(&mut pair).unwrap();
    pair.push(Lane::Low, NO_TAG, " close").unwrap();
    assert_eq!((Rc::strong_count(&arena), pair.turn()), (1, vec!["echo close".to_owned()]));
    pair.push(Lane::Control, NO_TAG, "pong ").unwrap();
    push(&mut pair).unwrap();
    assert_eq!((Rc::strong_count(&arena), pair.turn()), (1, vec!["pong echo".to_owned()]));
    let _ = pair.outboxes.block(&mut pair.outbox);
    push(&mut pair).unwrap();
    assert_eq!(Rc::strong_count(&arena), 1);
    assert_eq!(pair.outboxes.clear(&mut pair.outbox), 1);
    assert_eq!(Rc::strong_count(&arena), 1);
}

#[test]
fn a_large_backlog_needs_several_turns_and_keeps_its_order() {
    let mut pair = Pair::new(8, 10_000_000);
    let _ = pair.outboxes.block(&mut pair.outbox);
    let half = "h".repeat(SEND_BYTES / 2 + 1);
    for mark in ["1", "2", "3"] {
        pair.push(Lane::Normal, 1, &format!("{mark}{half}")).unwrap();
    }
    pair.outboxes.unblock(&mut pair.outbox, 0);
    let said: Vec<String> = (0..3).flat_map(|_| pair.turn()).collect();
    let marks: Vec<&str> = said.iter().map(|text| &text[..1]).collect();
    assert_eq!(marks, ["1", "2", "3"]);
    assert!(!pair.outboxes.has_speakers());
}
