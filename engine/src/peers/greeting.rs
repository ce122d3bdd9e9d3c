//! How two nodes greet each other: that both speak one version, are of one cluster, have a key of it, and are who they
//! say, in a life that the other's View knows.
//!
//! Invariants: no link is up before both have proven a key over both greetings; a proof is good for one pair of nonces,
//! one role and one session, so that nothing heard earlier helps anybody; nobody learns which key is the right one; an
//! unproven socket is told nothing about the View.
//!
//! ```text
//! dialler   Greeter ── Hello ──> HelloSaid ── Welcome: verify, say Proof ──> ProofSaid ── Ready ──> up
//! acceptor  HelloAwaited ── Hello: say Welcome ──> WelcomeSaid ── Proof: verify, judge, say Ready ──> up
//! either    anything else ──> refused: said, once, and never more
//! ```

use std::sync::Arc;

use roadstead_control::{ClusterKeys, HASH_VERSION, Incarnation, NodeId, NodeName};
use roadstead_protocol::relay::{Greeting, RELAY_VERSIONS, push_greeting};

use super::events::{Refusal, Refused, printable};
use crate::limits::SHARDS_MAX;

const ACCEPTOR: &[u8] = b"roadstead link 1 acceptor";
const DIALLER: &[u8] = b"roadstead link 1 dialler";
const NONCE: &[u8] = b"roadstead link 1 nonce";

/// Who greets.
#[derive(Debug)]
pub(super) struct Greeter {
    pub(super) cluster: Arc<str>,
    pub(super) name: NodeName,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) shards: u16,
    pub(super) keys: Arc<ClusterKeys>,
    /// Random, drawn for this shard and life of the process.
    pub(super) seed: u64,
    /// Nonces drawn so far.
    pub(super) nonces: u64,
}

/// The link that a dialler wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) name: NodeName,
    pub(super) incarnation: Incarnation,
    pub(super) index: u8,
    pub(super) links: u8,
}

/// A session that both sides agree upon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Agreed {
    pub(super) peer: NodeName,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) shards: u16,
    pub(super) index: u8,
    pub(super) links: u8,
    pub(super) session: u64,
}

/// The dialler has said Hello.
#[derive(Debug)]
pub(super) struct HelloSaid {
    target: Target,
    session: u64,
    /// Both greetings as they are written, proofs left out.
    transcript: Vec<u8>,
}

/// The dialler has said Proof, and believes the acceptor.
#[derive(Debug)]
pub(super) struct ProofSaid {
    agreed: Agreed,
}

/// The acceptor has said Welcome.
#[derive(Debug)]
pub(super) struct WelcomeSaid {
    agreed: Agreed,
    transcript: Vec<u8>,
}

impl Greeter {
    /// The dialler's first word.
    pub(super) fn say_hello(
        &mut self,
        target: Target,
        session: u64,
        mut say: impl FnMut(&Greeting<'_>),
    ) -> HelloSaid {
        let nonce = self.nonce();
        let hello = Greeting::Hello {
            versions: RELAY_VERSIONS,
            hash_version: HASH_VERSION,
            cluster: &self.cluster,
            node: self.name.as_str(),
            incarnation: self.incarnation.0,
            shards: self.shards,
            index: target.index,
            links: target.links,
            session,
            nonce,
        };
        say(&hello);
        HelloSaid { target, session, transcript: written(&hello) }
    }

    /// 16 bytes that nobody without the key can foresee, and that never come again.
    fn nonce(&mut self) -> [u8; 16] {
        self.nonces += 1;
        let drawn = [self.seed, self.incarnation.0, self.nonces].map(u64::to_le_bytes).concat();
        let proof = self.keys.prove(NONCE, &[&drawn, self.name.as_str().as_bytes()].concat());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&proof[..16]);
        nonce
    }
}

