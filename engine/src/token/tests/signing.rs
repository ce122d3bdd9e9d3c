//! Keys in every form that tools make, and every algorithm: what is signed with them verifies.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::token::testing::{File, Issuer};

/// Of RSA, in front of the key itself in PKCS #8, bytes: length, version and algorithm (RFC 5208, section 5).
const PKCS8_HEAD_BYTES: usize = 26;

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn pkcs8(issuer: &Issuer) -> Vec<u8> {
    match issuer {
        Issuer::Rsa(key) => AsDer::<Pkcs8V1Der<'_>>::as_der(key).expect("encoded").as_ref().to_vec(),
        Issuer::P256(key) | Issuer::P384(key) => key.to_pkcs8v1().expect("encoded").as_ref().to_vec(),
        Issuer::Ed25519(key) => key.to_pkcs8v1().expect("encoded").as_ref().to_vec(),
        Issuer::Secret(_) => panic!("a secret has no such form"),
    }
}

#[test]
fn every_key_signs_with_its_algorithms_and_no_other() {
    let (rsa, p256, p384) = (Issuer::rsa(KeySize::Rsa2048), Issuer::p256(), Issuer::p384());
    let ed25519 = Issuer::ed25519();
    let sec1 = |issuer: &Issuer| match issuer {
        Issuer::P256(key) | Issuer::P384(key) => {
            AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&key.private_key())
                .expect("encoded")
                .as_ref()
                .to_vec()
        }
        _ => panic!("no elliptic key"),
    };
    let grant =
        Grant { user: "ann", channel: Some("$a"), id: Some("t-1"), ends_at_s: Some(0), ..Grant::default() };
    for (issuer, forms, usual, good, bad) in [
        (
            &rsa,
            vec![("PRIVATE KEY", pkcs8(&rsa)), ("RSA PRIVATE KEY", pkcs8(&rsa)[PKCS8_HEAD_BYTES..].to_vec())],
            "RS256",
            &["RS384", "RS512"][..],
            &["ES256", "HS256", "PS256"][..],
        ),
        (
            &p256,
            vec![("PRIVATE KEY", pkcs8(&p256)), ("EC PRIVATE KEY", sec1(&p256))],
            "ES256",
            &[],
            &["ES384", "RS256"],
        ),
        (
            &p384,
            vec![("PRIVATE KEY", pkcs8(&p384)), ("EC PRIVATE KEY", sec1(&p384))],
            "ES384",
            &[],
            &["ES256", "ES512"],
        ),
        (&ed25519, vec![("PRIVATE KEY", pkcs8(&ed25519))], "EdDSA", &[], &["ES256", "none"]),
    ] {
        let file = File::with(&issuer.pem());
        let public = Token { public_key_files: vec![file.path().display().to_string()], ..Token::default() };
        let verifier = load(&public);
        for (label, der) in forms {
            let signer = || Signer::with_pem(pem(label, &der).as_bytes()).expect("a key");
            let mut signers = vec![(usual, signer())];
            signers.extend(good.iter().map(|name| (*name, signer().using(name).expect("its own"))));
            for (algorithm, signer) in signers {
                let token = mint(&signer, &grant).expect("minted");
                let (header, claims) = read_unverified(&token);
                assert_eq!(header, Some(json!({ "typ": "JWT", "alg": algorithm })), "{label}");
                assert_eq!(claims.expect("claims")["jti"], "t-1");
                let opened = verifier.subscription(&token, NOW, false).expect("valid");
                assert_eq!((opened.channel.as_str(), opened.user.as_str()), ("$a", "ann"));
                assert_eq!((opened.id.as_deref(), opened.expires_at_s), (Some("t-1"), None));
            }
            for name in bad {
                let refusal = signer().using(name).expect_err("not its own");
                assert!(refusal.contains(usual), "{name}: {refusal}");
            }
        }
    }
}

#[test]
fn secrets_sign_with_every_digest_and_names_are_told() {
    let secret = Secret::new(SECRET);
    for name in ["HS256", "HS384", "HS512"] {
        let signer = Signer::with_secret(&secret).using(name).expect("its own").named(Some("k-1".into()));
        let token = mint(&signer, &Grant { user: "ann", ..Grant::default() }).expect("minted");
        assert_eq!(read_unverified(&token).0, Some(json!({ "typ": "JWT", "alg": name, "kid": "k-1" })));
        assert_eq!(load(&hmac()).connection(&token, NOW, false).expect("valid").user, "ann");
    }
}

#[test]
fn what_is_no_private_key_is_refused() {
    let issuer = Issuer::p256();
    for (content, why) in [
        (String::new(), "no private key"),
        ("nonsense".into(), "no private key"),
        (issuer.pem(), "no private key"),
        (pem("ENCRYPTED PRIVATE KEY", &pkcs8(&issuer)), "no private key"),
        (pem("PRIVATE KEY", b"nonsense"), "neither RSA"),
    ] {
        let refusal = Signer::with_pem(content.as_bytes()).expect_err("no key");
        assert!(refusal.contains(why), "{refusal}");
    }
}
