//! A TCP connection on which both sides have proved that they hold the same key, and whose messages are sealed with it.
//!
//! Invariants: a key is at least 32 characters long; each direction has a key of its own for each connection, and numbers its
//! messages, so that none can be altered, repeated, left out or read by others; a message is bounded before it is read.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::fill;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{AGENT_KEY_BYTES_MIN, AGENT_MESSAGE_BYTES_MAX, AGENT_PATIENCE_MS};

const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// What a proof or a key is made for; no two may be the same.
const AGENT_PROOF: &[u8] = b"loadgen agent proof 1";
const CONTROLLER_PROOF: &[u8] = b"loadgen controller proof 1";
const TO_AGENT: &[u8] = b"loadgen to agent 1";
const TO_CONTROLLER: &[u8] = b"loadgen to controller 1";

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

    fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The code of `purpose` for a connection.
    fn sign(&self, purpose: &[u8], nonces: &[u8; 2 * NONCE_BYTES]) -> hmac::Tag {
        hmac::sign(&self.0, &[purpose, nonces].concat())
    }

    fn verify(&self, purpose: &[u8], nonces: &[u8; 2 * NONCE_BYTES], proof: &[u8]) -> io::Result<()> {
        hmac::verify(&self.0, &[purpose, nonces].concat(), proof)
            .map_err(|_| io::Error::new(io::ErrorKind::PermissionDenied, "the other side has another key"))
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
    stream: TcpStream,
    seal: Seal,
}

/// The receiving half.
pub(super) struct Reader {
    stream: TcpStream,
    seal: Seal,
}

/// The controller's end of `stream`, once both have proved the key.
///
/// # Errors
/// The other side is too slow, has another key, or went away.
pub(super) fn to_agent(mut stream: TcpStream, key: &Key) -> io::Result<(Writer, Reader)> {
    set_patience(&stream, true)?;
    let mut nonces = [0; 2 * NONCE_BYTES];
    fill(&mut nonces[..NONCE_BYTES]).map_err(|_| unsealable())?;
    stream.write_all(&nonces[..NONCE_BYTES])?;
    stream.read_exact(&mut nonces[NONCE_BYTES..])?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof)?;
    key.verify(AGENT_PROOF, &nonces, &proof)?;
    stream.write_all(key.sign(CONTROLLER_PROOF, &nonces).as_ref())?;
    halves(stream, Seal::new(key, TO_AGENT, &nonces)?, Seal::new(key, TO_CONTROLLER, &nonces)?)
}

/// The agent's end of `stream`, once both have proved the key.
///
/// # Errors
/// The other side is too slow, has another key, or went away.
pub(super) fn to_controller(mut stream: TcpStream, key: &Key) -> io::Result<(Writer, Reader)> {
    set_patience(&stream, true)?;
    let mut nonces = [0; 2 * NONCE_BYTES];
    fill(&mut nonces[NONCE_BYTES..]).map_err(|_| unsealable())?;
    stream.read_exact(&mut nonces[..NONCE_BYTES])?;
    stream.write_all(&nonces[NONCE_BYTES..])?;
    stream.write_all(key.sign(AGENT_PROOF, &nonces).as_ref())?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof)?;
    key.verify(CONTROLLER_PROOF, &nonces, &proof)?;
    halves(stream, Seal::new(key, TO_CONTROLLER, &nonces)?, Seal::new(key, TO_AGENT, &nonces)?)
}

fn halves(stream: TcpStream, outward: Seal, inward: Seal) -> io::Result<(Writer, Reader)> {
    set_patience(&stream, false)?;
    stream.set_nodelay(true)?;
    let reader = Reader { stream: stream.try_clone()?, seal: inward };
    Ok((Writer { stream, seal: outward }, reader))
}

/// Reading is bounded in time before the proof only: afterwards there may be long silence.
fn set_patience(stream: &TcpStream, reads_too: bool) -> io::Result<()> {
    let patience = Some(Duration::from_millis(AGENT_PATIENCE_MS));
    stream.set_write_timeout(patience)?;
    stream.set_read_timeout(patience.filter(|_| reads_too))
}

impl Writer {
    /// Seals and sends a message.
    ///
    /// # Errors
    /// It is too long, or the other side is gone.
    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        let nonce = self.seal.nonce();
        self.seal.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes).map_err(|_| unsealable())?;
        if bytes.len() > AGENT_MESSAGE_BYTES_MAX {
            return Err(unsealable());
        }
        self.stream.write_all(&(bytes.len() as u32).to_be_bytes())?;
        self.stream.write_all(&bytes)
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
    /// It is none of the other side's, too long, or the other side is gone.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > AGENT_MESSAGE_BYTES_MAX {
            return Err(unsealable());
        }
        let mut bytes = Vec::new();
        (&mut self.stream).take(len as u64).read_to_end(&mut bytes)?;
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

    fn connect(controller: &'static str, agent: &'static str) -> Ends {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let there = std::thread::spawn(move || {
            to_agent(TcpStream::connect(address).unwrap(), &Key::new(controller.as_bytes()))
        });
        let here = to_controller(listener.accept().unwrap().0, &Key::new(agent.as_bytes()));
        (there.join().unwrap(), here)
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
                writer.stream.write_all(&[0, 0, 0, 20]).unwrap();
                writer.stream.write_all(&[7; 20]).unwrap();
            } else {
                writer.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
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
