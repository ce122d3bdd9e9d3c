//! A simulated client: a WebSocket and the client protocol over a simulated socket, with a character.
//!
//! Invariants: checks what it alone can see (every answer belongs to a question, nothing outside of a
//! subscription) and tells the oracle the rest; a good one never breaks a rule, so whatever befalls it is the
//! node's doing.
//!
//! ```text
//!   Knocking ── upgraded ──> Entering ── connect answered ──> Inside ── leaves, or is closed ──> Gone
//!       └──────── refused, reset ──────────┴──────────────────────────────────────────────────────^
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use roadstead_protocol::{
    Command, ConnectRequest, Encoding, HistoryRequest, Method, PublishRequest, Request, ServerMessage,
    SubscribeRequest, Subscribed, push_command, replies, subscribed,
};
use wsproto::handshake::{self, ClientRequest};
use wsproto::{Decoder, Event, Limits, MessageKind, Opcode, Role};

use crate::network::Status;
use crate::oracle::{MessageId, Oracle, RunId, Wrong};
use crate::random::Random;
use crate::world::{Client, World};

/// How a client behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Character {
    /// Keeps all rules, reads at once, and stays.
    Good,
    /// Keeps all rules, and leaves at some moment in some way: politely, abruptly, or without a trace.
    Fickle,
    /// Keeps all rules but reads only now and then.
    Slow,
    /// Sends what no client should.
    Rude,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The client left.
    Left,
    /// The node refused the upgrade with this status, or (0) without an answer.
    Refused(u16),
    /// The node closed with this code.
    Closed(u16),
    /// The connection broke without a close.
    Broken,
    /// The node was silent, or left a question unanswered, for longer than SDKs wait.
    GaveUp,
}

/// What a client comes with.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Its number, its own in the whole run.
    pub number: u32,
    /// Its character.
    pub character: Character,
    /// Where it connects.
    pub node: SocketAddr,
    /// The node's number, for the oracle.
    pub at: usize,
    /// What it shows at the door; empty: nothing.
    pub token: String,
    /// Channels that it subscribes to as soon as it is inside.
    pub wishes: Vec<String>,
    /// Where it was in the streams of channels: epoch and offset.
    pub known: Known,
    /// After which silence it goes; `None`: never. SDKs wait for a question's answer and for pings only so long.
    pub patience: Option<Duration>,
}

/// What a client remembers of streams, by channel: epoch and offset.
pub(crate) type Known = BTreeMap<String, (String, u64)>;

/// A client.
#[derive(Debug)]
pub struct Guest {
    number: u32,
    character: Character,
    encoding: Encoding,
    at: usize,
    token: String,
    wishes: Vec<String>,
    known: Known,
    patience: Option<Duration>,
    /// When something was heard last.
    heard_at: Duration,
    world: World,
    random: Random,
    socket: Client,
    stage: Stage,
    /// Written, but not taken by the socket yet.
    outgoing: Vec<u8>,
    head: Vec<u8>,
    decoder: Decoder,
    assembly: Vec<u8>,
    asked: BTreeMap<u32, (Ask, Duration)>,
    /// What it had asked when it went.
    unanswered: Vec<Ask>,
    asks: u32,
    publications: u32,
    subscriptions: BTreeMap<String, RunId>,
    /// Those of them that know their position, with it.
    positions: Known,
    reads: bool,
    acts_at: Duration,
    close_code: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Knocking {
        key: [u8; 16],
    },
    Entering,
    Inside,
    /// A close frame was sent; the node's answer is awaited.
    Leaving,
    Gone(Ended),
}

/// A question that awaits its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Ask {
    Connect,
    Subscribe(String),
    Unsubscribe(String),
    Publish(MessageId),
    /// Something that is answered by "not available" (108).
    Unavailable,
}

const LIMITS: Limits = Limits { frame_bytes: 1 << 20, message_bytes: 1 << 20, fragments: 64 };

/// The longest silence of a node that pings: SDKs allow 10 s beyond the interval.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Error codes of the client protocol that a good client may meet.
const INTERNAL: u32 = 100;
const NOT_AVAILABLE: u32 = 108;
const TOO_MANY_REQUESTS: u32 = 111;

/// Code of an unsubscribe after which a client comes back with its position.
const INSUFFICIENT_STATE: u32 = 2_500;

