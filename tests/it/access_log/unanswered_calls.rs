//! The lines of calls that get no response, or no whole one, and what metrics count of them.

use std::future::{Future, IntoFuture, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_mesh::access_log::{AccessLog, Side};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::Lines;
use crate::support::mesh::{app, build, lines, read, relay, serve};

const ID: &str = "spiffe://cluster.local/ns/default/sa/app";

/// Addresses of servers, by the hosts that a call names.
async fn desk(pki: &Pki, kept: &Lines, format: &str, hosts: &[(&str, SocketAddr)]) -> Mesh {
    let log = AccessLog::format(format).unwrap().to(kept.sink());
    let identity = pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .telemetry(|telemetry| telemetry.access_log(log.side(Side::Client)));
    let add = |builder: tower_mesh::MeshBuilder, (host, address): &(&str, SocketAddr)| match host {
        &"legacy.example" => builder.outside(host, ExternalHost::plaintext().at([*address])),
        host => builder.upstream(host, [*address], [ID]),
    };
    build(hosts.iter().fold(builder, add)).await
}

/// A call that has reached a server names it, whatever becomes of it.
#[tokio::test]
async fn a_call_without_a_response_names_the_server_that_it_has_reached() {
    let pki = Pki::new("cluster.local").unwrap();
    let (kept, cut, came) = (
        Lines::default(),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    );
    let (cutting, coming) = (Arc::clone(&cut), Arc::clone(&came));
    let routes = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/late", any(pending::<&str>))
        .route(
            "/left",
            any(move || {
                coming.notify_one();
                pending::<&str>()
            }),
        )
        .route(
            "/broken",
            any(move || {
                cutting.notify_waiters();
                pending::<&str>()
            }),
        );
    let served = serve(&build(app(&pki)).await, routes).await;
    let cut = relay(served.address, cut).await;
    let plain = plaintext().await;
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% \
                  %UPSTREAM_PEER_URI_SAN% %UPSTREAM_LOCAL_ADDRESS%";
    let hosts = [
        ("app.default", served.address),
        ("cut.default", cut),
        ("legacy.example", plain),
    ];
    let desk = desk(&pki, &kept, format, &hosts).await;
    // The call that is cut by its time has a connection already: a handshake may take longer.
    let first = desk.client().get("http://app.default/ok").await;
    read(first.unwrap()).await;
    kept.one().await;
    let service = |name| format!("outbound|80||{name}.default.svc.cluster.local");
    let outside = "PassthroughCluster".to_owned();
    for (uri, status, cluster, address, id) in [
        (
            "http://app.default/late",
            "504 UT",
            service("app"),
            served.address,
            ID,
        ),
        (
            "http://app.default/left",
            "0 DC",
            service("app"),
            served.address,
            ID,
        ),
        (
            "http://cut.default/broken",
            "503 UC",
            service("cut"),
            cut,
            ID,
        ),
        (
            "http://legacy.example/ok",
            "200 -",
            outside.clone(),
            plain,
            "-",
        ),
        (
            "http://legacy.example/broken",
            "503 UC",
            outside,
            plain,
            "-",
        ),
    ] {
        let call = desk.client().get(uri);
        let call = match uri.ends_with("/late") {
            true => call.timeout(Duration::from_millis(50)),
            false => call,
        };
        let mut call = Box::pin(call.into_future());
        if uri.ends_with("/left") {
            tokio::select! {
                _ = call.as_mut() => panic!("an answer"),
                () = came.notified() => drop(call),
            }
        } else if let Ok(answer) = call.await {
            read(answer).await;
        }
        let line = kept.one().await;
        let start = format!("{status} {cluster} {address} {id} 127.0.0.1:");
        assert!(line.starts_with(&start), "{line}\n{start}");
        let counted = lines(
            &desk,
            "istio_requests_total",
            &[&format!("{:?}", cluster.rsplit('|').next().unwrap())],
        );
        let principal = format!("destination_principal=\"{id}\"");
        assert!(!counted.is_empty(), "{uri}");
        let is_inside = id == ID;
        assert!(
            !is_inside || counted.iter().any(|line| line.contains(&principal)),
            "{counted:?}"
        );
    }
}

/// A server in plaintext that answers one path and breaks the connection on all others.
async fn plaintext() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                if request.starts_with(b"GET /ok ") {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

/// Envoy answers 200 to gRPC, and says in `grpc-status` what is wrong.
#[tokio::test]
async fn a_grpc_call_that_reaches_nobody_counts_as_envoys_answer_to_grpc() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let format =
        "%RESPONSE_CODE% %RESPONSE_FLAGS% %GRPC_STATUS% %GRPC_STATUS_NUMBER% %RESP(:STATUS)%";
    let desk = desk(&pki, &kept, format, &[("closed.default", closed)]).await;
    for (host, line, labels) in [
        (
            "closed.default",
            "200 UF Unavailable 14 200",
            r#"response_code="200",grpc_response_status="14",response_flags="UF""#,
        ),
        (
            "unknown.default",
            "200 NR Unimplemented 12 200",
            r#"response_code="200",grpc_response_status="12",response_flags="NR""#,
        ),
    ] {
        let call = desk.client().post(format!("http://{host}/pkg.Svc/Do"));
        let call = call.header("content-type", "application/grpc").body("x");
        assert!(call.await.is_err());
        assert_eq!(kept.one().await, line);
        let labels = [r#"request_protocol="grpc""#, labels];
        let counted = lines(&desk, "istio_requests_total", &labels);
        assert_eq!(counted.len(), 1, "{host}: {counted:?}");
    }
}

/// What expressions say of a call without an answer is what the plain labels and the log say of it.
#[tokio::test]
async fn expressions_know_the_server_that_a_call_has_reached() {
    let pki = Pki::new("cluster.local").unwrap();
    let came = Arc::new(Notify::new());
    let coming = Arc::clone(&came);
    let routes = Router::new().fallback(any(move || {
        coming.notify_one();
        pending::<&str>()
    }));
    let served = serve(&build(app(&pki)).await, routes).await;
    let resource = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
                    metadata: {name: mesh, namespace: istio-system}\n\
                    spec: {metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, tagOverrides: \
                    {reached: {value: filter_state.upstream_peer.namespace}}}]}]}\n";
    let identity = pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [served.address], [ID])
        .config(Fixed::yaml("telemetry.yaml", resource));
    let desk = build(builder).await;
    let mut call = Box::pin(desk.client().get("http://app.default/").into_future());
    tokio::select! {
        _ = call.as_mut() => panic!("an answer"),
        () = came.notified() => drop(call),
    }
    let labels = [
        r#"reached="default""#,
        r#"destination_workload_namespace="default""#,
    ];
    let counted = lines(&desk, "istio_requests_total", &labels);
    assert_eq!(counted.len(), 1, "{counted:?}");
}

