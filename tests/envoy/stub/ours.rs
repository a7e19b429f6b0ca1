//! A mesh of ours with the same application, which is in its process.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_mesh::MeshBuilder;

use super::app::answer;

/// A mesh that serves; it ends with the value.
pub(crate) struct Ours {
    pub(crate) address: SocketAddr,
    running: [JoinHandle<()>; 2],
}

impl Ours {
    pub(crate) async fn start(builder: MeshBuilder) -> Self {
        let (mesh, driver) = builder.build().await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let app = Router::new().fallback(any(told));
        let running = [
            tokio::spawn(driver.run()),
            tokio::spawn(async move { drop(mesh.serve_on(socket, app).await) }),
        ];
        Self { address, running }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

async fn told(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Response::builder().status(400).body(Body::empty()).unwrap();
    };
    let whole = http::Request::from_parts(head, body.to_bytes());
    answer(&whole).unwrap().map(Body::new)
}
