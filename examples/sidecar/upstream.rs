//! The application behind us, over HTTP/1.1 or HTTP/2 without TLS.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tower_mesh::Mesh;
use tower_mesh::mesh::RequestBody;
use tower_mesh::message::{GuardBody, LocalReply, ResponseFlags, is_grpc};

use super::trailers::Sifted;

/// Where requests that the guards have let through go.
#[derive(Clone)]
pub(crate) struct Upstream {
    authority: Authority,
    always_h2: bool,
    h1: Client<HttpConnector, Sifted>,
    h2: Http2,
    mesh: Mesh,
    port: u16,
}

/// Why the application did not answer.
enum Failure {
    Connect,
    Cut,
    /// The client has sent its body otherwise than it said.
    Body,
}

impl From<&hyper::Error> for Failure {
    fn from(error: &hyper::Error) -> Self {
        // What fails on our side of the connection is the body that we send on.
        match error.is_user() {
            true => Self::Body,
            false => Self::Cut,
        }
    }
}

impl Upstream {
    pub(crate) fn new(address: SocketAddr, always_h2: bool, mesh: Mesh, port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            // INVARIANT: a socket address reads as an authority.
            authority: address
                .to_string()
                .parse()
                .unwrap_or_else(|_| Authority::from_static("localhost")),
            always_h2,
            h1: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(connector),
            h2: Http2 {
                address,
                open: Arc::default(),
            },
            mesh,
            port,
        }
    }

    pub(crate) async fn forward(
        &self,
        request: Request<RequestBody>,
    ) -> Response<GuardBody<Incoming>> {
        let (method, is_grpc) = (request.method().clone(), is_grpc(request.headers()));
        let request = self.with_sifted_body(request);
        let answer = if self.always_h2 || is_grpc {
            self.h2.send(self.as_http2(request)).await
        } else {
            let answer = self.h1.request(self.as_http1(request)).await;
            answer.map_err(|error| {
                match error
                    .source()
                    .and_then(<dyn Error>::downcast_ref::<hyper::Error>)
                {
                    _ if error.is_connect() => Failure::Connect,
                    Some(error) => Failure::from(error),
                    None => Failure::Cut,
                }
            })
        };
        match answer {
            Ok(mut response) => {
                strip_named(response.headers_mut());
                strip(response.headers_mut());
                *response.version_mut() = Version::default();
                response.map(GuardBody::inner)
            }
            Err(failure) => failure.reply().into_response_as(is_grpc, &method),
        }
    }

    /// Nothing that a request names in `connection` is taken off here: the mesh has done so before its guards looked.
    fn with_sifted_body(&self, request: Request<RequestBody>) -> Request<Sifted> {
        let (mut head, body) = request.into_parts();
        let body = Sifted::new(body, self.mesh.clone(), self.port, &head.headers);
        // The mesh leaves nothing but `trailers` of it.
        let te = head.headers.get(header::TE).cloned();
        strip(&mut head.headers);
        if let Some(te) = te.filter(|te| te == "trailers") {
            head.headers.insert(header::TE, te);
        }
        Request::from_parts(head, body)
    }

    /// To the application's address, with the host that the guards judged in its `Host` header.
    fn as_http1(&self, mut request: Request<Sifted>) -> Request<Sifted> {
        if let Some(named) = request.uri().authority()
            && let Ok(host) = HeaderValue::from_str(named.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        // Without this, hyper would send no body of unknown length with a GET or a HEAD.
        if request.body().size_hint().exact().is_none() {
            let chunked = HeaderValue::from_static("chunked");
            request
                .headers_mut()
                .insert(header::TRANSFER_ENCODING, chunked);
        }
        *request.version_mut() = Version::HTTP_11;
        to(request, self.authority.clone())
    }

    /// With the host that the guards judged as `:authority`, and no `Host` beside it.
    fn as_http2(&self, mut request: Request<Sifted>) -> Request<Sifted> {
        let line = || {
            request
                .headers()
                .get(header::HOST)?
                .to_str()
                .ok()?
                .parse()
                .ok()
        };
        let named: Option<Authority> = request.uri().authority().cloned().or_else(line);
        *request.version_mut() = Version::HTTP_2;
        match named {
            Some(named) => {
                request.headers_mut().remove(header::HOST);
                to(request, named)
            }
            None => to(request, self.authority.clone()),
        }
    }
}

fn to(mut request: Request<Sifted>, authority: Authority) -> Request<Sifted> {
    let uri = request.uri().clone();
    let target = uri.path_and_query().cloned();
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = target.or_else(|| Some(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or(uri);
    request
}

/// One connection for all requests, whatever host they are for; made again when it has ended.
#[derive(Clone)]
struct Http2 {
    address: SocketAddr,
    open: Arc<Mutex<Option<SendRequest<Sifted>>>>,
}

impl Http2 {
    async fn send(&self, request: Request<Sifted>) -> Result<Response<Incoming>, Failure> {
        let mut sender = self.sender().await?;
        let answer = sender.send_request(request).await;
        answer.map_err(|error| Failure::from(&error))
    }

    async fn sender(&self) -> Result<SendRequest<Sifted>, Failure> {
        let mut open = self.open.lock().await;
        if let Some(sender) = open.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let stream = connected
            .ok()
            .and_then(Result::ok)
            .ok_or(Failure::Connect)?;
        let _ = stream.set_nodelay(true);
        let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|_| Failure::Connect)?;
        tokio::spawn(connection);
        *open = Some(sender.clone());
        Ok(sender)
    }
}

impl Failure {
    /// Envoy's answer when the application cannot be had, or the request not be read.
    fn reply(&self) -> LocalReply {
        let (reason, flag) = match self {
            Self::Body => {
                return LocalReply::new(StatusCode::BAD_REQUEST, "", "http1.codec_error");
            }
            Self::Connect => (
                "remote connection failure",
                ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            ),
            Self::Cut => (
                "connection termination",
                ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            ),
        };
        let text = format!(
            "upstream connect error or disconnect/reset before headers. reset reason: {reason}"
        );
        let details = format!(
            "upstream_reset_before_response_started{{{}}}",
            reason.replace(' ', "_")
        );
        LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, text, details).flags(flag)
    }
}

/// Takes off what concerns one connection only (RFC 9110 §7.6.1).
fn strip(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes off what the application says concerns its connection to us.
fn strip_named(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter();
    let names = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let named: Vec<HeaderName> = names.filter_map(|name| name.trim().parse().ok()).collect();
    for name in named {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
