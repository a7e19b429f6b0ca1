//! The client, in a process of its own: rustls as it comes, with a certificate.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::child::tell;
use crate::server::{chain_and_key, roots};

/// Does what it is told, line by line, until there is no more.
pub(crate) fn run(directory: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = Rc::new(Client {
        one: connector(directory, b"http/1.1"),
        two: connector(directory, b"h2"),
        held: RefCell::default(),
        stalled: RefCell::default(),
    });
    let obeying = async {
        // Read beside everything else, so that connections which are only held are looked after too.
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let words: Vec<_> = line.split(' ').collect();
            tell(Rc::clone(&client).obey(&words).await);
        }
    };
    LocalSet::new().block_on(&runtime, obeying);
}

struct Client {
    one: TlsConnector,
    two: TlsConnector,
    held: RefCell<Vec<Held>>,
    stalled: RefCell<Vec<TcpStream>>,
}

/// A connection that has answered one request and now does nothing.
enum Held {
    One(Box<One>),
    Two(SendRequest<Empty<Bytes>>),
}

impl Client {
    async fn obey(self: Rc<Self>, words: &[&str]) -> String {
        match words {
            ["handshakes", address, milliseconds, beside] => {
                let visit = Visit::to(address, b"", b".");
                self.repeat(limit(milliseconds), beside.parse().unwrap(), visit)
                    .await
            }
            ["visits", address, milliseconds, beside] => {
                let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                let visit = Visit::to(address, request, b"HTTP/1.1 200");
                self.repeat(limit(milliseconds), beside.parse().unwrap(), visit)
                    .await
            }
            ["requests", address, milliseconds, beside, version] => {
                let (address, limit) = (address.parse().unwrap(), limit(milliseconds));
                let connections = self.connections(address, beside.parse().unwrap(), version);
                let connections = connections.await;
                let begun = Instant::now();
                let tasks = connections.into_iter().map(|mut connection| {
                    spawn_local(async move {
                        let mut took = Vec::new();
                        while begun.elapsed() < limit {
                            let started = Instant::now();
                            assert!(connection.ask().await, "no answer");
                            took.push(started.elapsed());
                        }
                        (took, 0)
                    })
                });
                summary(begun, tasks.collect()).await
            }
            ["count", address, count, version] => {
                let connections = self.connections(address.parse().unwrap(), 1, version);
                let mut connection = connections.await.remove(0);
                let count: usize = count.parse().unwrap();
                for _ in 0..count {
                    assert!(connection.ask().await, "no answer");
                }
                count.to_string()
            }
            ["hold", address, count, version] => {
                let connections =
                    self.connections(address.parse().unwrap(), count.parse().unwrap(), version);
                let connections = connections.await;
                self.held.borrow_mut().extend(connections);
                self.held.borrow().len().to_string()
            }
            ["check"] => {
                let held = self.held.take();
                let mut good = 0;
                for mut connection in held {
                    good += usize::from(connection.ask().await);
                }
                good.to_string()
            }
            ["stall", address, count, bytes] => {
                self.stall(address.parse().unwrap(), count.parse().unwrap(), bytes)
                    .await;
                self.stalled.borrow().len().to_string()
            }
            ["release"] => {
                drop(self.held.take());
                drop(self.stalled.take());
                // Tasks that keep HTTP/2 connections end when polled next.
                tokio::task::yield_now().await;
                "released".to_owned()
            }
            other => panic!("cannot {other:?}"),
        }
    }

    /// One visit after the other, some beside one another.
    async fn repeat(self: Rc<Self>, limit: Duration, beside: usize, visit: Visit) -> String {
        let begun = Instant::now();
        let tasks = (0..beside).map(|_| {
            let client = Rc::clone(&self);
            spawn_local(async move {
                let mut took = Vec::new();
                let mut failed = 0_u64;
                while begun.elapsed() < limit {
                    let started = Instant::now();
                    match visit.pay(&client.one).await {
                        Some(()) => took.push(started.elapsed()),
                        None => failed += 1,
                    }
                }
                (took, failed)
            })
        });
        summary(begun, tasks.collect()).await
    }

