//! Payloads and strings made fit for JSON.

use std::borrow::Cow;

use proptest::prelude::*;
use roadstead_protocol::{NotJson, json_data, push_json_string};

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    push_json_string(&mut out, text);
    String::from_utf8(out).expect("UTF-8 in, UTF-8 out")
}

#[test]
fn strings_are_escaped() {
    let cases = [
        ("", r#""""#),
        ("plain #77:ns", r#""plain #77:ns""#),
        ("\"\\/", r#""\"\\/""#),
        ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
        ("\0\u{1}\u{1f}\u{7f}", "\"\\u0000\\u0001\\u001f\u{7f}\""),
        ("a\nb\"", r#""a\nb\"""#),
        ("пример 🚢", r#""пример 🚢""#),
    ];
    for (text, expected) in cases {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn payloads_are_checked_and_lose_their_line_feeds() {
    type Case = (&'static [u8], Result<&'static [u8], NotJson>);
    let cases: &[Case] = &[
        (b"{}", Ok(b"{}")),
        (b"null", Ok(b"null")),
        (b" {\"a\":1} ", Ok(b"{\"a\":1}")),
        (b"{\n  \"a\": [1,\n 2]\n}\n", Ok(b"{  \"a\": [1, 2]}")),
        (b"\"a\\nb\"", Ok(b"\"a\\nb\"")),
        (b"", Err(NotJson)),
        (b" ", Err(NotJson)),
        (b"{} {}", Err(NotJson)),
        (b"hello", Err(NotJson)),
        (b"\"a\nb\"", Err(NotJson)),
        (b"\"\xff\"", Err(NotJson)),
        (b"{\"a\":1,}", Err(NotJson)),
        (b"NaN", Err(NotJson)),
        (b"01", Err(NotJson)),
    ];
    for &(data, expected) in cases {
        assert_eq!(json_data(data).as_deref(), expected.as_deref(), "{}", String::from_utf8_lossy(data));
    }
}

#[test]
fn a_payload_without_line_feeds_is_borrowed() {
    assert!(matches!(json_data(b"[1]"), Ok(Cow::Borrowed(_))));
    assert!(matches!(json_data(b"[1]\n"), Ok(Cow::Borrowed(_))));
}

proptest! {
    #[test]
    fn any_string_survives(text in any::<String>()) {
        let quoted = quoted(&text);
        prop_assert!(!quoted.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn any_bytes_are_judged_as_serde_judges_them(data in prop::collection::vec(any::<u8>(), 0..64)) {
        let valid = serde_json::from_slice::<&serde_json::value::RawValue>(&data).is_ok();
        prop_assert_eq!(json_data(&data).is_ok(), valid);
    }

    #[test]
    fn what_is_returned_means_the_same(text in "[ \n\\[\\]{}:,\"a1]{0,24}") {
        if let Ok(data) = json_data(text.as_bytes()) {
            prop_assert!(!data.contains(&b'\n'));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&data).unwrap(), value);
        }
    }
}
