//! The application behind both servers: it takes every request, and keeps what it has seen.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};

/// A request as the application has got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The lines of each header, by its name in lower case; without those of [`is_of_proxy`].
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            method,
            target,
            headers,
            body,
        } = self;
        write!(f, "{method} {target} {headers:?} {body:?}")
    }
}

/// Starts an application; what reaches it comes out of the channel before it answers.
pub(crate) fn start() -> (SocketAddr, Receiver<View>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, views) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = seen.clone();
            std::thread::spawn(move || serve(stream, &seen));
        }
    });
    (address, views)
}

fn serve(mut stream: TcpStream, seen: &Sender<View>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(view) = read(&mut reader) {
        if seen.send(view).is_err() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

/// One request; none when the connection ends within it.
fn read(reader: &mut impl BufRead) -> Option<View> {
    let line = line(reader)?;
    let mut words = line.splitn(2, ' ');
    let (method, rest) = (words.next()?.to_owned(), words.next()?);
    let target = rest.strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        let line = self::line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let lines = headers.entry(name.to_ascii_lowercase()).or_default();
        lines.push(value.trim().to_owned());
    }
    let body = body(reader, &headers)?;
    headers.retain(|name, _| !is_of_proxy(name));
    Some(View {
        method,
        target,
        headers,
        body,
    })
}

fn body(reader: &mut impl BufRead, headers: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let mut body = Vec::new();
    if headers.contains_key("transfer-encoding") {
        loop {
            let line = line(reader)?;
            let size = u64::from_str_radix(&line, 16).ok()?;
            take(reader, size, &mut body)?;
            // Behind the last chunk stand trailers and an empty line.
            while !self::line(reader)?.is_empty() {}
            if size == 0 {
                break;
            }
        }
    } else if let Some(lengths) = headers.get("content-length") {
        let length = lengths.first()?.parse().ok()?;
        take(reader, length, &mut body)?;
    }
    Some(body.escape_ascii().to_string())
}

/// Reads so many bytes; none when the connection ends before.
fn take(reader: &mut impl BufRead, length: u64, into: &mut Vec<u8>) -> Option<()> {
    let taken = reader.take(length).read_to_end(into).ok()?;
    (taken as u64 == length).then_some(())
}

/// A line without its end, in which nothing but visible ASCII stands for itself.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    Some(line.strip_suffix(b"\r\n")?.escape_ascii().to_string())
}

/// Headers that the two proxies set as each of them does, and how the body is framed.
fn is_of_proxy(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "b3",
        "content-length",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "x-forwarded-proto",
        "x-request-id",
    ];
    NAMES.contains(&name) || name.starts_with("x-b3-") || name.starts_with("x-envoy-")
}