/// As in Envoy, the HTTP status stands for a status of gRPC that is missing, and a call without a
/// response has no trailers.
#[tokio::test]
async fn expressions_know_the_grpc_status_that_the_log_shows() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let routes = Router::new()
        .route(
            "/whole",
            any(async || [("content-type", "application/grpc"), ("grpc-status", "5")]),
        )
        .fallback(any(async || StatusCode::IM_A_TEAPOT));
    let served = serve(&build(app(&pki)).await, routes).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let resource = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
                    metadata: {name: mesh, namespace: istio-system}\n\
                    spec: {metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, tagOverrides: \
                    {status: {value: response.grpc_status}, \
                    trailer: {value: \"response.trailers['grpc-status']\"}}}]}]}\n";
    let log = AccessLog::format("%GRPC_STATUS_NUMBER%").unwrap();
    let log = log.to(kept.sink()).side(Side::Client);
    let identity = pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [served.address], [ID])
        .upstream("closed.default", [closed], [ID])
        .config(Fixed::yaml("telemetry.yaml", resource))
        .telemetry(|telemetry| telemetry.access_log(log));
    let desk = build(builder).await;
    for (uri, content_type, line, status, trailer) in [
        (
            "http://app.default/whole",
            "application/grpc",
            "5",
            "5",
            "5",
        ),
        (
            "http://app.default/",
            "application/grpc",
            "2",
            "2",
            "unknown",
        ),
        (
            "http://closed.default/",
            "application/grpc",
            "14",
            "14",
            "unknown",
        ),
        (
            "http://app.default/",
            "text/plain",
            "-",
            "unknown",
            "unknown",
        ),
    ] {
        let call = desk.client().post(uri).header("content-type", content_type);
        if let Ok(answer) = call.body("x").await {
            read(answer).await;
        }
        assert_eq!(kept.one().await, line, "{uri}");
        let labels = [
            &*format!("status=\"{status}\""),
            &format!("trailer=\"{trailer}\""),
        ];
        let counted = lines(&desk, "istio_requests_total", &labels);
        assert_eq!(counted.len(), 1, "{uri}: {counted:?}");
    }
}

/// A body that breaks when it is told.
struct Breaking(Option<Pin<Box<dyn Future<Output = ()> + Send>>>, bool);

impl Body for Breaking {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if !std::mem::replace(&mut self.1, true) {
            return Poll::Ready(Some(Ok(Frame::data("begun".into()))));
        }
        let told = self.0.as_mut().unwrap().as_mut();
        told.poll(cx).map(|()| Some(Err("broken")))
    }
}

