//! The client of the composed mesh: whose connections it uses, and in whose trace it calls.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use tokio::sync::Barrier;
use tower_mesh::mesh::ClientBody;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Credentials, Identity, Settings};
use tower_mesh::{Mesh, Peer, TraceContext, Workload, context};

use crate::support::mesh::{
    Served, app, build, caller, empty, get2, http2, lines, read, serve, until,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// Says which connection a request came on, and with which certificate.
fn whence() -> Router {
    Router::new().fallback(any(|peer: Peer| async move {
        let serial = peer
            .certificate()
            .map(|certificate| format!("{certificate:?}"));
        format!("{} {}", peer.remote_addr(), serial.unwrap_or_default())
    }))
}

/// M-44: the next call uses the new identity; connections of the old one are not used again.
#[tokio::test]
async fn a_rotated_identity_is_used_by_the_next_call() {
    let pki = pki();
    let served = serve(&build(app(&pki)).await, whence()).await;
    let identity = pki.identity("default", "desk").unwrap();
    let credentials = Credentials::new(&identity, Settings::default()).unwrap();
    let expected = pki.identity("default", "app").unwrap();
    let desk = build(
        Mesh::builder(Workload::new("default", "desk"), credentials.clone()).upstream(
            "app.default",
            [served.address],
            [expected.svid().spiffe_id().clone()],
        ),
    )
    .await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ask = async || {
            let request = Request::get("http://app.default/").version(version);
            let request = request.body(ClientBody::empty()).unwrap();
            read(desk.client().request(request).await.unwrap()).await.2
        };
        let first = ask().await;
        // A connection goes back to the pool once its task has run.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask().await, first, "{version:?}: connections are kept");
        let now = std::time::SystemTime::now();
        let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/desk")
            .valid(now, now + std::time::Duration::from_secs(7200));
        let next = pki.issue(&leaf).unwrap().svid().unwrap();
        let next = Identity::new(next, pki.bundles().unwrap());
        // The second turn brings the same end of life, which is no step back.
        desk.credentials().unwrap().replace(&next).unwrap();
        assert_ne!(ask().await, first, "{version:?}: a new handshake");
    }
    assert!(credentials.generation() > 1);
}

/// A server's rotation: what is under way ends well, and every call finds somebody.
#[tokio::test]
async fn a_servers_rotation_loses_no_call() {
    let pki = pki();
    let identity = pki.identity("default", "app").unwrap();
    let credentials = Credentials::new(&identity, Settings::default()).unwrap();
    let workload = Workload::new("default", "app");
    let mesh = build(Mesh::builder(workload, credentials.clone())).await;
    let arrived = Arc::new(Barrier::new(2));
    let (here, go) = (Arc::clone(&arrived), Arc::new(tokio::sync::Notify::new()));
    let waits = Arc::clone(&go);
    let slow = any(move || async move {
        here.wait().await;
        waits.notified().await;
        "finished"
    });
    let router = Router::new().route("/slow", slow).merge(whence());
    let served = serve(&mesh, router).await;
    let desk = caller(&pki, "desk", served.address).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ask = |path: &str| {
            let request = Request::get(format!("http://app.default{path}")).version(version);
            desk.client()
                .request(request.body(ClientBody::empty()).unwrap())
        };
        let under_way = tokio::spawn(ask("/slow"));
        arrived.wait().await;
        let now = std::time::SystemTime::now();
        let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/app")
            .valid(now, now + std::time::Duration::from_secs(7200));
        let next = pki.issue(&leaf).unwrap().svid().unwrap();
        let next = Identity::new(next, pki.bundles().unwrap());
        assert!(mesh.credentials().unwrap().replace(&next).unwrap());
        assert_eq!(ask("/").await.unwrap().status(), 200, "{version:?}");
        go.notify_one();
        let answer = under_way.await.unwrap().unwrap();
        assert_eq!(read(answer).await.2, "finished", "{version:?}");
        assert_eq!(ask("/").await.unwrap().status(), 200, "{version:?}");
    }
}

/// A middle workload, whose handler calls on without a word about traces.
async fn chain(pki: &Pki, last: Served) -> (Mesh, Served) {
    let expected = pki.identity("default", "app").unwrap();
    let middle = build(app(pki).upstream(
        "last.default",
        [last.address],
        [expected.svid().spiffe_id().clone()],
    ))
    .await;
    let client = middle.client().clone();
    let together = Arc::new(Barrier::new(2));
    let relay = any(move |request: Request<AxumBody>| {
        let (client, together) = (client.clone(), Arc::clone(&together));
        async move {
            // Both requests are under way at once, and each moves between threads.
            together.wait().await;
            tokio::task::yield_now().await;
            let version = request.version();
            let call = Request::get("http://last.default/").version(version);
            let call = call.body(ClientBody::empty()).unwrap();
            let answer = client.request(call).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            Response::new(AxumBody::from(body))
        }
    });
    let served = serve(&middle, Router::new().fallback(relay)).await;
    (middle, served)
}

