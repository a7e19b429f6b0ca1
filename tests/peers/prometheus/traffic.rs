//! Two workloads, and every kind of request that dashboards tell apart.

use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::mesh::{ClientBody, TcpConnection};
use tower_mesh::metrics::Format;
use tower_mesh::propagation::Propagation;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::tool::PATIENCE;

/// `reviews`, and `web` that calls it.
pub(super) struct Traffic {
    pub(super) reviews: Mesh,
    pub(super) web: Mesh,
    database: u16,
    running: Vec<JoinHandle<()>>,
}

/// How many requests of each kind [`Traffic::send`] makes.
pub(super) const FINE: usize = 6;
pub(super) const FAILED: usize = 2;
pub(super) const REFUSED: usize = 3;
/// Calls with gRPC, each with one message there and one back.
pub(super) const GRPC: usize = 4;
/// All requests that `reviews` counts.
pub(super) const ALL: usize = FINE + FAILED + REFUSED + GRPC + 1;
/// What `web` sends over a connection without HTTP, and what it gets, as its sidecar counts it.
pub(super) const RECEIVED: usize = 10;
pub(super) const SENT: usize = 1000;

impl Traffic {
    pub(super) async fn start() -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        // Without the port, the rule would deny what has no path, too.
        let rules = format!(
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: closed}}
spec:
  action: DENY
  rules: [{{to: [{{operation: {{paths: [/closed], ports: [\"{}\"]}}}}]}}]
",
            address.port()
        );
        let raw = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let database = raw.local_addr().unwrap();
        let identity = pki.identity("bookinfo", "reviews").unwrap();
        let id = identity.svid().spiffe_id().clone();
        let workload = Workload::new("bookinfo", "reviews")
            .name("reviews-v2")
            .with_labels([("app", "reviews"), ("version", "v2")])
            .service("reviews", address.port())
            .service("database", database.port());
        let builder = Mesh::builder(workload, identity).config(Fixed::yaml("p.yaml", rules));
        let (reviews, driver) = recording(builder).build().await.unwrap();
        let mut running = vec![tokio::spawn(driver.run())];
        let app = Router::new()
            .route("/fine", any(async || "fine"))
            .route("/fails", get(async || StatusCode::INTERNAL_SERVER_ERROR))
            .route("/clinic.Records/Find", any(find));
        let server = reviews.clone();
        running.push(tokio::spawn(async move {
            drop(server.serve_on(socket, app).await);
        }));
        let server = reviews.clone();
        running.push(tokio::spawn(async move {
            drop(server.serve_tcp_on(raw, answer).await);
        }));

        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        let workload = Workload::new("bookinfo", "web")
            .name("web-v1")
            .with_labels([("app", "web"), ("version", "v1")]);
        let builder = Mesh::builder(workload, pki.identity("bookinfo", "web").unwrap())
            .upstream("reviews", [address], [id.clone()])
            .upstream("database", [database], [id.clone()])
            .upstream("gone", [nobody], [id]);
        let (web, driver) = recording(builder).build().await.unwrap();
        running.push(tokio::spawn(driver.run()));
        Self {
            reviews,
            web,
            database: database.port(),
            running,
        }
    }

    /// Fine, failing and refused requests, gRPC, a service that is down, a host that nobody knows, and a connection without HTTP. Returns
    /// when all are counted.
    pub(super) async fn send(&self) {
        for _ in 0..FINE {
            assert_eq!(self.call("http://reviews/fine", &[]).await, Some(200));
        }
        for _ in 0..FAILED {
            assert_eq!(self.call("http://reviews/fails", &[]).await, Some(500));
        }
        for _ in 0..REFUSED {
            assert_eq!(self.call("http://reviews/closed", &[]).await, Some(403));
        }
        let grpc = [("content-type", "application/grpc")];
        for _ in 0..GRPC {
            let found = self.call_with("http://reviews/clinic.Records/Find", &grpc, MESSAGE);
            assert_eq!(found.await, Some(200));
        }
        self.call("http://reviews/closed", &grpc).await;
        assert_eq!(self.call("http://gone/", &[]).await, None);
        assert_eq!(self.call("http://api.example.com/", &[]).await, None);
        let mut connection = self
            .web
            .connect_tcp("database", self.database)
            .await
            .unwrap();
        connection.write_all(&[7; RECEIVED]).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), SENT);
        drop(connection);
        let counted = async {
            let closed = "istio_tcp_connections_closed_total{";
            let tcp = || [&self.reviews, &self.web].map(|mesh| total(mesh, closed));
            while total(&self.reviews, "istio_requests_total{") < ALL || tcp() != [1, 1] {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap();
    }

    async fn call(&self, url: &str, headers: &[(&str, &str)]) -> Option<u16> {
        self.call_with(url, headers, b"").await
    }

    async fn call_with(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Option<u16> {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(ClientBody::from(body)).unwrap();
        let answer = timeout(PATIENCE, self.web.client().request(request))
            .await
            .unwrap();
        let (head, body) = answer.ok()?.into_parts();
        body.collect().await.unwrap();
        Some(head.status.as_u16())
    }

    /// All samples of both workloads, once.
    pub(super) fn both(&self, format: Format) -> [String; 2] {
        [&self.reviews, &self.web].map(|mesh| mesh.metrics().render(format))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

fn recording(builder: MeshBuilder) -> MeshBuilder {
    let propagation = Propagation::new().sample_percent(100.0);
    builder.telemetry(|telemetry| telemetry.propagation(propagation))
}

/// A gRPC message of two bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

/// A gRPC method that takes a message and answers with one.
async fn find(body: Bytes) -> impl IntoResponse {
    assert_eq!(body, MESSAGE);
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let body = Full::new(Bytes::from_static(MESSAGE));
    let body = body.with_trailers(async move { Some(Ok(trailers)) });
    (
        [("content-type", "application/grpc")],
        axum::body::Body::new(body),
    )
}

/// A protocol of its own.
async fn answer(mut connection: TcpConnection) -> io::Result<()> {
    let mut question = Vec::new();
    connection.read_to_end(&mut question).await?;
    assert_eq!(question.len(), RECEIVED);
    connection.write_all(&[7; SENT]).await?;
    connection.shutdown().await
}

/// The sum of the samples that begin so.
fn total(mesh: &Mesh, name: &str) -> usize {
    let text = mesh.metrics().render(Format::Text);
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
        .sum()
}
