use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// A SEQUENCE of this many zeros.
fn sequence(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut der = vec![0x30, 0x82, high, low];
    der.resize(4 + usize::from(length), 0);
    der
}

fn text(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn beginnings(text: &[u8]) -> usize {
    let windows = text.windows(10);
    windows.filter(|window| window == b"-----BEGIN").count()
}

/// What somebody may paste together, marks and near marks among it.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(text("X509 CRL", &sequence(200)).into_bytes()),
        Just(text("CERTIFICATE", &sequence(3)).into_bytes()),
        Just(b"-----BEGIN X509 CRL-----".to_vec()),
        Just(b"-----END X509 CRL-----".to_vec()),
        Just(b"-----BEGIN".to_vec()),
        Just(b"----BEGIN CERTIFICATE-----".to_vec()),
        Just(b"-----".to_vec()),
        Just(b"-".to_vec()),
        Just(b"MIIBYTCCAQigAwIB".to_vec()),
        Just(b"AAAA".to_vec()),
        Just(b"=".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b" ".to_vec()),
        Just(b"# text\n".to_vec()),
        Just(BYTE_ORDER_MARK.to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever the text, as many blocks as beginnings, or none of it.
    #[test]
    fn no_beginning_is_lost(text in pieces()) {
        if let Ok(blocks) = blocks(&text) {
            prop_assert_eq!(blocks.len(), beginnings(&text));
        }
        if let Ok(lists) = revocation_lists(&text) {
            prop_assert_eq!(lists.len(), beginnings(&text));
        }
        let _ = (certificates(&text).is_ok(), private_key(&text).is_ok());
    }

    #[test]
    fn base64_is_what_others_write(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        width in 1..80_usize,
    ) {
        let encoded = STANDARD.encode(&bytes);
        let lines: Vec<_> = encoded.as_bytes().chunks(width).collect();
        prop_assert_eq!(decode(&lines).map(|decoded| decoded.to_vec()), Some(bytes));
    }

    /// As strict as a decoder of good name, apart from bits that do not count.
    #[test]
    fn base64_is_refused_where_others_refuse_it(text in "[AZaz09+/= *-]{0,12}") {
        let stripped = text.replace(' ', "");
        let other = STANDARD.decode(&stripped).ok();
        let ours = decode(&[text.as_bytes()]).map(|decoded| decoded.to_vec());
        if other.is_some() {
            prop_assert_eq!(ours, other);
        } else if let Some(ours) = ours {
            prop_assert_eq!(STANDARD.encode(ours).len(), stripped.len());
        }
    }
}

#[test]
fn every_character_of_base64_and_no_other_has_its_value() {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for byte in 0..=u8::MAX {
        let location = alphabet.iter().position(|&known| known == byte);
        let wanted = location.map_or(-1, |location| i32::try_from(location).unwrap());
        assert_eq!(sextet(byte), wanted, "{byte}");
    }
}

#[test]
fn lines_end_in_every_way() {
    let lines: Vec<_> = Lines(Some(b"a\nb\r\nc\rd\n\r\n\re")).collect();
    assert_eq!(lines, [&b"a"[..], b"b", b"c", b"d", b"", b"", b"e"]);
}

#[test]
fn comments_may_say_what_they_like() {
    for line in [
        "-- begin of our roots --",
        "# BEGIN CERTIFICATE of Foo",
        "=== The End ===",
        "----- trust -----",
        "Issuer: C=DE, O=Trend -- Certificate Authority",
        "SHA256 Fingerprint=CB:3C:CB:B7:60:31:E5:E0",
        "cb3ccbb76031e5e0138f8dd39a23f9de47ffc35e43c1144cea27d46a5ab1cb5f",
        "MD5: 79e4a9840d7d3a96d7c04fe2434c892e",
    ] {
        let text = format!("{line}\n{}", text("CERTIFICATE", &sequence(9)));
        assert_eq!(
            certificates(text.as_bytes()).map(|c| c.len()),
            Ok(1),
            "{line}"
        );
    }
}
