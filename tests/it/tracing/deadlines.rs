//! The time that a caller still waits: what a request makes of it, and what the calls of the request have left. Over real sockets between
//! meshes, with a clock that stands.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::Full;
use tokio::sync::Notify;
use tower_mesh::context;
use tower_mesh::mesh::{Client, ClientError, ExternalHost};
use tower_mesh::testing::Pki;
use tower_mesh::tls::Mode;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::mesh::{
    Served, app, build, get, get2, http1, http2_in_plaintext, lines, pass, read, serve, settle,
    still, until,
};

const EXPECTED: &str = "x-envoy-expected-rq-timeout-ms";
const CHARTS: &str = "http://charts.default/a.B/C";

/// Answers with what is left of the request's time in microseconds, and what the headers say.
fn left() -> Router {
    Router::new().fallback(any(|headers: HeaderMap| async move {
        let deadline = context::current().unwrap().deadline();
        let now = tokio::time::Instant::now().into_std();
        let left = deadline.map(|deadline| (deadline - now).as_micros());
        let left = left.map_or_else(|| "-".to_owned(), |left| left.to_string());
        let of_grpc = headers
            .get("grpc-timeout")
            .map_or("-", |value| value.to_str().unwrap());
        assert!(!headers.contains_key(EXPECTED));
        format!("{left} {of_grpc}")
    }))
}

/// Says that a request has come, and never answers it.
fn never(arrived: &Arc<Notify>) -> Router {
    let arrived = Arc::clone(arrived);
    Router::new().fallback(any(move || {
        arrived.notify_one();
        std::future::pending::<&str>()
    }))
}

/// The workload `app`, whose client knows `charts.default` at this address.
fn patients(pki: &Pki, charts: &Served) -> MeshBuilder {
    app(pki).upstream(
        "charts.default",
        [charts.address],
        ["spiffe://cluster.local/ns/default/sa/charts"],
    )
}

async fn charts(pki: &Pki, app: Router) -> Served {
    let identity = pki.identity("default", "charts").unwrap();
    serve(
        &build(Mesh::builder(Workload::new("default", "charts"), identity)).await,
        app,
    )
    .await
}

/// How a handler calls.
type Calling = fn(&Client) -> tower_mesh::mesh::RequestBuilder;

/// How a handler calls, the headers of its request, and what the called server is told.
type Row<'a> = (Calling, &'a [(&'a str, &'a str)], &'a str);

/// An application that calls for each request, and answers with what it got: the text, or the status
/// of the error, its flags, and whether tonic's clients see a deadline that is over.
fn relay(mesh: &Mesh, calling: Calling) -> Router {
    let client = mesh.client().clone();
    Router::new().fallback(any(move || {
        let call = calling(&client);
        async move {
            match call.await {
                Ok(answer) => read(answer).await.2,
                Err(error) => shown(&error),
            }
        }
    }))
}

fn shown(error: &ClientError) -> String {
    assert_eq!(
        error.is_timeout(),
        error.status() == StatusCode::GATEWAY_TIMEOUT
    );
    let status = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    let status = status.map(tonic::Status::code);
    format!("{} {} {status:?}", error.status().as_u16(), error.flags())
}

/// What a caller with an identity gets for a request with these headers.
async fn ask(pki: &Pki, served: &Served, headers: &[(&str, &str)]) -> String {
    let mut sender = http1::<Full<Bytes>>(pki, "desk", served.address).await;
    let request = headers.iter().fold(get("/"), |request, (name, value)| {
        request.header(*name, *value)
    });
    let answer = sender
        .send_request(request.body(Full::default()).unwrap())
        .await
        .unwrap();
    let (status, _, text) = read(answer).await;
    assert_eq!(status, 200);
    text
}

fn plain(client: &Client) -> tower_mesh::mesh::RequestBuilder {
    client.get(CHARTS)
}

fn plain2(client: &Client) -> tower_mesh::mesh::RequestBuilder {
    client.get(CHARTS).version(Version::HTTP_2)
}

fn half_a_second(client: &Client) -> tower_mesh::mesh::RequestBuilder {
    client.get(CHARTS).timeout(Duration::from_millis(500))
}

