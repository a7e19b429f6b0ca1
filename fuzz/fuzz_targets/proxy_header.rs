//! The PROXY protocol's header: any bytes are read or refused, and bytes behind it change nothing.
//! Twin: `src/tls/endpoint/proxy_protocol.rs`, `any_bytes_are_a_header_or_refused`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_mesh::tls::proxy_protocol::read;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((header, length))) = read(bytes) else {
        return;
    };
    assert!(length <= 4096);
    assert_eq!(read(&bytes[..length]), Ok(Some((header, length))));
    assert_eq!(read(&bytes[..length - 1]), Ok(None));
});
