//! The entrance of an agent: hears the proofs of all who connect, many at a time, and hands over who holds the key.
//!
//! Invariants: a stranger keeps nobody out: a proof has one deadline, and when too many are under way the oldest is ended; a
//! connection that proves nothing gets nothing but the bytes that a proof takes.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::channel::{Key, Reader, Writer, to_controller};
use super::message::{Order, Report};
use crate::limits::{AGENT_PROOFS_MAX, AGENT_SILENCE_MS};

/// Pause after an accept that failed: a shortage may pass.
const PAUSE: Duration = Duration::from_millis(50);

/// A controller that has proved the key.
pub(super) struct Controller {
    pub(super) address: SocketAddr,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
}

/// A proof under way.
struct Proving {
    stream: Weak<TcpStream>,
    /// Ends with the proof, whereas the stream of a controller lives on.
    thread: Weak<()>,
}

/// Who hears the proofs.
#[derive(Clone)]
struct Doorkeeper {
    key: Arc<Key>,
    /// Time for a proof, and to be handed over.
    patience: Duration,
    controllers: Sender<Controller>,
    note: fn(&str),
}

/// Lets controllers in at `listener`, until the process ends. One that is not taken within `patience` hears that the agent is busy.
pub(super) fn open(
    listener: TcpListener,
    key: Key,
    patience: Duration,
    note: fn(&str),
) -> Receiver<Controller> {
    // Without room: a controller is either taken, or told.
    let (controllers, receiver) = bounded(0);
    let keeper = Doorkeeper { key: Arc::new(key), patience, controllers, note };
    thread::spawn(move || {
        let mut proving = VecDeque::new();
        loop {
            match listener.accept() {
                Ok((stream, address)) => keeper.admit(Arc::new(stream), address, &mut proving),
                // Errors of the connection that was about to be accepted, or a shortage.
                Err(_) => thread::sleep(PAUSE),
            }
        }
    });
    receiver
}

impl Doorkeeper {
    fn admit(&self, stream: Arc<TcpStream>, address: SocketAddr, proving: &mut VecDeque<Proving>) {
        proving.retain(|proof| proof.thread.strong_count() > 0);
        if proving.len() >= AGENT_PROOFS_MAX
            && let Some(oldest) = proving.pop_front().and_then(|oldest| oldest.stream.upgrade())
        {
            hang_up(&oldest);
        }
        let (keeper, underway) = (self.clone(), Arc::new(()));
        let proof = Proving { stream: Arc::downgrade(&stream), thread: Arc::downgrade(&underway) };
        let deadline = Instant::now() + self.patience;
        let named = thread::Builder::new().name("loadgen-proof".to_owned());
        // Without a thread the connection ends here.
        if named.spawn(move || keeper.hear(stream, address, deadline, underway)).is_ok() {
            proving.push_back(proof);
        }
    }

    fn hear(&self, stream: Arc<TcpStream>, address: SocketAddr, deadline: Instant, underway: Arc<()>) {
        let silence = Duration::from_millis(AGENT_SILENCE_MS);
        let proved = to_controller(Arc::clone(&stream), &self.key, deadline, silence);
        drop(underway);
        let (writer, reader) = match proved {
            Ok(halves) => halves,
            Err(error) => {
                hang_up(&stream);
                return (self.note)(&format!("{address}: {error}"));
            }
        };
        let controller = Controller { address, writer, reader };
        if let Err(refused) = self.controllers.send_timeout(controller, self.patience) {
            refuse(refused.into_inner());
            (self.note)(&format!("{address}: refused, another controller is here"));
        }
    }
}

fn refuse(mut controller: Controller) {
    // It says first what it wants, and goes away in any case.
    drop(controller.reader.receive::<Order>());
    drop(controller.writer.send(&Report::Failed("it is busy with another controller".to_owned())));
    controller.writer.close();
}

/// Ends the connection: closing is not enough, since threads with descriptors of their own may have a copy.
fn hang_up(stream: &TcpStream) {
    // It may have ended by itself.
    drop(stream.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::channel::to_agent;
    use super::*;

    /// Longer than anything takes where nothing is wrong.
    const LONG: Duration = Duration::from_secs(60);

    fn entrance(patience: Duration) -> (SocketAddr, Receiver<Controller>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (address, open(listener, key(), patience, |_| ()))
    }

    fn key() -> Key {
        Key::new(b"one key")
    }

    fn connect(address: SocketAddr) -> Arc<TcpStream> {
        Arc::new(TcpStream::connect(address).unwrap())
    }

    #[test]
    fn strangers_keep_no_controller_out() {
        let (address, controllers) = entrance(LONG);
        let strangers: Vec<_> = (0..3 * AGENT_PROOFS_MAX).map(|_| connect(address)).collect();
        let (mut writer, _reader) = to_agent(connect(address), &key(), LONG).unwrap();
        let mut controller = controllers.recv_timeout(LONG).unwrap();
        writer.send(&Order::Go).unwrap();
        assert!(matches!(controller.reader.receive(), Ok(Order::Go)));
        // The first of them were ended, to make room.
        let ended = (&*strangers[0]).read_to_end(&mut Vec::new());
        assert!(
            ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }

    #[test]
    fn a_second_controller_hears_that_the_agent_is_busy() {
        let (address, _controllers) = entrance(Duration::from_millis(300));
        let (mut writer, mut reader) = to_agent(connect(address), &key(), LONG).unwrap();
        writer.send(&Order::Start { words: Vec::new(), part: 0, parts: 1 }).unwrap();
        let Ok(Report::Failed(reason)) = reader.receive() else { panic!("no refusal") };
        assert!(reason.contains("busy"), "{reason}");
    }
}