    /// As many connections that have each answered one request.
    async fn connections(&self, address: SocketAddr, count: usize, version: &str) -> Vec<Held> {
        let mut connections = Vec::new();
        while connections.len() < count {
            // Some at a time: a server takes on a few dozen handshakes of one address at once.
            let some = (count - connections.len()).min(16);
            let opening = (0..some).map(|_| {
                let (one, two) = (self.one.clone(), self.two.clone());
                let is_two = version == "2";
                spawn_local(async move {
                    let mut held = if is_two {
                        Held::Two(open_two(&two, address).await)
                    } else {
                        Held::One(Box::new(One::open(&one, address).await))
                    };
                    assert!(held.ask().await, "no answer");
                    held
                })
            });
            let opening: Vec<_> = opening.collect();
            for connection in opening {
                connections.push(connection.await.unwrap());
            }
        }
        connections
    }

    /// Connections that send this and then nothing, from addresses of their own, a few dozen of each.
    async fn stall(&self, address: SocketAddr, count: u16, bytes: &str) {
        for index in 0..count {
            let [.., host] = (2 + index / 50).to_be_bytes();
            let socket = TcpSocket::new_v4().unwrap();
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
            socket.bind(SocketAddr::new(from, 0)).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            if bytes == "some" {
                // The beginning of a hello that is never finished.
                stream
                    .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])
                    .await
                    .unwrap();
            }
            self.stalled.borrow_mut().push(stream);
        }
    }
}

/// How often it was done, in how many microseconds, how often it failed, and what the middle one and the slowest hundredth took.
async fn summary(begun: Instant, tasks: Vec<JoinHandle<(Vec<Duration>, u64)>>) -> String {
    let (mut took, mut failed) = (Vec::new(), 0);
    for task in tasks {
        let (some, others) = task.await.unwrap();
        took.extend(some);
        failed += others;
    }
    let elapsed = begun.elapsed().as_micros();
    took.sort_unstable();
    let at = |share: usize| {
        let found = took.get(took.len() * share / 100);
        found.map_or(0, Duration::as_micros)
    };
    format!("{} {elapsed} {failed} {} {}", took.len(), at(50), at(99))
}

/// A connection from its beginning to its end.
#[derive(Clone, Copy)]
struct Visit {
    address: SocketAddr,
    says: &'static [u8],
    hears: &'static [u8],
}

impl Visit {
    fn to(address: &str, says: &'static [u8], hears: &'static [u8]) -> Self {
        let address = address.parse().unwrap();
        Self {
            address,
            says,
            hears,
        }
    }

    async fn pay(&self, connector: &TlsConnector) -> Option<()> {
        let mut stream = connect(connector, self.address).await?;
        stream.write_all(self.says).await.ok()?;
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        heard.starts_with(self.hears).then_some(())
    }
}

impl Held {
    /// Whether it answers another request.
    async fn ask(&mut self) -> bool {
        let asked = async {
            match self {
                Self::One(one) => one.ask().await.is_ok(),
                Self::Two(two) => {
                    let request = Request::get("https://localhost/")
                        .body(Empty::new())
                        .unwrap();
                    match two.send_request(request).await {
                        Ok(response) => response.into_body().collect().await.is_ok(),
                        Err(_) => false,
                    }
                }
            }
        };
        timeout(Duration::from_secs(30), asked).await == Ok(true)
    }
}

/// HTTP/1.1 by hand: answers are of one length, so reading one costs this side next to nothing.
struct One {
    stream: TlsStream<TcpStream>,
    /// How long an answer is; known after the first.
    length: usize,
    buffer: Box<[u8; 1024]>,
}

impl One {
    async fn open(connector: &TlsConnector, address: SocketAddr) -> Self {
        Self {
            stream: connect(connector, address).await.expect("a connection"),
            length: 0,
            buffer: Box::new([0; 1024]),
        }
    }

    async fn ask(&mut self) -> std::io::Result<()> {
        self.stream
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if self.length == 0 {
                // The body is the only run of this text, and is 200 bytes.
                let head = self.buffer.windows(4).position(|part| part == b"\r\n\r\n");
                self.length = head.map_or(0, |head| head + 4 + 200);
            }
            if filled >= self.length && self.length > 0 {
                return Ok(());
            }
        }
    }
}

async fn open_two(connector: &TlsConnector, address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = connect(connector, address).await.expect("a connection");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    spawn_local(connection);
    sender
}

async fn connect(connector: &TlsConnector, address: SocketAddr) -> Option<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.ok()
}

fn connector(directory: &Path, protocol: &[u8]) -> TlsConnector {
    let (chain, key) = chain_and_key(directory, "client");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(directory))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsConnector::from(Arc::new(config))
}

fn limit(milliseconds: &str) -> Duration {
    Duration::from_millis(milliseconds.parse().unwrap())
}
