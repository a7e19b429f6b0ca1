//! The Envoy and the mesh, each with an application and a collector of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_mesh::access_log::{AccessLog, LineSink, Sink};
use tower_mesh::propagation::Propagation;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Mesh, Workload};

use super::app::{Seen, answer};
use super::ask::Case;
use super::collector::Collector;
use super::record::{Record, Told, record};
use super::setting::{MORE, NODE, Setting, configuration};
use crate::server::{spawn, wait};
use crate::world::{World, policy};

/// Everybody who takes part.
pub(crate) struct Parties {
    pub(crate) pki: Pki,
    pub(crate) issuer: Issuer,
    pub(crate) ours: Party,
    pub(crate) theirs: Party,
}

/// The Envoy or the mesh.
pub(crate) struct Party {
    address: SocketAddr,
    seen: Seen,
    collector: Collector,
    logs: Logs,
    /// The caller's address and the status, by case.
    answers: Mutex<BTreeMap<&'static str, (SocketAddr, u16)>>,
    running: Running,
}

enum Running {
    Mesh(Box<Mesh>, [JoinHandle<()>; 2]),
    /// The process, and where its logs are.
    Envoy(
        Child,
        #[expect(dead_code, reason = "held for its files")] TempDir,
    ),
}

/// Text, JSON, and the operators that Istio's formats do not have.
pub(crate) enum Logs {
    Kept([Lines; 3]),
    Files([PathBuf; 3]),
}

/// The lines of a log of ours.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl LineSink for Lines {
    fn take(&self, line: &[u8]) -> bool {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let mut lines = self.0.lock().unwrap();
        lines.push(line.strip_suffix('\n').unwrap().to_owned());
        true
    }
}

impl Logs {
    pub(crate) fn lines(&self) -> [Vec<String>; 3] {
        match self {
            Self::Kept(logs) => logs.clone().map(|log| log.0.lock().unwrap().clone()),
            Self::Files(files) => files.clone().map(|file| {
                // Envoy writes what is not UTF-8 as it came.
                let bytes = std::fs::read(file).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                // The last may be half written.
                let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
                whole.lines().map(str::to_owned).collect()
            }),
        }
    }

    pub(crate) fn count(&self) -> usize {
        let lines = self.lines();
        lines.iter().map(Vec::len).min().unwrap_or_default()
    }
}

impl Parties {
    pub(crate) async fn start(program: &Path, is_zipkin: bool) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let issuer = Issuer::es256("https://a.example");
        let denied = json!([{"to": [{"operation": {"paths": ["/denied*", "/pkg.Svc/Refused"]}}]}]);
        let mut world = World::of("telemetry", &[policy("no", "DENY", &denied)]);
        world.resources.push(json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": {"name": "users", "namespace": "foo"},
            "spec": {"jwtRules": [{
                "issuer": issuer.name(),
                "jwks": issuer.jwks(),
                "audiences": ["app"],
            }]},
        }));
        let ours = ours(&pki, &world, is_zipkin).await;
        let theirs = theirs(program, &pki, &world, is_zipkin).await;
        Self {
            pki,
            issuer,
            ours,
            theirs,
        }
    }
}

async fn ours(pki: &Pki, world: &World, is_zipkin: bool) -> Party {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (seen, collector) = (Seen::default(), Collector::start().await);
    let kept = [Lines::default(), Lines::default(), Lines::default()];
    let [text, json, more] = kept.clone().map(Sink::custom);
    let workload = Workload::new("foo", "web").label("app", "web");
    let workload = workload.service("web", address.port());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": world.resources});
    let url = format!("http://{}", collector.address);
    let builder = Mesh::builder(workload, pki.identity("foo", "web").unwrap())
        .config(Fixed::yaml("resources.json", list.to_string()))
        .telemetry(|telemetry| {
            let propagation = Propagation::new().sample_percent(100.0).node_id(NODE);
            let telemetry = telemetry
                .propagation(propagation)
                .access_log(AccessLog::text().full_queries().to(text))
                .access_log(AccessLog::json().full_queries().to(json))
                .access_log(AccessLog::labels(MORE).unwrap().to(more));
            match is_zipkin {
                true => telemetry.zipkin(&url),
                false => telemetry.otlp(&format!("{url}/v1/traces")),
            }
        });
    let (mesh, driver) = builder.build().await.unwrap();
    let kept_by_app = seen.clone();
    let app = Router::new().fallback(any(async move |request: axum::extract::Request| {
        answer(kept_by_app, request).await.map(Body::new)
    }));
    let serving = mesh.clone();
    let running = [
        tokio::spawn(driver.run()),
        tokio::spawn(async move { drop(serving.serve_on(socket, app).await) }),
    ];
    Party {
        address,
        seen,
        collector,
        logs: Logs::Kept(kept),
        answers: Mutex::default(),
        running: Running::Mesh(Box::new(mesh), running),
    }
}