/// Says in which trace it was called, and under which span.
fn traced() -> Router {
    Router::new().fallback(any(|trace: TraceContext| async move {
        let parent = trace.parent_span_id.map(|span| span.to_string());
        format!("{} {}", trace.trace_id, parent.unwrap_or_default())
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_trace_follows_two_requests_of_one_connection_to_the_next_workload() {
    let pki = pki();
    let last = serve(&build(app(&pki)).await, traced()).await;
    let (_middle, served) = chain(&pki, last).await;
    let sender = http2(&pki, "desk", served.address).await;
    for round in 0..20 {
        let ask = |turn: u8| {
            let id = format!("{:032x}", 0xabc0_0000_u64 + u64::from(turn) + 2 * round);
            let header = format!("00-{id}-00000000000000{:02x}-01", turn + 1);
            let request = empty(get2("/").header("traceparent", header));
            let mut sender = sender.clone();
            async move {
                (
                    id,
                    read(sender.send_request(request).await.unwrap()).await.2,
                )
            }
        };
        let ((one, first), (two, second)) = tokio::join!(ask(0), ask(1));
        for (id, answer) in [(one, first), (two, second)] {
            let (trace, parent) = answer.split_once(' ').unwrap();
            assert_eq!(trace, id);
            // A span between: the client's, not the caller's own.
            assert!(
                parent.len() == 16 && !parent.starts_with("00000000000000"),
                "{parent}"
            );
        }
    }
}

/// A body that is streamed is polled as its request; what a handler spawns is not, and carries the trace by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_streamed_body_still_runs_in_its_trace() {
    let pki = pki();
    let spawned = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&spawned);
    let handler = any(move |trace: TraceContext| {
        let seen = Arc::clone(&seen);
        async move {
            let apart = tokio::spawn(async { context::current_trace().is_some() });
            let apart = apart.await.unwrap();
            seen.lock().unwrap().push(apart);
            let expected = trace.trace_id;
            let mut left = 5;
            AxumBody::from_stream(Polled(move || {
                left -= 1;
                let same = context::current_trace().map(|now| now.trace_id) == Some(expected);
                (left >= 0).then(|| Ok::<_, std::io::Error>(Bytes::from(format!("{same} "))))
            }))
        }
    });
    let served = serve(&build(app(&pki)).await, Router::new().fallback(handler)).await;
    let desk = caller(&pki, "desk", served.address).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let request = Request::get("http://app.default/").version(version);
        let response = desk
            .client()
            .request(request.body(ClientBody::empty()).unwrap())
            .await;
        let (_, _, text) = read(response.unwrap()).await;
        assert_eq!(text, "true ".repeat(5), "{version:?}");
    }
    assert_eq!(*spawned.lock().unwrap(), [false, false]);
}

/// A stream that asks, and lets others run between two answers.
struct Polled<F>(F);

impl<T, F: FnMut() -> Option<T> + Unpin> futures_core::Stream for Polled<F> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        std::task::Poll::Ready((self.0)())
    }
}

/// Both ends count a call once, and name each other.
#[tokio::test]
async fn both_reporters_count_a_call_with_both_principals() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, traced()).await;
    let desk = caller(&pki, "desk", served.address).await;
    let response = desk.client().get("http://app.default/x").await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    let principals = [
        r#"source_principal="spiffe://cluster.local/ns/default/sa/desk""#,
        r#"destination_principal="spiffe://cluster.local/ns/default/sa/app""#,
    ];
    for (mesh, reporter) in [(&mesh, "destination"), (&desk, "source")] {
        let reporter = format!(r#"reporter="{reporter}""#);
        let labels = [reporter.as_str(), principals[0], principals[1]];
        until("the count", || {
            !lines(mesh, "istio_requests_total", &labels).is_empty()
        })
        .await;
        let counted = lines(mesh, "istio_requests_total", &[]);
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert!(counted[0].ends_with(" 1"));
    }
}

/// Addresses of one upstream take turns, and one that is down is passed over.
#[tokio::test]
async fn an_address_that_is_down_is_passed_over() {
    let pki = pki();
    let served = serve(&build(app(&pki)).await, whence()).await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let expected = pki
        .identity("default", "app")
        .unwrap()
        .svid()
        .spiffe_id()
        .clone();
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .upstream("app.default", [gone, served.address], [expected.clone()])
    .upstream("gone.default", [gone], [expected]);
    let desk = build(desk).await;
    let mut connections = HashSet::new();
    for _ in 0..4 {
        let response = desk.client().get("http://app.default/").await.unwrap();
        connections.insert(read(response).await.2);
    }
    assert!(!connections.is_empty());
    let error = desk.client().get("http://gone.default/").await.unwrap_err();
    assert!(error.is_connect() && !error.is_unknown_host(), "{error}");
}
