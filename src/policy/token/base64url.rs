use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

/// Decodes base64url text to bytes (RFC 4648 §5); `None` when it is none, or has stray
/// bits at its end. Padding may be there, whole, as some issuers write it against RFC 7515 §2.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let engine = if text.ends_with('=') {
        URL_SAFE
    } else {
        URL_SAFE_NO_PAD
    };
    engine.decode(text).ok()
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
