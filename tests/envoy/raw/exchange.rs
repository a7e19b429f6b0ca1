//! Sends a request to one of the two servers, and collects what comes of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::application::View;
use super::frames::{self, Reply};
use super::message::Message;
use super::parties::Side;

/// What one server made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The statuses of the answers, in their order, without interim ones.
    pub(crate) statuses: Vec<u16>,
    /// What reached the application.
    pub(crate) seen: Vec<View>,
    /// Neither an answer nor the end of the connection came.
    pub(crate) is_silent: bool,
}

/// An outcome in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It reached the application.
    Passed,
    /// A policy refused it: 403.
    Denied,
    /// It was refused before policy: any other error, or a closed connection.
    Refused,
    /// The server waits for more bytes.
    Silent,
}

impl Outcome {
    pub(crate) fn fate(&self) -> Fate {
        match self.statuses.first() {
            _ if !self.seen.is_empty() => Fate::Passed,
            Some(403) => Fate::Denied,
            None if self.is_silent => Fate::Silent,
            _ => Fate::Refused,
        }
    }

    /// Whether both mean the same to the client and to the application.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let classes = |outcome: &Self| -> Vec<u16> {
            let refusals = outcome.statuses.iter().map(|status| match status {
                // Which of these it is makes no difference to anybody.
                400..=402 | 404..=499 | 501 => 400,
                other => *other,
            });
            let mut classes: Vec<_> = match outcome.statuses.is_empty() && !outcome.is_silent {
                true => vec![400],
                false => refusals.collect(),
            };
            // Only one of the two may read on behind a request that it has refused.
            while matches!(classes[..], [.., 400 | 403, 400]) {
                classes.pop();
            }
            classes
        };
        self.fate() == other.fate() && self.seen == other.seen && classes(self) == classes(other)
    }
}

/// Follows each HTTP/1 request on its connection: an answer to it shows where the server has found
/// the end of the request before it.
const LAST: &[u8] = b"GET /end-of-case HTTP/1.1\r\nhost: end\r\nconnection: close\r\n\r\n";

/// Sends the message, and waits for each next byte for so long at most.
pub(crate) fn send(side: &Side, message: &Message, patience: Duration) -> Outcome {
    // What came late of the request before.
    side.seen.try_iter().for_each(drop);
    let (statuses, is_silent) = match message {
        Message::Http1(bytes) => {
            let bytes = [bytes, LAST].concat();
            let is_head = message.method().as_ref() == b"HEAD";
            http1(side.address, &bytes, is_head, patience)
        }
        Message::Http2(fields, body) => {
            http2(side.address, &frames::connection(fields, body), patience)
        }
    };
    let mut outcome = Outcome {
        statuses,
        seen: side.seen.try_iter().collect(),
        is_silent,
    };
    if outcome
        .seen
        .last()
        .is_some_and(|view| view.target == "/end-of-case")
    {
        outcome.seen.pop();
        outcome.statuses.pop();
    }
    outcome
}

fn http1(to: SocketAddr, bytes: &[u8], is_head: bool, patience: Duration) -> (Vec<u16>, bool) {
    let mut stream = connect(to, patience);
    // The server may refuse the first half before it has read the second.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    loop {
        let has_ended = match more(&mut stream, &mut answer) {
            Ok(is_open) => !is_open,
            Err(()) => return (responses(&answer, is_head, true).0, true),
        };
        let (statuses, closes) = responses(&answer, is_head, has_ended);
        if has_ended || closes {
            return (statuses, false);
        }
    }
}

fn http2(to: SocketAddr, bytes: &[u8], patience: Duration) -> (Vec<u16>, bool) {
    let mut stream = connect(to, patience);
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    loop {
        let is_open = more(&mut stream, &mut answer);
        match frames::reply(&answer) {
            Reply::Status(status) => return (vec![status], false),
            Reply::Refused => return (Vec::new(), false),
            Reply::Open if is_open == Ok(true) => {}
            Reply::Open => return (Vec::new(), is_open.is_err()),
        }
    }
}

fn connect(to: SocketAddr, patience: Duration) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_write_timeout(Some(patience)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads once; whether the connection is still open, or an error when nothing comes.
fn more(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<bool, ()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(length) => {
            answer.extend_from_slice(&buffer[..length]);
            Ok(length > 0)
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(())
        }
        // A reset is an end.
        Err(_) => Ok(false),
    }
}

/// The statuses of the responses that are there as a whole, and whether the last of them is the
/// connection's last.
fn responses(mut bytes: &[u8], mut is_head: bool, has_ended: bool) -> (Vec<u16>, bool) {
    let (mut statuses, mut closes) = (Vec::new(), false);
    while let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let body = &bytes[end + 4..];
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no response: {head}"));
        if status < 200 {
            bytes = body;
            continue;
        }
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(found, value)| (found == name).then(|| value.trim()))
        };
        let length = match (value("content-length"), value("transfer-encoding")) {
            _ if is_head || status == 204 => Some(0),
            (_, Some(_)) => {
                let end = body.windows(5).position(|part| part == b"0\r\n\r\n");
                end.map(|end| end + 5)
            }
            (Some(length), None) => length.parse().ok().filter(|length| *length <= body.len()),
            (None, None) => has_ended.then_some(body.len()),
        };
        let Some(length) = length else { break };
        is_head = false;
        closes = value("connection") == Some("close");
        statuses.push(status);
        bytes = &body[length..];
    }
    (statuses, closes)
}
