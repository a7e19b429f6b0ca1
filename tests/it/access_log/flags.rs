//! The response flags: what the room that saw it says, in the log, the metrics and the span alike.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_mesh::access_log::Side;
use tower_mesh::mesh::{ClientBody, ExternalHost, HttpLimits};
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Acceptor, Credentials, Lifetimes, Protocol, Settings};
use tower_mesh::{Mesh, Workload};

use super::Lines;
use crate::support::mesh::{app, build, dial, lines, pass_until, serve, still};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn echo() -> Router {
    Router::new().fallback(any(|body: String| async move { body }))
}

/// What hyper refuses by itself never reaches a service.
#[tokio::test]
async fn a_head_that_cannot_be_read_leaves_one_line() {
    let (pki, kept) = (pki(), Lines::default());
    let log = kept.log();
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.access_log(log))).await;
    let served = serve(&mesh, echo()).await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1024 * 1024));
    for (head, status) in [
        ("\x01nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: app\r\nbad header\r\n\r\n", 400),
        (&*long, 431),
    ] {
        let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
        // The server may close before all is read.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let line = format!("HTTP/1.1 - -- {status} DPE http1.codec_error 0/0");
        assert_eq!(kept.one().await, line);
    }
    for (code, count) in [("400", " 2"), ("431", " 1")] {
        let code = format!("response_code=\"{code}\"");
        let counted = lines(
            &mesh,
            "istio_requests_total",
            &[&code, "response_flags=\"DPE\""],
        );
        assert!(
            counted.len() == 1 && counted[0].ends_with(count),
            "{counted:?}"
        );
        assert!(counted[0].contains("/sa/desk"), "{counted:?}");
    }
}

/// The request has a line of its own, whatever the application answers then.
#[tokio::test]
async fn a_body_that_breaks_off_says_why() {
    let (pki, kept) = (pki(), Lines::default());
    let log = kept.log();
    let mut limits = HttpLimits::default();
    limits.body_idle = Duration::from_millis(50);
    let builder = app(&pki).listener(|listener| listener.http(limits));
    let mesh = build(builder.telemetry(|telemetry| telemetry.access_log(log))).await;
    let served = serve(&mesh, echo()).await;
    let head = "POST / HTTP/1.1\r\nhost: app\r\n";
    for (rest, leaves, flag) in [
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", false, "DPE"),
        ("content-length: 5\r\n\r\nab", false, "SI"),
        ("content-length: 5\r\n\r\nab", true, "DC"),
    ] {
        let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
        let request = format!("{head}{rest}");
        stream.write_all(request.as_bytes()).await.unwrap();
        if leaves {
            drop(stream);
        } else {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }
        let line = kept.one().await;
        let flags = line.split(' ').nth(4);
        assert_eq!(flags, Some(flag), "{line}");
    }
}

/// Of two HTTP/2 streams that are reset the connection stays; it counts another way than its end.
#[tokio::test]
async fn a_reset_stream_is_told_from_a_lost_connection() {
    let (pki, kept) = (pki(), Lines::default());
    let log = kept.log();
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.access_log(log))).await;
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    let late = Router::new().fallback(any(async move || {
        told.notify_one();
        std::future::pending::<&str>().await
    }));
    let served = serve(&mesh, late).await;
    let stream = dial(&pki, "desk", served.address, Protocol::Http2).await;
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(async move { drop(connection.await) });
    let mut sender = sender.ready().await.unwrap();
    let mut ask = |path: &str| {
        let request = Request::get(format!("http://app.default{path}"));
        let request = request.version(Version::HTTP_2).body(()).unwrap();
        sender.send_request(request, true).unwrap()
    };
    let (answer, mut stream) = ask("/reset");
    came.notified().await;
    stream.send_reset(h2::Reason::CANCEL);
    assert_eq!(
        kept.one().await,
        "HTTP/2 GET app.default/reset 0 DR http2.remote_reset 0/0"
    );
    drop(answer);
    let left = ask("/left");
    came.notified().await;
    connection.abort();
    assert_eq!(
        kept.one().await,
        "HTTP/2 GET app.default/left 0 DC downstream_remote_disconnect 0/0"
    );
    drop(left);
    for flag in ["DR", "DC"] {
        let flag = format!("response_flags=\"{flag}\"");
        let counted = lines(
            &mesh,
            "istio_requests_total",
            &["response_code=\"0\"", &flag],
        );
        assert_eq!(counted.len(), 1, "{flag}: {counted:?}");
    }
}