fn unbounded(client: &Client) -> tower_mesh::mesh::RequestBuilder {
    client.get(CHARTS).no_timeout()
}

fn grpc(client: &Client) -> tower_mesh::mesh::RequestBuilder {
    client
        .post(CHARTS)
        .header("content-type", "application/grpc")
}

fn grpc_of_its_own(client: &Client) -> tower_mesh::mesh::RequestBuilder {
    grpc(client).header("grpc-timeout", "200m")
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// The server of a call is told what is left, and has 5 ms less.
#[tokio::test]
async fn a_call_has_what_is_left_of_its_request() {
    let pki = Pki::new("cluster.local").unwrap();
    let charts = charts(&pki, left()).await;
    let mesh = build(patients(&pki, &charts)).await;
    let _still = still();
    let second = (EXPECTED, "1000");
    let rows: [Row<'_>; 15] = [
        (plain, &[second], "995000 -"),
        (plain2, &[second], "995000 -"),
        (unbounded, &[second], "995000 -"),
        (half_a_second, &[second], "500000 -"),
        // A time of the call's own is told without a deadline, too; the usual time is not.
        (half_a_second, &[], "500000 -"),
        (plain, &[], "- -"),
        (grpc, &[], "- -"),
        (grpc, &[second], "995000 995000u"),
        (grpc_of_its_own, &[second], "200000 200m"),
        (grpc_of_its_own, &[(EXPECTED, "100")], "95000 95000u"),
        // Of a gRPC caller both headers count, and the earlier time.
        (plain, &[GRPC, ("grpc-timeout", "2S")], "1995000 -"),
        (plain, &[GRPC, ("grpc-timeout", "2S"), second], "995000 -"),
        (plain, &[GRPC, ("grpc-timeout", "20m"), second], "15000 -"),
        (plain, &[("grpc-timeout", "20m")], "- -"),
        (plain, &[(EXPECTED, "0")], "- -"),
    ];
    for (calling, headers, expected) in rows {
        let served = serve(&mesh, relay(&mesh, calling)).await;
        assert_eq!(ask(&pki, &served, headers).await, expected, "{headers:?}");
    }
    for bad in ["", "soon", "-1", "+5", "1.5", "99999999999999999999999"] {
        let served = serve(&mesh, relay(&mesh, plain)).await;
        assert_eq!(
            ask(&pki, &served, &[(EXPECTED, bad)]).await,
            "- -",
            "{bad:?}"
        );
    }
}

/// The deadline goes down with each hop, and the time that a hop takes counts.
#[tokio::test]
async fn a_deadline_shrinks_with_each_hop() {
    let pki = Pki::new("cluster.local").unwrap();
    let charts = charts(&pki, left()).await;
    let mesh = build(patients(&pki, &charts)).await;
    let arrived = Arc::new(Notify::new());
    let go = Arc::new(Notify::new());
    let slow = {
        let (client, arrived, go) = (mesh.client().clone(), arrived.clone(), go.clone());
        Router::new().fallback(any(move || {
            let (client, arrived, go) = (client.clone(), arrived.clone(), go.clone());
            async move {
                arrived.notify_one();
                go.notified().await;
                read(client.get(CHARTS).await.unwrap()).await.2
            }
        }))
    };
    let served = serve(&mesh, slow).await;
    let _still = still();
    let asking = async { ask(&pki, &served, &[(EXPECTED, "1000")]).await };
    let passing = async {
        arrived.notified().await;
        pass(Duration::from_millis(700)).await;
        go.notify_one();
    };
    let (text, ()) = tokio::join!(asking, passing);
    assert_eq!(text, "295000 -");
}

/// A call ends when its request has no time left, whatever its own bound.
#[tokio::test]
async fn a_call_ends_with_the_time_of_its_request() {
    let pki = Pki::new("cluster.local").unwrap();
    let arrived = Arc::new(Notify::new());
    let charts = charts(&pki, never(&arrived)).await;
    let mesh = build(patients(&pki, &charts)).await;
    let _still = still();
    for (calling, expected) in [
        (plain as Calling, "504 UT None"),
        (unbounded, "504 UT None"),
        (grpc, "504 UT Some(DeadlineExceeded)"),
    ] {
        let served = serve(&mesh, relay(&mesh, calling)).await;
        let mut sender = http1::<Full<Bytes>>(&pki, "desk", served.address).await;
        let request = get("/")
            .header(EXPECTED, "1000")
            .body(Full::default())
            .unwrap();
        let asking = tokio::spawn(sender.send_request(request));
        arrived.notified().await;
        pass(Duration::from_millis(994)).await;
        settle().await;
        assert!(!asking.is_finished(), "{expected}");
        pass(Duration::from_millis(2)).await;
        until("the answer", || asking.is_finished()).await;
        let answer = asking.await.unwrap().unwrap();
        assert_eq!(read(answer).await.2, expected);
    }
}

/// Without time no call is made; it is counted as one that was too late.
#[tokio::test]
async fn without_time_no_call_is_made() {
    let pki = Pki::new("cluster.local").unwrap();
    let charts = charts(&pki, left()).await;
    let mesh = build(patients(&pki, &charts)).await;
    let _still = still();
    let expired = [GRPC, ("grpc-timeout", "0S")];
    for (calling, headers, expected) in [
        (plain as Calling, &[(EXPECTED, "5")][..], "504 UT None"),
        (plain, &expired, "504 UT None"),
        (grpc, &expired, "504 UT Some(DeadlineExceeded)"),
    ] {
        let served = serve(&mesh, relay(&mesh, calling)).await;
        assert_eq!(ask(&pki, &served, headers).await, expected);
    }
    let calls = lines(&mesh, "istio_requests_total", &[r#"reporter="source""#]);
    assert!(!calls.is_empty());
    for line in calls {
        // Envoy answers 200 to gRPC.
        let counted = match line.contains(r#"request_protocol="grpc""#) {
            true => r#"response_code="200",grpc_response_status="14""#,
            false => r#"response_code="504""#,
        };
        assert!(line.contains(counted), "{line}");
        assert!(line.contains(r#"response_flags="UT""#), "{line}");
    }
}

/// Only a peer with a proven identity says how long it waits.
#[tokio::test]
async fn a_stranger_sets_no_deadline() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = serve(&build(app(&pki).mode(Mode::Permissive)).await, left()).await;
    let mut sender = http2_in_plaintext::<Full<Bytes>>(served.address).await;
    let request = get2("/").header(EXPECTED, "1000").header(GRPC.0, GRPC.1);
    let request = request.header("grpc-timeout", "1S").body(Full::default());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(read(answer).await.2, "- 1S");
}

/// An option lets calls go on.
#[tokio::test]
async fn deadlines_can_be_switched_off() {
    let pki = Pki::new("cluster.local").unwrap();
    let charts = charts(&pki, left()).await;
    let mesh = build(patients(&pki, &charts).client(|client| client.no_deadlines())).await;
    for (calling, expected) in [
        (plain as Calling, "- -"),
        (half_a_second, "- -"),
        (grpc, "- -"),
    ] {
        let served = serve(&mesh, relay(&mesh, calling)).await;
        let text = ask(&pki, &served, &[(EXPECTED, "5")]).await;
        assert_eq!(text, expected);
    }
}

/// A server outside the mesh is told only what gRPC itself says.
#[tokio::test]
async fn a_server_outside_is_told_nothing_of_the_mesh() {
    let pki = Pki::new("cluster.local").unwrap();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let told = Router::new().fallback(any(|request: Request<axum::body::Body>| async move {
        let names = [EXPECTED, "grpc-timeout"];
        let names = names
            .into_iter()
            .filter(|name| request.headers().contains_key(*name));
        names.collect::<Vec<_>>().join(" ")
    }));
    tokio::spawn(async move { axum::serve(socket, told).await });
    let outside = ExternalHost::plaintext().at([address]);
    let mesh = build(app(&pki).outside("charts.default", outside)).await;
    for (calling, expected) in [
        (plain as Calling, ""),
        (half_a_second, ""),
        (grpc, "grpc-timeout"),
    ] {
        let served = serve(&mesh, relay(&mesh, calling)).await;
        assert_eq!(ask(&pki, &served, &[(EXPECTED, "60000")]).await, expected);
    }
}
