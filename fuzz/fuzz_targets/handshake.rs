//! Heads of requests and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsproto::handshake::{
    check_beginning, head_is_complete, push_accept, push_reject, read_request, read_response,
};
use wsproto::limits::HEAD_BYTES_MAX;

/// The client of the example in RFC 6455, so that seeds can be agreed to.
const KEY: [u8; 16] = *b"the sample nonce";

fuzz_target!(|bytes: &[u8]| {
    // Where a head ends does not depend on how it trickled in.
    let end = head_is_complete(bytes, 0);
    let trickled = (0..bytes.len()).find_map(|from| head_is_complete(&bytes[..=from], from));
    assert_eq!(trickled, end);

    // Nor does what cannot become a request.
    let hopeless = (0..bytes.len()).find(|&from| check_beginning(&bytes[..=from], from).is_err());
    assert_eq!(hopeless.is_some(), check_beginning(bytes, 0).is_err());

    match read_request(bytes) {
        Ok(Some((request, len))) => {
            assert_eq!(end, Some(len));
            assert!(hopeless.is_none_or(|at| at >= len), "it became a request");
            assert!(len <= HEAD_BYTES_MAX);
            assert!(request.path.starts_with('/'));
            for extension in request.extensions() {
                assert!(!extension.name.is_empty());
                extension.params().for_each(|(name, _)| assert!(!name.is_empty()));
            }
            let _ = (request.header("cookie"), request.origin, request.host, request.query);
            // The client that offered this takes our answer if the key is the one it has.
            let offered: Vec<&str> = request.protocols().collect();
            let mut answer = Vec::new();
            push_accept(&mut answer, request.key, offered.first().copied(), None);
            let agreed = read_response(&answer, &KEY, &offered, None);
            assert!(matches!(agreed, Ok(Some(_))) == (request.key == "dGhlIHNhbXBsZSBub25jZQ=="));
            // More bytes belong to the connection and change nothing.
            let more = [bytes, b"\r\n\r\n"].concat();
            assert!(matches!(read_request(&more), Ok(Some((_, same))) if same == len));
        }
        Ok(None) => assert!(end.is_none() && bytes.len() <= HEAD_BYTES_MAX),
        Err(reject) => {
            let mut answer = Vec::new();
            push_reject(&mut answer, reject.status, reject.reason, reject.headers);
            assert!(head_is_complete(&answer, 0).is_some());
        }
    }

    if let Ok(Some((response, len))) = read_response(bytes, &KEY, &["chat"], None) {
        assert_eq!(end, Some(len));
        assert!(response.protocol.is_none_or(|protocol| protocol == "chat"));
    }
});
