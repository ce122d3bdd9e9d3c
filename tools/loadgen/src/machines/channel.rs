//! A TCP connection on which both sides have proved that they hold the same key, and whose messages are sealed with it.
//!
//! Invariants: a key is at least 32 characters long; each direction has a key of its own for each connection, and numbers its
//! messages, so that none can be altered, repeated, left out or read by others; a message is bounded before it is read; every
//! wait for the other side ends at a time that is set before it begins, however little comes at once.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::fill;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{AGENT_KEY_BYTES_MIN, AGENT_MESSAGE_BYTES_MAX};

const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// What a proof or a key is made for; no two may be the same.
const AGENT_PROOF: &[u8] = b"loadgen agent proof 2";
const CONTROLLER_PROOF: &[u8] = b"loadgen controller proof 2";
const TO_AGENT: &[u8] = b"loadgen to agent 2";
const TO_CONTROLLER: &[u8] = b"loadgen to controller 2";

/// The key that a controller and its agents share.
pub(crate) struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    /// Never the key itself.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads a key from the first line of a file.
    ///
    /// # Errors
    /// The file cannot be read, or the key is short; as a sentence for the user.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key = text.lines().next().unwrap_or_default().trim();
        if key.len() < AGENT_KEY_BYTES_MIN {
            return Err(format!(
                "{}: a key has {AGENT_KEY_BYTES_MIN} characters at least; `openssl rand -hex 32` makes one",
                path.display()
            ));
        }
        Ok(Self::new(key.as_bytes()))
    }

    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The code of `purpose` for a connection.
    fn sign(&self, purpose: &[u8], nonces: &[u8; 2 * NONCE_BYTES]) -> hmac::Tag {
        hmac::sign(&self.0, &[purpose, nonces].concat())
    }

    fn verify(&self, purpose: &[u8], nonces: &[u8; 2 * NONCE_BYTES], proof: &[u8]) -> io::Result<()> {
        hmac::verify(&self.0, &[purpose, nonces].concat(), proof).map_err(|_| {
            io::Error::new(io::ErrorKind::PermissionDenied, "the other side has another key or version")
        })
    }
}

/// One direction's seal.
struct Seal {
    key: LessSafeKey,
    /// Number of the next message.
    next: u64,
}

impl Seal {
    fn new(key: &Key, purpose: &[u8], nonces: &[u8; 2 * NONCE_BYTES]) -> io::Result<Self> {
        let derived = key.sign(purpose, nonces);
        let unbound = UnboundKey::new(&AES_256_GCM, derived.as_ref()).map_err(|_| unsealable())?;
        Ok(Self { key: LessSafeKey::new(unbound), next: 0 })
    }

