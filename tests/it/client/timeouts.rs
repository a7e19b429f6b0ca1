//! How long a call waits for the head of its response, and what the server and the metrics see of one that is late.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tower_mesh::mesh::{ClientBody, ClientError, ClientResponseBody, ExternalHost};
use tower_mesh::message::{EndKind, ResponseFlags};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::mesh::{
    Fed, Log, app, build, caller, lines, pass, seconds, serve, settle, still, until,
};

const URI: &str = "http://app.default/";

fn desk(pki: &Pki, address: std::net::SocketAddr) -> MeshBuilder {
    Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .upstream(
        "app.default",
        [address],
        ["spiffe://cluster.local/ns/default/sa/app"],
    )
}

/// Says that a request has come, and never answers it.
fn never(arrived: &Arc<Notify>) -> Router {
    let arrived = Arc::clone(arrived);
    Router::new().fallback(any(move || {
        arrived.notify_one();
        std::future::pending::<&str>()
    }))
}

#[tokio::test]
async fn a_late_response_is_a_504_that_is_counted_once_and_cancelled_at_the_server() {
    let pki = Pki::new("cluster.local").unwrap();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let log = Log::default();
        let mesh =
            build(app(&pki).telemetry(|telemetry| telemetry.on_complete(log.observe()))).await;
        let served = serve(&mesh, never(&Arc::default())).await;
        let desk = caller(&pki, "desk", served.address).await;
        let call = desk.client().post(URI).version(version).body("hello");
        let error = call.timeout(Duration::from_millis(50)).await.unwrap_err();
        assert!(error.is_timeout() && !error.is_connect());
        assert_eq!(
            error.to_string(),
            "no response from app.default within 50ms"
        );
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(error.flags(), ResponseFlags::UPSTREAM_TIMEOUT);
        let counted = lines(&desk, "istio_requests_total", &[]);
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert!(counted[0].contains(r#"response_code="504""#), "{counted:?}");
        assert!(counted[0].contains(r#"response_flags="UT""#), "{counted:?}");
        assert!(counted[0].ends_with(" 1"), "{counted:?}");
        let seen = log.wait(1).await;
        assert_eq!(seen[0].end, EndKind::Cancelled, "{version:?}: {seen:?}");
    }
}

/// What the mesh says counts for all calls, and a call may say otherwise.
#[tokio::test]
async fn the_usual_timeout_is_thirty_seconds_and_can_be_changed() {
    let pki = Pki::new("cluster.local").unwrap();
    let arrived = Arc::new(Notify::new());
    let served = serve(&build(app(&pki)).await, never(&arrived)).await;
    let short = Duration::from_secs(3);
    for (name, change, own, wanted) in [
        ("usual", None, None, Some(30)),
        ("the mesh's", Some(Some(short)), None, Some(3)),
        ("the call's", Some(Some(short)), Some(Some(7)), Some(7)),
        ("none of the mesh", Some(None), None, None),
        ("none of the call", None, Some(None), None),
    ] {
        let builder = desk(&pki, served.address);
        let builder = match change {
            None => builder,
            Some(Some(time)) => builder.client(|client| client.response_timeout(time)),
            Some(None) => builder.client(|client| client.no_response_timeout()),
        };
        let mesh = build(builder).await;
        let call = mesh.client().get(URI);
        let call = match own {
            None => call,
            Some(Some(time)) => call.timeout(Duration::from_secs(time)),
            Some(None) => call.no_timeout(),
        };
        let calling = tokio::spawn(call.into_future());
        arrived.notified().await;
        let before = wanted.unwrap_or(300) - 1;
        pass(Duration::from_secs(before)).await;
        settle().await;
        assert!(!calling.is_finished(), "{name}");
        if wanted.is_none() {
            calling.abort();
            continue;
        }
        pass(Duration::from_secs(1)).await;
        let error = calling.await.unwrap().unwrap_err();
        assert!(error.is_timeout(), "{name}: {error}");
    }
}

/// A host outside the mesh has the same bound, and the time of the connection counts.
#[tokio::test]
async fn the_connection_counts_and_hosts_outside_are_bounded_too() {
    let pki = Pki::new("cluster.local").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let hour = Duration::from_secs(3600);
    let mesh = desk(&pki, address).client(|client| client.connect_timeout(hour));
    let mesh = build(mesh.outside("legacy.example", ExternalHost::plaintext().at([address]))).await;
    for uri in [URI, "http://legacy.example/"] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let call = mesh.client().get(uri).version(version);
            let calling = tokio::spawn(call.into_future());
            let (_held, _) = silent.accept().await.unwrap();
            settle().await;
            pass(Duration::from_secs(31)).await;
            let error = calling.await.unwrap().unwrap_err();
            assert!(error.is_timeout(), "{uri}, {version:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_slow_body_of_a_response_is_not_cut() {
    let pki = Pki::new("cluster.local").unwrap();
    let (feed, fed) = mpsc::unbounded_channel();
    let body = Arc::new(std::sync::Mutex::new(Some(Fed(fed))));
    let streamed = Router::new().fallback(any(move || {
        let fed = body.lock().unwrap().take().unwrap();
        async move { AxumBody::new(fed) }
    }));
    let served = serve(&build(app(&pki)).await, streamed).await;
    let desk = caller(&pki, "desk", served.address).await;
    feed.send(Frame::data(Bytes::from("slow"))).unwrap();
    let mut body = desk.client().get(URI).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    pass(Duration::from_secs(31)).await;
    settle().await;
    drop(feed);
    assert!(body.frame().await.is_none());
}

/// A call that has uploaded a piece every ten seconds, and goes on with its body.
async fn uploading() -> (
    mpsc::UnboundedSender<Frame<Bytes>>,
    JoinHandle<Result<Response<ClientResponseBody>, ClientError>>,
) {
    let pki = Pki::new("cluster.local").unwrap();
    let read = any(|body: Bytes| async move { format!("read {}", body.len()) });
    let served = serve(&build(app(&pki)).await, Router::new().fallback(read)).await;
    let fifteen = Duration::from_secs(15);
    let mesh =
        build(desk(&pki, served.address).client(|client| client.response_timeout(fifteen))).await;
    let (feed, fed) = mpsc::unbounded_channel();
    let request = Request::post(URI).version(Version::HTTP_2);
    let request = request.body(ClientBody::stream(Fed(fed))).unwrap();
    let calling = tokio::spawn(async move { mesh.client().request(request).await });
    for _ in 0..10 {
        let piece = Bytes::from_static(b"piece");
        feed.send(Frame::data(piece)).unwrap();
        seconds(10).await;
        assert!(!calling.is_finished());
    }
    (feed, calling)
}

/// The time of the usual bound begins anew while the body of the request moves.
#[tokio::test]
async fn an_upload_that_goes_on_is_not_cut() {
    let _still = still();
    let (feed, calling) = uploading().await;
    drop(feed);
    let response = calling.await.unwrap().unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "read 50");
}

#[tokio::test]
async fn an_upload_that_stops_is_cut() {
    let _still = still();
    let (_feed, calling) = uploading().await;
    seconds(31).await;
    until("the end of the call", || calling.is_finished()).await;
    assert!(calling.await.unwrap().unwrap_err().is_timeout());
}

/// A stream of gRPC may send its head with a first message that is long in coming.
#[tokio::test]
async fn a_call_of_grpc_has_no_usual_timeout() {
    let pki = Pki::new("cluster.local").unwrap();
    let arrived = Arc::new(Notify::new());
    let served = serve(&build(app(&pki)).await, never(&arrived)).await;
    let mesh = build(desk(&pki, served.address)).await;
    let grpc = || {
        let call = mesh.client().post("http://app.default/a.B/C");
        call.header("content-type", "application/grpc")
    };
    let calling = tokio::spawn(grpc().into_future());
    arrived.notified().await;
    pass(Duration::from_secs(31)).await;
    settle().await;
    assert!(!calling.is_finished());
    calling.abort();
    let own = grpc().timeout(Duration::from_millis(50)).await;
    assert!(own.unwrap_err().is_timeout());
}
