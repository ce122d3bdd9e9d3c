//! `cluster-key`: makes a key of a fleet.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Exit, answer, complain};

pub(super) const AFTER: &str = "\
The key file is the same on every node: one key a line, the first seals, all of them open.

A new fleet:
  (umask 0027; roadstead cluster-key >> /etc/roadstead/cluster-key)   and copy the file to every node

A new key for a running fleet, each step on all nodes, one after the other, before the next step begins:
  1. add the new key at the end of the file, restart
  2. move it to the first line, restart
  3. remove the old key, restart";

/// Prints a fresh key, with a line that says what it is.
#[must_use]
pub fn run() -> Exit {
    let mut key = [0; 32];
    match draw(&mut key) {
        Ok(()) => answer(&format!("# a key of a Roadstead fleet: keep it secret\n{}", STANDARD.encode(key))),
        Err(error) => {
            complain(&format!("cannot draw a key from /dev/urandom: {error}"));
            Exit::Failure
        }
    }
}

fn draw(key: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(key)
}