    /// The number of a message is its nonce: used once, since keys are of one connection and direction.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The sending half.
pub(super) struct Writer {
    stream: Arc<TcpStream>,
    seal: Seal,
    patience: Duration,
}

/// The receiving half.
pub(super) struct Reader {
    stream: Arc<TcpStream>,
    seal: Seal,
    patience: Duration,
}

/// The controller's end of `stream`, once both have proved the key, which may take `patience` in all. Later each message may take as
/// long, from the time it is waited for.
///
/// # Errors
/// The other side is too slow, has another key, or went away.
pub(super) fn to_agent(
    stream: Arc<TcpStream>,
    key: &Key,
    patience: Duration,
) -> io::Result<(Writer, Reader)> {
    let deadline = Instant::now() + patience;
    let mut nonces = [0; 2 * NONCE_BYTES];
    fill(&mut nonces[..NONCE_BYTES]).map_err(|_| unsealable())?;
    write_until(&stream, &nonces[..NONCE_BYTES], deadline)?;
    read_until(&stream, &mut nonces[NONCE_BYTES..], deadline)?;
    let mut proof = [0; PROOF_BYTES];
    read_until(&stream, &mut proof, deadline)?;
    key.verify(AGENT_PROOF, &nonces, &proof)?;
    write_until(&stream, key.sign(CONTROLLER_PROOF, &nonces).as_ref(), deadline)?;
    halves(stream, Seal::new(key, TO_AGENT, &nonces)?, Seal::new(key, TO_CONTROLLER, &nonces)?, patience)
}

/// The agent's end of `stream`, once both have proved the key, which may take until `deadline`. Later each message may take
/// `patience`, from the time it is waited for.
///
/// # Errors
/// The other side is too slow, has another key, or went away.
pub(super) fn to_controller(
    stream: Arc<TcpStream>,
    key: &Key,
    deadline: Instant,
    patience: Duration,
) -> io::Result<(Writer, Reader)> {
    let mut nonces = [0; 2 * NONCE_BYTES];
    fill(&mut nonces[NONCE_BYTES..]).map_err(|_| unsealable())?;
    read_until(&stream, &mut nonces[..NONCE_BYTES], deadline)?;
    write_until(&stream, &nonces[NONCE_BYTES..], deadline)?;
    write_until(&stream, key.sign(AGENT_PROOF, &nonces).as_ref(), deadline)?;
    let mut proof = [0; PROOF_BYTES];
    read_until(&stream, &mut proof, deadline)?;
    key.verify(CONTROLLER_PROOF, &nonces, &proof)?;
    halves(stream, Seal::new(key, TO_CONTROLLER, &nonces)?, Seal::new(key, TO_AGENT, &nonces)?, patience)
}

fn halves(
    stream: Arc<TcpStream>,
    outward: Seal,
    inward: Seal,
    patience: Duration,
) -> io::Result<(Writer, Reader)> {
    stream.set_nodelay(true)?;
    let reader = Reader { stream: Arc::clone(&stream), seal: inward, patience };
    Ok((Writer { stream, seal: outward, patience }, reader))
}

/// Fills `bytes` from `stream`.
fn read_until(mut stream: &TcpStream, bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        stream.set_read_timeout(Some(left_until(deadline)?))?;
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side hung up")),
            Ok(read) => filled += read,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends all of `bytes`.
fn write_until(mut stream: &TcpStream, bytes: &[u8], deadline: Instant) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        stream.set_write_timeout(Some(left_until(deadline)?))?;
        match stream.write(&bytes[sent..]) {
            Ok(written) => sent += written,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::TimedOut, "the other side says nothing any more, or is too slow")
    })
}

/// Whether it is for the deadline to decide.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

impl Writer {
    /// Seals and sends a message.
    ///
    /// # Errors
    /// It is too long, or the other side does not take it in time, or is gone.
    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let deadline = Instant::now() + self.patience;
        let mut bytes = serde_json::to_vec(message)?;
        let nonce = self.seal.nonce();
        self.seal.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes).map_err(|_| unsealable())?;
        if bytes.len() > AGENT_MESSAGE_BYTES_MAX {
            return Err(unsealable());
        }
        write_until(&self.stream, &(bytes.len() as u32).to_be_bytes(), deadline)?;
        write_until(&self.stream, &bytes, deadline)
    }

    /// Ends the connection, for the other half as well.
    pub(super) fn close(&self) {
        // It may have ended by itself.
        drop(self.stream.shutdown(std::net::Shutdown::Both));
    }
}

impl Reader {
    /// Waits for a message and opens it.
    ///
    /// # Errors
    /// It does not come in time, is none of the other side's or too long, or the other side is gone.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let deadline = Instant::now() + self.patience;
        let mut len = [0; 4];
        read_until(&self.stream, &mut len, deadline)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > AGENT_MESSAGE_BYTES_MAX {
            return Err(unsealable());
        }
        let mut bytes = vec![0; len];
        read_until(&self.stream, &mut bytes, deadline)?;
        let nonce = self.seal.nonce();
        let plain = self.seal.key.open_in_place(nonce, Aad::empty(), &mut bytes).map_err(|_| unsealable())?;
        Ok(serde_json::from_slice(plain)?)
    }
}

