//! A real Jaeger: what the example `patients` prints of a trace is what Jaeger has stored of it, over OTLP's two protocols and Zipkin's.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::tool::{self, PATIENCE};

/// Ends with the value.
struct Jaeger {
    otlp_grpc: u16,
    otlp_http: u16,
    zipkin: u16,
    query: u16,
    _program: Child,
    directory: TempDir,
}

/// Ports that nobody has. Another program may take one before Jaeger does; then Jaeger does not start.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.each_ref()
        .map(|socket| socket.local_addr().unwrap().port())
}

impl Jaeger {
    /// Returns when it answers; `None` when it is not on this machine.
    async fn start() -> Option<Self> {
        let program = tool::find("jaeger")?;
        let directory = TempDir::new().unwrap();
        let ports = free_ports();
        let [otlp_grpc, otlp_http, zipkin, query, query_grpc] = ports;
        let at = |port: u16| json!({"endpoint": format!("127.0.0.1:{port}")});
        // YAML reads JSON.
        let config = json!({
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp", "zipkin"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1000}}}},
                "jaeger_query": {"storage": {"traces": "memory"}, "http": at(query), "grpc": at(query_grpc)},
            },
            "receivers": {
                "otlp": {"protocols": {"grpc": at(otlp_grpc), "http": at(otlp_http)}},
                "zipkin": at(zipkin),
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        });
        let file = directory.path().join("jaeger.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let program = Command::new(program)
            .arg(format!("--config=file:{}", file.display()))
            .current_dir(directory.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let jaeger = Self {
            otlp_grpc,
            otlp_http,
            zipkin,
            query,
            _program: program,
            directory,
        };
        let start = Instant::now();
        while jaeger.get("/api/services").await.is_none() {
            assert!(start.elapsed() < PATIENCE, "{}", jaeger.log());
            sleep(Duration::from_millis(50)).await;
        }
        Some(jaeger)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The answer of its query API; `None` without one.
    async fn get(&self, path: &str) -> Option<Value> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let url = format!("http://127.0.0.1:{}{path}", self.query);
        let request = Request::get(url).body(Empty::new()).unwrap();
        let response = client.request(request).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    }

    /// The spans of a trace, once there are so many.
    async fn stored(&self, trace: &str, count: usize) -> BTreeSet<Stored> {
        let start = Instant::now();
        loop {
            let answer = self.get(&format!("/api/traces/{trace}")).await;
            let found = answer.as_ref().map(spans).unwrap_or_default();
            if found.len() >= count {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{answer:?}\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The id of a span, that of its parent, its name, its kind, and the service of a mesh's span: the
/// example's own spans are of the process.
type Stored = (String, Option<String>, String, String, Option<String>);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What Jaeger's API tells of a trace.
fn spans(answer: &Value) -> BTreeSet<Stored> {
    let trace = &answer["data"][0];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let spans = list(&trace["spans"]);
    let spans = spans.iter().map(|span| {
        let parents = list(&span["references"]);
        assert!(parents.len() < 2, "{span}");
        let parent = parents.first().map(|parent| text(&parent["spanID"]));
        let tags = list(&span["tags"]);
        let kind = tags.iter().find(|tag| tag["key"] == "span.kind");
        let kind = kind.map_or_else(|| "internal".to_owned(), |kind| text(&kind["value"]));
        let process = &trace["processes"][span["processID"].as_str().unwrap()];
        let service = (kind != "internal").then(|| text(&process["serviceName"]));
        let (id, name) = (text(&span["spanID"]), text(&span["operationName"]));
        (id, parent, name, kind, service)
    });
    spans.collect()
}

/// The first trace of the example, as it prints it, and its id.
async fn patients(option: &str, url: &str) -> (String, BTreeSet<Stored>) {
    let mut example = Command::new(env!("CARGO"));
    example
        .args(["run", "--quiet", "--all-features", "--example", "patients"])
        .args(["--", "--json", option, url])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // It may have to be compiled.
    let output = timeout(PATIENCE * 15, example.output()).await;
    let output = output.expect("the example ends").unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let line = lines.lines().find(|line| line.starts_with("{\"trace\":"));
    let line: Value = serde_json::from_str(line.unwrap()).unwrap();
    let spans = line["trace"].as_array().unwrap();
    let tree = spans.iter().map(|span| {
        let parent = span["parent_id"].as_str().map(str::to_owned);
        let kind = text(&span["kind"]);
        let service = format!("{}.default", text(&span["service"]));
        let service = (kind != "internal").then_some(service);
        let (id, name) = (text(&span["span_id"]), text(&span["name"]));
        (id, parent, name, kind, service)
    });
    (text(&spans[0]["trace_id"]), tree.collect())
}

#[tokio::test]
async fn jaeger_has_the_tree_that_the_example_prints() {
    let Some(jaeger) = Jaeger::start().await else {
        return;
    };
    for (option, port) in [
        ("--otlp", jaeger.otlp_grpc),
        ("--otlp", jaeger.otlp_http),
        ("--zipkin", jaeger.zipkin),
    ] {
        // OTLP over HTTP is known by its port or by its path.
        let path = match port == jaeger.otlp_http {
            true => "/v1/traces",
            false => "",
        };
        let url = format!("http://127.0.0.1:{port}{path}");
        let (trace, tree) = patients(option, &url).await;
        assert!(tree.len() > 3, "{tree:#?}");
        let stored = jaeger.stored(&trace, tree.len()).await;
        assert_eq!(stored, tree, "{option} {url}");
    }
}
