//! OPA as an authorizer: a small server over its library, asked over gRPC and over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::routing::any;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::mesh::{ClientBody, ExternalHost};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use crate::site::{OURS, THEIRS};
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

/// A mesh that asks, and a caller with an identity.
struct World {
    caller: Mesh,
    running: Vec<JoinHandle<()>>,
}

impl World {
    /// `provider` is MeshConfig's, but for the service and the port.
    async fn start(opa: SocketAddr, mut provider: Value) -> Self {
        let fields = provider.as_object_mut().unwrap().values_mut().next();
        let fields = fields.unwrap();
        fields["service"] = "opa.example".into();
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
        let pki = Pki::new("cluster.local").unwrap();
        let identity = pki.identity("default", "ours").unwrap();
        let (ours, driver) = Mesh::builder(Workload::new("default", "ours"), identity)
            .config(Fixed::yaml("mesh.yaml", &format!("{map}\n---\n{policy}\n")))
            .outside(
                &format!("opa.example:{}", opa.port()),
                ExternalHost::plaintext().at([opa]),
            )
            .build()
            .await
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let app = Router::new().fallback(any(shown));
        let mut running = vec![
            tokio::spawn(driver.run()),
            tokio::spawn(async move { drop(ours.serve_on(socket, app).await) }),
        ];
        let identity = pki.identity("default", "theirs").unwrap();
        let expected = tower_mesh::identity::SpiffeId::new(OURS).unwrap();
        let (caller, driver) = Mesh::builder(Workload::new("default", "theirs"), identity)
            .upstream("ours.default", [address], [expected])
            .build()
            .await
            .unwrap();
        running.push(tokio::spawn(driver.run()));
        Self { caller, running }
    }

    async fn ask(&self, method: Method, path: &str, header: Option<(&str, &str)>) -> Said {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://ours.default{path}"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
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

    async fn get(&self, path: &str) -> Said {
        self.ask(Method::GET, path, None).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Said {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

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
        let world = World::start(address, provider.clone()).await;
        for (method, path, header, status, body) in CASES {
            let said = world.ask(method.clone(), path, header).await;
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
    let world = World::start(opa.grpc, grpc()).await;
    let said = world.get("/principal").await;
    assert_eq!(
        (said.status.as_u16(), &*said.body),
        (200, &*format!("{THEIRS} -"))
    );
    // Over HTTP nobody says them.
    let world = World::start(opa.http, http()).await;
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
            let world = World::start(at, json!({kind: fields})).await;
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