/// A connection that its client breaks ends all of its streams; none of them was reset by itself.
#[tokio::test]
async fn a_broken_connection_is_told_from_a_reset_stream() {
    let (pki, kept) = (pki(), Lines::default());
    let log = kept.log();
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.access_log(log))).await;
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    let late = Router::new().fallback(any(async move || {
        told.notify_one();
        std::future::pending::<&str>().await
    }));
    let served = serve(&mesh, late).await;
    let mut stream = dial(&pki, "desk", served.address, Protocol::Http2).await;
    let frame = |kind: u8, flags: u8, id: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, id][..], payload].concat()
    };
    // GET, http, /, and the literal :authority.
    let head = [&[0x82, 0x86, 0x84, 0x41, 11][..], b"app.default"].concat();
    let opening = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(4, 0, 0, &[]),
        &frame(1, 5, 1, &head),
    ];
    stream.write_all(&opening.concat()).await.unwrap();
    came.notified().await;
    // A frame of data that is of no stream. The client stays.
    stream.write_all(&frame(0, 0, 0, b"x")).await.unwrap();
    assert_eq!(
        kept.one().await,
        "HTTP/2 GET app.default/ 0 DPE http2.violation.of.messaging.rule 0/0"
    );
    drop(stream);
}

/// What a server does to the streams that it gets.
#[derive(Clone, Copy)]
enum Does {
    Resets(h2::Reason),
    TalksNonsense,
    Closes,
    Waits,
}

async fn server(pki: &Pki, does: Does) -> SocketAddr {
    let identity = pki.identity("default", "app").unwrap();
    let acceptor = Acceptor::new(Credentials::new(&identity, Settings::default()).unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, remote)) = socket.accept().await {
            let (mut stream, _) = acceptor.accept(tcp, remote, address).await.unwrap();
            match does {
                Does::Resets(reason) => {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        respond.send_reset(reason);
                    }
                }
                Does::TalksNonsense => {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(b"what is this\r\n\r\n").await;
                }
                Does::Closes => {
                    let _ = stream.read(&mut [0; 1024]).await;
                }
                Does::Waits => {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut held = Vec::new();
                    while let Some(Ok(request)) = connection.accept().await {
                        held.push(request);
                    }
                }
            }
        }
    });
    address
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

async fn desk(pki: &Pki, kept: &Lines, servers: &[SocketAddr]) -> Mesh {
    let identity = pki.identity("default", "desk").unwrap();
    let log = kept.log().side(Side::Client);
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream(
            "app.default",
            servers.iter().copied(),
            ["spiffe://cluster.local/ns/default/sa/app"],
        )
        .telemetry(|telemetry| telemetry.access_log(log));
    build(builder).await
}

/// A body whose source fails.
struct Failing;

impl Body for Failing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("the source is gone"))))
    }
}

/// The body of a call that its own caller cannot deliver.
#[tokio::test]
async fn a_call_that_we_reset_ourselves_says_so() {
    let (pki, kept) = (pki(), Lines::default());
    let waits = server(&pki, Does::Waits).await;
    let desk = desk(&pki, &kept, &[waits]).await;
    let call = Request::post("http://app.default/x").version(Version::HTTP_2);
    let error = desk.client().request(call.body(Failing).unwrap()).await;
    assert_eq!(error.unwrap_err().flags().to_string(), "LR");
    let line = kept.one().await;
    let expected = "POST app.default/x 503 LR \
                    upstream_reset_before_response_started{local_reset} ";
    assert!(line.contains(expected), "{line}");
    let counted = lines(&desk, "istio_requests_total", &["response_flags=\"LR\""]);
    assert_eq!(counted.len(), 1, "{counted:?}");
}

