//! Collectors on loopback, good and bad, and requests whose spans go there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request as AxumRequest;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::propagation::Propagation;

/// A collector over HTTP that keeps what it gets. It ends when it is dropped.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    status: Arc<AtomicU16>,
    received: mpsc::UnboundedReceiver<Request<Bytes>>,
    server: JoinHandle<()>,
}

impl Collector {
    pub(super) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(202));
        let (sender, received) = mpsc::unbounded_channel();
        let answer = Arc::clone(&status);
        let app = Router::new().fallback(move |request: AxumRequest| {
            let (sender, answer) = (sender.clone(), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let _ = sender.send(Request::from_parts(head, body));
                StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap()
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            status,
            received,
            server,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The next that arrives.
    pub(super) async fn next(&mut self) -> Request<Bytes> {
        self.received.recv().await.unwrap()
    }

    /// What has arrived; the exporter has been flushed before.
    pub(super) fn take(&mut self) -> Vec<Request<Bytes>> {
        let mut all = Vec::new();
        while let Ok(request) = self.received.try_recv() {
            all.push(request);
        }
        all
    }

    /// The spans that have arrived at Zipkin's API.
    pub(super) fn spans(&mut self) -> Vec<serde_json::Value> {
        let lists = self.take().into_iter().map(|request| {
            let list: Vec<serde_json::Value> = serde_json::from_slice(request.body()).unwrap();
            list
        });
        lists.flatten().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What a bad collector does with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bad {
    /// Reads, and never answers.
    Hangs,
    /// Reads the head and closes.
    Closes,
    /// Answers with what is no HTTP.
    TalksNonsense,
    /// Begins an answer and never ends it.
    NeverEnds,
}

/// Starts a collector that is no good; each connection is told.
pub(super) async fn bad(kind: Bad) -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = sender.send(());
            tokio::spawn(misbehave(kind, stream));
        }
    });
    (url, connections)
}

async fn misbehave(kind: Bad, mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    if stream.read(&mut buffer).await.is_err() {
        return;
    }
    let answer: &[u8] = match kind {
        Bad::Closes => return,
        Bad::Hangs => b"",
        Bad::TalksNonsense => b"\x00\xff SSH-2.0 what is this\r\n\r\n{}",
        Bad::NeverEnds => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1",
    };
    let _ = stream.write_all(answer).await;
    // Until the other side gives up.
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// A port that is taken, and where nobody listens yet.
pub(super) fn silent_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A request to a service behind the server layer, which calls another through the client layer.
/// All its spans have ended when this returns.
pub(super) async fn request(propagation: &Propagation, headers: &[(&str, &str)]) {
    let called = service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let called = propagation.client_layer().layer(called);
    let service = propagation
        .server_layer()
        .layer(service_fn(move |_: Request<Empty<Bytes>>| {
            let call = Request::get("http://charts.default/7").body(Empty::new());
            let called = called.clone();
            async move {
                let answer = called.oneshot(call.unwrap()).await?;
                answer.into_body().collect().await?;
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        }));
    let mut request = Request::get("http://patients.default/7");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
}
