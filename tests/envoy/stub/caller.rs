//! Who calls: one request on a connection of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Version};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::app::{joined, text};

/// A request in words.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) version: Version,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) host: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static [u8])>,
    pub(crate) body: Vec<u8>,
    /// Without a `content-length`.
    pub(crate) is_chunked: bool,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            version: Version::HTTP_11,
            method: "GET",
            path: path.into(),
            host: "app.example",
            headers: Vec::new(),
            body: Vec::new(),
            is_chunked: false,
        }
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let mut call = Self::get(path);
        call.method = "POST";
        call.body = body.into();
        call
    }

    pub(crate) fn http2(mut self) -> Self {
        self.version = Version::HTTP_2;
        self
    }

    /// As a gRPC client calls.
    pub(crate) fn grpc(self) -> Self {
        let mut call = self
            .http2()
            .with("content-type", "application/grpc")
            .with("te", "trailers");
        call.method = "POST";
        call.body = vec![0; 5];
        call
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    pub(crate) fn with(self, name: &'static str, value: &'static str) -> Self {
        self.raw(name, value.as_bytes())
    }

    pub(crate) fn raw(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }

    fn request(&self) -> Request<BoxBody<Bytes, Infallible>> {
        let is_http2 = self.version == Version::HTTP_2;
        let uri = match is_http2 {
            true => format!("http://{}{}", self.host, self.path),
            false => self.path.clone(),
        };
        let mut request = Request::builder()
            .version(self.version)
            .method(self.method)
            .uri(uri);
        if !is_http2 {
            request = request.header("host", self.host);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let body = Full::new(Bytes::from(self.body.clone()));
        let body = match self.is_chunked {
            true => Unmeasured(body).boxed(),
            false => body.boxed(),
        };
        request.body(body).unwrap()
    }
}

/// A body that does not say how long it is, nor with its last bytes that they are the last.
struct Unmeasured(Full<Bytes>);

impl Body for Unmeasured {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }
}

impl Reply {
    pub(crate) fn told(&self) -> Value {
        json!({
            "status": self.status,
            "headers": self.headers,
            "body": self.body,
            "trailers": self.trailers,
        })
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) trailers: BTreeMap<String, String>,
}

/// A connection that stays.
pub(crate) enum Connection {
    One(http1::SendRequest<BoxBody<Bytes, Infallible>>),
    Two(http2::SendRequest<BoxBody<Bytes, Infallible>>),
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr, version: Version) -> Self {
        let tcp = TcpStream::connect(to).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self::over(tcp, version).await
    }

    /// Over a stream that is there.
    pub(crate) async fn over<T>(stream: T, version: Version) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = TokioIo::new(stream);
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            return Self::Two(sender);
        }
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::One(sender)
    }

    /// Sends a request; `None` when no answer comes.
    pub(crate) async fn send(&mut self, call: &Call) -> Option<Reply> {
        let request = call.request();
        let exchange = async {
            let response = match self {
                Self::One(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::Two(sender) => sender.send_request(request).await?,
            };
            whole(response).await
        };
        let answered = timeout(Duration::from_secs(60), exchange).await;
        answered.expect("no answer in time").ok()
    }
}

async fn whole(response: http::Response<hyper::body::Incoming>) -> Result<Reply, hyper::Error> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(joined).unwrap_or_default();
    Ok(Reply {
        status: head.status.as_u16(),
        headers: joined(&head.headers),
        body: text(&body.to_bytes()),
        trailers,
    })
}
