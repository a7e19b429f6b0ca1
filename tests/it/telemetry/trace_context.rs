//! Both propagation layers between two sockets, as the W3C's trace-context test suite puts them to the test: header lines are sent as they
//! stand here, repeated, with tabs and in odd case, and what matters is which lines leave.

use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

#[path = "../../../examples/trace_context.rs"]
#[allow(dead_code, reason = "the example's main")]
mod example;

/// The header lines of a call that the service made.
pub(crate) type Lines = Vec<(String, String)>;

/// The service, and whom it calls.
pub(crate) struct Harness {
    service: SocketAddr,
    address: SocketAddr,
    calls: UnboundedReceiver<(String, Lines)>,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, example::service()).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(answer(stream).await) });
            }
        });
        Self {
            service,
            address,
            calls,
        }
    }

    /// Sends these lines with a request for so many calls, and returns the lines that each call came with.
    pub(crate) async fn ask(&mut self, lines: &[String], count: usize) -> Vec<Lines> {
        let calls: Vec<_> = (0..count)
            .map(|call| {
                format!(
                    r#"{{"url":"http://{}/{call}","arguments":[]}}"#,
                    self.address
                )
            })
            .collect();
        let body = format!("[{}]", calls.join(","));
        let mut request = format!(
            "POST /test HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.service,
            body.len()
        );
        for line in lines {
            request += line;
            request += "\r\n";
        }
        request += "\r\n";
        request += &body;
        let mut stream = TcpStream::connect(self.service).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(
            response.starts_with("HTTP/1.1 200 "),
            "{lines:?}: {response}"
        );
        let mut came = HashMap::new();
        while came.len() < count {
            let (path, lines) = self.calls.recv().await.unwrap();
            assert!(came.insert(path, lines).is_none());
        }
        (0..count)
            .map(|call| came.remove(&format!("/{call}")).unwrap())
            .collect()
    }
}

/// Reads one call and answers it: its path and its header lines.
async fn answer(stream: TcpStream) -> (String, Lines) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut lines = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end_matches("\r\n").split_once(": ") else {
            break;
        };
        lines.push((name.to_owned(), value.to_owned()));
    }
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"[]");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
    stream.write_all(answer).await.unwrap();
    (path, lines)
}

/// The one `traceparent` of a call: trace id, span id, flags.
pub(crate) fn traceparent(lines: &Lines) -> (&str, &str, &str) {
    let [value] = values(lines, "traceparent")[..] else {
        panic!("{lines:?}");
    };
    let hex = |text: &str| text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    match value.split('-').collect::<Vec<_>>()[..] {
        ["00", trace, span, flags]
            if (trace.len(), span.len(), flags.len()) == (32, 16, 2)
                && [trace, span, flags].into_iter().all(hex)
                && trace != "0".repeat(32)
                && span != "0".repeat(16) =>
        {
            (trace, span, flags)
        }
        _ => panic!("{value}"),
    }
}

pub(crate) fn values<'a>(lines: &'a Lines, name: &str) -> Vec<&'a str> {
    let found = lines
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str()).collect()
}

pub(crate) const T: &str = "5b8aa5a2d2c872e8321cf37308d69df2";
pub(crate) const P: &str = "051581bf3cb55c13";

fn good() -> String {
    format!("traceparent: 00-{T}-{P}-01")
}