/// `UH`: DNS knows no address, as was asked in advance. `DF`: it gives none for this call.
#[tokio::test]
async fn calls_without_an_address_say_why() {
    let (pki, kept) = (pki(), Lines::default());
    let identity = pki.identity("default", "desk").unwrap();
    let log = kept.log().side(Side::Client);
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream(
            "lost.default",
            ["lost.invalid:8443"],
            ["spiffe://cluster.local/ns/default/sa/app"],
        )
        .outside("gone.invalid", ExternalHost::plaintext())
        .telemetry(|telemetry| telemetry.access_log(log));
    let desk = build(builder).await;
    for (host, flags) in [("lost.default", "UH"), ("gone.invalid", "DF")] {
        let call = desk.client().get(format!("http://{host}/x"));
        assert_eq!(call.await.unwrap_err().flags().to_string(), flags);
        let line = kept.one().await;
        let expected = format!("GET {host}/x 503 {flags} no_healthy_upstream 0/0");
        assert!(line.ends_with(&expected), "{line}\n{expected}");
        let flags = format!("response_flags=\"{flags}\"");
        let counted = lines(&desk, "istio_requests_total", &[&flags]);
        assert_eq!(counted.len(), 1, "{flags}: {counted:?}");
    }
}

/// A connection may end while a handler is at work: its notice has passed.
#[tokio::test]
async fn a_request_that_outlives_its_connection_says_so() {
    let (pki, kept) = (pki(), Lines::default());
    let log = kept.log();
    let mut lifetimes = Lifetimes::default();
    (lifetimes.max_age, lifetimes.cut) = (Duration::from_secs(60), Duration::from_secs(30));
    let builder = app(&pki).lifetimes(lifetimes);
    let mesh = build(builder.telemetry(|telemetry| telemetry.access_log(log))).await;
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    let late = Router::new().fallback(any(async move || {
        told.notify_one();
        std::future::pending::<&str>().await
    }));
    let served = serve(&mesh, late).await;
    let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
    let head = b"GET /late HTTP/1.1\r\nhost: app.default\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream.flush().await.unwrap();
    came.notified().await;
    let _still = still();
    pass_until("the cut", || !kept.0.lock().unwrap().is_empty()).await;
    assert_eq!(
        kept.one().await,
        "HTTP/1.1 GET app.default/late 0 DT duration_timeout 0/0"
    );
    let counted = lines(&mesh, "istio_requests_total", &["response_flags=\"DT\""]);
    assert_eq!(counted.len(), 1, "{counted:?}");
    drop(stream);
}

/// Row 26, and the other ways of a call to fail. `URX` stands before the flag of the last try.
#[tokio::test]
async fn calls_that_fail_say_how() {
    let pki = pki();
    let reset = "upstream_reset_before_response_started";
    let refused = "remote_connection_failure|delayed_connect_error:_Connection_refused";
    let [one, other] = [nobody().await, nobody().await];
    for (servers, version, code, flags, details) in [
        (vec![one], Version::HTTP_11, 503, "UF", refused),
        (vec![one, other], Version::HTTP_11, 503, "URX,UF", refused),
        (
            vec![server(&pki, Does::Resets(h2::Reason::INTERNAL_ERROR)).await],
            Version::HTTP_2,
            503,
            "UR",
            "remote_reset",
        ),
        (
            vec![server(&pki, Does::Resets(h2::Reason::REFUSED_STREAM)).await],
            Version::HTTP_2,
            503,
            "URX,UR",
            "remote_refused_stream_reset",
        ),
        (
            vec![server(&pki, Does::TalksNonsense).await],
            Version::HTTP_11,
            502,
            "UPE",
            "protocol_error",
        ),
        (
            vec![server(&pki, Does::Closes).await],
            Version::HTTP_11,
            503,
            "UC",
            "connection_termination",
        ),
    ] {
        let kept = Lines::default();
        let desk = desk(&pki, &kept, &servers).await;
        let call = Request::post("http://app.default/x").version(version);
        let call = call.body(ClientBody::from("hello")).unwrap();
        let error = desk.client().request(call).await.unwrap_err();
        assert_eq!(error.flags().to_string(), flags);
        assert_eq!(error.status(), code, "{flags}");
        let line = kept.one().await;
        let expected = format!("POST app.default/x {code} {flags} {reset}{{{details}}} ");
        assert!(line.contains(&expected), "{line}\n{expected}");
        let labels = [
            "reporter=\"source\"".to_owned(),
            format!("response_code=\"{code}\""),
            format!("response_flags=\"{flags}\""),
            "destination_workload=\"unknown\"".to_owned(),
            "destination_service=\"app.default.svc.cluster.local\"".to_owned(),
        ];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let counted = lines(&desk, "istio_requests_total", &labels);
        assert_eq!(counted.len(), 1, "{flags}: {counted:?}");
    }
}