impl Guest {
    /// A client of the only node that starts to connect to it.
    #[must_use]
    pub fn new(world: &World, number: u32, character: Character, node: SocketAddr) -> Self {
        let (token, wishes, known) = (String::new(), Vec::new(), Known::new());
        Self::invited(
            world,
            Invitation { number, character, node, at: 0, token, wishes, known, patience: None },
        )
    }

    /// A client that starts to connect.
    #[must_use]
    pub fn invited(world: &World, invitation: Invitation) -> Self {
        let Invitation { number, character, node, at, token, wishes, known, patience } = invitation;
        let mut random = world.random();
        let home = SocketAddr::from(([127, 0, 1, (number / 200) as u8], 20_000 + (number % 200) as u16));
        let encoding = if random.chance(500) { Encoding::Json } else { Encoding::Protobuf };
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.bits().to_le_bytes());
        let mut guest = Self {
            number,
            character,
            encoding,
            at,
            token,
            wishes,
            known,
            patience,
            heard_at: world.now(),
            world: world.clone(),
            socket: world.connect(home, node),
            stage: Stage::Knocking { key },
            outgoing: Vec::new(),
            head: Vec::new(),
            decoder: Decoder::new(Role::Client),
            assembly: Vec::new(),
            asked: BTreeMap::new(),
            unanswered: Vec::new(),
            asks: 0,
            publications: 0,
            subscriptions: BTreeMap::new(),
            positions: Known::new(),
            reads: true,
            acts_at: world.now(),
            close_code: None,
            random,
        };
        guest.knock(key);
        guest
    }

    /// Its character.
    #[must_use]
    pub fn character(&self) -> Character {
        self.character
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        if let Stage::Gone(ended) = self.stage { Some(ended) } else { None }
    }

    /// When it wants to do something by itself next.
    #[must_use]
    pub fn acts_at(&self) -> Option<Duration> {
        matches!(self.stage, Stage::Inside).then_some(self.acts_at)
    }

    /// How long its oldest question has waited.
    #[must_use]
    pub fn waits(&self) -> Duration {
        let oldest = self.asked.values().map(|(_, at)| *at).min();
        oldest.map_or(Duration::ZERO, |at| self.world.now() - at)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What it waits for, for people.
    #[must_use]
    pub fn questions(&self) -> String {
        format!("{:?}", self.unanswered)
    }

    /// The number of the node it is connected to.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether the node has let it in, as far as it knows.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.stage == Stage::Inside
    }

    /// Whether it is inside and has no question open.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_inside() && self.asked.is_empty() && self.outgoing.is_empty()
    }

    /// Whether it subscribes to the channel of this number, as far as it knows.
    #[must_use]
    pub fn has(&self, channel: usize) -> bool {
        self.subscriptions.contains_key(&channel_name(channel))
    }

    /// The channels that it has, or wants.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        let asks = self.asked.values().map(|(ask, _)| ask).chain(&self.unanswered);
        let asked = asks.filter_map(|ask| match ask {
            Ask::Subscribe(channel) => Some(channel.clone()),
            _ => None,
        });
        self.subscriptions.keys().cloned().chain(asked).chain(self.wishes.iter().cloned()).collect()
    }

    /// What it remembers of streams.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Reads from now on, however slow it was.
    pub fn wake_up(&mut self) {
        self.reads = true;
    }

    /// Writes and reads what is there. Returns whether anything moved.
    ///
    /// # Errors
    /// [`Wrong`]: the node broke a rule.
    pub fn run(&mut self, oracle: &mut Oracle) -> Result<bool, Wrong> {
        if self.ended().is_some() {
            return Ok(false);
        }
        let mut moved = self.flush();
        while self.reads && self.ended().is_none() {
            let bytes_max = self.random.within(1..=20_000);
            let mut bytes = self.world.read(self.socket, bytes_max);
            if bytes.is_empty() {
                break;
            }
            moved = true;
            self.heard_at = self.world.now();
            self.hear(&mut bytes, oracle)?;
        }
        self.flush();
        self.lose_patience(oracle);
        self.look_for_the_end(oracle);
        Ok(moved)
    }

    /// Does something by itself, if it is time. Returns whether it did.
    pub fn act(&mut self, oracle: &mut Oracle, channels: usize) -> bool {
        if self.acts_at > self.world.now() || !matches!(self.stage, Stage::Inside) {
            return false;
        }
        self.acts_at = self.world.now() + Duration::from_millis(self.random.within(1..=600) as u64);
        match (self.character, self.random.below(20)) {
            (Character::Fickle, 0) => self.leave_somehow(oracle),
            (Character::Rude, 0..=3) => self.misbehave(),
            (Character::Slow, 0..=2) => self.reads = self.random.chance(200),
            (_, 4..=8) => match self.wishes.pop() {
                Some(channel) => self.subscribe_to(channel),
                None => self.subscribe(channels),
            },
            (_, 9) => self.unsubscribe(oracle),
            (_, 10) => self.ask_for_the_unavailable(channels),
            (_, 11) => self.say(Opcode::Ping, b"are you there"),
            _ => {
                for _ in 0..self.random.within(1..=3) {
                    let channel = self.any_channel(channels);
                    self.publish(oracle, channel);
                }
            }
        }
        self.flush();
        true
    }

    /// Publishes once to the channel of this number, if it is inside; returns what.
    pub fn speak_up(&mut self, oracle: &mut Oracle, channel: usize) -> Option<MessageId> {
        let is_inside = self.stage == Stage::Inside;
        is_inside.then(|| {
            let id = self.publish(oracle, channel_name(channel));
            self.flush();
            id
        })
    }

    /// Asks for the channel of this number, if it is inside and has not.
    pub fn join(&mut self, channel: usize) {
        if self.stage == Stage::Inside {
            self.subscribe_to(channel_name(channel));
            self.flush();
        }
    }

    /// Leaves with a close frame.
    pub fn leave(&mut self, oracle: &mut Oracle) {
        self.reads = true;
        match self.stage {
            Stage::Gone(_) | Stage::Leaving => {}
            Stage::Inside => {
                self.forget(oracle);
                self.say(Opcode::Close, &1_000_u16.to_be_bytes());
                self.stage = Stage::Leaving;
                self.flush();
            }
            Stage::Knocking { .. } | Stage::Entering => self.end(Ended::Left, oracle),
        }
    }

    fn knock(&mut self, key: [u8; 16]) {
        if self.character == Character::Rude && self.random.chance(200) {
            let garbage = (0..self.random.within(1..=9_000)).map(|_| self.random.bits() as u8);
            self.outgoing = garbage.collect();
            return;
        }
        let protocol = [self.encoding.subprotocol()];
        let request = ClientRequest {
            host: "sim.example",
            target: "/connection/websocket",
            origin: None,
            protocols: &protocol,
            key,
            deflate: None,
            headers: &[],
        };
        handshake::push_request(&mut self.outgoing, &request);
    }

    fn flush(&mut self) -> bool {
        if self.outgoing.is_empty() || self.world.status(self.socket) != Status::Open {
            return false;
        }
        let written = self.world.write(self.socket, &self.outgoing);
        self.outgoing.drain(..written);
        written > 0
    }

    // What it says.

    fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = (self.random.bits() as u32).to_be_bytes();
        wsproto::push_frame(&mut self.outgoing, opcode, payload, Some(mask));
    }

    fn ask(&mut self, ask: Ask, request: Request<'_>) {
        self.asks += 1;
        let mut message = Vec::new();
        push_command(&mut message, self.encoding, &Command { id: self.asks, request });
        self.say(opcode_of(self.encoding), &message);
        self.asked.insert(self.asks, (ask, self.world.now()));
    }

    fn subscribe(&mut self, channels: usize) {
        let channel = self.any_channel(channels);
        self.subscribe_to(channel);
    }

    fn subscribe_to(&mut self, channel: String) {
        let about_it =
            |ask: &Ask| *ask == Ask::Subscribe(channel.clone()) || *ask == Ask::Unsubscribe(channel.clone());
        if self.subscriptions.contains_key(&channel) || self.asked.values().any(|(ask, _)| about_it(ask)) {
            return;
        }
        let (epoch, offset) = self.known.get(&channel).cloned().unwrap_or_default();
        let request = SubscribeRequest {
            channel: Cow::Owned(channel.clone()),
            recover: self.known.contains_key(&channel),
            epoch: Cow::Owned(epoch),
            offset,
            ..SubscribeRequest::default()
        };
        self.ask(Ask::Subscribe(channel), Request::Subscribe(request));
    }

    fn unsubscribe(&mut self, oracle: &mut Oracle) {
        let asked: Vec<&Ask> = self.asked.values().map(|(ask, _)| ask).collect();
        let open = |channel: &&String| !asked.contains(&&Ask::Unsubscribe((*channel).clone()));
        let Some(channel) = self.subscriptions.keys().find(open).cloned() else { return };
        oracle.leave(self.subscriptions[&channel]);
        self.ask(Ask::Unsubscribe(channel.clone()), Request::Unsubscribe(Cow::Owned(channel)));
    }

    fn publish(&mut self, oracle: &mut Oracle, channel: String) -> MessageId {
        self.publications += 1;
        let id = MessageId { by: self.number, number: self.publications };
        let padding = "x".repeat(self.random.within(0..=60));
        let data = format!("[{},{},\"{padding}\"]", id.by, id.number).into_bytes();
        oracle.publish(id, self.at, &channel, &data);
        let request = PublishRequest { channel: Cow::Owned(channel), data: Cow::Owned(data), kind: 0 };
        self.ask(Ask::Publish(id), Request::Publish(request));
        id
    }

    fn ask_for_the_unavailable(&mut self, channels: usize) {
        let channel = Cow::Owned(self.any_channel(channels));
        let request = match self.random.below(3) {
            0 => Request::Presence(channel),
            1 => Request::PresenceStats(channel),
            _ => Request::History(HistoryRequest { channel, ..HistoryRequest::default() }),
        };
        self.ask(Ask::Unavailable, request);
    }

    fn any_channel(&mut self, channels: usize) -> String {
        channel_name(self.random.below(channels))
    }

    fn misbehave(&mut self) {
        match self.random.below(6) {
            0 => self.say(Opcode::Text, b"this is no command"),
            1 => self.say(Opcode::Text, &[0xff, 0xfe]),
            2 => self.say(Opcode::Binary, &[0xff; 40]),
            // A frame that is announced and never comes.
            3 => self.outgoing.extend([0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4, 5]),
            4 => self.say(Opcode::Binary, &[0; 70_000]),
            _ => {
                let garbage = (0..self.random.within(1..=300)).map(|_| self.random.bits() as u8);
                let garbage: Vec<u8> = garbage.collect();
                self.outgoing.extend(garbage);
            }
        }
    }

    fn leave_somehow(&mut self, oracle: &mut Oracle) {
        match self.random.below(4) {
            0 => return self.leave(oracle),
            1 => self.world.close(self.socket),
            2 => self.world.reset(self.socket),
            _ => self.world.vanish(self.socket),
        }
        self.end(Ended::Left, oracle);
    }

    // What it hears.

    fn hear(&mut self, bytes: &mut Vec<u8>, oracle: &mut Oracle) -> Result<(), Wrong> {
        if let Stage::Knocking { key } = self.stage {
            self.head.append(bytes);
            let head = std::mem::take(&mut self.head);
            let upgraded = handshake::read_response(&head, &key, &[self.encoding.subprotocol()], None);
            match upgraded {
                Ok(None) => self.head = head,
                Ok(Some((_, end))) => {
                    bytes.extend_from_slice(&head[end..]);
                    self.stage = Stage::Entering;
                    let token = Cow::Owned(std::mem::take(&mut self.token));
                    let request = ConnectRequest { token, ..ConnectRequest::default() };
                    self.ask(Ask::Connect, Request::Connect(request));
                }
                Err(handshake::Refusal::Status(status)) => self.end(Ended::Refused(status), oracle),
                Err(refusal) => return Err(self.wrong(&format!("its upgrade was answered badly: {refusal}"))),
            }
        }
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Role::Client));
        let mut assembly = std::mem::take(&mut self.assembly);
        let mut rest = &mut bytes[..];
        while self.ended().is_none() {
            match decoder.decode(&mut rest, &mut assembly, &LIMITS) {
                Ok(Some(event)) => self.hear_event(event, oracle)?,
                Ok(None) => break,
                Err(violation) => return Err(self.wrong(&format!("the node sent {}", violation.reason()))),
            }
        }
        if !decoder.is_partial() {
            assembly.clear();
        }
        (self.decoder, self.assembly) = (decoder, assembly);
        Ok(())
    }

    fn hear_event(&mut self, event: Event<'_>, oracle: &mut Oracle) -> Result<(), Wrong> {
        match event {
            Event::Message { kind, payload, .. } => {
                if (kind == MessageKind::Text) != (self.encoding == Encoding::Json) {
                    return Err(self.wrong("a message of the other encoding"));
                }
                for message in replies(self.encoding, payload) {
                    let message = message.map_err(|_| self.wrong("a malformed message"))?;
                    if let ServerMessage::Reply { id, result: Some(Method::Subscribe), .. } = message
                        && let Some((Ask::Subscribe(channel), _)) = self.asked.get(&id)
                    {
                        let channel = channel.clone();
                        self.asked.remove(&id);
                        let begun = subscribed(self.encoding, payload, id).unwrap_or_default();
                        self.hear_begun(channel, &begun, oracle)?;
                        continue;
                    }
                    self.hear_message(&message, oracle)?;
                }
            }
            Event::Ping(payload) => {
                let payload = payload.to_vec();
                self.say(Opcode::Pong, &payload);
            }
            Event::Pong(_) => {}
            Event::Close(frame) => {
                self.forget(oracle);
                if self.stage != Stage::Leaving {
                    self.close_code = Some(frame.map_or(1_005, |frame| frame.code));
                    self.say(Opcode::Close, &[]);
                    self.stage = Stage::Leaving;
                }
            }
        }
        Ok(())
    }

    fn hear_message(&mut self, message: &ServerMessage<'_>, oracle: &mut Oracle) -> Result<(), Wrong> {
        match message {
            ServerMessage::Ping => {
                let mut pong = Vec::new();
                push_command(&mut pong, self.encoding, &Command { id: 0, request: Request::Empty });
                self.say(opcode_of(self.encoding), &pong);
                Ok(())
            }
            ServerMessage::Reply { id, error, .. } => {
                let Some((ask, _)) = self.asked.remove(id) else {
                    return Err(self.wrong(&format!("an answer to nothing: {id}")));
                };
                self.hear_answer(ask, error.as_ref().map(|(code, _)| *code), oracle)
            }
            ServerMessage::Publication { channel, data, offset } => {
                self.hear_publication(channel, data, *offset, oracle)
            }
            ServerMessage::Unsubscribed { channel, code: INSUFFICIENT_STATE }
                if self.positions.remove(&**channel).is_some() =>
            {
                // It comes back at once, with the position that it has.
                if let Some(run) = self.subscriptions.remove(&**channel) {
                    oracle.leave(run);
                }
                self.wishes.push(channel.to_string());
                Ok(())
            }
            ServerMessage::Unsubscribed { .. } | ServerMessage::Other => {
                Err(self.wrong("a push that nobody asked for"))
            }
        }
    }

    fn hear_answer(&mut self, ask: Ask, error: Option<u32>, oracle: &mut Oracle) -> Result<(), Wrong> {
        match (ask, error) {
            (Ask::Connect, None) => {
                self.stage = Stage::Inside;
                self.acts_at = self.world.now();
                for channel in std::mem::take(&mut self.wishes) {
                    self.subscribe_to(channel);
                }
            }
            (Ask::Unsubscribe(channel), None) => {
                self.subscriptions.remove(&channel);
                self.positions.remove(&channel);
            }
            (Ask::Publish(id), None) => oracle.answer(id, true)?,
            (Ask::Publish(id), Some(TOO_MANY_REQUESTS)) => oracle.answer(id, false)?,
            // In a fleet, the owner may be gone: the outcome is not known, or nobody could be asked.
            (Ask::Publish(id), Some(INTERNAL)) if self.patience.is_some() => oracle.answer_nothing(id)?,
            // A question for a position may find no room on its way to the hub.
            (Ask::Subscribe(channel), Some(TOO_MANY_REQUESTS)) => self.wishes.push(channel),
            (Ask::Subscribe(channel), Some(INTERNAL)) if self.patience.is_some() => {
                self.wishes.push(channel);
            }
            // Of a history the position alone was asked for; of a fleet's, the owner may be gone.
            (Ask::Unavailable, None | Some(NOT_AVAILABLE | TOO_MANY_REQUESTS)) => {}
            (Ask::Unavailable, Some(INTERNAL)) if self.patience.is_some() => {}
            (ask, error) => return Err(self.wrong(&format!("{ask:?} was answered with {error:?}"))),
        }
        Ok(())
    }

    /// A subscription began: what it was given leads from where the client was to where it goes on.
    fn hear_begun(
        &mut self,
        channel: String,
        begun: &Subscribed<'_>,
        oracle: &mut Oracle,
    ) -> Result<(), Wrong> {
        let run = oracle.subscribe(self.number, self.at, &channel);
        self.subscriptions.insert(channel.clone(), run);
        if begun.positioned {
            let was = self.known.remove(&channel);
            if was.is_some() != begun.was_recovering || (begun.recovered && !begun.was_recovering) {
                return Err(self.wrong(&format!("{channel}: {was:?} is not what {begun:?} answers")));
            }
            if let Some((epoch, offset)) = was.filter(|_| begun.recovered)
                && (epoch != begun.epoch || offset != begun.offset)
            {
                return Err(self.wrong(&format!("{channel}: recovered from {epoch} {offset}: {begun:?}")));
            }
            if !begun.recovered && !begun.publications.is_empty() {
                return Err(self.wrong(&format!("{channel}: a recovery that failed brings something")));
            }
            oracle.count_recovery(begun.was_recovering.then_some(begun.recovered));
            self.positions.insert(channel.clone(), (begun.epoch.to_string(), begun.offset));
            self.known.insert(channel.clone(), (begun.epoch.to_string(), begun.offset));
            for recovered in &begun.publications {
                self.hear_publication(&channel, &recovered.data, recovered.offset, oracle)?;
            }
        }
        if self.stage == Stage::Leaving {
            oracle.leave(run);
        }
        Ok(())
    }

    fn hear_publication(
        &mut self,
        channel: &str,
        data: &[u8],
        offset: u64,
        oracle: &mut Oracle,
    ) -> Result<(), Wrong> {
        let Some(&run) = self.subscriptions.get(channel) else {
            return Err(self.wrong(&format!("a publication of {channel} outside of any subscription")));
        };
        let Some(id) = id_of(data) else {
            return Err(self.wrong(&format!("a payload that nobody sent: {}", data.escape_ascii())));
        };
        if let Some((epoch, last)) = self.positions.get_mut(channel) {
            let before = std::mem::replace(last, offset);
            if offset != before + 1 {
                let epoch = epoch.clone();
                return Err(self.wrong(&format!("{channel}: {offset} follows {before} in epoch {epoch}")));
            }
            oracle.place(channel, epoch, offset, id)?;
            self.known.insert(channel.into(), (epoch.clone(), offset));
        }
        oracle.hear(run, id, data)
    }

    // How it ends.

    /// SDKs give up a connection whose node is silent or leaves a question without an answer.
    fn lose_patience(&mut self, oracle: &mut Oracle) {
        let Some(patience) = self.patience.filter(|_| self.reads && self.ended().is_none()) else { return };
        let silent = self.world.now() - self.heard_at;
        let quiet_max = if self.stage == Stage::Inside { SILENCE_MAX } else { patience };
        if self.waits() > patience || silent > quiet_max {
            self.world.reset(self.socket);
            self.end(Ended::GaveUp, oracle);
        }
    }

    fn look_for_the_end(&mut self, oracle: &mut Oracle) {
        if self.ended().is_some() {
            return;
        }
        let ended = match (self.close_code, self.stage) {
            (Some(code), _) => Ended::Closed(code),
            (None, Stage::Leaving) => Ended::Left,
            (None, Stage::Knocking { .. }) => Ended::Refused(0),
            (None, _) => Ended::Broken,
        };
        match self.world.status(self.socket) {
            Status::Refused | Status::Reset | Status::TimedOut | Status::Gone => self.end(ended, oracle),
            Status::Open if self.reads && self.world.is_at_end(self.socket) => self.end(ended, oracle),
            Status::Open | Status::Connecting => {}
        }
    }

    fn end(&mut self, ended: Ended, oracle: &mut Oracle) {
        self.forget(oracle);
        self.unanswered = self.asked.values().map(|(ask, _)| ask.clone()).collect();
        self.asked.clear();
        self.world.close(self.socket);
        self.stage = Stage::Gone(ended);
    }

    /// Its subscriptions are over, as far as it is concerned.
    fn forget(&mut self, oracle: &mut Oracle) {
        self.subscriptions.values().for_each(|&run| oracle.leave(run));
    }

    fn wrong(&self, what: &str) -> Wrong {
        Wrong(format!("client {} ({:?}): {what}", self.number, self.character))
    }
}

fn opcode_of(encoding: Encoding) -> Opcode {
    match encoding {
        Encoding::Json => Opcode::Text,
        Encoding::Protobuf => Opcode::Binary,
    }
}

pub(crate) fn channel_name(number: usize) -> String {
    format!("channel-{number}")
}

/// The id at the beginning of a payload that a guest has made.
pub(crate) fn id_of(data: &[u8]) -> Option<MessageId> {
    let text = std::str::from_utf8(data).ok()?.strip_prefix('[')?;
    let mut numbers = text.splitn(3, ',');
    let by = numbers.next()?.parse().ok()?;
    let number = numbers.next()?.parse().ok()?;
    Some(MessageId { by, number })
}
