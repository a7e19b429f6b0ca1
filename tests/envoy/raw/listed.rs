//! The differences that we know, and why each of them is right.

use tower_mesh::matcher::authority::is_legal;

use super::exchange::Fate;
use super::message::Message;

/// A difference between the sidecar and Envoy. The texts are those of `docs/policy.md`.
pub(crate) struct Listed {
    pub(crate) rule: &'static str,
    /// Which requests.
    pub(crate) what: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    sorts: &'static [Sort],
    is: fn(&Message) -> bool,
}

/// Who lets more pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// The sidecar refuses, earlier or at all.
    Stricter,
    /// Envoy refuses, earlier or at all.
    Laxer,
    /// The application sees something else.
    Changed,
}

impl Listed {
    /// Whether this is the difference that was seen.
    pub(crate) fn explains(&self, message: &Message, ours: Fate, theirs: Fate) -> bool {
        use Fate::{Denied, Passed, Refused, Silent};
        let sort = match (ours, theirs) {
            (Refused | Denied, Passed) | (Refused, Silent) => Some(Sort::Stricter),
            (Passed, Refused | Denied) | (Silent, Refused) => Some(Sort::Laxer),
            (Passed, Passed) => Some(Sort::Changed),
            // What one refuses, policy denies at the other.
            (Refused, Denied) | (Denied, Refused) => None,
            _ => return false,
        };
        sort.is_none_or(|sort| self.sorts.contains(&sort)) && (self.is)(message)
    }

    /// The row of the table in `docs/policy.md`.
    pub(crate) fn row(&self) -> String {
        let Self {
            rule,
            what,
            ours,
            theirs,
            ..
        } = self;
        format!("| {rule} | {what} | {ours} | {theirs} |")
    }
}

/// What Envoy does at some times and not at others, so that a run need not show it.
pub(crate) const AT_TIMES: &[Listed] = &[Listed {
    rule: "B-13",
    what: "a `content-length` that the body over HTTP/2 does not have",
    ours: "reset",
    theirs: "reset, but at times the application has got it by then",
    sorts: &[Sort::Stricter],
    is: |message| {
        let Message::Http2(_, body) = message else {
            return false;
        };
        let length = body.len().to_string().into_bytes();
        message
            .values("content-length")
            .iter()
            .any(|said| *said != length)
    },
}];

