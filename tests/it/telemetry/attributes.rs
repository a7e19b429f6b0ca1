//! What the attributes of expressions are worth, of requests over mutual TLS and of calls: each as the
//! value of a label and as a condition of an access log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::routing::any;
use http::HeaderMap;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower_mesh::context::Exchange;
use tower_mesh::source::{Sender, channel};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use super::resources::{loaded, mesh_wide};
use crate::support::mesh::{Log, build, lines, read, serve};

/// An attribute, its value as a literal, and as the text of a label where that is another one.
type Row = (String, String, Option<&'static str>);

#[expect(
    clippy::needless_pass_by_value,
    reason = "rows of a table are read without references"
)]
fn text(attribute: &str, value: impl ToString) -> Row {
    (
        attribute.to_owned(),
        format!("'{}'", value.to_string()),
        None,
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "rows of a table are read without references"
)]
fn number(attribute: &str, value: impl ToString) -> Row {
    (attribute.to_owned(), value.to_string(), None)
}

/// Of a path labels show less than conditions read.
fn hidden(attribute: &str, value: &str, shown: &'static str) -> Row {
    (attribute.to_owned(), format!("'{value}'"), Some(shown))
}

/// One end of the requests, whose telemetry a test changes.
struct Side {
    mode: &'static str,
    mesh: Mesh,
    sender: Sender,
    ended: Log,
    settings: String,
    log: PathBuf,
}

impl Side {
    async fn new(folder: &TempDir, mode: &'static str, builder: MeshBuilder) -> Self {
        let log = folder.path().join(mode);
        let settings = format!(
            "extensionProviders:\n- name: file\n  envoyFileAccessLog: {{path: {}, logFormat: {{text: '%RESPONSE_CODE%'}}}}\n",
            log.display()
        );
        let (sender, channel) = channel(loaded(&settings, "").unwrap());
        let ended = Log::default();
        let builder = builder.config(channel).telemetry(|telemetry| match mode {
            "SERVER" => telemetry.on_complete(ended.observe()),
            _ => telemetry.on_call_complete(ended.observe()),
        });
        Self {
            mode,
            mesh: build(builder).await,
            sender,
            ended,
            settings,
            log,
        }
    }

    async fn send(&self, spec: &str) {
        let configuration = loaded(&self.settings, &mesh_wide(spec)).unwrap();
        self.sender.send(configuration).await.unwrap();
    }

    /// Labels the requests with the attributes.
    async fn label(&self, rows: &[Row]) {
        let tags = rows.iter().enumerate();
        let tags = tags.map(|(index, (attribute, ..))| {
            format!("        t{index}: {{value: \"{attribute}\"}}\n")
        });
        self.send(&format!(
            "  metrics:\n  - overrides:\n    - match: {{metric: REQUEST_COUNT, mode: {}}}\n      tagOverrides:\n{}",
            self.mode,
            tags.collect::<String>()
        ))
        .await;
    }

    /// What is wrong in the labels of the one request that had them.
    fn mislabelled(&self, rows: &[Row]) -> Vec<String> {
        let found = lines(&self.mesh, "istio_requests_total{", &[]);
        // Requests from before have no value.
        let labelled = |line: &&String| !line.contains(",t0=\"unknown\"");
        let [line] = found.iter().filter(labelled).collect::<Vec<_>>()[..] else {
            panic!("{found:#?}")
        };
        let rows = rows.iter().enumerate();
        let wrong = rows.filter_map(|(index, (attribute, value, shown))| {
            let shown = shown.unwrap_or(value.trim_matches('\''));
            let label = format!(",t{index}=");
            let is_so = line.contains(&format!("{label}\"{shown}\""));
            let found = line.split(&label).nth(1).unwrap_or_default();
            let found = found.split(",t").next();
            (!is_so).then(|| format!("{} {attribute}: {shown}, not {found:?}", self.mode))
        });
        wrong.collect()
    }

    /// Chooses the lines of the log.
    async fn filter(&self, condition: &str) {
        let mode = self.mode;
        self.send(&format!(
            "  accessLogging: [{{match: {{mode: {mode}}}, providers: [{{name: file}}], filter: {{expression: \"{condition}\"}}}}]"
        ))
        .await;
    }

    fn lines(&self) -> usize {
        assert!(self.mesh.flush_access_logs(Duration::from_secs(20)));
        let written = std::fs::read_to_string(&self.log);
        written.unwrap_or_default().lines().count()
    }

    /// How much requests, or responses, had in all.
    fn sum(&self, metric: &str) -> String {
        let found = lines(&self.mesh, metric, &[]);
        let [line] = &found[..] else {
            panic!("{found:#?}")
        };
        line.rsplit_once(' ').unwrap().1.to_owned()
    }
}

/// Asks once, until both sides have recorded it.
async fn asked(sides: &[&Side], ask: &impl AsyncFn()) {
    let before: Vec<_> = sides.iter().map(|side| side.ended.all().len()).collect();
    ask().await;
    for (side, before) in sides.iter().zip(before) {
        side.ended.wait(before + 1).await;
    }
}

