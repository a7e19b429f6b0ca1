//! A provider that the test plays, and a workload that asks it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request as AxumRequest;
use axum::routing::any;
use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder};

use crate::messages::{CheckRequest, CheckResponse, HttpRequest};
use crate::support::mesh::{
    Log, Seen, Served, app, build, get2, http2, lines, policy, read, serve,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Reply = Response<AxumBody>;

/// A question that has come to the provider.
pub(crate) struct Asked {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    answer: oneshot::Sender<Reply>,
}

impl Asked {
    pub(crate) fn answer(self, reply: Reply) {
        self.answer.send(reply).expect("nobody waits");
    }

    /// The question over gRPC.
    pub(crate) fn check(&self) -> CheckRequest {
        assert_eq!(
            self.head.uri.path(),
            "/envoy.service.auth.v3.Authorization/Check"
        );
        assert_eq!(self.head.version, Version::HTTP_2);
        CheckRequest::decode(&self.body[5..]).unwrap()
    }

    pub(crate) fn http(&self) -> HttpRequest {
        self.check()
            .attributes
            .unwrap()
            .request
            .unwrap()
            .http
            .unwrap()
    }

    /// Whoever asked has gone.
    pub(crate) async fn dropped(mut self) {
        let dropped = timeout(PATIENCE, self.answer.closed()).await;
        dropped.expect("the question is still there");
    }
}

/// A provider: the test reads its questions and answers them.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    questions: mpsc::UnboundedReceiver<Asked>,
    serving: JoinHandle<()>,
}

/// The application of a provider, and the questions that come to it.
pub(crate) fn desk() -> (Router, mpsc::UnboundedReceiver<Asked>) {
    let (asks, questions) = mpsc::unbounded_channel();
    let router = Router::new().fallback(any(move |request: AxumRequest| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (answer, answered) = oneshot::channel();
        let asked = Asked { head, body, answer };
        asks.send(asked).ok().unwrap();
        // A test that drops a question leaves it without an answer.
        match answered.await {
            Ok(reply) => reply,
            Err(_) => std::future::pending().await,
        }
    }));
    (router, questions)
}

impl Stub {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    /// Speaks HTTP/1 and HTTP/2, both in plaintext.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let (router, questions) = desk();
        let socket = TcpListener::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            questions,
            serving,
        }
    }

    pub(crate) async fn next(&mut self) -> Asked {
        next(&mut self.questions).await
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.questions.is_empty()
    }

    /// Ends all connections and listens no more.
    pub(crate) async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

pub(crate) async fn next(questions: &mut mpsc::UnboundedReceiver<Asked>) -> Asked {
    let asked = timeout(PATIENCE, questions.recv()).await;
    asked.expect("nobody asks").unwrap()
}

/// An answer over gRPC.
pub(crate) fn grpc(message: &CheckResponse) -> Reply {
    framed(&message.encode_to_vec(), Some("0"))
}

/// A message over gRPC, and the status in the trailers.
pub(crate) fn framed(message: &[u8], status: Option<&'static str>) -> Reply {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len().try_into().unwrap());
    bytes.put_slice(message);
    let mut frames = vec![Ok::<_, Infallible>(Frame::data(bytes.freeze()))];
    if let Some(status) = status {
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let body = Frames(frames.into_iter());
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(AxumBody::new(body)).unwrap()
}

/// A body of these frames.
pub(crate) struct Frames<E>(pub(crate) std::vec::IntoIter<Result<Frame<Bytes>, E>>);

impl<E: Unpin> http_body::Body for Frames<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        Poll::Ready(self.0.next())
    }
}

/// An error over gRPC.
pub(crate) fn grpc_error(code: &str) -> Reply {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code);
    response.body(AxumBody::empty()).unwrap()
}

/// An answer over HTTP.
pub(crate) fn plain(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let response = Response::builder().status(status);
    let response = headers.iter().fold(response, |response, (name, value)| {
        response.header(*name, *value)
    });
    response.body(AxumBody::from(body.to_owned())).unwrap()
}

/// How a provider is written in MeshConfig; `more` are its other fields.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Grpc,
    Http,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Grpc, Self::Http];

    fn field(self) -> &'static str {
        match self {
            Self::Grpc => "envoyExtAuthzGrpc",
            Self::Http => "envoyExtAuthzHttp",
        }
    }

    /// A yes.
    pub(crate) fn yes(self) -> Reply {
        match self {
            Self::Grpc => grpc(&CheckResponse::default()),
            Self::Http => plain(200, &[], ""),
        }
    }

    /// A no with 403.
    pub(crate) fn no(self) -> Reply {
        match self {
            Self::Grpc => grpc(&super::answers::answer(7, None)),
            Self::Http => plain(403, &[], ""),
        }
    }
}

