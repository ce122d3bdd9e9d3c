//! What makes a token good or bad: tables over claims, signatures and keys.

mod claims;
mod confusion;
mod desk;
mod keys;
mod remote;
mod signing;

use serde_json::{Value, json};

use super::testing::with_secret;
use super::*;
use crate::settings::{Secret, Settings, Token};

const SECRET: &[u8] = b"an hmac secret of thirty-two bytes";
const NOW: u64 = 1_000_000;

fn hmac() -> Token {
    Token { hmac_secret: Some(Secret::new(SECRET)), ..Token::default() }
}

fn load(token: &Token) -> Verifier {
    try_load(token).expect("keys that can be read")
}

fn try_load(token: &Token) -> Result<Verifier, KeyError> {
    Verifier::load(&Settings { token: token.clone(), ..Settings::default() }, &Remotes::default())
}

fn user(name: &str) -> ConnectionClaims {
    ConnectionClaims { user: name.into(), ..ConnectionClaims::default() }
}

fn flaw(flaw: Flaw) -> TokenError {
    TokenError::Invalid(flaw)
}
