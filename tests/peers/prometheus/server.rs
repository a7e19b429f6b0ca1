//! A real Prometheus that scrapes both workloads, asked by its API.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use axum::Router;
use axum::extract::Request;
use http::header;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};
use tower_mesh::metrics::{self, Scrape};

use super::queries;
use super::traffic::Traffic;
use crate::tool::{self, PATIENCE};

pub(super) struct Prometheus {
    address: SocketAddr,
    _process: Child,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes these targets each second.
    pub(super) fn start(program: &std::path::Path, targets: &[SocketAddr]) -> Self {
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{
                "job_name": "mesh",
                "honor_labels": true,
                "metrics_path": metrics::PATH,
                "static_configs": [{"targets": targets}],
            }],
        });
        let file = directory.path().join("prometheus.json");
        std::fs::write(&file, config.to_string()).unwrap();
        drop(held);
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            address,
            _process: process,
            _directory: directory,
        }
    }

    /// The answer of its API; `None` while it is not up.
    async fn ask(&self, path: &str) -> Option<Value> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = http::Request::get(path).header(header::HOST, "prometheus");
        let answer = sender
            .send_request(request.body(String::new()).unwrap())
            .await
            .ok()?;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice::<Value>(&body)
            .ok()?
            .get("data")
            .cloned()
    }

    /// Asks until the answer is as it should be.
    pub(super) async fn until(
        &self,
        what: &str,
        path: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        loop {
            let answer = self.ask(path).await;
            match &answer {
                Some(data) if is_so(data) => return data.clone(),
                _ => assert!(start.elapsed() < PATIENCE, "{what}: {answer:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(super) fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Serves the metrics of both, in the format that the scraper asks for.
async fn expose(traffic: &Traffic) -> Vec<SocketAddr> {
    let mut targets = Vec::new();
    for mesh in [&traffic.reviews, &traffic.web] {
        let scrape = Scrape::new(mesh.metrics().clone());
        let app = Router::new().fallback(async move |request: Request| {
            let asked = request.headers()[header::ACCEPT].to_str().unwrap();
            assert!(asked.contains("application/openmetrics-text"), "{asked}");
            scrape.respond(&request).map(axum::body::Body::new)
        });
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        targets.push(socket.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(socket, app).await });
    }
    targets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_scrapes_us_and_answers_dashboards_and_kiali() {
    let Some(program) = tool::find("prometheus") else {
        return;
    };
    let traffic = Traffic::start().await;
    traffic.send().await;
    let prometheus = Prometheus::start(&program, &expose(&traffic).await);
    let up = format!("/api/v1/query?query={}", encoded("sum(up)"));
    let is_two = |data: &Value| data["result"][0]["value"][1] == "2";
    prometheus.until("both targets are up", &up, is_two).await;
    for query in queries::all() {
        // What was counted before the first scrape is the sample's value, not an increase.
        let expression = query
            .expression
            .replace("increase(", "(")
            .replace("[10m]", "");
        let path = format!("/api/v1/query?query={}", encoded(&expression));
        let expected: Vec<_> = query
            .answer
            .iter()
            .map(|(_, value)| value.to_string())
            .collect();
        let is_so = |data: &Value| {
            let values = data["result"].as_array().unwrap().iter();
            let mut values: Vec<_> = values
                .map(|series| series["value"][1].as_str().unwrap())
                .collect();
            let mut expected: Vec<_> = expected.iter().map(String::as_str).collect();
            values.sort_unstable();
            expected.sort_unstable();
            values == expected
        };
        prometheus.until(&expression, &path, is_so).await;
    }
    let path = format!(
        "/api/v1/query_exemplars?query={}&start=1700000000&end=4000000000",
        encoded("istio_request_duration_milliseconds_bucket")
    );
    let has_trace = |data: &Value| {
        let trace = data[0]["exemplars"][0]["labels"]["trace_id"].as_str();
        trace.is_some_and(|trace| trace.len() == 32)
    };
    prometheus.until("an exemplar", &path, has_trace).await;
}
