//! Follows the head of an HTTP/1 request, to see where it ends.

/// How far the head of an HTTP/1 request has come.
///
/// The head ends where hyper ends it, and never earlier: at an empty line that follows a line with
/// text. Lines end in LF or CRLF (RFC 9112 §2.2). Bytes that hyper refuses end the connection
/// anyway.
#[derive(Debug, Default)]
pub(super) struct Head(Progress);

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    /// Only empty lines so far, which may precede a request.
    #[default]
    Before,
    Line,
    /// The start of a line.
    Start,
    /// After a CR there.
    Return,
}

impl Head {
    /// Takes the next bytes. Returns whether the head ends in them.
    pub(super) fn ends_in(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            self.0 = match (self.0, byte) {
                (Progress::Before, b'\r' | b'\n') => Progress::Before,
                (Progress::Start | Progress::Return, b'\n') => return true,
                (_, b'\n') => Progress::Start,
                (Progress::Start, b'\r') => Progress::Return,
                _ => Progress::Line,
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_empty_line() {
        for (text, expected) in [
            ("", false),
            ("\r\n\r\n", false),
            ("\n\n\n\n", false),
            ("GET / HTTP/1.1\r\n", false),
            ("GET / HTTP/1.1\r\n\r", false),
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\nbody", true),
            ("GET / HTTP/1.1\n\n", true),
            ("GET / HTTP/1.1\r\n\n", true),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\n\rx\r\n", false),
            ("GET / HTTP/1.1\r\nhost: a\r\r\n", false),
        ] {
            assert_eq!(
                Head::default().ends_in(text.as_bytes()),
                expected,
                "{text:?}"
            );
            let mut head = Head::default();
            let by_byte = text.bytes().any(|byte| head.ends_in(&[byte]));
            assert_eq!(by_byte, expected, "{text:?}");
        }
    }
}
