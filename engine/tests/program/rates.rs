//! What a running node does with clients that say too much: a connection, a user, or a channel at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::node::{Node, answer_of};
use crate::surroundings::{Folder, roadstead};

/// Far more than anything here takes; tests that wait for longer have failed.
const PATIENCE: Duration = Duration::from_secs(20);
const BACK_ENDS: [&str; 2] = ["epoll", "io_uring"];

/// A client that is upgraded.
struct Client(TcpStream);

/// What a client hears.
#[derive(PartialEq, Eq, Debug)]
enum Heard {
    Text(String),
    Close(u16),
    /// The connection ended.
    End,
}

impl Client {
    fn open(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).expect("answered");
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// A client that has connected, as the token's user.
    fn connected(address: SocketAddr, token: &str) -> Self {
        let mut client = Self::open(address, "/connection/websocket");
        client.say(&format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}"));
        match client.hear() {
            Heard::Text(text) if text.contains("\"connect\":{") => client,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a text; a mask of zeros leaves it as it is. Who was closed meanwhile says nothing.
    fn say(&mut self, text: &str) {
        let len = text.len();
        let mut frame = vec![0x81];
        match u8::try_from(len) {
            Ok(short @ 0..=125) => frame.push(0x80 | short),
            _ => frame.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        let _ = self.0.write_all(&frame);
    }

    fn hear(&mut self) -> Heard {
        let mut head = [0; 2];
        if self.0.read_exact(&mut head).is_err() {
            return Heard::End;
        }
        let len = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).expect("a length");
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).expect("a payload");
        match head[0] {
            0x88 => Heard::Close(u16::from_be_bytes([payload[0], payload[1]])),
            _ => Heard::Text(String::from_utf8(payload).expect("UTF-8")),
        }
    }

    /// Everything up to the close: the texts joined, and its code.
    fn hear_all(&mut self) -> (String, u16) {
        let mut all = String::new();
        loop {
            match self.hear() {
                Heard::Text(text) => all += &(text + "\n"),
                Heard::Close(code) => return (all, code),
                Heard::End => panic!("ended without a close: {all}"),
            }
        }
    }

    /// Says a command and hears its answer, past pushes and pings.
    fn ask(&mut self, id: u32, command: &str) -> String {
        self.say(&format!("{{\"id\":{id},{command}}}"));
        loop {
            match self.hear() {
                Heard::Text(text) => {
                    let answer = text.lines().find(|line| line.contains(&format!("\"id\":{id},")));
                    if let Some(answer) = answer {
                        return answer.to_owned();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn start(folder: &Folder, io: &str, shards: u16, settings: &[&str]) -> Node {
    let mut arguments = vec!["--insecure", "--echo"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    Node::start_on(folder, io, shards, &arguments)
}

fn wait_for_metric(node: &Node, series: &str, least: u64) {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = answer_of(node.address("admin"), "/metrics");
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        if found.and_then(|found| found.parse::<u64>().ok()).is_some_and(|value| value >= least) {
            return;
        }
        assert!(Instant::now() < end, "{series} is {found:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_connection_that_says_too_much_is_closed() {
    let folder = Folder::new("rates");
    for io in BACK_ENDS {
        let rules = ["guard.messages_per_s=5", "guard.burst_s=4"];
        let node = start(&folder, io, 1, &rules);
        let listen = node.address("listen");
        let mut good = Client::connected(listen, "");
        let mut loud = Client::connected(listen, "");
        (2..100).for_each(|id| loud.say(&format!("{{\"id\":{id},\"unsubscribe\":{{\"channel\":\"a\"}}}}")));
        let (said, code) = loud.hear_all();
        let answered = said.matches("\"unsubscribe\":{}").count();
        assert_eq!(code, 3013, "{io}");
        assert!(answered <= 40, "{io}: {answered}");
        assert!(good.ask(2, "\"unsubscribe\":{\"channel\":\"a\"}").contains("\"unsubscribe\":{}"), "{io}");

        // Many commands in one message are heard, and paid for by the next one.
        let mut terse = Client::connected(listen, "");
        let commands: Vec<String> =
            (2..200).map(|id| format!("{{\"id\":{id},\"unsubscribe\":{{\"channel\":\"a\"}}}}")).collect();
        terse.say(&commands.join("\n"));
        terse.say("{\"id\":900,\"unsubscribe\":{\"channel\":\"a\"}}");
        let (said, code) = terse.hear_all();
        assert_eq!((said.matches("\"unsubscribe\":{}").count(), code), (198, 3013), "{io}");

        let mut echo = Client::open(listen, "/echo");
        (0..100).for_each(|_| echo.say("abc"));
        let (said, code) = echo.hear_all();
        assert_eq!(code, 1008, "{io}");
        assert!(said.starts_with("abc\nabc"), "{io}: {said}");
        wait_for_metric(&node, "roadstead_guard_faults_total{kind=\"rate\"}", 3);
        drop((good, loud, terse, echo));
        node.signal("TERM");
        let log = node.end().2;
        assert!(log.contains("connections are closed with 3013"), "{log}");
    }
}

#[test]
fn bytes_are_bounded_too() {
    let folder = Folder::new("rates");
    let node = start(&folder, "epoll", 1, &["guard.bytes_per_s=1000", "guard.burst_s=2"]);
    let mut loud = Client::open(node.address("listen"), "/echo");
    let text = "x".repeat(500);
    let echoed = (0..100).take_while(|_| {
        loud.say(&text);
        match loud.hear() {
            Heard::Text(echoed) => echoed == text,
            other => other != Heard::Close(1008),
        }
    });
    assert!((3..40).contains(&echoed.count()));
}

#[test]
fn subscribing_too_fast_is_refused_for_a_while() {
    let folder = Folder::new("rates");
    let node = start(&folder, "epoll", 1, &["guard.subscribes_per_s=2", "guard.burst_s=5"]);
    let mut client = Client::connected(node.address("listen"), "");
    let answers: Vec<String> =
        (2..32).map(|id| client.ask(id, &format!("\"subscribe\":{{\"channel\":\"c{id}\"}}"))).collect();
    let refused: Vec<&String> = answers.iter().filter(|answer| answer.contains("\"code\":111")).collect();
    assert!(answers[..10].iter().all(|answer| answer.contains("\"subscribe\":{}")), "{answers:?}");
    assert!(
        refused.len() >= 15 && refused.iter().all(|answer| answer.contains("\"temporary\":true")),
        "{answers:?}"
    );
    wait_for_metric(&node, "roadstead_guard_limited_total{kind=\"subscribe\"}", 15);
    let end = Instant::now() + PATIENCE;
    let subscribed = (100..).any(|id| {
        thread::sleep(Duration::from_millis(50));
        assert!(Instant::now() < end, "refused all the time");
        client.ask(id, "\"subscribe\":{\"channel\":\"later\"}").contains("\"subscribe\":{}")
    });
    assert!(subscribed);
}

#[test]
fn a_user_has_so_many_connections_and_so_much_to_say() {
    let folder = Folder::new("rates");
    let secret = folder.file("secret", "a-secret-of-the-tests-only-0123456789");
    let token = |user: &str| {
        let minted =
            roadstead(&["token", "--user", user, "--secret-file", &secret]).output().expect("it runs");
        String::from_utf8(minted.stdout).expect("UTF-8").trim().to_owned()
    };
    let (ada, bob) = (token("ada"), token("bob"));
    let by_file = format!("token.hmac_secret_file={secret}");
    for io in BACK_ENDS {
        let rules =
            [&by_file, "guard.connections_per_user=4", "guard.user_messages_per_s=5", "guard.burst_s=10"];
        let node = start(&folder, io, 4, &rules);
        let listen = node.address("listen");
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connected(listen, &ada)).collect();
        let refused = |token: &str| {
            let mut one = Client::open(listen, "/connection/websocket");
            one.say(&format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}"));
            one.hear() == Heard::Close(3504)
        };
        assert!(refused(&ada), "{io}");
        wait_for_metric(&node, "roadstead_guard_limited_total{kind=\"user\"}", 1);
        let mut other = Client::connected(listen, &bob);
        drop(clients.pop());
        let end = Instant::now() + PATIENCE;
        while refused(&ada) {
            assert!(Instant::now() < end, "{io}: refused all the time");
            thread::sleep(Duration::from_millis(20));
        }

        // Fifty messages at once are the user's, whichever connections say them.
        let said: usize = (2..40)
            .flat_map(|id| [(id, 0), (id, 1), (id, 2)])
            .take_while(|&(id, client)| {
                clients[client].say(&format!("{{\"id\":{id},\"unsubscribe\":{{\"channel\":\"a\"}}}}"));
                matches!(clients[client].hear(), Heard::Text(_))
            })
            .count();
        assert!((45..=80).contains(&said), "{io}: {said}");
        assert!(other.ask(2, "\"unsubscribe\":{\"channel\":\"a\"}").contains("\"unsubscribe\":{}"), "{io}");
    }
}

#[test]
fn a_channel_is_published_to_so_fast() {
    let folder = Folder::new("rates");
    let rules = ["guard.channel_messages_per_s=2", "guard.burst_s=5"];
    let node = start(&folder, "epoll", 4, &rules);
    let listen = node.address("listen");
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connected(listen, "")).collect();
    for client in &mut clients {
        assert!(client.ask(2, "\"subscribe\":{\"channel\":\"busy\"}").contains("\"subscribe\":{}"));
    }
    let publish = |client: &mut Client, id: u32, channel: &str| {
        client.ask(id, &format!("\"publish\":{{\"channel\":\"{channel}\",\"data\":1}}"))
    };
    let answers: Vec<String> =
        (0..40_u32).map(|turn| publish(&mut clients[turn as usize % 4], 10 + turn, "busy")).collect();
    let published = answers.iter().filter(|answer| answer.contains("\"publish\":{}")).count();
    assert!((10..=30).contains(&published), "{published}: {answers:?}");
    assert!(answers.iter().any(|answer| answer.contains("\"code\":111")), "{answers:?}");
    assert!(clients[0].ask(90, "\"subscribe\":{\"channel\":\"quiet\"}").contains("\"subscribe\":{}"));
    assert!(publish(&mut clients[0], 91, "quiet").contains("\"publish\":{}"), "another channel");
    wait_for_metric(&node, "roadstead_guard_limited_total{kind=\"publish\"}", 10);
}

#[test]
fn a_reload_bounds_who_is_connected() {
    let folder = Folder::new("rates");
    let config = folder.file("roadstead.toml", "");
    let node = Node::start(&folder, &["--insecure", "--echo", "--config", &config]);
    let mut client = Client::open(node.address("listen"), "/echo");
    (0..200).for_each(|_| client.say("abc"));
    assert!((0..200).all(|_| client.hear() == Heard::Text("abc".into())));
    folder.file("roadstead.toml", "[guard]\nmessages_per_s = 1\nburst_s = 1\n");
    node.signal("HUP");
    let end = Instant::now() + PATIENCE;
    loop {
        client.say("abc");
        match client.hear() {
            Heard::Text(_) => assert!(Instant::now() < end, "never bounded"),
            other => return assert_eq!(other, Heard::Close(1008)),
        }
    }
}
