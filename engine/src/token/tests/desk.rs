//! Tokens that are judged on other threads.

use std::thread;
use std::time::Duration;

use super::*;
use crate::flow::Key;
use crate::limits::VERIFICATIONS_WAITING_MAX;
use crate::token::testing::{File, Issuer};

fn job(slot: u32, token: &str, verifier: &Arc<Verifier>) -> Job {
    Job {
        by: Key { slot, generation: slot + 1 },
        purpose: Purpose::Connection,
        token: token.into(),
        now_s: NOW,
        ignores_time: false,
        verifier: Arc::clone(verifier),
    }
}

fn wait(desk: &mut Desk) -> Verdict {
    loop {
        match desk.poll() {
            Some(verdict) => return verdict,
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn each_desk_gets_its_own_verdicts_and_is_woken() {
    let issuer = Issuer::p256();
    let file = File::with(&issuer.pem());
    let settings = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let verifier = Arc::new(load(&settings));
    let (woken, wakes) = crossbeam_channel::unbounded();
    let wake = |shard: usize| {
        let woken = woken.clone();
        Arc::new(move || woken.send(shard).expect("heard")) as Wake
    };
    let mut desks = open_desks(2, vec![wake(0), wake(1)]).expect("threads");
    for slot in 0..40 {
        let token = issuer.token("ES256", None, &json!({ "sub": format!("user {slot}") }));
        assert!(desks[slot as usize % 2].hand_in(job(slot, &token, &verifier)));
    }
    assert!(desks[0].hand_in(job(40, "nonsense", &verifier)));
    for (shard, desk) in desks.iter_mut().enumerate() {
        let mut slots = Vec::new();
        while desk.open() > 0 {
            let Verdict { by, judged } = wait(desk);
            assert_eq!(by.generation, by.slot + 1);
            let expected = match by.slot {
                40 => Err(flaw(Flaw::Malformed)),
                slot => Ok(Claims::Connection(user(&format!("user {slot}")))),
            };
            assert_eq!(judged, expected);
            slots.push(by.slot as usize);
        }
        slots.sort_unstable();
        let own: Vec<_> = (0..=40).filter(|slot| slot % 2 == shard).collect();
        assert_eq!(slots, own);
    }
    let mut woken: Vec<_> = (0..41).map(|_| wakes.recv().expect("a wake")).collect();
    woken.sort_unstable();
    assert_eq!(woken.iter().filter(|&&shard| shard == 1).count(), 20);
}

#[test]
fn a_full_desk_refuses_and_takes_again() {
    let issuer = Issuer::ed25519();
    let file = File::with(&issuer.pem());
    let settings = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
    let verifier = Arc::new(load(&settings));
    let token = issuer.token("EdDSA", None, &json!({ "sub": "u" }));
    let wakes: Vec<Wake> = (0..1_024).map(|_| Arc::new(|| {}) as Wake).collect();
    let mut desks = open_desks(1, wakes).expect("a thread");
    let room = VERIFICATIONS_WAITING_MAX / 1_024;
    for slot in 0..room as u32 {
        assert!(desks[0].hand_in(job(slot, &token, &verifier)));
    }
    assert!(!desks[0].hand_in(job(99, &token, &verifier)), "verdicts that nobody took have their room");
    assert!(desks[1].hand_in(job(0, &token, &verifier)), "another shard has its own");
    wait(&mut desks[0]);
    assert!(desks[0].hand_in(job(99, &token, &verifier)));
    while desks[0].open() > 0 {
        wait(&mut desks[0]);
    }
    assert!(!desks[0].has_verdicts() && desks[0].poll().is_none());
}
