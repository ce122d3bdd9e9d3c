//! What clients may do, by the rules of the client protocol: a table over names and settings.

mod subscriptions;
mod tokens;

use super::client::{Clients, Talk};
use super::rates::Rates;
use super::*;
use crate::guards::Guards;
use crate::limits::INFLATED_BYTES_PER_TURN;
use crate::names::NameHasher;
use crate::token::Remotes;
use roadstead_control::NodeId;

const KEY: Key = Key { slot: 0, generation: 1 };

/// A client that has connected, and what it hears.
struct Guest {
    clients: Clients,
    wire: Wire,
    heard: Heard,
}

impl Guest {
    fn of(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let verifier = Arc::new(Verifier::load(&settings, &Remotes::default()).expect("keys"));
        let hasher = NameHasher::new((1, 2));
        let identity = Identity { node: NodeId(1), shard: 0, connections_max: 1, hasher, seed: 3 };
        let guards = Arc::new(Guards::new(Arc::clone(&settings), (1, 2)));
        let rates = Rates::new(guards, &settings.guard);
        let clients = Clients::new(settings, verifier, None, identity, rates);
        let mut guest = Self { clients, wire: Wire::new(true), heard: Heard::default() };
        assert!(guest.say(r#"{"id":1,"connect":{}}"#).is_ok());
        assert!(guest.wire.has_session());
        guest
    }

    /// Says a command; returns what the router is asked because of it, or the code of the refusal.
    fn say(&mut self, command: &str) -> Result<Option<Command>, u32> {
        let (now, mut tally) = (Now { ms: 0, unix_ms: 0 }, Tally::default());
        let Self { clients, wire, heard } = self;
        let mut talk = Talk { key: KEY, wire, now, tally: &mut tally, heard };
        clients.message(&mut talk, command.as_bytes()).expect("no misuse");
        let mut spans = Vec::new();
        let said = heard.replies.freeze(&mut spans);
        match heard.commands.pop() {
            Some(Command::Subscribe { verdict: Err(code), .. }) => Err(code.code()),
            Some(command) => Ok(Some(command)),
            None => {
                let text = String::from_utf8_lossy(&said).into_owned();
                let code = text.split_once("\"code\":").map(|(_, code)| code);
                let digits =
                    code.map(|code| code.chars().take_while(char::is_ascii_digit).collect::<String>());
                digits.and_then(|digits| digits.parse().ok()).map_or(Ok(None), Err)
            }
        }
    }
}

/// The timer fires `late_ms` after it was due.
fn tick(guest: &mut Guest, late_ms: u64) -> Result<(), DisconnectCode> {
    let now = Now { ms: guest.wire.ping_due_ms + late_ms, unix_ms: 0 };
    let Guest { clients, wire, heard } = guest;
    let mut talk = Talk { key: KEY, wire, now, tally: &mut Tally::default(), heard };
    clients.tick(&mut talk, false)
}

#[test]
fn a_ping_that_is_answered_is_followed_by_one_at_its_place() {
    let mut settings = Settings::default();
    settings.client.allow_anonymous = true;
    (settings.client.ping_s, settings.client.pong_timeout_s) = (25, 8);
    let mut guest = Guest::of(settings);
    let mut pinged_ms = 0;
    for late_ms in [0, 900, 3_000, 40, 60_000, 0, 0] {
        let due_ms = guest.wire.ping_due_ms;
        assert!((12_500..=25_000).contains(&(due_ms - pinged_ms)));
        pinged_ms = due_ms + late_ms;
        assert_eq!(tick(&mut guest, late_ms), Ok(()));
        assert!(guest.wire.awaits_pong);
        assert_eq!(guest.wire.ping_due_ms, pinged_ms + 8_000);
        assert_eq!(guest.heard.timers.last(), Some(&(KEY.slot, Some(pinged_ms + 8_000))));
        let now = Now { ms: pinged_ms + 5_000, unix_ms: 0 };
        let Guest { clients, wire, heard } = &mut guest;
        let mut talk = Talk { key: KEY, wire, now, tally: &mut Tally::default(), heard };
        clients.message(&mut talk, b"{}").expect("a pong");
        assert_eq!(heard.timers.last(), Some(&(KEY.slot, Some(wire.ping_due_ms))));
    }
    // At the place of the first slot by the seed of the test.
    assert_eq!(guest.wire.ping_due_ms % 25_000, 0);
    // And one that is not answered is the last, whatever else was said.
    assert_eq!(tick(&mut guest, 0), Ok(()));
    assert_eq!(tick(&mut guest, 0), Err(DisconnectCode::NoPong));
}

#[test]
fn names_and_settings_decide_what_clients_may_do() {
    let mut open = Settings::default();
    open.client.allow_anonymous = true;
    open.channel.allow_subscribe_for_client = true;
    open.channel.allow_subscribe_for_anonymous = true;
    open.channel.allow_publish_for_client = true;
    open.channel.allow_publish_for_anonymous = true;
    let insecure = Settings { insecure: true, ..Settings::default() };
    for (settings, channel, subscribes, publishes) in [
        (&open, "news", Ok(()), Ok(())),
        (&open, "$news", Err(103), Ok(())),
        (&open, "team#ann", Err(103), Ok(())),
        (&open, "chat:news", Err(102), Err(102)),
        (&open, "$chat:news", Err(102), Err(102)),
        (&open, "chat:team#ann", Err(102), Err(102)),
        (&open, "n\u{e9}", Err(107), Err(107)),
        (&insecure, "news", Ok(()), Ok(())),
        (&insecure, "$news", Err(103), Ok(())),
        (&insecure, "team#ann", Ok(()), Ok(())),
        (&insecure, "chat:news", Ok(()), Ok(())),
        (&insecure, "$chat:news", Err(103), Ok(())),
        (&insecure, "n\u{e9}", Err(107), Err(107)),
    ] {
        let mut guest = Guest::of(settings.clone());
        let mut asked = |command: &str| {
            let command = command.replace("NAME", channel);
            guest.say(&command).map(|asked| assert!(asked.is_some(), "{command}"))
        };
        let insecure = settings.insecure;
        let subscribed = asked(r#"{"id":2,"subscribe":{"channel":"NAME"}}"#);
        assert_eq!(subscribed, subscribes, "{channel}, insecure: {insecure}");
        let published = asked(r#"{"id":3,"publish":{"channel":"NAME","data":1}}"#);
        assert_eq!(published, publishes, "{channel}, insecure: {insecure}");
    }
    // Unknown comes before denied, whatever else is asked for.
    let kind = guest_says(&open, r#"{"id":2,"subscribe":{"channel":"chat:news","type":1}}"#);
    assert_eq!(kind, Err(102));
    assert_eq!(guest_says(&open, r#"{"id":2,"subscribe":{"channel":"news","type":1}}"#), Err(103));
}

fn guest_says(settings: &Settings, command: &str) -> Result<(), u32> {
    Guest::of(settings.clone()).say(command).map(drop)
}

/// Messages that are deflated well are heard over several turns, in their order, and nothing of them is lost.
#[test]
fn what_is_inflated_in_a_turn_is_bounded() {
    const PINGS: usize = 40;
    let mut settings = Settings { insecure: true, ..Settings::default() };
    settings.compression.enabled = true;
    let settings = Arc::new(settings);
    let verifier = Arc::new(Verifier::load(&settings, &Remotes::default()).expect("keys"));
    let hasher = NameHasher::new((1, 2));
    let identity = Identity { node: NodeId(1), shard: 0, connections_max: 1, hasher, seed: 3 };
    let gate = Gate::new(Arc::new(Guards::new(Arc::clone(&settings), (1, 2))));
    let mut sessions = Sessions::new(settings, verifier, None, identity, gate);
    let (mut wire, mut heard) = (Wire::new(true), Heard::default());
    let now = Now { ms: 0, unix_ms: 0 };

    let mut said =
        b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            .to_vec();
    wsproto::push_frame(&mut said, Opcode::Text, br#"{"id":1,"connect":{}}"#, Some([0; 4]));
    let commands = "{\"id\":9,\"rpc\":{}}\n".repeat(3_600);
    let mut deflater = wsproto::deflate::Deflater::new(9);
    let bomb = deflater.deflate(commands.as_bytes()).expect("it gets smaller").to_vec();
    for number in 0..PINGS {
        wsproto::push_deflated(&mut said, Opcode::Text, &bomb, Some([0; 4]));
        wsproto::push_frame(&mut said, Opcode::Ping, &[number as u8], Some([0; 4]));
    }

    let pongs = |heard: &mut Heard| {
        let mut spans = Vec::new();
        let replies = heard.replies.freeze(&mut spans);
        let pongs = replies.windows(3).filter(|bytes| bytes[..2] == [0x8a, 1]).map(|bytes| bytes[2]);
        pongs.collect::<Vec<_>>()
    };
    sessions.begin();
    sessions.hear(KEY, &mut wire, (&mut said, Some(0)), now, &mut heard);
    assert_eq!(std::mem::take(&mut heard.postponed), [KEY.slot]);
    let mut seen = pongs(&mut heard);
    let messages = INFLATED_BYTES_PER_TURN.div_ceil(commands.len());
    assert_eq!(seen.len() + 1, messages, "the last message is heard, the ping behind it is not");

    // What comes meanwhile waits behind it.
    let mut last = Vec::new();
    wsproto::push_frame(&mut last, Opcode::Ping, &[PINGS as u8], Some([0; 4]));
    sessions.hear(KEY, &mut wire, (&mut last, Some(0)), now, &mut heard);
    assert!(pongs(&mut heard).is_empty() && sessions.inbound_bytes() > 0);

    let mut is_caught_up = false;
    while !is_caught_up {
        heard.postponed.clear();
        sessions.begin();
        assert_eq!(sessions.poll_postponed(), Some(KEY));
        is_caught_up = sessions.hear_postponed(KEY, &mut wire, now, &mut heard);
        let heard = pongs(&mut heard);
        assert!(heard.len() <= messages + 1);
        seen.extend(heard);
    }
    assert_eq!(seen, (0..=PINGS as u8).collect::<Vec<_>>());
    assert_eq!((sessions.inbound_bytes(), sessions.has_postponed()), (0, false));
    sessions.end(KEY.slot, &mut wire);
}
