//! Two workloads, and every kind of request that dashboards tell apart.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::{any, get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::mesh::ClientBody;
use tower_mesh::metrics::Format;
use tower_mesh::propagation::Propagation;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};

use crate::tool::PATIENCE;

/// `reviews`, and `web` that calls it.
pub(super) struct Traffic {
    pub(super) reviews: Mesh,
    pub(super) web: Mesh,
    running: Vec<JoinHandle<()>>,
}

/// How many requests of each kind [`Traffic::send`] makes.
pub(super) const FINE: usize = 6;
pub(super) const FAILED: usize = 2;
pub(super) const REFUSED: usize = 3;

impl Traffic {
    pub(super) async fn start() -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let rules = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/closed]}}]}]}
";
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let identity = pki.identity("bookinfo", "reviews").unwrap();
        let id = identity.svid().spiffe_id().clone();
        let workload = Workload::new("bookinfo", "reviews")
            .name("reviews-v2")
            .with_labels([("app", "reviews"), ("version", "v2")])
            .service("reviews", address.port());
        let builder = Mesh::builder(workload, identity).config(Fixed::yaml("p.yaml", rules));
        let (reviews, driver) = recording(builder).build().await.unwrap();
        let mut running = vec![tokio::spawn(driver.run())];
        let app = Router::new()
            .route("/fine", any(async || "fine"))
            .route("/fails", get(async || StatusCode::INTERNAL_SERVER_ERROR));
        let server = reviews.clone();
        running.push(tokio::spawn(async move {
            drop(server.serve_on(socket, app).await);
        }));

        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        let workload = Workload::new("bookinfo", "web")
            .name("web-v1")
            .with_labels([("app", "web"), ("version", "v1")]);
        let builder = Mesh::builder(workload, pki.identity("bookinfo", "web").unwrap())
            .upstream("reviews", [address], [id.clone()])
            .upstream("gone", [nobody], [id]);
        let (web, driver) = recording(builder).build().await.unwrap();
        running.push(tokio::spawn(driver.run()));
        Self {
            reviews,
            web,
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
        self.call("http://reviews/closed", &grpc).await;
        assert_eq!(self.call("http://gone/", &[]).await, None);
        assert_eq!(self.call("http://api.example.com/", &[]).await, None);
        let at = SocketAddr::from(([127, 0, 0, 1], 9000));
        let registry = self.reviews.metrics();
        let connection = registry
            .server(self.reviews.workload())
            .connection(&Peer::plaintext(at, at));
        connection.sent(1000);
        connection.received(10);
        drop(connection);
        let counted = async {
            while total(&self.reviews) < FINE + FAILED + REFUSED + 1 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap();
    }

    async fn call(&self, url: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(ClientBody::empty()).unwrap();
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

fn total(mesh: &Mesh) -> usize {
    let text = mesh.metrics().render(Format::Text);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("istio_requests_total{"));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
        .sum()
}
