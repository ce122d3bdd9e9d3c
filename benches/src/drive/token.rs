//! Connection tokens: HS256 JSON Web Tokens with a subject and nothing else (RFC 7519, RFC 7515).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Signs tokens with one secret.
pub(super) struct Mint(hmac::Key);

impl Mint {
    pub(super) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// A token of a user whose name needs no JSON escape. It does not expire.
    pub(super) fn token(&self, user: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{user}"}}"#));
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts_and_verifies() {
        let mint = Mint::new("a secret of the bench");
        let token = mint.token("user-7");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        hmac::verify(&mint.0, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        assert_eq!(claims, br#"{"sub":"user-7"}"#);
    }
}