/// Asks with all attributes as labels, then once for each with it as a condition.
async fn assert_values(sides: &[&Side], rows: &[&[Row]], ask: &impl AsyncFn()) {
    for (side, rows) in sides.iter().zip(rows) {
        side.label(rows).await;
    }
    asked(sides, ask).await;
    let both = sides.iter().zip(rows);
    let mut wrong: Vec<_> = both
        .flat_map(|(side, rows)| side.mislabelled(rows))
        .collect();
    let most = rows.iter().map(|rows| rows.len()).max().unwrap();
    for index in 0..most {
        let mut expected = Vec::new();
        for (side, rows) in sides.iter().zip(rows) {
            let (attribute, value, _) = &rows[index % rows.len()];
            let condition = format!("({attribute}) == {value}");
            side.filter(&condition).await;
            expected.push((side, side.lines() + 1, condition));
        }
        asked(sides, ask).await;
        for (side, expected, condition) in expected {
            if side.lines() != expected {
                wrong.push(format!("{}: {condition}", side.mode));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tells who asks, and speaks gRPC where it is asked so.
fn routes() -> Router {
    Router::new()
        .route(
            "/wards/{id}",
            any(
                async |Extension(exchange): Extension<Exchange>, body: Bytes| {
                    // What is not read is not counted.
                    assert_eq!(body, "12345");
                    let from = exchange.peer().unwrap().remote_addr().to_string();
                    ([("x-from", from), ("x-answer", "yes".to_owned())], "ok")
                },
            ),
        )
        .route(
            "/wards.Wards/Get",
            any(async || [("content-type", "application/grpc"), ("grpc-status", "5")]),
        )
}

const REQUEST_ID: &str = "0000270f-4f89-41d3-9a0c-0305e82c3301";

struct Site {
    _folder: TempDir,
    app: Side,
    desk: Side,
    served: SocketAddr,
}

impl Site {
    async fn new() -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let labelled = |name: &str, version: &str| {
            let workload = Workload::new("default", name).label("app", name);
            workload.label("version", version)
        };
        let identity = |name| pki.identity("default", name).unwrap();
        let builder = Mesh::builder(labelled("app", "v2").service("app", 8443), identity("app"));
        let app = Side::new(&folder, "SERVER", builder).await;
        let served = serve(&app.mesh, routes()).await.address;
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = refusing.local_addr().unwrap();
        drop(refusing);
        let expected = [identity("app").svid().spiffe_id().clone()];
        let builder = Mesh::builder(labelled("desk", "v1"), identity("desk"))
            .upstream("app.default", [served], expected.clone())
            .upstream("nobody.default", [nobody], expected);
        let desk = Side::new(&folder, "CLIENT", builder).await;
        Self {
            _folder: folder,
            app,
            desk,
            served,
        }
    }

    async fn ask(&self) -> HeaderMap {
        let request = self.desk.mesh.client();
        let request = request
            .post("http://app.default/wards/7?bed=3")
            .header("x-request-id", REQUEST_ID)
            .header("user-agent", "desk/1")
            .header("referer", "https://desk.example/start")
            .header("x-ward", "west")
            .body("12345");
        let (status, headers, body) = read(request.await.unwrap()).await;
        assert_eq!((status, &*body), (200, "ok"));
        headers
    }
}

/// What a request that came and the call that it was have in common.
fn of_both(site: &Site) -> Vec<Row> {
    vec![
        text("request.method", "POST"),
        hidden("request.path", "/wards/7?bed=3", "/wards/7?…"),
        text("request.url_path", "/wards/7"),
        hidden("request.query", "bed=3", "…"),
        text("request.host", "app.default"),
        text("request.protocol", "HTTP/1.1"),
        text("request.id", REQUEST_ID),
        text("request.useragent", "desk/1"),
        text("request.referer", "https://desk.example/start"),
        text("request.headers['X-Ward']", "west"),
        number("request.size", 5),
        number("request.time > timestamp('2020-01-01T00:00:00Z')", true),
        number("request.duration < duration('1h')", true),
        number("response.code", 200),
        text("response.code_details", "via_upstream"),
        number("response.flags", 0),
        text("response.headers['x-answer']", "yes"),
        number("response.size", 2),
        number("has(response.grpc_status)", false),
        number("'grpc-status' in response.trailers", false),
        text("destination.address", site.served),
        number("destination.port", site.served.port()),
        text("xds.route_name", "default"),
        number("upstream.request_attempt_count", 1),
        number("has(upstream.transport_failure_reason)", false),
    ]
}

#[tokio::test]
async fn an_attribute_has_the_value_of_its_request() {
    let site = Site::new().await;
    let (app, desk) = (&site.app, &site.desk);
    let headers = site.ask().await;
    app.ended.wait(1).await;
    desk.ended.wait(1).await;
    let from: SocketAddr = headers["x-from"].to_str().unwrap().parse().unwrap();
    let port = site.served.port();
    let node = |name| Workload::new("default", name).node_id();
    let id = |name| format!("spiffe://cluster.local/ns/default/sa/{name}");
    let total = |side: &Side| {
        // The head of a response has the time that it took, of some digits.
        let answered: u64 = side.sum("istio_response_bytes_sum{").parse().unwrap();
        let (least, most) = (answered - 8, answered + 8);
        let about = format!("response.total_size >= {least} && response.total_size <= {most}");
        [
            number("request.total_size", side.sum("istio_request_bytes_sum{")),
            number(&about, true),
        ]
    };
    let mut came = of_both(&site);
    came.extend(total(app));
    came.extend([
        text("request.scheme", "https"),
        text("source.address", from),
        number("source.port", from.port()),
        number("connection.mtls", true),
        text("connection.tls_version", "TLSv1.3"),
        text(
            "connection.requested_server_name",
            "outbound_.80_._.app.default.svc.cluster.local",
        ),
        text("connection.uri_san_peer_certificate", id("desk")),
        text("connection.uri_san_local_certificate", id("app")),
        number("has(connection.termination_details)", false),
        number("has(upstream.address)", false),
        number("has(upstream.port)", false),
        text("xds.cluster_name", format!("inbound|{port}||")),
        text("xds.node.id", node("app")),
        number("has(filter_state.upstream_peer)", false),
        number("has(filter_state.downstream_peer)", true),
        text("filter_state.downstream_peer.namespace", "default"),
        text("filter_state.downstream_peer.cluster", "Kubernetes"),
        text("filter_state.downstream_peer.service", "desk"),
        text("filter_state.downstream_peer.revision", "v1"),
        text("filter_state.downstream_peer.app", "desk"),
        text("filter_state.downstream_peer.version", "v1"),
        text("filter_state.downstream_peer.workload", "desk"),
    ]);
    let mut went = of_both(&site);
    went.extend(total(desk));
    went.extend([
        text("request.scheme", "http"),
        // Of the connection that a request came in on, which a call has not.
        number("has(source.address)", false),
        number("has(source.port)", false),
        number("connection.mtls", false),
        number("has(connection.tls_version)", false),
        text("connection.requested_server_name", ""),
        number("has(connection.uri_san_peer_certificate)", false),
        number("has(connection.uri_san_local_certificate)", false),
        text("upstream.address", site.served),
        number("upstream.port", port),
        text(
            "xds.cluster_name",
            "outbound|80||app.default.svc.cluster.local",
        ),
        text("xds.node.id", node("desk")),
        number("has(filter_state.downstream_peer)", false),
        number("has(filter_state.upstream_peer)", true),
        text("filter_state.upstream_peer.namespace", "default"),
        text("filter_state.upstream_peer.cluster", "Kubernetes"),
        text("filter_state.upstream_peer.service", "app"),
        text("filter_state.upstream_peer.revision", "v2"),
        text("filter_state.upstream_peer.app", "app"),
        text("filter_state.upstream_peer.version", "v2"),
        text("filter_state.upstream_peer.workload", "app"),
    ]);
    let ask = async || drop(site.ask().await);
    assert_values(&[app, desk], &[&came, &went], &ask).await;
}

#[tokio::test]
async fn an_attribute_has_the_value_of_its_grpc_request() {
    let site = Site::new().await;
    let ask = async || {
        let call = site.desk.mesh.client();
        let call = call
            .post("http://app.default/wards.Wards/Get")
            .header("content-type", "application/grpc");
        read(call.await.unwrap()).await;
    };
    let rows = [
        number("response.code", 200),
        number("response.grpc_status", 5),
        text("response.trailers['Grpc-Status']", 5),
        number("response.flags", 0),
    ];
    let sides = [&site.app, &site.desk];
    assert_values(&sides, &[&rows, &rows], &ask).await;
}

/// Without an answer there is still something to say.
#[tokio::test]
async fn an_attribute_has_the_value_of_a_call_that_fails() {
    let site = Site::new().await;
    let desk = &site.desk;
    let ask = async || {
        let call = desk.mesh.client().get("http://nobody.default/x");
        call.await.unwrap_err();
    };
    let rows = [
        number("response.code", 503),
        // UF is the sixth of Envoy's flags.
        number("response.flags", 1 << 5),
        number(
            "upstream.transport_failure_reason.endsWith('refused')",
            true,
        ),
        number(
            "upstream.address.startsWith('127.0.0.1:') && upstream.port > 0",
            true,
        ),
        number("upstream.request_attempt_count", 1),
        text(
            "xds.cluster_name",
            "outbound|80||nobody.default.svc.cluster.local",
        ),
        number("has(filter_state.upstream_peer)", false),
        number("'x-answer' in response.headers", false),
    ];
    desk.label(&rows).await;
    asked(&[desk], &ask).await;
    let wrong = desk.mislabelled(&rows);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