impl HelloSaid {
    /// The acceptor has answered.
    pub(super) fn hear(
        mut self,
        own: &Greeter,
        greeting: &Greeting<'_>,
        mut say: impl FnMut(&Greeting<'_>),
    ) -> Result<ProofSaid, Refused> {
        let &Greeting::Welcome { version, cluster, node, incarnation, shards, nonce, proof } = greeting
        else {
            return Err(out_of_turn());
        };
        if !(RELAY_VERSIONS.0..=RELAY_VERSIONS.1).contains(&version) {
            return Err(Refused::new(
                Refusal::Version,
                format!("relay version {version} is not spoken here"),
            ));
        }
        same_cluster(own, cluster)?;
        let welcome =
            Greeting::Welcome { version, cluster, node, incarnation, shards, nonce, proof: [0; 32] };
        self.transcript.extend(written(&welcome));
        if !own.keys.verifies(ACCEPTOR, &self.transcript, &proof) {
            return Err(wrong_key());
        }
        let name = named(node)?;
        has_shards(shards)?;
        let target = self.target;
        if name != target.name {
            let words = format!("node {name} answers at the address of {}", target.name);
            return Err(Refused::new(Refusal::NotInView, words));
        }
        same_life(&name, Incarnation(incarnation), target.incarnation)?;
        say(&Greeting::Proof { proof: own.keys.prove(DIALLER, &self.transcript) });
        let agreed = Agreed {
            node: name.id(),
            peer: name,
            incarnation: target.incarnation,
            shards,
            index: target.index,
            links: target.links,
            session: self.session,
        };
        Ok(ProofSaid { agreed })
    }
}

impl ProofSaid {
    /// The acceptor has made up its mind.
    pub(super) fn hear(self, greeting: &Greeting<'_>) -> Result<Agreed, Refused> {
        if *greeting == Greeting::Ready { Ok(self.agreed) } else { Err(out_of_turn()) }
    }
}

impl WelcomeSaid {
    /// Whatever the dialler says first, answered.
    pub(super) fn answer(
        own: &mut Greeter,
        greeting: &Greeting<'_>,
        mut say: impl FnMut(&Greeting<'_>),
    ) -> Result<Self, Refused> {
        let &Greeting::Hello {
            versions,
            hash_version,
            cluster,
            node,
            incarnation,
            shards,
            index,
            links,
            session,
            ..
        } = greeting
        else {
            return Err(out_of_turn());
        };
        let version = versions.1.min(RELAY_VERSIONS.1);
        if version < versions.0.max(RELAY_VERSIONS.0) {
            let words = format!(
                "relay versions {} to {} are spoken there, {} to {} here",
                versions.0, versions.1, RELAY_VERSIONS.0, RELAY_VERSIONS.1
            );
            return Err(Refused::new(Refusal::Version, words));
        }
        if hash_version != HASH_VERSION {
            let words = format!("placement by hash version {hash_version} there, {HASH_VERSION} here");
            return Err(Refused::new(Refusal::Version, words));
        }
        same_cluster(own, cluster)?;
        let peer = named(node)?;
        has_shards(shards)?;
        if index >= links || u16::from(links) > SHARDS_MAX || session == 0 {
            return Err(Refused::new(Refusal::Malformed, "a link that cannot be"));
        }
        let mut transcript = written(greeting);
        let nonce = own.nonce();
        let welcome = |proof| Greeting::Welcome {
            version,
            cluster: &own.cluster,
            node: own.name.as_str(),
            incarnation: own.incarnation.0,
            shards: own.shards,
            nonce,
            proof,
        };
        transcript.extend(written(&welcome([0; 32])));
        say(&welcome(own.keys.prove(ACCEPTOR, &transcript)));
        let agreed = Agreed {
            node: peer.id(),
            peer,
            incarnation: Incarnation(incarnation),
            shards,
            index,
            links,
            session,
        };
        Ok(Self { agreed, transcript })
    }

    /// Who the dialler claims to be.
    pub(super) fn claim(&self) -> &NodeName {
        &self.agreed.peer
    }

    /// The dialler's proof. Whether the session is wanted is still to be judged.
    pub(super) fn hear(&self, own: &Greeter, greeting: &Greeting<'_>) -> Result<Agreed, Refused> {
        let Greeting::Proof { proof } = greeting else { return Err(out_of_turn()) };
        if own.keys.verifies(DIALLER, &self.transcript, proof) {
            Ok(self.agreed.clone())
        } else {
            Err(wrong_key())
        }
    }
}

/// Whether the life that `name` speaks for is the one that the View has.
pub(super) fn same_life(name: &NodeName, said: Incarnation, in_view: Incarnation) -> Result<(), Refused> {
    if said < in_view {
        return Err(Refused::new(Refusal::Stale, format!("a later life of {name} is in the View")));
    }
    if said > in_view {
        return Err(Refused::new(Refusal::NotInView, format!("this life of {name} is not in the View yet")));
    }
    Ok(())
}

fn written(greeting: &Greeting<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_greeting(&mut bytes, greeting).expect("what fitted into a greeting fits again");
    bytes
}

fn same_cluster(own: &Greeter, cluster: &str) -> Result<(), Refused> {
    if *cluster == *own.cluster {
        return Ok(());
    }
    let words = format!("cluster {:?} there, {:?} here", printable(cluster), own.cluster);
    Err(Refused::new(Refusal::Cluster, words))
}

fn named(node: &str) -> Result<NodeName, Refused> {
    NodeName::new(node).map_err(|bad| Refused::new(Refusal::Malformed, format!("the node's name {bad}")))
}

fn has_shards(shards: u16) -> Result<(), Refused> {
    if (1..=SHARDS_MAX).contains(&shards) {
        return Ok(());
    }
    Err(Refused::new(Refusal::Malformed, format!("a node with {shards} shards")))
}

fn wrong_key() -> Refused {
    let words = "the other node's proof was made with a key that is not in the cluster key file";
    Refused::new(Refusal::Key, words)
}

fn out_of_turn() -> Refused {
    Refused::new(Refusal::Malformed, "a greeting out of its turn")
}
