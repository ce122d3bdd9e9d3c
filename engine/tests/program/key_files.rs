//! What `config check` and a start say of keys of tokens: files that cannot be read or are something else, and addresses that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::surroundings::{Folder, roadstead};

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let checked = roadstead(&[&["config", "check"], arguments].concat()).output().expect("it runs");
    let said = [checked.stdout, checked.stderr].concat();
    (checked.status.code(), String::from_utf8(said).expect("UTF-8"))
}

fn pem(of: &str, der: &[u8]) -> String {
    format!("-----BEGIN {of}-----\n{}\n-----END {of}-----\n", STANDARD.encode(der))
}

#[test]
fn files_of_keys_are_read_and_a_cure_is_named() {
    let folder = Folder::new("key-files");
    let pair = Ed25519KeyPair::generate().expect("made");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("encoded");
    let public = pem("PUBLIC KEY", public.as_ref());
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x }] }).to_string();
    let private = pem("PRIVATE KEY", b"not even looked at");
    let certificate = pem("CERTIFICATE", b"not even looked at");
    for (setting, content, words) in [
        ("token.public_key_files", public.as_str(), None),
        ("token.jwks_file", &set, None),
        ("token.hmac_secret_file", "a secret of thirty-two bytes, or more\n", None),
        ("token.public_key_files", &private, Some("openssl pkey -in FILE -pubout")),
        ("token.public_key_files", &certificate, Some("openssl x509 -in FILE -noout -pubkey")),
        ("token.public_key_files", &set, Some("named by jwks_file")),
        ("token.public_key_files", "hello", Some("-----BEGIN PUBLIC KEY-----")),
        ("token.public_key_files", "", Some("holds no PUBLIC KEY")),
        ("token.jwks_file", &public, Some("named by public_key_files")),
        ("token.jwks_file", "{}", Some("no key set (JSON with a list of keys, RFC 7517)")),
        ("token.jwks_file", r#"{"keys":[]}"#, Some("none of its 0 keys is of use")),
        ("token.hmac_secret_file", "", Some("the file is empty")),
    ] {
        let path = folder.file("keys", content);
        let (exit, said) = check(&["--set", &format!("{setting}={path}")]);
        assert_eq!(exit, Some(if words.is_some() { 78 } else { 0 }), "{setting}: {said}");
        if let Some(words) = words {
            assert!(
                said.contains(words) && said.contains(setting) && said.contains(&path),
                "{words}: {said}"
            );
            assert!(said.contains("flag --set"), "who gave it: {said}");
        }
    }
    let url = "token.jwks_url=https://id.example.com/keys";
    for (content, words) in
        [(certificate.as_str(), "1 that cannot be read"), ("", "0 certificates"), (&public, "0 certificates")]
    {
        let path = folder.file("authorities", content);
        let (exit, said) = check(&["--set", url, "--set", &format!("token.jwks_ca_file={path}")]);
        assert_eq!(exit, Some(78), "{said}");
        assert!(said.contains(words) && said.contains("token.jwks_ca_file"), "{said}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = Folder::new("key-files");
    let closed = folder.file("closed", "a secret of thirty-two bytes, or more");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("set");
    // Root reads whatever there is.
    let is_closed = fs::read(&closed).is_err();
    let (nothing, itself) = (folder.path("nothing"), folder.path(""));
    for setting in [
        "token.public_key_files",
        "token.jwks_file",
        "token.hmac_secret_file",
        "subscription_token.jwks_file",
    ] {
        for (path, words) in [(&nothing, "o such file"), (&itself, "older"), (&closed, "ermission")] {
            if path == &closed && !is_closed {
                continue;
            }
            let given = format!("{setting}={path}");
            let (exit, said) = check(&["--set", "subscription_token.enabled=true", "--set", &given]);
            assert_eq!(exit, Some(78), "{given}: {said}");
            let is_named = said.contains(setting) && said.contains(path.as_str());
            assert!(is_named && (said.contains(words) || said.contains("irectory")), "{given}: {said}");
        }
    }
    // Nobody asks for keys of subscription tokens that are those of connection tokens.
    let (exit, said) = check(&["--set", &format!("subscription_token.jwks_file={nothing}")]);
    assert_eq!(exit, Some(0), "{said}");
    let socket = folder.path("admin.sock");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--admin-socket", &socket];
    let given = format!("token.jwks_file={nothing}");
    let started = roadstead(&[&serve[..], &["--set", &given]].concat()).output().expect("it runs");
    assert_eq!(started.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&started.stderr).contains(&nothing));
}

#[test]
fn addresses_of_keys_are_checked_and_credentials_hidden() {
    let set = |settings: &[&str]| -> Vec<String> {
        settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect()
    };
    let file = "token.jwks_ca_file=/etc/hosts";
    for (settings, exit, words) in [
        (&["token.jwks_url=https://id.example.com/keys"][..], 0, "is valid"),
        (&["token.jwks_url=http://127.0.0.1:8080/keys"], 0, "is valid"),
        (
            &["token.jwks_url=http://id.example.com/keys?key=hidden"],
            0,
            "whoever is on the way there can make tokens",
        ),
        (&["token.jwks_url=id.example.com/keys"], 78, "https://id.example.com/keys of at most"),
        (&["token.jwks_url=ftp://id.example.com/keys"], 78, "http or https"),
        (&["token.jwks_url=https://ann:hidden@id.example.com/keys"], 78, "no user and password"),
        (&["tokn.jwks_url=https://ann:hidden@id.example.com/keys"], 78, "unknown key"),
        (&["subscription_token.jwks_url=https://"], 78, "a host"),
        (&["token.jwks_refresh_s=0"], 78, "1 to 86400"),
        (
            &["token.jwks_refresh_s=600", "token.jwks_max_age_s=1199"],
            78,
            "at least twice token.jwks_refresh_s (600)",
        ),
        (
            &["subscription_token.jwks_max_age_s=599"],
            78,
            "at least twice subscription_token.jwks_refresh_s (300)",
        ),
        (&[file], 78, "it needs token.jwks_url with https"),
        (&[file, "token.jwks_url=http://127.0.0.1/keys"], 78, "it needs token.jwks_url with https"),
    ] {
        let given = set(settings);
        let (code, said) = check(&given.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, Some(exit), "{settings:?}: {said}");
        assert!(said.contains(words), "{settings:?}: {said}");
        assert!(!said.contains("hidden"), "{said}");
    }
    let variable = roadstead(&["config", "print", "--output", "json"])
        .env("ROADSTEAD_TOKEN__JWKS_URL", "https://id.example.com/keys")
        .output()
        .expect("it runs");
    let printed: Value = serde_json::from_slice(&variable.stdout).expect("JSON");
    let rows = printed["settings"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["key"] == "token.jwks_url").expect("it is there");
    assert_eq!(row["value"], "https://id.example.com/keys");
    assert_eq!(row["origin"], "env ROADSTEAD_TOKEN__JWKS_URL");
    assert_eq!(row["reload"], true);
}
