//! Metrics of a real server, as its scraper sees them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};
use tower_mesh::Workload;
use tower_mesh::metrics::{self, Format, MetricsLayer, Registry, Scrape};

/// A server that is up until the test's runtime ends.
async fn serve(registry: &Registry) -> SocketAddr {
    let workload = Workload::new("default", "patients").label("app", "patients");
    let app = Router::new()
        .route("/text", get(async || "hello"))
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .route("/echo", post(async |body: Bytes| body))
        .route(
            "/endless",
            get(async || Body::new(Endless { begun: false })),
        )
        .layer(MetricsLayer::new(registry.server(&workload)))
        .route_service(metrics::PATH, Scrape::new(registry.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A body whose first frame comes at once and whose second never.
struct Endless {
    begun: bool,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.begun {
            return Poll::Pending;
        }
        self.begun = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Sends a request on a connection of its own and reads the answer to its end.
async fn exchange(address: SocketAddr, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until so many requests have been counted: the end of the last is told just after its last byte was sent.
async fn counted(registry: &Registry, expected: usize) -> String {
    let rendered = async {
        loop {
            let text = registry.render(Format::Text);
            if count(&text) >= expected {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), rendered).await.unwrap()
}

fn count(text: &str) -> usize {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("istio_requests_total{"));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
        .sum()
}

fn outcome(code: u16, flags: &str) -> String {
    format!(
        "request_protocol=\"http\",response_code=\"{code}\",grpc_response_status=\"\",response_flags=\"{flags}\""
    )
}

#[tokio::test]
async fn every_answer_of_a_server_is_counted_as_whole() {
    let registry = Registry::new();
    let address = serve(&registry).await;
    for (line, body) in [
        ("GET /text", ""),
        ("HEAD /text", ""),
        ("GET /nothing", ""),
        ("POST /echo", "0123456789"),
        ("GET /nowhere", ""),
    ] {
        assert!(exchange(address, line, body).await.starts_with("HTTP/1.1 "));
    }
    let text = counted(&registry, 5).await;
    for (code, expected) in [(200, 3), (204, 1), (404, 1)] {
        let labels = outcome(code, "-");
        let line = text
            .lines()
            .find(|line| line.starts_with("istio_requests_total{") && line.contains(&labels))
            .unwrap_or_else(|| panic!("no {labels} in {text}"));
        assert!(line.ends_with(&format!(" {expected}")), "{line}");
    }
    assert!(!text.contains("response_flags=\"DC\""), "{text}");
}

///
#[tokio::test]
async fn a_client_that_leaves_is_counted_as_gone() {
    let registry = Registry::new();
    let address = serve(&registry).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut begun = [0; 16];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(count(&registry.render(Format::Text)), 0);
    drop(stream);
    let text = counted(&registry, 1).await;
    assert!(text.contains(&outcome(200, "DC")), "{text}");
}

#[tokio::test]
async fn the_scrape_endpoint_shows_the_registry() {
    let registry = Registry::new();
    let address = serve(&registry).await;
    exchange(address, "GET /text", "").await;
    counted(&registry, 1).await;
    let answer = exchange(address, "GET /stats/prometheus", "").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert_eq!(text, registry.render(Format::Text));
    assert!(text.contains("destination_service=\"patients\""));
}
