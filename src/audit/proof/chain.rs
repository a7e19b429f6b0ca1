//! The chain: each record holds the hash of the one before.

use crate::audit::scalar::{Hash, sha256};

/// What the first record of a stream holds as the hash of the one before.
pub(crate) fn genesis(stream: &str) -> Hash {
    sha256(&[DOMAIN, b"genesis\0", stream.as_bytes()])
}

/// The hash of a record in its canonical form, which holds the hash of the one before.
pub(crate) fn record_hash(line: &[u8]) -> Hash {
    sha256(&[DOMAIN, b"rec\0", line])
}

pub(super) const DOMAIN: &[u8] = b"tower-mesh/audit/v1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::proof::Frontier;
    use crate::audit::scalar::hex_of;

    #[test]
    fn a10_to_a14_chain_and_root_of_three_records() {
        let a10 = genesis("s-0001");
        assert_eq!(
            hex_of(&a10),
            "830100083c9e441d2881da93dc710ad7ca65801fa5f7231f31cfed67cf49d361"
        );
        let one = format!(
            r#"{{"prev":"{}","seq":1,"stream":"s-0001","ts":"2026-01-02T03:04:05.000006Z","type":"start","v":1}}"#,
            hex_of(&a10)
        );
        let a11 = record_hash(one.as_bytes());
        assert_eq!(
            hex_of(&a11),
            "688c09fe9cad01dbdb93a0d00385931b920ef4dceb9ab330722bfef31ab3950d"
        );
        let access = |action, outcome, prev: &Hash, seq, second| {
            format!(
                r#"{{"action":"{action}","actor":{{"spiffe":"spiffe://td/ns/a/sa/b"}},"outcome":"{outcome}","prev":"{}","seq":{seq},"stream":"s-0001","ts":"2026-01-02T03:04:{second}.000000Z","type":"access","v":1}}"#,
                hex_of(prev)
            )
        };
        let two = access("GET", "allow", &a11, 2, "06");
        let a12 = record_hash(two.as_bytes());
        assert_eq!(
            hex_of(&a12),
            "30c0dd2c7c027901f7da427fbaa4673e7779d45fbfc4273155952e9f2883e5b1"
        );
        let three = access("DELETE", "deny", &a12, 3, "07");
        let a13 = record_hash(three.as_bytes());
        assert_eq!(
            hex_of(&a13),
            "e12d53fff3b6cb8e65323ced6ff817ad6604af1f996cffbbb0d11fb02377f32d"
        );
        let mut tree = Frontier::default();
        for line in [one, two, three] {
            tree.push(line.as_bytes());
        }
        assert_eq!(
            hex_of(&tree.root()),
            "47800dac353f830e0a338d355633cc24826e12553ba697cf60563e376c3942d2"
        );
    }
}