/// What every run shows.
pub(crate) const LISTED: &[Listed] = &[
    Listed {
        rule: "B-01",
        what: "a method with lower-case letters over HTTP/2",
        ours: "400",
        theirs: "judged as another method, so a DENY misses it",
        sorts: &[Sort::Stricter],
        is: |message| !message.is_http1() && message.method().iter().any(u8::is_ascii_lowercase),
    },
    Listed {
        rule: "B-01",
        what: "an upper-case method that Envoy's HTTP/1 codec does not know",
        ours: "judged, as over HTTP/2",
        theirs: "400",
        sorts: &[Sort::Laxer],
        is: |message| message.is_http1() && is_unknown(&message.method()),
    },
    Listed {
        rule: "B-02",
        what: "several `Host` lines",
        ours: "400 (RFC 9112 §3.2)",
        theirs: "joined with commas",
        sorts: &[Sort::Stricter],
        is: |message| message.is_http1() && message.values("host").len() > 1,
    },
    Listed {
        rule: "B-03",
        what: "whitespace in the request line other than two spaces",
        ours: "400",
        theirs: "skipped",
        sorts: &[Sort::Stricter],
        is: |message| {
            message
                .lines()
                .first()
                .is_some_and(|line| has_odd_space(line))
        },
    },
    Listed {
        rule: "B-05",
        what: "`user@host` in a `Host` line",
        ours: "judged and passed on without the user",
        theirs: "judged and passed on as it is",
        sorts: &[Sort::Stricter, Sort::Changed],
        is: |message| message.is_http1() && names_user(message),
    },
    Listed {
        rule: "B-05",
        what: "a `Host` line that is no host, beside an absolute target",
        ours: "400",
        theirs: "passes: the target replaces it",
        sorts: &[Sort::Stricter],
        is: |message| {
            let is_bad = |host: &Vec<u8>| !is_legal(host);
            message.is_http1()
                && message.authority().is_some()
                && message.values("host").iter().any(is_bad)
        },
    },
    Listed {
        rule: "B-05",
        what: "an `:authority` that is no host and port, such as `[::1`",
        ours: "reset",
        theirs: "judged as text",
        sorts: &[Sort::Stricter],
        is: |message| !message.is_http1() && message.authority().is_some_and(|host| is_odd(&host)),
    },
    Listed {
        rule: "B-06",
        what: "CONNECT",
        ours: "403",
        theirs: "404 or 400",
        sorts: &[Sort::Laxer],
        is: |message| message.method().as_ref() == b"CONNECT",
    },
    Listed {
        rule: "B-06",
        what: "`OPTIONS *`",
        ours: "judged as the path `*` (RFC 9110 §9.3.7)",
        theirs: "404: no route of Istio has this path",
        sorts: &[Sort::Laxer],
        is: |message| message.method().as_ref() == b"OPTIONS" && message.path() == b"*",
    },
    Listed {
        rule: "B-07",
        what: "a fragment in place of the whole path: `http://host#f`, and `#f` over HTTP/2",
        ours: "cut off, as every other fragment",
        theirs: "400",
        sorts: &[Sort::Laxer],
        is: |message| has_only_fragment(message),
    },
    Listed {
        rule: "B-08",
        what: "a `%` without two hex digits in a path",
        ours: "400",
        theirs: "left as it is",
        sorts: &[Sort::Stricter],
        is: |message| has_bad_escape(&message.path()),
    },
    Listed {
        rule: "B-11",
        what: "raw bytes that RFC 3986 does not allow in a target",
        ours: "400",
        theirs: "escaped in the path, left in the query",
        sorts: &[Sort::Stricter],
        is: |message| has_raw_byte(&message.target()),
    },
    Listed {
        rule: "B-12",
        what: "folded header lines and bare carriage returns",
        ours: "400",
        theirs: "joined",
        sorts: &[Sort::Stricter],
        is: |message| message.lines().into_iter().any(is_folded),
    },
    Listed {
        rule: "B-12",
        what: "blanks around a header's value over HTTP/2",
        ours: "removed before policy",
        theirs: "judged as part of the value",
        sorts: &[Sort::Stricter, Sort::Changed],
        is: |message| {
            !message.is_http1() && message.fields().iter().any(|(_, value)| is_padded(value))
        },
    },
    Listed {
        rule: "B-13",
        what: "`content-length` beside `transfer-encoding: chunked`",
        ours: "read as chunked, sent on without the length, and the connection ends (RFC 9112 §6.1)",
        theirs: "400",
        sorts: &[Sort::Laxer],
        is: |message| message.has("transfer-encoding") && message.has("content-length"),
    },
    Listed {
        rule: "B-13",
        what: "the same `content-length` twice",
        ours: "read as one (RFC 9112 §6.3)",
        theirs: "400",
        sorts: &[Sort::Laxer],
        is: |message| message.values("content-length").len() > 1,
    },
    Listed {
        rule: "B-13",
        what: "a chunk that is longer than its size says",
        ours: "400",
        theirs: "passes",
        sorts: &[Sort::Stricter],
        is: |message| message.has("transfer-encoding") && has_long_chunk(message),
    },
    Listed {
        rule: "B-14",
        what: "a `:scheme` that is none, such as `1http`",
        ours: "ignored: neither policy nor the application sees it",
        theirs: "reset",
        sorts: &[Sort::Laxer],
        is: |message| {
            let schemes = message.values(":scheme");
            !message.is_http1() && schemes.iter().any(|scheme| !is_scheme(scheme))
        },
    },
    Listed {
        rule: "B-15",
        what: "a target of more than 8 KiB",
        ours: "414",
        theirs: "passes up to 60 KiB",
        sorts: &[Sort::Stricter],
        is: |message| {
            let authority = message.authority().unwrap_or_default();
            message.target().len() + authority.len() > 8 * 1024
        },
    },
    Listed {
        rule: "B-35",
        what: "an upgrade to anything but a WebSocket or `h2c`",
        ours: "ignored (RFC 9110 §7.8)",
        theirs: "403",
        sorts: &[Sort::Laxer],
        is: |message| message.has("upgrade"),
    },
    Listed {
        rule: "B-35",
        what: "an upgrade to a WebSocket",
        ours: "removed by the example",
        theirs: "passed on",
        sorts: &[Sort::Stricter, Sort::Changed],
        is: |message| message.values("upgrade") == [b"websocket"],
    },
    Listed {
        rule: "H-17",
        what: "`te: Trailers` over HTTP/2",
        ours: "reset",
        theirs: "removed",
        sorts: &[Sort::Stricter],
        is: |message| {
            let mut lines = message.values("te").into_iter();
            !message.is_http1() && lines.any(|te| te != b"trailers")
        },
    },
];

