//! A mesh whose guards ask a server outside of it, and a workload that calls it.

use std::net::SocketAddr;

use axum::Router;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::identity::SpiffeId;
use tower_mesh::mesh::{ClientBody, ExternalHost};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use crate::site::OURS;
use crate::tool::PATIENCE;

/// Both; they end with the value.
pub(crate) struct World {
    caller: Mesh,
    running: Vec<JoinHandle<()>>,
}

impl World {
    /// With these resources; `host` is known at one address.
    pub(crate) async fn start(
        resources: &[Value],
        host: &str,
        at: SocketAddr,
        app: Router,
    ) -> Self {
        let yaml: Vec<_> = resources.iter().map(Value::to_string).collect();
        let pki = Pki::new("cluster.local").unwrap();
        let identity = pki.identity("default", "ours").unwrap();
        let (ours, driver) = Mesh::builder(Workload::new("default", "ours"), identity)
            .config(Fixed::yaml("mesh.yaml", yaml.join("\n---\n")))
            .outside(
                &format!("{host}:{}", at.port()),
                ExternalHost::plaintext().at([at]),
            )
            .build()
            .await
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut running = vec![
            tokio::spawn(driver.run()),
            tokio::spawn(async move { drop(ours.serve_on(socket, app).await) }),
        ];
        let identity = pki.identity("default", "theirs").unwrap();
        let expected = SpiffeId::new(OURS).unwrap();
        let (caller, driver) = Mesh::builder(Workload::new("default", "theirs"), identity)
            .upstream("ours.default", [address], [expected])
            .build()
            .await
            .unwrap();
        running.push(tokio::spawn(driver.run()));
        Self { caller, running }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Said {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://ours.default{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(ClientBody::empty()).unwrap();
        let answer = timeout(PATIENCE, self.caller.client().request(request)).await;
        let (head, body) = answer.unwrap().unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Said {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        self.ask(Method::GET, path, &[]).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Said {
    /// A header's first line; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}