#[tokio::test]
async fn a_trace_is_continued_or_restarted_as_the_standard_says() {
    let continued = [
        format!("traceparent: 00-{T}-{P}-01"),
        format!("traceparent: 00-{T}-{P}-00"),
        // Names know no case.
        format!("TraceParent: 00-{T}-{P}-01"),
        format!("tRaCePaReNt:00-{T}-{P}-01"),
        format!("TRACEPARENT: 00-{T}-{P}-01"),
        // White space around a value does not belong to it.
        format!("traceparent:  00-{T}-{P}-01"),
        format!("traceparent: \t00-{T}-{P}-01"),
        format!("traceparent: 00-{T}-{P}-01 "),
        format!("traceparent: 00-{T}-{P}-01\t"),
        format!("traceparent:\t 00-{T}-{P}-01 \t"),
        // A later version is read as far as it is known.
        format!("traceparent: cc-{T}-{P}-01"),
        format!("traceparent: cc-{T}-{P}-01-and-what-comes-then"),
        format!("traceparent: 01-{T}-{P}-01-"),
    ];
    let restarted = [
        format!("traceparent: 00-{T}-{P}-01."),
        format!("traceparent: 00-{T}-{P}-01-and-what-comes-then"),
        format!("traceparent: 00-{T}-{P}-01-"),
        format!("traceparent: cc-{T}-{P}-01.and-what-comes-then"),
        format!("traceparent: ff-{T}-{P}-01"),
        format!("traceparent: .0-{T}-{P}-01"),
        format!("traceparent: 0.-{T}-{P}-01"),
        format!("traceparent: 0-{T}-{P}-01"),
        format!("traceparent: 000-{T}-{P}-01"),
        format!("traceparent: 0000-{T}-{P}-01"),
        format!("traceparent: 00-{}-{P}-01", "0".repeat(32)),
        format!("traceparent: 00-.{}-{P}-01", &T[1..]),
        format!("traceparent: 00-{}.-{P}-01", &T[1..]),
        format!("traceparent: 00-{T}0-{P}-01"),
        format!("traceparent: 00-0{T}-{P}-01"),
        format!("traceparent: 00-{}-{P}-01", &T[1..]),
        format!("traceparent: 00-{}-{P}-01", T.to_uppercase()),
        format!("traceparent: 00-{T}-{}-01", "0".repeat(16)),
        format!("traceparent: 00-{T}-.{}-01", &P[1..]),
        format!("traceparent: 00-{T}-{}.-01", &P[1..]),
        format!("traceparent: 00-{T}-{P}0-01"),
        format!("traceparent: 00-{T}-{}-01", &P[1..]),
        format!("traceparent: 00-{T}-{P}-.0"),
        format!("traceparent: 00-{T}-{P}-0."),
        format!("traceparent: 00-{T}-{P}-001"),
        format!("traceparent: 00-{T}-{P}-1"),
        format!("traceparent: 00-{T}-{P}-"),
        "traceparent:".to_owned(),
        "traceparent: \t ".to_owned(),
        // Two, equal or not, on two lines or on one.
        format!("{}\r\n{}", good(), good()),
        format!("{}\r\ntraceparent: 00-{}-{P}-01", good(), P.repeat(2)),
        format!("traceparent: 00-{T}-{P}-01,00-{T}-{P}-01"),
        // Other names are other headers.
        format!("trace-parent: 00-{T}-{P}-01"),
        format!("trace.parent: 00-{T}-{P}-01"),
        format!("trace_parent: 00-{T}-{P}-01"),
        String::from("x-nothing: 1"),
    ];
    let mut harness = Harness::start().await;
    let sent = continued.iter().map(|line| (line, true));
    let sent = sent.chain(restarted.iter().map(|line| (line, false)));
    for (line, is_continued) in sent {
        let lines = [line.clone(), "tracestate: foo=1".to_owned()];
        let called = harness.ask(&lines, 1).await.remove(0);
        let (trace, span, _) = traceparent(&called);
        assert_eq!(trace == T, is_continued, "{line:?}: {called:?}");
        assert_ne!(span, P, "{line:?}");
        // The list belongs to the trace that it came with.
        let state: &[&str] = if is_continued { &["foo=1"] } else { &[] };
        assert_eq!(values(&called, "tracestate"), state, "{line:?}");
    }
}

/// Level 2: bit 0 is the decision to record, bit 1 says that the trace id is random, the others are none of ours.
#[tokio::test]
async fn flags_are_masked() {
    let mut harness = Harness::start().await;
    for (sent, expected) in [
        ("00", "00"),
        ("01", "01"),
        ("02", "02"),
        ("03", "03"),
        ("fc", "00"),
        ("fd", "01"),
        ("ff", "03"),
    ] {
        let line = format!("traceparent: 00-{T}-{P}-{sent}");
        let called = harness.ask(&[line], 1).await.remove(0);
        let (trace, _, flags) = traceparent(&called);
        assert_eq!((trace, flags), (T, expected), "{sent}");
    }
    let called = harness.ask(&[], 1).await.remove(0);
    let (_, _, flags) = traceparent(&called);
    assert!(["02", "03"].contains(&flags), "our ids are random: {flags}");
}

