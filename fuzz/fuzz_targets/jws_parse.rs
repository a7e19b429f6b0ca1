//! Signed tokens: no bytes panic, and none that nobody signed are believed.
//! Twin: `tests/it/jwt/attacks.rs`, `arbitrary_bytes_never_panic`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tower_mesh::jwt::{KeySet, verify_jws};

/// The public key of RFC 8037, appendix A.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let keys = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    KeySet::parse(keys).expect("a good key set")
});

fuzz_target!(|bytes: &[u8]| {
    let _ = verify_jws(&KEYS, bytes);
    // Key sets come from the network, too.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = KeySet::parse(text);
    }
});
