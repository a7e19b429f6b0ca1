/// The bytes that base64url text stands for (RFC 4648 §5); `None` when it is none, or has stray bits at its end. Padding may be there,
/// whole, as some issuers write it against RFC 7515 §2.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 2 || padding > 0 && !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        // Two digits hold one byte, three hold two; what is left of them must be zero.
        let (count, stray) = match group.len() {
            4 => (3, 0),
            3 => (2, 2),
            2 => (1, 4),
            _ => return None,
        };
        if bits.trailing_zeros() < stray {
            return None;
        }
        let [_, whole @ ..] = (bits >> stray << (8 * (3 - count))).to_be_bytes();
        bytes.extend(whole.iter().take(count));
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_rfc_4648_writes_it() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zg==", b"f"),
            ("Zm8", b"fo"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg", b"foob"),
            ("Zm9vYmE", b"fooba"),
            ("Zm9vYmFy", b"foobar"),
            ("-_8", b"\xfb\xff"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        for bad in [
            "A", "AAAAA", "Zh", "Zm9", "Zg=", "Zm8==", "Zm9v=", "Zm9v====", "=", "Zm 9v", "+/8",
            "Zg\n", "Z=g", "é",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