fn is_unknown(method: &[u8]) -> bool {
    const KNOWN: [&[u8]; 11] = [
        b"CONNECT",
        b"DELETE",
        b"GET",
        b"HEAD",
        b"OPTIONS",
        b"PATCH",
        b"POST",
        b"PROPFIND",
        b"PURGE",
        b"PUT",
        b"TRACE",
    ];
    !KNOWN.contains(&method) && !method.iter().any(u8::is_ascii_lowercase)
}

fn has_odd_space(line: &[u8]) -> bool {
    let spaces = line.iter().filter(|byte| **byte == b' ').count();
    spaces != 2
        || line.contains(&b'\t')
        || line.ends_with(b" ")
        || line.windows(2).any(|two| two == b"  ")
}

fn names_user(message: &Message) -> bool {
    message
        .values("host")
        .iter()
        .any(|host| host.contains(&b'@'))
}

/// Whether the crate `http` takes no authority of this form.
fn is_odd(host: &[u8]) -> bool {
    std::str::from_utf8(host).map_or(true, |host| host.parse::<http::uri::Authority>().is_err())
}

fn has_only_fragment(message: &Message) -> bool {
    let target = message.target();
    let origin = message.authority().filter(|_| message.is_http1());
    let before = origin.map_or(0, |host| {
        let scheme = target.windows(3).position(|part| part == b"://");
        scheme.map_or(0, |at| at + 3) + host.len()
    });
    target.get(before) == Some(&b'#')
}

fn has_bad_escape(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'%').skip(1);
    parts.any(|part| part.len() < 2 || !part[..2].iter().all(u8::is_ascii_hexdigit))
}

fn has_raw_byte(target: &[u8]) -> bool {
    let mut bytes = target.iter();
    bytes.any(|byte| b"\"<>[]^`{|}".contains(byte) || *byte >= 0x80)
}

fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t") || line.contains(&b'\r')
}

/// Whether the first chunk of an HTTP/1 body is followed by something else than its line's end.
fn has_long_chunk(message: &Message) -> bool {
    let Message::Http1(bytes) = message else {
        return false;
    };
    let after = |bytes: &[u8], end: &[u8]| {
        let at = bytes.windows(end.len()).position(|part| part == end)?;
        Some(bytes[at + end.len()..].to_vec())
    };
    let body = after(bytes, b"\r\n\r\n").unwrap_or_default();
    let size = body
        .first()
        .and_then(|digit| char::from(*digit).to_digit(16));
    let data = after(&body, b"\r\n").unwrap_or_default();
    size.is_some_and(|size| data.get(size as usize) != Some(&b'\r'))
}

fn is_padded(value: &[u8]) -> bool {
    value.trim_ascii().len() < value.len()
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}