fn unsealable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that does not belong to this connection")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    type Ends = (io::Result<(Writer, Reader)>, io::Result<(Writer, Reader)>);

    /// Longer than anything takes where nothing is wrong.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    fn connect(controller: &'static str, agent: &'static str) -> Ends {
        connect_for(controller, agent, LONG)
    }

    fn connect_for(controller: &'static str, agent: &'static str, patience: Duration) -> Ends {
        let (controllers, agents) = streams();
        let there = std::thread::spawn(move || to_agent(controllers, &Key::new(controller.as_bytes()), LONG));
        let here = to_controller(agents, &Key::new(agent.as_bytes()), Instant::now() + LONG, patience);
        (there.join().unwrap(), here)
    }

    fn streams() -> (Arc<TcpStream>, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(stream), Arc::new(listener.accept().unwrap().0))
    }

    /// Sends a byte now and then, each well within the time for the whole, until the other side hangs up.
    fn trickle(mut stream: &TcpStream) {
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(SHORT / 10);
        }
    }

    /// Neither silence nor bytes one by one draw a proof out.
    #[test]
    fn a_proof_has_one_deadline() {
        for speaks in [false, true] {
            let (here, there) = streams();
            let strangers = Arc::clone(&there);
            let stranger = std::thread::spawn(move || {
                if speaks {
                    trickle(&strangers)
                }
            });
            let key = Key::new(b"one key");
            let error = to_controller(Arc::clone(&here), &key, Instant::now() + SHORT, LONG).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{speaks}: {error}");
            let error = to_agent(here, &key, SHORT).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{speaks}: {error}");
            stranger.join().unwrap();
        }
    }

    #[test]
    fn a_message_has_one_deadline() {
        for speaks in [false, true] {
            let (controller, agent) = connect_for("one key", "one key", SHORT);
            let (controllers, (writer, mut reader)) = (controller.unwrap(), agent.unwrap());
            let stream = Arc::clone(&controllers.0.stream);
            let peer = std::thread::spawn(move || {
                if speaks {
                    (&*stream).write_all(&1_000_u32.to_be_bytes()).unwrap();
                    trickle(&stream);
                }
            });
            assert_eq!(reader.receive::<String>().unwrap_err().kind(), io::ErrorKind::TimedOut);
            writer.close();
            peer.join().unwrap();
        }
    }

    /// Who does not read is not written to for ever.
    #[test]
    fn a_message_that_nobody_takes_is_given_up() {
        let (controller, agent) = connect_for("one key", "one key", SHORT);
        let (_controller, (mut writer, _reader)) = (controller.unwrap(), agent.unwrap());
        let large = "x".repeat(AGENT_MESSAGE_BYTES_MAX / 2);
        let error = (0..100).find_map(|_| writer.send(&large).err()).expect("buffers have an end");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn messages_travel_both_ways() {
        let (controller, agent) = connect("one key", "one key");
        let ((mut to_agent, mut from_agent), (mut to_controller, mut from_controller)) =
            (controller.unwrap(), agent.unwrap());
        for text in ["a", "", "third"] {
            to_agent.send(&text).unwrap();
            assert_eq!(from_controller.receive::<String>().unwrap(), text);
            to_controller.send(&vec![text; 3]).unwrap();
            assert_eq!(from_agent.receive::<Vec<String>>().unwrap(), [text; 3]);
        }
    }

    #[test]
    fn another_key_is_refused_by_both() {
        let (controller, agent) = connect("one key", "another key");
        assert_eq!(controller.err().unwrap().kind(), io::ErrorKind::PermissionDenied);
        assert!(agent.is_err());
    }

    #[test]
    fn what_was_altered_repeated_or_is_too_long_is_refused() {
        for spoil in [0, 1, 2] {
            let (controller, agent) = connect("one key", "one key");
            let (mut writer, _) = controller.unwrap();
            let (_, mut reader) = agent.unwrap();
            if spoil == 0 {
                writer.seal.next += 1;
                writer.send(&"skipped one").unwrap();
            } else if spoil == 1 {
                (&*writer.stream).write_all(&[0, 0, 0, 20]).unwrap();
                (&*writer.stream).write_all(&[7; 20]).unwrap();
            } else {
                (&*writer.stream).write_all(&u32::MAX.to_be_bytes()).unwrap();
            }
            assert_eq!(reader.receive::<String>().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn short_keys_are_refused() {
        let path = std::env::temp_dir().join(format!("loadgen-key-{}", std::process::id()));
        std::fs::write(&path, "short\n").unwrap();
        assert!(Key::read(&path).unwrap_err().contains("openssl"));
        std::fs::write(&path, format!("{}\n", "k".repeat(AGENT_KEY_BYTES_MIN))).unwrap();
        assert_eq!(format!("{:?}", Key::read(&path).unwrap()), "Key");
        std::fs::remove_file(&path).unwrap();
    }
}