#[tokio::test]
async fn a_tracestate_is_joined_kept_or_dropped_as_a_whole() {
    let key: String = ('a'..='z').chain('0'..='9').chain("_-*/".chars()).collect();
    let every = (b' '..=b'~').filter(|byte| !b",=".contains(byte));
    let every = String::from_utf8(every.collect()).unwrap();
    let members = |range: std::ops::RangeInclusive<u8>| {
        let members: Vec<_> = range.map(|n| format!("bar{n:02}={n:02}")).collect();
        members.join(",")
    };
    let long = |length: usize| "z".repeat(length);
    let rows: Vec<(Vec<String>, String)> = [
        ("tracestate: foo=1,bar=2", "foo=1,bar=2"),
        ("TraceState: foo=1", "foo=1"),
        ("tRaCeStAtE: foo=1", "foo=1"),
        ("TRACESTATE:foo=1", "foo=1"),
        ("trace-state: foo=1", ""),
        ("trace.state: foo=1", ""),
        ("tracestate:", ""),
        ("tracestate: ,", ""),
        ("tracestate: foo=1\r\ntracestate:", "foo=1"),
        ("tracestate:\r\ntracestate: foo=1", "foo=1"),
        (
            "tracestate: foo=1,bar=2\r\nTraceState: red=1,blue=2\r\nTRACESTATE: baz=3",
            "foo=1,bar=2,red=1,blue=2,baz=3",
        ),
        // Of two members of one key the first stays.
        ("tracestate: foo=1,foo=1", "foo=1"),
        ("tracestate: foo=1,bar=3,foo=2", "foo=1,bar=3"),
        ("tracestate: foo=1\r\ntracestate: foo=2", "foo=1"),
        // White space around members goes.
        (
            "tracestate: foo=1 \t , \t bar=2, \t baz=3",
            "foo=1,bar=2,baz=3",
        ),
        (
            "tracestate: foo=1\t \t,\t \tbar=2,\t \tbaz=3",
            "foo=1,bar=2,baz=3",
        ),
        ("tracestate:\t foo=1 \t", "foo=1"),
        // What is no key.
        ("tracestate: foo =1", ""),
        ("tracestate: FOO=1", ""),
        ("tracestate: foo.bar=1", ""),
        ("tracestate: @foo=1,bar=2", ""),
        ("tracestate: -foo=1,bar=2", ""),
        ("tracestate: =1,bar=2", ""),
        // Level 2 takes the sign of vendors anywhere but in front.
        ("tracestate: foo@=1,bar=2", "foo@=1,bar=2"),
        ("tracestate: foo@@bar=1,bar=2", "foo@@bar=1,bar=2"),
        ("tracestate: 1foo@2bar=1", "1foo@2bar=1"),
        // What is no value.
        ("tracestate: foo=bar=baz", ""),
        ("tracestate: foo=,bar=3", ""),
        ("tracestate: foo,bar=3", ""),
        ("tracestate: foo=\u{e9},bar=3", ""),
    ]
    .map(|(lines, out)| (vec![lines.to_owned()], out.to_owned()))
    .into_iter()
    .chain([
        (
            vec![format!("tracestate: {key}={every}")],
            format!("{key}={every}"),
        ),
        (
            vec![format!("tracestate: {key}@{key}={every}")],
            format!("{key}@{key}={every}"),
        ),
        (
            vec![
                format!("tracestate: {}", members(1..=20)),
                format!("tracestate: {}", members(21..=32)),
            ],
            members(1..=32),
        ),
        (
            vec![
                format!("tracestate: {}", members(1..=20)),
                format!("tracestate: {}", members(21..=33)),
            ],
            String::new(),
        ),
        (
            vec![format!("tracestate: foo=1,{}=1", long(256))],
            format!("foo=1,{}=1", long(256)),
        ),
        (
            vec![format!("tracestate: foo=1,{}=1", long(257))],
            String::new(),
        ),
        (
            vec![format!("tracestate: foo=1,bar={}", long(256))],
            format!("foo=1,bar={}", long(256)),
        ),
        (
            vec![format!("tracestate: foo=1,bar={}", long(257))],
            String::new(),
        ),
    ])
    .collect();
    let mut harness = Harness::start().await;
    for (lines, expected) in rows {
        let sent = [vec![good()], lines.clone()].concat();
        let called = harness.ask(&sent, 1).await.remove(0);
        assert_eq!(traceparent(&called).0, T, "{lines:?}");
        let expected: &[&str] = match expected.as_str() {
            "" => &[],
            list => &[list],
        };
        assert_eq!(values(&called, "tracestate"), expected, "{lines:?}");
    }
}

#[tokio::test]
async fn each_of_several_calls_is_a_span_of_its_own() {
    let mut harness = Harness::start().await;
    let zero = format!("traceparent: 00-{}-{P}-01", "0".repeat(32));
    for (lines, expected) in [(vec![good()], Some(T)), (vec![], None), (vec![zero], None)] {
        let called = harness.ask(&lines, 3).await;
        let ids: Vec<_> = called.iter().map(traceparent).collect();
        let spans: Vec<_> = ids.iter().map(|(_, span, _)| *span).collect();
        assert!(!spans.contains(&P));
        let [a, b, c] = spans[..] else { panic!() };
        assert!(a != b && b != c && a != c, "{lines:?}: {spans:?}");
        let trace = ids[0].0;
        assert!(ids.iter().all(|(other, ..)| *other == trace), "{ids:?}");
        match expected {
            Some(expected) => assert_eq!(trace, expected),
            None => assert_ne!(trace, T),
        }
    }
}
