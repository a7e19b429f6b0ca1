//! SPIFFE IDs: what is accepted reads back as itself and names its parts.
//! Twin: `src/identity/spiffe_id.rs`, `any_text_is_refused_or_reads_back`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_mesh::identity::SpiffeId;

fuzz_target!(|uri: &str| {
    if let Ok(id) = SpiffeId::new(uri) {
        assert_eq!(id.as_str(), uri);
        assert_eq!(format!("spiffe://{}", id.principal()), uri);
        assert_eq!(
            format!("{}{}", id.trust_domain(), id.path()),
            id.principal()
        );
        assert_eq!(id.namespace().is_some(), id.service_account().is_some());
    }
});
