//! Files of requests as people hand them in: `check`, `coverage` and `diff` read them alike.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use crate::files::Files;
use crate::program::{run, text};

const READERS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: foo}
spec:
  rules:
  - to: [{operation: {methods: [GET]}}]
";

const GOOD: &str = "{\"method\": \"GET\", \"path\": \"/x\"}\n";

/// A policy, and requests beside it.
struct Place(Files);

impl Place {
    fn new(requests: &[u8]) -> Self {
        Self(Files::new(&[
            ("policy.yaml", READERS.as_bytes()),
            ("requests.jsonl", requests),
        ]))
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    /// What each of the three commands says of the requests in this file.
    fn each(&self, file: &str) -> [Output; 3] {
        let (policy, file) = (self.path("policy.yaml"), self.path(file));
        let common = ["--workload", "foo/web", "--requests", &file];
        let ask = |words: &[&str]| run(&[words, &common].concat(), "");
        [
            ask(&["check", "--config", &policy]),
            ask(&["coverage", "--config", &policy]),
            ask(&["diff", &policy, &policy]),
        ]
    }
}

#[test]
fn a_bad_line_is_told_by_its_own_number_only() {
    let long = format!(
        "{{\"method\": \"GET\", \"path\": \"/{}\"}}\n",
        "a".repeat(16 << 20)
    );
    for (line, why) in [
        (
            &b"{\"method\": \"GET\", \"path\": \"/\xFF\"}\n"[..],
            "invalid unicode code point (column 29)",
        ),
        (
            b"{\"method\": \"GET\", \"path\": \"/\"\n",
            "EOF while parsing an object (column 29)",
        ),
        (
            b"{\"method\": \"GET\", \"path\": \"/\"\r\n",
            "EOF while parsing an object (column 29)",
        ),
        (
            b"  {\"method\": 3}\n",
            "invalid type: integer `3`, expected a string (column 14)",
        ),
        (long.as_bytes(), "longer than 16 MiB"),
    ] {
        let place = Place::new(&[GOOD.as_bytes(), line, GOOD.as_bytes()].concat());
        for output in place.each("requests.jsonl") {
            assert_eq!(output.status.code(), Some(2));
            assert_eq!(text(&output.stderr), format!("error: line 2: {why}\n"));
        }
    }
}

#[test]
fn a_byte_order_mark_and_other_line_breaks_do_no_harm() {
    let crlf = GOOD.replace('\n', "\r\n");
    let marked = format!("\u{FEFF}{crlf}\r\n{crlf}");
    for output in Place::new(marked.as_bytes()).each("requests.jsonl") {
        assert_eq!(
            (output.status.code(), text(&output.stderr).as_str()),
            (Some(0), "")
        );
    }
    // At the start of the file only.
    let marked = format!("{GOOD}\u{FEFF}{GOOD}");
    for output in Place::new(marked.as_bytes()).each("requests.jsonl") {
        assert_eq!(text(&output.stderr), "error: line 2: no JSON object\n");
    }
}

/// Nothing that was asked is no answer, and is said.
#[test]
fn a_file_without_requests_is_told() {
    for nothing in ["", "\n \r\n\n"] {
        let place = Place::new(nothing.as_bytes());
        let warning = format!(
            "warning: {} holds no request\n",
            place.path("requests.jsonl")
        );
        for output in place.each("requests.jsonl") {
            assert_eq!(output.status.code(), Some(0));
            assert_eq!(text(&output.stderr), warning);
        }
    }
    let place = Place::new(b"");
    let directory = place.path("");
    for output in place.each("") {
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            text(&output.stderr),
            format!("error: {directory} is a directory; name a file of requests\n")
        );
    }
}

/// `diff | head` in a pipeline that heeds its parts: what is not written is no success.
#[test]
fn an_answer_that_nobody_reads_to_its_end_is_no_success() {
    let place = Place::new(GOOD.repeat(20_000).as_bytes());
    let (policy, requests) = (place.path("policy.yaml"), place.path("requests.jsonl"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tower-mesh"))
        .args(["check", "--config", &policy, "--workload", "foo/web"])
        .args(["--requests", &requests])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 5];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(2), "")
    );
}