/// HTTP/2 says how a stream ends; to HTTP/1 an early end is against the protocol.
#[tokio::test]
async fn a_response_that_breaks_says_how() {
    let pki = Pki::new("cluster.local").unwrap();
    let (kept, heard) = (Lines::default(), Arc::new(Notify::new()));
    let hearing = Arc::clone(&heard);
    let broken = any(async move || {
        let told = Box::pin(async move { hearing.notified().await });
        axum::body::Body::new(Breaking(Some(told), false))
    });
    let served = serve(&build(app(&pki)).await, Router::new().fallback(broken)).await;
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_PROTOCOL%";
    let desk = desk(&pki, &kept, format, &[("app.default", served.address)]).await;
    let reset = "upstream_reset_after_response_started";
    for (version, flag, why) in [
        (Version::HTTP_11, "UPE", "protocol_error"),
        (Version::HTTP_2, "UR", "remote_reset"),
    ] {
        let call = desk.client().get("http://app.default/").version(version);
        let mut body = call.await.unwrap().into_body();
        assert!(body.frame().await.unwrap().is_ok());
        heard.notify_one();
        assert!(body.frame().await.unwrap().is_err());
        let protocol = if version == Version::HTTP_2 {
            "HTTP/2"
        } else {
            "HTTP/1.1"
        };
        let line = format!("200 {flag} {reset}{{{why}}} {protocol}");
        assert_eq!(kept.one().await, line);
        let flags = format!("response_flags=\"{flag}\"");
        let counted = lines(&desk, "istio_requests_total", &[&flags]);
        assert_eq!(counted.len(), 1, "{counted:?}");
    }
}

/// Of a name of two labels outside the mesh no service is made.
#[tokio::test]
async fn a_host_outside_the_mesh_counts_as_such() {
    let pki = Pki::new("cluster.local").unwrap();
    let (kept, plain) = (Lines::default(), plaintext().await);
    let format = "%RESPONSE_CODE% %UPSTREAM_CLUSTER%";
    let desk = desk(&pki, &kept, format, &[("legacy.example", plain)]).await;
    let answer = desk.client().get("http://legacy.example/ok").await.unwrap();
    assert_eq!(read(answer).await.0, 200);
    assert_eq!(kept.one().await, "200 PassthroughCluster");
    let labels = [
        r#"destination_service="legacy.example""#,
        r#"destination_service_name="PassthroughCluster""#,
        r#"destination_service_namespace="unknown""#,
    ];
    let counted = lines(&desk, "istio_requests_total", &labels);
    assert_eq!(counted.len(), 1, "{counted:?}");
}

/// As in Envoy, the HTTP status stands for a status of gRPC that is missing.
#[tokio::test]
async fn a_grpc_call_without_a_status_is_logged_by_its_http_status() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let routes = Router::new().fallback(any(async || StatusCode::SERVICE_UNAVAILABLE));
    let served = serve(&build(app(&pki)).await, routes).await;
    let format = "%RESPONSE_CODE% %GRPC_STATUS% %GRPC_STATUS_NUMBER%";
    let desk = desk(&pki, &kept, format, &[("app.default", served.address)]).await;
    for (content_type, expected) in [
        ("application/grpc", "503 Unavailable 14"),
        ("text/plain", "503 - -"),
    ] {
        let call = desk.client().post("http://app.default/pkg.Svc/Do");
        let answer = call.header("content-type", content_type).body("x").await;
        read(answer.unwrap()).await;
        assert_eq!(kept.one().await, expected);
    }
}
