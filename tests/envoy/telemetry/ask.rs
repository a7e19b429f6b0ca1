//! A request of the table, and how it is sent.

use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_mesh::testing::Pki;

use super::app::Seen;
use crate::wire;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) version: Version,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) host: &'static str,
    pub(super) headers: Vec<(&'static str, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
    /// In place of all of it: bytes of HTTP/1.
    pub(super) raw: Option<&'static [u8]>,
}

/// What the caller does after it has sent its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Reads,
    /// It closes the connection once the application has the request.
    Leaves,
    /// It resets the stream then.
    Resets,
    /// It closes the connection once the answer has begun.
    LeavesLater,
}

impl Case {
    pub(super) fn get(name: &'static str, target: &str) -> Self {
        Self {
            name,
            version: Version::HTTP_11,
            method: "GET",
            target: target.to_owned(),
            host: "app.foo.svc.cluster.local",
            headers: Vec::new(),
            body: Vec::new(),
            end: End::Reads,
            raw: None,
        }
    }

    pub(super) fn grpc(name: &'static str, method: &str) -> Self {
        let mut case = Self::get(name, &format!("/pkg.Svc/{method}")).http2();
        case.method = "POST";
        case.body = vec![0; 5];
        case.with("content-type", "application/grpc")
            .with("te", "trailers")
    }

    pub(super) fn raw(name: &'static str, bytes: &'static [u8]) -> Self {
        let mut case = Self::get(name, "/");
        case.raw = Some(bytes);
        case
    }

    pub(super) fn with(self, name: &'static str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    pub(super) fn bytes(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.push((name, value.to_vec()));
        self
    }

    pub(super) fn http2(mut self) -> Self {
        self.version = Version::HTTP_2;
        self
    }

    pub(super) fn post(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.method = "POST";
        self.body = body.into();
        self
    }

    pub(super) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(super) fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    pub(super) fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// All that was sent, to tell it from what was made.
    pub(super) fn has_sent(&self, text: &str) -> bool {
        let sent = |(_, value): &(_, Vec<u8>)| {
            let value = String::from_utf8_lossy(value).to_ascii_lowercase();
            value.contains(text)
        };
        self.headers.iter().any(sent)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let uri = match self.version {
            Version::HTTP_2 => format!("https://{}{}", self.host, self.target),
            _ => self.target.clone(),
        };
        let mut request = Request::builder()
            .version(self.version)
            .method(self.method)
            .uri(uri);
        if self.version != Version::HTTP_2 {
            request = request.header("host", self.host);
        }
        request = request.header("x-case", self.name);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            request = request.header(HeaderName::from_static(name), value);
        }
        request.body(Full::new(self.body.clone().into())).unwrap()
    }

    /// Sends it.
    pub(super) async fn send(&self, pki: &Pki, to: SocketAddr, seen: &Seen) -> Sent {
        let tcp = TcpStream::connect(to).await.unwrap().into_std().unwrap();
        tcp.set_nodelay(true).unwrap();
        let from = tcp.local_addr().unwrap();
        let held = tcp.try_clone().unwrap();
        let stream = dial(pki, tcp, self.version).await;
        let exchange = timeout(Duration::from_secs(30), self.exchange(stream, &held, seen));
        let (status, sender) = exchange.await.expect("no answer in time");
        Sent {
            from,
            status,
            _sender: sender,
        }
    }

    async fn exchange(
        &self,
        mut stream: TlsStream<TcpStream>,
        tcp: &std::net::TcpStream,
        seen: &Seen,
    ) -> (u16, Option<Sender>) {
        if let Some(raw) = self.raw {
            stream.write_all(raw).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let status = answer.split(' ').nth(1);
            return (
                status.and_then(|status| status.parse().ok()).unwrap_or(0),
                None,
            );
        }
        let io = TokioIo::new(stream);
        let request = self.request();
        let (mut answer, sender): (Answering, _) = if self.version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            let mut one = sender.clone();
            let answer = Box::pin(async move { one.send_request(request).await });
            (answer, Some(sender))
        } else {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            let answer = Box::pin(async move { sender.send_request(request).await });
            (answer, None)
        };
        if matches!(self.end, End::Leaves | End::Resets) {
            tokio::select! {
                _ = &mut answer => panic!("{}: an answer", self.name),
                () = seen.wait(self.name) => {}
            }
            if self.end == End::Leaves {
                tcp.shutdown(Shutdown::Both).unwrap();
                let _ = answer.await;
            }
            return (0, sender);
        }
        let Ok(answer) = answer.await else {
            return (0, sender);
        };
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        if self.end == End::LeavesLater {
            let _ = body.frame().await;
            tcp.shutdown(Shutdown::Both).unwrap();
        }
        let _ = body.collect().await;
        (status, sender)
    }
}

/// What became of a request.
pub(super) struct Sent {
    pub(super) from: SocketAddr,
    /// 0 without an answer.
    pub(super) status: u16,
    /// Keeps the connection open.
    _sender: Option<Sender>,
}

type Sender = http2::SendRequest<Full<Bytes>>;
type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

async fn dial(pki: &Pki, tcp: std::net::TcpStream, version: Version) -> TlsStream<TcpStream> {
    let alpn: &[u8] = match version {
        Version::HTTP_2 => b"h2",
        _ => b"http/1.1",
    };
    let config = wire::any_server(pki, "spiffe://cluster.local/ns/foo/sa/desk", alpn);
    let tcp = TcpStream::from_std(tcp).unwrap();
    let name = "outbound_.80_._.web.foo.svc.cluster.local";
    let name = ServerName::try_from(name).unwrap();
    let connector = TlsConnector::from(config);
    connector.connect(name, tcp).await.unwrap()
}
