//! What a client sends in one WebSocket message, in either encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_protocol::{
    CONNECT_HEADERS_MAX, CONNECT_SUBS_MAX, Command, Encoding, Malformed, Request, commands, push_command,
};

fuzz_target!(|message: &[u8]| {
    for encoding in Encoding::ALL {
        let read: Vec<Result<Command<'_>, Malformed>> = commands(encoding, message).collect();
        assert!(!read.is_empty());
        let whole = read.iter().take_while(|command| command.is_ok()).count();
        assert!(whole + 1 >= read.len(), "a command behind a malformed one");
        for command in read.iter().flatten() {
            check(encoding, command);
        }
    }
});

/// A command that was read is written in one way, and that is read again as what it was.
fn check(encoding: Encoding, command: &Command<'_>) {
    if let Request::Connect(connect) = &command.request {
        assert!(connect.subs.len() <= CONNECT_SUBS_MAX && connect.headers.len() <= CONNECT_HEADERS_MAX);
    }
    let written = write(encoding, command);
    let mut again = commands(encoding, &written);
    let read = again.next().expect("a message").expect("ours");
    assert!(again.next().is_none());
    assert_eq!((read.id, read.request.method()), (command.id, command.request.method()));
    assert_eq!(write(encoding, &read), written);
}

fn write(encoding: Encoding, command: &Command<'_>) -> Vec<u8> {
    let mut written = Vec::new();
    push_command(&mut written, encoding, command);
    written
}
