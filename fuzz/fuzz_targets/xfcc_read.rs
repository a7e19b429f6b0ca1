//! `x-forwarded-client-cert`: any bytes are read or refused, and what is read can be written.
//! Twin: `src/gate/trust/forwarded_client_cert.rs`, `any_text_is_read_or_refused`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_mesh::gate::forwarded_client_cert::{Element, read};

fuzz_target!(|bytes: &[u8]| {
    let Ok(elements) = read(bytes.split(|byte| *byte == b'\n')) else {
        return;
    };
    assert!(elements.len() <= 64);
    for element in elements {
        if element == Element::default() {
            continue;
        }
        // Escapes may make it longer than what is read.
        let Ok(written) = element.write() else {
            continue;
        };
        assert_eq!(read([written.as_bytes()]), Ok(vec![element]));
    }
});
