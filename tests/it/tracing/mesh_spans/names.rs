use axum::Router;
use axum::routing::any;
use http::{HeaderMap, Version};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::propagation::{CustomTag, SpanKind};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::site::{Spans, app, desk, only};
use crate::support::mesh::{build, empty, get, http1, read};

const OPERATION: &str = "x-envoy-decorator-operation";

/// Answers with the operation that the application sees.
fn shows() -> Router {
    let shown = any(|headers: HeaderMap| async move { format!("{:?}", headers.get(OPERATION)) });
    Router::new().fallback(shown)
}

/// Case 21, from both ends: the client names its operation, and the server's span has the name.
#[tokio::test]
async fn both_spans_of_a_call_have_the_name_that_the_client_gave() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let app = app(&pki, served.recording(), shows()).await;
    let desk = desk(&pki, sent.recording(), "app.default", &[app.address]);
    let desk = build(desk).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let call = desk
            .client()
            .get("http://app.default:9080/7")
            .version(version);
        let (_, headers, text) = read(call.await.unwrap()).await;
        assert_eq!(text, "None", "the application does not see it");
        assert!(!headers.contains_key(OPERATION));
        let (client, server) = (sent.all(1).await, served.all(1).await);
        for span in client.iter().chain(&server) {
            assert_eq!(&*span.name, "app.default.svc.cluster.local:9080/*");
        }
        let client = only(&client, SpanKind::Client);
        let cluster = "outbound|9080||app.default.svc.cluster.local";
        for tag in ["upstream_cluster", "upstream_cluster.name"] {
            assert_eq!(client.tag(tag), Some(cluster));
            let port = app.address.port();
            let inbound = format!("inbound|{port}||");
            assert_eq!(server[0].tag(tag), Some(&*inbound));
        }
        assert_eq!(client.tag("peer.address"), Some("127.0.0.1"));
        assert_eq!(client.tag("upstream_address"), None);
    }
}

#[tokio::test]
async fn an_address_of_ipv6_is_named_in_brackets() {
    let pki = Pki::new("cluster.local").unwrap();
    let sent = Spans::default();
    let nowhere = "[::1]:1".parse().unwrap();
    let desk = build(desk(&pki, sent.recording(), "[fd00::7]", &[nowhere])).await;
    assert!(desk.client().get("http://[fd00::7]:9080/").await.is_err());
    assert_eq!(&*sent.all(1).await[0].name, "[fd00::7]:9080/*");
}

/// Case 21, the other half: a server that got no name tells its own, to peers of the mesh alone.
#[tokio::test]
async fn a_server_without_a_name_from_its_caller_tells_its_own() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = Spans::default();
    let app = app(&pki, served.recording(), shows()).await;
    let mut sender = http1(&pki, "desk", app.address).await;
    let answer = sender.send_request(empty(get("/7"))).await.unwrap();
    let own = "app.default.svc.cluster.local:8443/*";
    assert_eq!(answer.headers()[OPERATION], own);
    drop(read(answer).await);
    assert_eq!(&*served.all(1).await[0].name, own);
}

#[tokio::test]
async fn a_host_outside_is_told_no_operation() {
    let pki = Pki::new("cluster.local").unwrap();
    let sent = Spans::default();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, shows()).await });
    let identity = pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .outside("legacy.example", ExternalHost::plaintext().at([address]))
        .telemetry(|telemetry| telemetry.propagation(sent.recording()));
    let desk = build(builder).await;
    let answer = desk.client().get("http://legacy.example/").await.unwrap();
    assert_eq!(read(answer).await.2, "None");
    let spans = sent.all(1).await;
    let span = only(&spans, SpanKind::Client);
    assert_eq!(&*span.name, "egress legacy.example");
    assert_eq!(span.tag("upstream_cluster"), Some("PassthroughCluster"));
}

/// What Kiali finds a pod by, and the names of mesh and cluster.
#[tokio::test]
async fn spans_name_the_pod_its_zone_and_its_mesh() {
    let pki = Pki::new("cluster.local").unwrap();
    let sent = Spans::default();
    let workload = Workload::new("clinic", "desk")
        .pod("desk-7d4b9")
        .ip([10, 1, 2, 3].into())
        .mesh("hospital")
        .cluster("east")
        .locality("eu", "eu-1b");
    let identity = pki.identity("clinic", "desk").unwrap();
    let tags = [CustomTag::literal("ward", "west").unwrap()];
    let propagation = sent.recording().custom_tags(tags);
    let builder =
        Mesh::builder(workload, identity).telemetry(|telemetry| telemetry.propagation(propagation));
    let desk = build(builder).await;
    assert!(desk.client().get("http://nobody/").await.is_err());
    let spans = sent.all(1).await;
    let span = only(&spans, SpanKind::Client);
    for (tag, value) in [
        (
            "node_id",
            "sidecar~10.1.2.3~desk-7d4b9.clinic~clinic.svc.cluster.local",
        ),
        ("zone", "eu-1b"),
        ("istio.mesh_id", "hospital"),
        ("istio.cluster_id", "east"),
        ("istio.namespace", "clinic"),
        ("component", "proxy"),
        ("ward", "west"),
    ] {
        assert_eq!(span.tag(tag), Some(value), "{tag}");
    }
    assert_eq!(span.tag("upstream_cluster"), None, "none was chosen");
}
