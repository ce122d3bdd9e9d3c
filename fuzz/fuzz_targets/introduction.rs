//! Headers of the PROXY protocol and lists of X-Forwarded-For: what proxies say of their clients.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_engine::guards::{Introduced, read_header};

fuzz_target!(|bytes: &[u8]| {
    let whole = read_header(bytes);
    // What it is does not depend on how it trickled in, nor on what follows.
    let trickled = (0..=bytes.len()).map(|end| read_header(&bytes[..end])).find(|read| read != &Ok(None));
    match whole {
        Ok(None) => assert!(trickled.is_none()),
        Ok(Some((introduced, len))) => {
            assert!(len <= bytes.len() && len > 0);
            assert_eq!(trickled, Some(Ok(Some((introduced, len)))));
            assert_eq!(read_header(&bytes[..len]), Ok(Some((introduced, len))));
            if let Introduced::Client(address) = introduced {
                assert!(!address.to_string().is_empty());
            }
        }
        Err(_) => assert!(matches!(trickled, Some(Err(_)))),
    }
});
