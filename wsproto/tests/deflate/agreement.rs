//! Tables of offers and answers, after the examples and rules of RFC 7692 section 7.1.

use wsproto::deflate::{Offer, accept};
use wsproto::handshake::{ClientRequest, Refusal, push_accept, push_request, read_request, read_response};

const KEY: [u8; 16] = *b"the sample nonce";

/// A request with these values of the header.
fn request(values: &[&str]) -> Vec<u8> {
    let mut head = Vec::new();
    let headers: Vec<(&str, &str)> =
        values.iter().map(|value| ("Sec-WebSocket-Extensions", *value)).collect();
    let asked = ClientRequest {
        host: "example.org",
        target: "/",
        origin: None,
        protocols: &[],
        key: KEY,
        deflate: None,
        headers: &headers,
    };
    push_request(&mut head, &asked);
    head
}

/// What a server answers to these values of the header, if a client may keep a window of `client_window_bits`.
fn answer(values: &[&str], client_window_bits: Option<u8>) -> Option<String> {
    let head = request(values);
    let (request, _) = read_request(&head).unwrap().unwrap();
    accept(request.extensions(), client_window_bits).map(|agreement| agreement.to_string())
}

#[test]
fn a_server_picks_the_first_offer_that_it_understands() {
    const BARE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let with_bits = |bits: u8| format!("{BARE}; server_max_window_bits={bits}");
    let no = |offer: &'static str| (offer, None);
    let yes = |offer: &'static str, answer: String| (offer, Some(answer));
    for (offer, expected) in [
        yes("permessage-deflate", BARE.to_owned()),
        yes("permessage-deflate; client_max_window_bits", BARE.to_owned()),
        yes("permessage-deflate; client_max_window_bits=10", BARE.to_owned()),
        yes("permessage-deflate; server_no_context_takeover; client_no_context_takeover", BARE.to_owned()),
        yes("permessage-deflate; server_max_window_bits=10", with_bits(10)),
        yes("permessage-deflate; server_max_window_bits=\"8\"", with_bits(8)),
        yes("permessage-deflate;server_max_window_bits=15", with_bits(15)),
        yes("x-unknown; a=b, permessage-deflate", BARE.to_owned()),
        yes("permessage-deflate; server_max_window_bits=7, permessage-deflate", BARE.to_owned()),
        no(""),
        no("x-webkit-deflate-frame"),
        no("permessage-bzip2"),
        no("permessage-deflate; server_max_window_bits"),
        no("permessage-deflate; server_max_window_bits=7"),
        no("permessage-deflate; server_max_window_bits=16"),
        no("permessage-deflate; server_max_window_bits=09"),
        no("permessage-deflate; server_max_window_bits=256"),
        no("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"),
        no("permessage-deflate; client_max_window_bits=0"),
        no("permessage-deflate; client_max_window_bits; client_max_window_bits"),
        no("permessage-deflate; server_no_context_takeover=1"),
        no("permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
        no("permessage-deflate; client_no_context_takeover=true"),
        no("permessage-deflate; mystery"),
    ] {
        assert_eq!(answer(&[offer], None), expected, "{offer}");
    }
    let three =
        ["permessage-deflate; server_max_window_bits=3", "permessage-deflate; server_max_window_bits=9"];
    assert_eq!(answer(&three, None), Some(with_bits(9)), "in two lines");
}

#[test]
fn a_client_may_keep_its_context_where_the_window_is_small_enough() {
    let said = |takeover: &str| Some(format!("permessage-deflate; server_no_context_takeover{takeover}"));
    for (offer, bits, expected) in [
        ("permessage-deflate", 15, said("")),
        ("permessage-deflate", 12, said("; client_no_context_takeover")),
        ("permessage-deflate; client_max_window_bits", 15, said("; client_max_window_bits=15")),
        ("permessage-deflate; client_max_window_bits", 12, said("; client_max_window_bits=12")),
        ("permessage-deflate; client_max_window_bits=10", 12, said("; client_max_window_bits=10")),
        (
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
            12,
            said("; client_no_context_takeover; client_max_window_bits=10"),
        ),
    ] {
        assert_eq!(answer(&[offer], Some(bits)), expected, "{offer}, {bits} bits");
    }
}

/// What a client makes of `answer` to `offer`.
fn agreed(offer: Option<Offer>, answer: &str) -> Result<Option<String>, Refusal> {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let request = ClientRequest {
        host: "example.org",
        target: "/",
        origin: None,
        protocols: &[],
        key: KEY,
        deflate: offer,
        headers: &[],
    };
    push_request(&mut asked, &request);
    let (request, _) = read_request(&asked).unwrap().unwrap();
    push_accept(&mut answered, request.key, None, Some(answer));
    let (response, _) = read_response(&answered, &KEY, &[], offer.as_ref())?.unwrap();
    Ok(response.deflate.map(|agreement| agreement.to_string()))
}

#[test]
fn a_client_takes_no_answer_that_it_did_not_ask_for() {
    let plain = Offer::default();
    let strict = Offer {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(12),
        client_max_window_bits: Some(Some(11)),
    };
    const KEPT: &str = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
    let small = format!("{KEPT}; client_max_window_bits=11");
    for (offer, answer) in [
        (plain, "permessage-deflate"),
        (plain, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (plain, "permessage-deflate; server_max_window_bits=9"),
        (strict, KEPT),
        (strict, &small),
    ] {
        assert_eq!(agreed(Some(offer), answer), Ok(Some(answer.to_owned())), "{offer}: {answer}");
        assert_eq!(agreed(None, answer), Err(Refusal::UnofferedExtension), "{answer}");
    }
    assert_eq!(agreed(Some(strict), ""), Ok(None), "the server may do without");
    assert_eq!(agreed(None, ""), Ok(None));
    for (offer, answer) in [
        (plain, "permessage-deflate, permessage-deflate"),
        (plain, "x-other"),
        (plain, "permessage-deflate; client_max_window_bits=15"),
        (plain, "permessage-deflate; mystery"),
        (plain, "permessage-deflate; server_max_window_bits=16"),
        (plain, "permessage-deflate; ="),
        (strict, "permessage-deflate"),
        (strict, "permessage-deflate; server_no_context_takeover"),
        (strict, "permessage-deflate; server_max_window_bits=12"),
        (strict, "permessage-deflate; server_no_context_takeover; server_max_window_bits=13"),
        (strict, &format!("{KEPT}; client_max_window_bits=12")),
        (strict, &format!("{KEPT}; client_max_window_bits")),
    ] {
        assert_eq!(agreed(Some(offer), answer), Err(Refusal::UnofferedExtension), "{offer}: {answer}");
    }
}

#[test]
fn every_offer_is_understood_by_our_own_server() {
    for bits in 0..1024_u16 {
        let exponent = |from: u16| (from % 9 < 8).then_some(8 + (from % 9) as u8);
        let offer = Offer {
            server_no_context_takeover: bits & 1 > 0,
            client_no_context_takeover: bits & 2 > 0,
            server_max_window_bits: exponent(bits / 4),
            client_max_window_bits: (bits % 3 > 0).then(|| exponent(bits / 36)),
        };
        let client_window_bits = exponent(bits / 7);
        let answer = answer(&[&offer.to_string()], client_window_bits).unwrap();
        assert_eq!(agreed(Some(offer), &answer), Ok(Some(answer.clone())), "{offer}: {answer}");
    }
}
