//! Tokens on the command line: what is minted with every kind of key is taken by nodes, and what is wrong with one is told.

use std::io::Write;
use std::process::Stdio;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use roadstead_engine::settings::{Secret, Settings, Token};
use roadstead_engine::token::{Remotes, Verifier};
use serde_json::{Value, json};

use crate::commands::{SECRET, run};
use crate::surroundings::{Folder, roadstead};

const NOW_S: u64 = 1_000_000_000;

#[test]
fn tokens_are_minted_with_the_nodes_secret() {
    let folder = Folder::new("cli");
    let secret = folder.file("secret", &format!("{SECRET}\n"));
    let config =
        folder.file("roadstead.toml", &format!("[token]\nhmac_secret_file = \"{secret}\"\nissuer = \"i\"\n"));
    let token =
        Token { hmac_secret: Some(Secret::new(SECRET)), issuer: Some("i".into()), ..Token::default() };
    let settings = Settings { token, ..Settings::default() };
    let verifier = Verifier::load(&settings, &Remotes::default()).expect("keys");
    for (arguments, user, expires, info) in [
        (&["--user", "ann"][..], "ann", true, None),
        (&["--user", "", "--ttl", "never"], "", false, None),
        (&["--user", "ann", "--info", "{\"n\": 1}"], "ann", true, Some("{\"n\": 1}")),
    ] {
        let (exit, out, err) = run(&[&["token", "--config", &config][..], arguments].concat());
        assert_eq!(exit, 0, "{err}");
        let token = out.strip_suffix('\n').expect("one line");
        let claims = verifier.connection(token, NOW_S, false).expect("valid");
        assert_eq!(claims.user, user);
        assert_eq!(claims.expires_at_s.is_some(), expires, "{arguments:?}");
        assert_eq!(claims.info.as_deref(), info.map(str::as_bytes));
    }

    let (exit, out, err) = run(&["token", "--user", "ann"]);
    assert_eq!((exit, out.as_str()), (78, ""));
    assert!(err.contains("token.hmac_secret"), "{err}");
    let (exit, _, err) = run(&["token", "--user", "ann", "--config", &config, "--info", "{"]);
    assert_eq!(exit, 2, "{err}");
    let (exit, out, _) = run(&["token", "--user", "ann", "--secret-file", &secret]);
    assert_eq!((exit, out.split('.').count()), (0, 3));
    for (bytes, code) in [(254, 0), (255, 2)] {
        let (exit, _, err) = run(&["token", "--user", &"u".repeat(bytes), "--secret-file", &secret]);
        assert_eq!(exit, code, "{err}");
        assert_eq!(err.contains("at most 254"), code != 0, "{err}");
    }
}

/// A folder with a private key, and with a configuration that knows its public half by a name.
fn issuer() -> (Folder, String, String) {
    let folder = Folder::new("tokens");
    let key = Ed25519KeyPair::generate().expect("made");
    let pkcs8 = STANDARD.encode(key.to_pkcs8v1().expect("encoded"));
    let private =
        folder.file("key.pem", &format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n"));
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x }] });
    let set = folder.file("set.json", &set.to_string());
    let config = folder.file(
        "roadstead.toml",
        &format!("[token]\njwks_file = \"{set}\"\naudience = \"here\"\n[subscription_token]\nenabled = true\nhmac_secret = \"{SECRET}\"\n"),
    );
    (folder, private, config)
}

#[test]
fn tokens_are_minted_with_private_keys_and_inspected() {
    let (folder, private, config) = issuer();
    let minted = |arguments: &[&str]| {
        let (exit, out, err) =
            run(&[&["token", "--config", &config, "--user", "ann"][..], arguments].concat());
        assert_eq!(exit, 0, "{arguments:?}: {err}");
        out.trim().to_owned()
    };
    let by_key = ["--key", private.as_str(), "--kid", "one"];
    let connects = |more: &[&str]| minted(&[&by_key[..], more].concat());
    let changed = connects(&[]).replacen(".ey", ".fy", 1);
    for (token, exit, purpose, valid, reason) in [
        (connects(&["--jti", "t-1"]), 0, "connection", json!(true), None),
        (connects(&["--expire-at", "0", "--ttl", "never"]), 0, "connection", json!(true), None),
        (connects(&["--expire-at", "1"]), 1, "connection", json!(false), Some("ended")),
        (connects(&["--aud", "elsewhere"]), 1, "connection", json!(false), Some("audience")),
        (minted(&["--key", &private]), 1, "connection", json!(false), Some("key")),
        (changed, 1, "connection", json!(false), Some("signature")),
        ("a.b".into(), 1, "connection", json!(false), Some("malformed")),
        (minted(&["--channel", "$a", "--algorithm", "HS512"]), 0, "subscription", json!(true), None),
        (connects(&["--channel", "$a"]), 1, "subscription", json!(false), Some("key")),
    ] {
        let (code, out, err) = run(&["token", "inspect", "--config", &config, &token]);
        let said: Value = serde_json::from_str(&out).expect("JSON");
        let told = (said["purpose"].as_str(), &said["valid"], said["reason"].as_str());
        assert_eq!((code, told), (exit, (Some(purpose), &valid, reason)), "{token}: {err}");
    }

    let token = connects(&["--jti", "t-1", "--iss", "me", "--info", "{\"n\":1}"]);
    let (exit, out, _) = run(&["token", "inspect", &token]);
    assert_eq!(exit, 3, "there is no key");
    let said: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&said["valid"], &said["header"]["kid"]), (&Value::Null, &json!("one")));
    let claims = &said["claims"];
    assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(3_600));
    for (name, value) in
        [("sub", json!("ann")), ("aud", json!("here")), ("iss", json!("me")), ("jti", json!("t-1"))]
    {
        assert_eq!(claims[name], value);
    }
    assert_eq!(claims["info"], json!({ "n": 1 }));

    // From another program.
    let mut child = roadstead(&["token", "inspect", "--config", &config, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{token}").expect("written");
    drop(stdin);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(0));

    for (arguments, code, words) in [
        (&["--key", private.as_str(), "--algorithm", "RS256"][..], 2, "the key signs with EdDSA"),
        (&["--key", &config], 78, "no private key"),
        (&["--key", "none.pem"], 78, "No such file"),
        (&["--key", &private, "--secret-file", &private], 2, "cannot be used with"),
        (&["--key", &private, "--channel", ""], 2, "--channel is empty"),
        (&["--key", &private, "--channel", &"c".repeat(256)], 2, "at most 255"),
        (&[], 78, "--key"),
    ] {
        let (exit, out, err) =
            run(&[&["token", "--config", &config, "--user", "ann"][..], arguments].concat());
        assert_eq!((exit, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
    drop(folder);
}
