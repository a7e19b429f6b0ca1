//! A rate limit service that answers as a test wants, over a real socket; and an application whose
//! limit it counts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::ServiceExt;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Peer};

use crate::messages::{Header, RateLimitRequest, RateLimitResponse};
use crate::support::mesh::{Log, app, build, proven, read};

pub(super) const OK: i32 = 1;
pub(super) const OVER_LIMIT: i32 = 2;

pub(super) fn code(overall_code: i32) -> Reply {
    Reply::Answer(RateLimitResponse {
        overall_code,
        ..RateLimitResponse::default()
    })
}

pub(super) fn header(key: &str, value: &str) -> Header {
    Header {
        key: key.to_owned(),
        value: value.to_owned(),
        ..Header::default()
    }
}

/// What the service does with a call.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Answer(RateLimitResponse),
    Status(Code),
    /// Answers once the test adds a permit.
    Held(Arc<Semaphore>, RateLimitResponse),
    /// Never answers. What is sent when the call is cancelled is for the test.
    Hang,
}

/// The service.
#[derive(Clone)]
pub(super) struct Stub(Arc<State>);

struct State {
    address: SocketAddr,
    reply: Mutex<Reply>,
    asked: Mutex<Vec<RateLimitRequest>>,
    cancelled: mpsc::UnboundedSender<()>,
}

/// Tells when the call is dropped.
struct Cancelled(mpsc::UnboundedSender<()>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Stub {
    pub(super) async fn new(reply: Reply) -> Self {
        Self::telling(reply).await.0
    }

    /// Also tells which calls that hang have been cancelled.
    pub(super) async fn telling(reply: Reply) -> (Self, mpsc::UnboundedReceiver<()>) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cancelled, told) = mpsc::unbounded_channel();
        let stub = Self(Arc::new(State {
            address: socket.local_addr().unwrap(),
            reply: Mutex::new(reply),
            asked: Mutex::default(),
            cancelled,
        }));
        let state = Arc::clone(&stub.0);
        let routes = Router::new().route(
            "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            any(move |request| Arc::clone(&state).serve(request)),
        );
        let mut server = tonic::transport::Server::builder();
        let server = server.add_routes(tonic::service::Routes::from(routes));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(socket)));
        (stub, told)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(super) fn replies(&self, reply: Reply) {
        *self.0.reply.lock().unwrap() = reply;
    }

    /// The calls so far.
    pub(super) fn asked(&self) -> Vec<RateLimitRequest> {
        self.0.asked.lock().unwrap().clone()
    }
}

impl State {
    async fn serve(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let codec = ProstCodec::<RateLimitResponse, RateLimitRequest>::default();
        let answer = tower::service_fn(move |request: tonic::Request<RateLimitRequest>| {
            let state = Arc::clone(&self);
            async move { state.answer(request.into_inner()).await }
        });
        let response = tonic::server::Grpc::new(codec).unary(answer, request).await;
        response.map(Body::new)
    }

    async fn answer(
        &self,
        request: RateLimitRequest,
    ) -> Result<tonic::Response<RateLimitResponse>, Status> {
        self.asked.lock().unwrap().push(request);
        let reply = self.reply.lock().unwrap().clone();
        match reply {
            Reply::Answer(answer) => Ok(tonic::Response::new(answer)),
            Reply::Held(held, answer) => {
                held.acquire().await.unwrap().forget();
                Ok(tonic::Response::new(answer))
            }
            Reply::Status(code) => Err(Status::new(code, "no")),
            Reply::Hang => {
                let _cancelled = Cancelled(self.cancelled.clone());
                std::future::pending().await
            }
        }
    }
}

/// A RateLimit `quota` with these fields, whose service is `ratelimit.platform`. Unless a timeout is
/// among them, a busy machine has time for an answer.
pub(super) fn quota(service: &str, more: &str) -> String {
    let timeout = match service.contains("timeout") {
        true => "",
        false => ", timeout: 30s",
    };
    format!(
        "
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {{name: quota}}
spec:
  service: {{host: ratelimit.platform, port: 8081, domain: clinic{timeout}{service}}}
{more}"
    )
}

pub(super) const READS: &str = "  rateLimits: [{actions: [{genericKey: {descriptorValue: reads}}]}]
";

/// An application behind a mesh, and what its observer has seen.
pub(super) struct Ward {
    pub(super) mesh: Mesh,
    pub(super) seen: Log,
}

impl Ward {
    /// `address` is where the rate limit service is.
    pub(super) async fn new(limits: &str, address: SocketAddr) -> Self {
        Self::with(limits, |builder| {
            let host = ExternalHost::plaintext().at([address]);
            builder.outside("ratelimit.platform:8081", host)
        })
        .await
    }

    pub(super) async fn with(limits: &str, with: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let seen = Log::default();
        let observe = seen.observe();
        let builder = app(&pki)
            .config(Fixed::yaml("limits.yaml", limits))
            .telemetry(|telemetry| telemetry.on_complete(observe));
        let mesh = build(with(builder)).await;
        Self { mesh, seen }
    }

    /// The status, headers and body of the answer to a request of `desk`.
    pub(super) async fn ask(&self, request: http::request::Builder) -> (u16, HeaderMap, String) {
        self.ask_from(proven("desk"), request).await
    }

    pub(super) async fn ask_from(
        &self,
        peer: Peer,
        request: http::request::Builder,
    ) -> (u16, HeaderMap, String) {
        let request = request.extension(peer).body(Body::empty()).unwrap();
        let answer = self.mesh.protect(echo()).oneshot(request).await;
        let answer: Result<_, Infallible> = answer;
        read(answer.unwrap()).await
    }

    /// The status of the answer to `GET /`.
    pub(super) async fn status(&self) -> u16 {
        self.ask(get("/")).await.0
    }
}

pub(super) fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "app.default")
}

/// Shows the application's view of its headers that begin with `x-`, by names.
fn echo() -> Router {
    Router::new().fallback(any(|headers: HeaderMap| async move {
        let mut lines: Vec<_> = headers
            .iter()
            .filter(|(name, _)| ["x-plan", "x-over", "x-tenant"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.join("\n")
    }))
}
