//! The same application in the mesh: mutual TLS, tokens, policies, metrics and sampled spans.
use crate::{Args, app};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter};
use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tower_mesh::propagation::{OpenTelemetry, Propagation};
use tower_mesh::{Mesh, Workload, source::Fixed, tls::Files};

#[derive(Debug)]
struct NoopExporter;

impl SpanExporter for NoopExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        std::hint::black_box(batch.len());
        Ok(())
    }
}

pub fn run(args: &Args) {
    let dir = PathBuf::from(args.get("dir", "keys"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(args.num("threads", 2) as usize).enable_all().build().unwrap();
    runtime.block_on(async {
        let port = args.num("port", 18080) as u16;
        let mesh = build(args, port, &dir).await;
        let router = app::router(&HashSet::new(), &dir, 0);
        mesh.serve(("127.0.0.1", port), router).await.unwrap();
    });
}

/// The mesh, with its driver running: the one place that knows the builder.
async fn build(args: &Args, port: u16, dir: &Path) -> Mesh {
    let workload = Workload::new("default", "app").service("app", port);
    let queue = BatchConfigBuilder::default().with_max_queue_size(65_536).build();
    let batch = BatchSpanProcessor::builder(NoopExporter).with_batch_config(queue).build();
    let spans = OpenTelemetry::new(batch, &OpenTelemetry::resource(&workload));
    let percent: f64 = args.get("percent", "1").parse().unwrap();
    let rules = rules(args.num("policies", 10) as usize, dir);
    let identity = Files::named(dir.join("server.pem"), dir.join("server.key"), dir.join("ca.pem"));
    let propagation = Propagation::new().sample_percent(percent).export_to(spans);
    let builder = Mesh::builder(workload, identity)
        .config(Fixed::yaml("rules.yaml", rules))
        .telemetry(|telemetry| telemetry.propagation(propagation));
    let (mesh, driver) = builder.build().await.unwrap();
    tokio::spawn(driver.run());
    mesh
}

/// Policies of the shape that Envoy gets in `envoy_conf.py`: the last one lets the caller in.
fn rules(count: usize, dir: &Path) -> String {
    let mut yaml = String::new();
    for number in 0..count {
        let (caller, path, methods) = if number + 1 == count {
            ("default/sa/frontend".to_owned(), "/patients/*".to_owned(), "GET, HEAD")
        } else {
            let team = number % 50;
            (format!("team-{team}/sa/svc-{number}"), format!("/api/v1/resource-{number}/*"), "GET, POST")
        };
        write!(
            yaml,
            "apiVersion: security.istio.io/v1\n\
             kind: AuthorizationPolicy\n\
             metadata: {{name: p-{number:06}, namespace: default}}\n\
             spec: {{rules: [{{from: [{{source: {{principals: [cluster.local/ns/{caller}]}}}}], \
             to: [{{operation: {{paths: [\"{path}\"], methods: [{methods}]}}}}]}}]}}\n---\n"
        )
        .unwrap();
    }
    let jwks = std::fs::read_to_string(dir.join("jwks.json")).unwrap();
    write!(
        yaml,
        "apiVersion: security.istio.io/v1\n\
         kind: RequestAuthentication\n\
         metadata: {{name: jwt, namespace: default}}\n\
         spec: {{jwtRules: [{{issuer: https://idp.test, audiences: [patients], \
         forwardOriginalToken: true, jwks: '{jwks}'}}]}}\n"
    )
    .unwrap();
    yaml
}