/// The MeshConfig with the provider `opa`.
pub(crate) fn mesh_config(kind: Kind, more: &str) -> String {
    let field = kind.field();
    format!(
        "extensionProviders:\n- name: opa\n  {field}: {{service: authz.default, port: 9000{more}}}\n"
    )
}

/// Asks `opa` about all but `/free`.
pub(crate) fn ask_all() -> String {
    custom("ask", "opa", "[{to: [{operation: {notPaths: [/free]}}]}]")
}

pub(crate) fn custom(name: &str, provider: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}}}\nspec: {{action: CUSTOM, provider: {{name: {provider}}}, rules: {rules}}}\n---\n"
    )
}

/// A request that has come to the application.
pub(crate) struct Called {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

impl Called {
    /// The lines of this header.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let lines = self.head.headers.get_all(name).iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect()
    }
}

/// A workload whose requests a provider judges.
pub(crate) struct Ward {
    pub(crate) pki: Arc<Pki>,
    pub(crate) mesh: Mesh,
    pub(crate) served: Served,
    pub(crate) log: Log,
    calls: Arc<Mutex<Vec<Called>>>,
}

impl Ward {
    /// Asks the stub about all requests but `/free`.
    pub(crate) async fn asking(stub: &Stub, kind: Kind, more: &str) -> Self {
        let address = stub.address;
        Self::new(kind, more, |builder| {
            builder.outside("authz.default", ExternalHost::plaintext().at([address]))
        })
        .await
    }

    pub(crate) async fn new(
        kind: Kind,
        more: &str,
        with: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let config = Fixed::yaml("p.yaml", ask_all() + &denied_path());
        let config = config.mesh_config("mesh.yaml", mesh_config(kind, more));
        Self::with(Arc::new(Pki::new("cluster.local").unwrap()), |builder| {
            with(builder.config(config))
        })
        .await
    }

    pub(crate) async fn with(pki: Arc<Pki>, with: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        let calls: Arc<Mutex<Vec<Called>>> = Arc::default();
        let all = Arc::clone(&calls);
        let router = Router::new().fallback(any(move |request: AxumRequest| async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            all.lock().unwrap().push(Called { head, body });
            (StatusCode::OK, [("x-from", "app"), ("x-app", "1")], "hello")
        }));
        let log = Log::default();
        let builder = app(&pki).telemetry(|telemetry| telemetry.on_complete(log.observe()));
        let mesh = build(with(builder)).await;
        let served = serve(&mesh, router).await;
        Self {
            pki,
            mesh,
            served,
            log,
            calls,
        }
    }

    pub(crate) async fn caller(&self) -> Caller {
        Caller(http2(&self.pki, "desk", self.served.address).await)
    }

    /// The only request that has come to the application since it was last asked for.
    pub(crate) fn called(&self) -> Called {
        let mut calls = std::mem::take(&mut *self.calls.lock().unwrap());
        assert_eq!(calls.len(), 1, "calls of the application");
        calls.remove(0)
    }

    pub(crate) fn is_uncalled(&self) -> bool {
        self.calls.lock().unwrap().is_empty()
    }

    /// How often the provider `opa` had this outcome.
    pub(crate) fn counted(&self, outcome: &str) -> u64 {
        let labels = [r#"provider="opa""#, &format!("outcome=\"{outcome}\"")];
        let found = lines(&self.mesh, "mesh_external_authorization_total{", &labels);
        let counts = found.iter().map(|line| line.rsplit_once(' ').unwrap().1);
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    }

    /// What the observer was told of the request of this number.
    pub(crate) async fn seen(&self, number: usize) -> Seen {
        self.log.wait(number + 1).await.remove(number)
    }
}

/// A DENY policy for `/denied`.
fn denied_path() -> String {
    policy("deny", "DENY", "[{to: [{operation: {paths: [/denied]}}]}]")
}

/// The workload `desk`, over HTTP/2.
pub(crate) struct Caller(SendRequest<Full<Bytes>>);

pub(crate) type Waiting = JoinHandle<hyper::Result<Response<Incoming>>>;

impl Caller {
    /// Sends a request, which waits in a task of its own.
    pub(crate) fn send(&mut self, request: http::request::Builder, body: &'static str) -> Waiting {
        let request: Request<Full<Bytes>> = request.body(Full::from(body)).unwrap();
        tokio::spawn(self.0.send_request(request))
    }

    pub(crate) fn get(&mut self, path: &str) -> Waiting {
        self.send(get2(path), "")
    }
}

pub(crate) async fn answered(waiting: Waiting) -> (u16, HeaderMap, String) {
    let answer = timeout(PATIENCE, waiting).await;
    read(answer.expect("no answer").unwrap().unwrap()).await
}

pub(crate) async fn status(waiting: Waiting) -> u16 {
    answered(waiting).await.0
}