async fn theirs(program: &Path, pki: &Pki, world: &World, is_zipkin: bool) -> Party {
    let (seen, collector) = (Seen::default(), Collector::start().await);
    let app = application(seen.clone()).await;
    for _ in 0..5 {
        let directory = TempDir::new().unwrap();
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        let words = ["--protocol", "http"];
        let printed = world.tower_mesh(directory.path(), address.port(), "envoy", &words);
        let filters = serde_json::from_str(&printed).unwrap();
        let setting = Setting {
            address,
            app,
            collector: collector.address,
            is_zipkin,
            filters: &filters,
            directory: directory.path(),
        };
        let config = configuration(&setting, pki);
        drop(held);
        let mut process = spawn(program, directory.path(), &config);
        match wait(&mut process, directory.path(), &[address.port()]) {
            Ok(()) => {
                let files = ["text.log", "json.log", "more.log"];
                return Party {
                    address,
                    seen,
                    collector,
                    logs: Logs::Files(files.map(|file| directory.path().join(file))),
                    answers: Mutex::default(),
                    running: Running::Envoy(process, directory),
                };
            }
            Err(log) => assert!(
                log.contains("Address already in use"),
                "Envoy refused its configuration:\n{log}"
            ),
        }
    }
    panic!("others take every port before Envoy does");
}

/// The application behind the Envoy.
async fn application(seen: Seen) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            let seen = seen.clone();
            let service = service_fn(move |request| {
                let seen = seen.clone();
                async move { Ok::<_, Infallible>(answer(seen, request).await) }
            });
            tokio::spawn(async move {
                let serving = auto::Builder::new(TokioExecutor::new());
                let _ = serving.serve_connection(TokioIo::new(tcp), service).await;
            });
        }
    });
    address
}

impl Party {
    /// Sends the request of a case, and waits for its lines.
    pub(super) async fn ask(&self, case: &Case, pki: &Pki) {
        let before = self.logs.count();
        let sent = case.send(pki, self.address, &self.seen).await;
        let answer = (sent.from, sent.status);
        self.answers.lock().unwrap().insert(case.name, answer);
        until(case.name, || self.logs.count() > before).await;
        assert_eq!(self.logs.count(), before + 1, "lines of {}", case.name);
    }

    /// Waits until all spans are there.
    pub(crate) async fn end(&self, pki: &Pki) {
        let last = Case::get("the last", "/last");
        let case = last.with("x-request-id", LAST);
        case.send(pki, self.address, &self.seen).await;
        let is_last = |span: &Value| {
            let id = span["tags"]["guid:x-request-id"].as_str();
            id.is_some_and(|id| id.starts_with(&LAST[..14]))
        };
        until("the last span", || {
            self.collector.spans().iter().any(is_last)
        })
        .await;
    }

    /// What is known of each case.
    pub(super) fn records(&self, cases: &[Case]) -> Vec<Record> {
        let lines = self.logs.lines();
        let (spans, answers) = (self.collector.spans(), self.answers.lock().unwrap());
        let cases = cases.iter().enumerate();
        let of_case = |(index, case): (usize, &Case)| {
            let (from, status) = answers[case.name];
            let [text, json, more] = &lines;
            let lines = [&text[index], &json[index], &more[index]];
            let own = self.address.port();
            record(Told {
                status: status.into(),
                lines,
                seen: self.seen.of(case.name),
                spans: &spans,
                has_sent: &|text| case.has_sent(text),
                names: vec![
                    (format!("127.0.0.1:{own}"), "OWN"),
                    (format!("127.0.0.1:{}", from.port()), "CALLER"),
                    (format!(":{own}/*"), ":PORT/*"),
                    (format!("|{own}|"), "|PORT|"),
                ],
            })
        };
        cases.map(of_case).collect()
    }

    /// The metrics of a mesh.
    pub(crate) fn metrics(&self) -> String {
        match &self.running {
            Running::Mesh(mesh, _) => mesh.metrics().render(tower_mesh::metrics::Format::Text),
            Running::Envoy(..) => String::new(),
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Mesh(_, tasks) => tasks.iter().for_each(JoinHandle::abort),
            Running::Envoy(process, _) => {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

/// Waits for what another process does.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(20), "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const LAST: &str = "ffffffff-0000-4000-8000-000000000000";
