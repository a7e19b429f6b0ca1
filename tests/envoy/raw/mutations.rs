//! Random requests: those of the tables, changed in one to three places.

use super::message::{Case, Field, Message};
use super::table::{HOSTS, TARGETS, VALUES};
use crate::random::Random;

/// So many requests, which are the same for the same random numbers.
pub(crate) fn cases(random: &mut Random, table: &[Case], count: usize) -> Vec<Case> {
    let small: Vec<_> = table.iter().filter(|case| case.rule != "B-15").collect();
    let mut cases = Vec::new();
    while cases.len() < count {
        let mut case = small[random.below(small.len())].clone();
        for _ in 0..=random.below(3) {
            match &mut case.message {
                Message::Http1(bytes) => change_http1(random, bytes),
                Message::Http2(fields, _) => change_http2(random, fields),
            }
        }
        case.rule = "random";
        cases.push(case);
    }
    cases
}

/// Bytes that parsers take differently.
const BYTES: &[u8] = b"\0\x01\t\n\x0b\r \"#%&*,./:;<=?@AZ[\\]^_`az{|}\x7f\x80\xa0\xff";

/// Lines that mean something to a server or to a policy.
const FIELDS: [(&str, &str); 14] = [
    ("host", "front"),
    ("host", "secret.com"),
    ("x-role", "evil"),
    ("x-role", "good"),
    ("connection", "close"),
    ("connection", "x-role"),
    ("connection", "keep-alive"),
    ("content-length", "0"),
    ("content-length", "3"),
    ("transfer-encoding", "chunked"),
    ("te", "trailers"),
    ("expect", "100-continue"),
    ("upgrade", "h2c"),
    ("x-a", "b"),
];

const METHODS: [&str; 6] = ["GET", "get", "POST", "DELETE", "HEAD", "FOO"];

fn change_http1(random: &mut Random, bytes: &mut Vec<u8>) {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let head = head.map_or(bytes.len(), |end| end + 2);
    let body = bytes.split_off(head);
    let mut lines: Vec<Vec<u8>> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let last = lines.len().saturating_sub(1);
    match random.below(8) {
        0 => {
            let (name, value) = FIELDS[random.below(FIELDS.len())];
            lines.insert(last.max(1), format!("{name}: {value}\r\n").into_bytes());
        }
        1 if last > 0 => {
            let line = lines[1 + random.below(last)].clone();
            lines.push(line);
        }
        2 if last > 0 => {
            lines.remove(1 + random.below(last));
        }
        3 | 4 => {
            let (_, target) = TARGETS[random.below(TARGETS.len())];
            lines[0] = [
                random.pick(&METHODS).as_bytes(),
                b" ",
                target,
                b" HTTP/1.1\r\n",
            ]
            .concat();
        }
        5 => {
            let host = HOSTS[random.below(HOSTS.len())];
            lines.retain(|line| !line.to_ascii_lowercase().starts_with(b"host"));
            lines.push([b"host: ", host, b"\r\n"].concat());
        }
        6 => {
            let value = VALUES[random.below(VALUES.len())];
            lines.push([b"x-role: ", value, b"\r\n"].concat());
        }
        _ => {
            let line = random.below(lines.len());
            insert_byte(random, &mut lines[line]);
        }
    }
    *bytes = [lines.concat(), body].concat();
}

fn change_http2(random: &mut Random, fields: &mut Vec<Field>) {
    let at = random.below(fields.len());
    match random.below(8) {
        0 => {
            let (name, value) = FIELDS[random.below(FIELDS.len())];
            fields.push((name.into(), value.into()));
        }
        1 => fields.push(fields[at].clone()),
        2 if fields.len() > 1 => {
            fields.remove(at);
        }
        3 => set(fields, ":path", TARGETS[random.below(TARGETS.len())].1),
        4 => set(fields, ":method", random.pick(&METHODS).as_bytes()),
        5 => set(fields, ":authority", HOSTS[random.below(HOSTS.len())]),
        6 => {
            let value = VALUES[random.below(VALUES.len())];
            fields.push((b"x-role".to_vec(), value.to_vec()));
        }
        _ => insert_byte(random, &mut fields[at].1),
    }
}

fn set(fields: &mut [Field], name: &str, value: &[u8]) {
    for (found, old) in fields {
        if found == name.as_bytes() {
            *old = value.to_vec();
        }
    }
}

fn insert_byte(random: &mut Random, text: &mut Vec<u8>) {
    let at = random.below(text.len() + 1);
    text.insert(at, BYTES[random.below(BYTES.len())]);
}
