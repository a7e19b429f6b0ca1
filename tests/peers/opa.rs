//! OPA as an authorizer: a small server over its library, asked over gRPC and over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::routing::any;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::guarded::World;
use crate::site::THEIRS;
use crate::tool::{self, PATIENCE};

const POLICY: &str = r#"
package peers

http := input.attributes.request.http

default answer := {
    "allowed": false,
    "http_status": 401,
    "headers": {"www-authenticate": "Bearer", "x-why": "no rule"},
    "body": "who are you?",
}

answer := {"allowed": true, "headers": {"x-user": "anyone"}, "response_headers_to_add": {"x-opa": "open"}} if {
    http.method == "GET"
    startswith(http.path, "/open")
}

answer := {"allowed": true, "request_headers_to_remove": ["x-secret"]} if http.path == "/strip"

answer if http.path == "/plain"

answer := false if http.path == "/forbidden"

answer := {"allowed": true, "headers": {"x-user": input.attributes.source.principal}} if {
    http.path == "/principal"
    input.attributes.source.principal == "spiffe://cluster.local/ns/default/sa/theirs"
    input.attributes.destination.principal == "spiffe://cluster.local/ns/default/sa/ours"
}

answer := {"allowed": true} if http.headers.authorization == "Bearer good"
"#;

/// The server as a process; it ends with the value.
struct Opa {
    grpc: SocketAddr,
    http: SocketAddr,
    process: Child,
    _files: TempDir,
}

impl Opa {
    async fn start(program: &Path) -> Self {
        let files = TempDir::new().unwrap();
        let policy = files.path().join("policy.rego");
        std::fs::write(&policy, POLICY).unwrap();
        let mut process = Command::new(program)
            .arg(policy)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
        let told: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        let at = |name: &str| {
            let port = told[name].as_u64().unwrap().try_into().unwrap();
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        Self {
            grpc: at("grpc"),
            http: at("http"),
            process,
            _files: files,
        }
    }
}

/// A mesh that asks about all but one path. `provider` is MeshConfig's, but for the service and the port.
async fn asking(opa: SocketAddr, mut provider: Value) -> World {
    let fields = provider.as_object_mut().unwrap().values_mut().next();
    let fields = fields.unwrap();
    fields["service"] = HOST.into();
    fields["port"] = opa.port().into();
    provider["name"] = "opa".into();
    let mesh = json!({"extensionProviders": [provider]});
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": mesh.to_string()},
    });
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "ask", "namespace": "default"},
        "spec": {
            "action": "CUSTOM",
            "provider": {"name": "opa"},
            "rules": [{"to": [{"operation": {"notPaths": ["/unasked"]}}]}],
        },
    });
    World::start(
        &[map, policy],
        HOST,
        opa,
        Router::new().fallback(any(shown)),
    )
    .await
}

const HOST: &str = "opa.example";

/// The application says whom it takes the caller for, and which secret it got.
async fn shown(headers: HeaderMap) -> String {
    let header = |name: &str| {
        let value = headers.get(name);
        value
            .map_or("-", |value| value.to_str().unwrap())
            .to_owned()
    };
    format!("{} {}", header("x-user"), header("x-secret"))
}

fn grpc() -> Value {
    json!({"envoyExtAuthzGrpc": {"timeout": "10s"}})
}

fn http() -> Value {
    json!({"envoyExtAuthzHttp": {
        "timeout": "10s",
        "headersToUpstreamOnAllow": ["x-user"],
        "headersToDownstreamOnAllow": ["x-opa"],
    }})
}

/// Method, path, a header of the caller's; status, and what the body says.
type Case = (
    Method,
    &'static str,
    Option<(&'static str, &'static str)>,
    u16,
    &'static str,
);

const CASES: [Case; 8] = [
    (Method::GET, "/open/a?b=c", None, 200, "anyone -"),
    (Method::POST, "/open/a", None, 401, "who are you?"),
    (Method::GET, "/closed", None, 401, "who are you?"),
    (
        Method::GET,
        "/closed",
        Some(("authorization", "Bearer good")),
        200,
        "- -",
    ),
    (Method::GET, "/strip", Some(("x-secret", "s")), 200, "- -"),
    (Method::PUT, "/plain", Some(("x-secret", "s")), 200, "- s"),
    (Method::GET, "/forbidden", None, 403, ""),
    (
        Method::DELETE,
        "/unasked",
        Some(("x-user", "mine")),
        200,
        "mine -",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opa_allows_and_denies_by_method_path_and_header() {
    let Some(program) = tool::find("opa") else {
        return;
    };
    let opa = Opa::start(&program).await;
    for (address, provider) in [(opa.grpc, grpc()), (opa.http, http())] {
        let world = asking(address, provider.clone()).await;
        for (method, path, header, status, body) in CASES {
            let said = world.ask(method.clone(), path, header.as_slice()).await;
            let case = format!("{provider} {method} {path}: {said:?}");
            assert_eq!(said.status, status, "{case}");
            assert_eq!(said.body, body, "{case}");
        }
        let refused = world.get("/closed").await;
        assert_eq!(refused.header("www-authenticate"), "Bearer", "{provider}");
        assert_eq!(refused.header("x-why"), "no rule", "{provider}");
        let allowed = world.get("/open").await;
        assert_eq!(allowed.header("x-opa"), "open", "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opa_sees_both_principals() {
    let Some(program) = tool::find("opa") else {
        return;
    };
    let opa = Opa::start(&program).await;
    let world = asking(opa.grpc, grpc()).await;
    let said = world.get("/principal").await;
    assert_eq!(
        (said.status.as_u16(), &*said.body),
        (200, &*format!("{THEIRS} -"))
    );
    // Over HTTP nobody says them.
    let world = asking(opa.http, http()).await;
    assert_eq!(world.get("/principal").await.status, 401);
}

/// Each setting: what it makes of a request while OPA runs, and what when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_opa_the_settings_decide() {
    let Some(program) = tool::find("opa") else {
        return;
    };
    for (name, kind) in [("grpc", "envoyExtAuthzGrpc"), ("http", "envoyExtAuthzHttp")] {
        let mut opa = Opa::start(&program).await;
        let at = if name == "grpc" { opa.grpc } else { opa.http };
        let mut worlds = Vec::new();
        for (fields, gone) in [
            (json!({"timeout": "10s"}), 403),
            (json!({"timeout": "10s", "statusOnError": "503"}), 503),
            (json!({"timeout": "10s", "failOpen": true}), 200),
        ] {
            let world = asking(at, json!({kind: fields})).await;
            assert_eq!(world.get("/open").await.status, 200, "{name} {fields}");
            assert_eq!(world.get("/closed").await.status, 401, "{name} {fields}");
            worlds.push((world, fields, gone));
        }
        opa.process.kill().await.unwrap();
        for (world, fields, gone) in &worlds {
            let case = format!("{name} {fields}");
            for path in ["/open", "/closed"] {
                assert_eq!(world.get(path).await.status, *gone, "{case} {path}");
            }
            // What is no matter for the provider passes.
            assert_eq!(world.get("/unasked").await.status, 200, "{case}");
        }
    }
}
