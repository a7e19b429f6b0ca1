//! A rate limit service that is down, slow, hangs or lies: what happens to requests is what the
//! limit says.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use tokio::net::TcpListener;
use tonic::Code;
use tower::ServiceExt;
use tower_mesh::message::ResponseFlags;
use tower_mesh::policy::limit::{Action, Limit, Local, ServiceLimit, TokenBucket};
use tower_mesh::rate_limit::RateLimitLayer;
use tower_mesh::testing::{Issuer, Pki};

use super::stub::{OK, OVER_LIMIT, READS, Reply, Stub, Ward, code, get, header, quota};
use crate::messages::RateLimitResponse;
use crate::support::log::Log;
use crate::support::mesh::{app, lines, pass, proven, still, until};

/// Where nothing listens.
async fn nowhere() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

fn sets(key: &str, value: &str) -> Reply {
    Reply::Answer(RateLimitResponse {
        overall_code: OK,
        request_headers_to_add: vec![header(key, value)],
        ..RateLimitResponse::default()
    })
}

fn adds(key: &str, value: &str) -> Reply {
    Reply::Answer(RateLimitResponse {
        overall_code: OK,
        response_headers_to_add: vec![header(key, value)],
        ..RateLimitResponse::default()
    })
}

const CLOSED: &str = ", failureModeDeny: true";

/// Each row of the table "dependency down" about rate limit services: with each of the settings.
#[tokio::test]
async fn without_an_answer_the_failure_mode_rules() {
    let table = [
        ("nothing listens", None),
        ("refuses the call", Some(Reply::Status(Code::Unavailable))),
        ("is exhausted", Some(Reply::Status(Code::ResourceExhausted))),
        ("does not know", Some(code(0))),
        ("answers with no code there is", Some(code(7))),
        ("hangs", Some(Reply::Hang)),
        ("sets the host", Some(sets("host", "other"))),
        (
            "sets the caller",
            Some(sets("x-forwarded-client-cert", "By=a")),
        ),
        ("sets a pseudo header", Some(sets(":path", "/admin"))),
        (
            "sets a header of Envoy",
            Some(sets("x-envoy-original-path", "/")),
        ),
        (
            "splits the request",
            Some(sets("x-plan", "a\r\nx-admin: b")),
        ),
        (
            "splits the response",
            Some(adds("x-plan", "a\r\nset-cookie: b")),
        ),
        (
            "frames the response",
            Some(adds("transfer-encoding", "chunked")),
        ),
    ];
    for (what, reply) in table {
        let address = match reply {
            Some(reply) => Stub::new(reply).await.address(),
            None => nowhere().await,
        };
        for (service, status) in [
            ("", 200),
            (CLOSED, 500),
            (", failureModeDeny: true, statusOnError: 503", 503),
        ] {
            let service = match what {
                "hangs" => format!("{service}, timeout: 10ms"),
                _ => service.to_owned(),
            };
            let ward = Ward::new(&quota(&service, READS), address).await;
            let (found, headers, body) = ward.ask(get("/")).await;
            assert_eq!((found, body.as_str()), (status, ""), "{what}{service}");
            assert!(!headers.contains_key("x-envoy-ratelimited"), "{what}");
            let seen = &ward.seen.wait(1).await[0];
            let (flags, details) = match status {
                200 => (ResponseFlags::none(), None),
                _ => (
                    ResponseFlags::RATE_LIMIT_SERVICE_ERROR,
                    Some("rate_limiter_error"),
                ),
            };
            assert_eq!(
                (seen.flags, seen.details.as_deref()),
                (flags, details),
                "{what}"
            );
            let errors = lines(&ward.mesh, "mesh_rate_limit_total", &["outcome=\"error\""]);
            assert_eq!(errors.len(), 1, "{what}");
        }
    }
}

#[tokio::test]
async fn a_host_that_the_client_does_not_know_is_told_at_the_start() {
    for (service, status) in [("", 200), (CLOSED, 500)] {
        let (log, _guard) = Log::listen(tracing::Level::WARN);
        let ward = Ward::with(&quota(service, READS), |builder| builder).await;
        assert_eq!(ward.status().await, status);
        let told = log.with(&[
            "knows no server",
            "default/quota",
            "ratelimit.platform:8081",
        ]);
        assert_eq!(told.len(), 1, "{}", log.text());
    }
}

#[tokio::test]
async fn a_grpc_caller_is_refused_in_its_own_way() {
    let stub = Stub::new(Reply::Status(Code::Internal)).await;
    let ward = Ward::new(&quota(CLOSED, READS), stub.address()).await;
    let grpc = get("/").header("content-type", "application/grpc");
    let (status, headers, _) = ward.ask(grpc).await;
    assert_eq!(
        (status, &headers["grpc-status"] == "2"),
        (200, true),
        "{headers:?}"
    );
}

/// The limit only reports: no outage refuses anything.
#[tokio::test]
async fn a_limit_that_only_reports_refuses_nothing_without_an_answer() {
    let limits = quota(CLOSED, &format!("{READS}  reportOnly: true\n"));
    let ward = Ward::new(&limits, nowhere().await).await;
    assert_eq!(ward.status().await, 200);
}

/// An answer after the deadline is nobody's: the next request gets its own.
#[tokio::test]
async fn the_deadline_is_the_shorter_of_the_limits_and_the_requests() {
    let _still = still();
    for (service, timeout) in [
        (", failureModeDeny: true, timeout: 20ms", None),
        (", failureModeDeny: true, timeout: 1h", Some("20m")),
        // No time of its own.
        (", failureModeDeny: true, timeout: 0s", Some("20m")),
        // Nobody chooses not to be counted.
        (", timeout: 1h", Some("20m")),
        ("", Some("20m")),
    ] {
        let (stub, mut cancelled) = Stub::telling(Reply::Hang).await;
        let ward = Ward::new(&quota(service, READS), stub.address()).await;
        let mut request = get("/").header("content-type", "application/grpc");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let late = async {
            until("the service to be asked", || !stub.asked().is_empty()).await;
            pass(Duration::from_secs(1)).await;
        };
        let ((_, headers, _), ()) = tokio::join!(ward.ask(request), late);
        assert_eq!(&headers["grpc-status"], "2");
        // The call has ended at the service, too.
        cancelled.recv().await.unwrap();
        stub.replies(code(OK));
        let grpc = get("/").header("content-type", "application/grpc");
        let (_, headers, _) = ward.ask(grpc).await;
        assert!(!headers.contains_key("grpc-status"), "{headers:?}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_call() {
    let (stub, mut cancelled) = Stub::telling(Reply::Hang).await;
    let ward = Ward::new(&quota(", timeout: 1h", READS), stub.address()).await;
    let request = get("/")
        .extension(proven("desk"))
        .body(Body::empty())
        .unwrap();
    let app = axum::Router::new();
    let asking = tokio::spawn(ward.mesh.protect(app).oneshot(request));
    until("the service to be asked", || !stub.asked().is_empty()).await;
    asking.abort();
    cancelled.recv().await.unwrap();
}

/// Five errors in a row, and the service is left alone for a second; then one request asks it.
#[tokio::test]
async fn a_breaker_spares_a_service_that_fails() {
    let (log, _guard) = Log::listen(tracing::Level::WARN);
    let stub = Stub::new(Reply::Status(Code::Unavailable)).await;
    let ward = Ward::new(&quota(CLOSED, READS), stub.address()).await;
    for _ in 0..20 {
        assert_eq!(ward.status().await, 500);
    }
    assert_eq!(stub.asked().len(), 5);
    assert_eq!(log.with(&["failed five times in a row"]).len(), 1);
    pass(Duration::from_secs(1)).await;
    for _ in 0..20 {
        assert_eq!(ward.status().await, 500);
    }
    assert_eq!(stub.asked().len(), 6, "one probe");
    stub.replies(code(OK));
    assert_eq!(ward.status().await, 500, "it is open");
    pass(Duration::from_secs(1)).await;
    for _ in 0..20 {
        assert_eq!(ward.status().await, 200);
    }
    assert_eq!(stub.asked().len(), 26);
    // Down later, again.
    stub.replies(Reply::Status(Code::Unavailable));
    for _ in 0..20 {
        assert_eq!(ward.status().await, 500);
    }
    assert_eq!(stub.asked().len(), 31);
}

/// It comes up after the mesh.
#[tokio::test]
async fn a_service_that_is_down_at_the_start_is_asked_once_it_is_there() {
    let stub = Stub::new(code(OK)).await;
    let address = nowhere().await;
    let ward = Ward::with(&quota(CLOSED, READS), |builder| {
        let host = tower_mesh::mesh::ExternalHost::plaintext().at([address]);
        builder.outside("ratelimit.platform:8081", host)
    })
    .await;
    assert_eq!(ward.status().await, 500);
    let upstreams = tower_mesh::mesh::Upstreams::new().outside(
        "ratelimit.platform:8081",
        tower_mesh::mesh::ExternalHost::plaintext().at([stub.address()]),
    );
    ward.mesh.replace_upstreams(upstreams).await.unwrap();
    assert_eq!(ward.status().await, 200);
}

/// A caller's own deadline says nothing about the service, and never lets its request pass.
#[tokio::test]
async fn callers_without_patience_open_no_breaker() {
    let stub = Stub::new(Reply::Hang).await;
    let ward = Ward::new(&quota("", READS), stub.address()).await;
    let hasty = || {
        get("/")
            .header("content-type", "application/grpc")
            .header("grpc-timeout", "0n")
    };
    for _ in 0..20 {
        let (_, headers, _) = ward.ask(hasty()).await;
        assert_eq!(&headers["grpc-status"], "2");
    }
    stub.replies(code(OVER_LIMIT));
    assert_eq!(ward.status().await, 429);
}

/// A refusal with headers that are not valid stays one.
#[tokio::test]
async fn a_refusal_is_sent_without_the_headers_that_it_may_not_have() {
    let reply = RateLimitResponse {
        overall_code: OVER_LIMIT,
        response_headers_to_add: vec![
            header("x-why", "a\r\nset-cookie: b"),
            header("transfer-encoding", "chunked"),
            header("x-left", "0"),
        ],
        request_headers_to_add: vec![header("host", "other")],
        ..RateLimitResponse::default()
    };
    let stub = Stub::new(Reply::Answer(reply)).await;
    let ward = Ward::new(&quota("", READS), stub.address()).await;
    for _ in 0..10 {
        let (status, headers, _) = ward.ask(get("/")).await;
        assert_eq!((status, &headers["x-left"] == "0"), (429, true));
        assert!(!headers.contains_key("x-why") && !headers.contains_key("transfer-encoding"));
    }
    assert_eq!(stub.asked().len(), 10, "the breaker is closed");
}

fn long(overall_code: i32) -> Reply {
    Reply::Answer(RateLimitResponse {
        overall_code,
        response_headers_to_add: vec![header("x-why", "a")],
        raw_body: vec![b'a'; 3 << 20],
        ..RateLimitResponse::default()
    })
}

/// An answer that is too long to be kept: what refuses does not pass, whatever the failure mode.
#[tokio::test]
async fn a_refusal_of_any_length_stays_one() {
    let (log, _guard) = Log::listen(tracing::Level::WARN);
    let stub = Stub::new(long(OVER_LIMIT)).await;
    let ward = Ward::new(&quota("", READS), stub.address()).await;
    for _ in 0..10 {
        let (status, headers, body) = ward.ask(get("/")).await;
        assert_eq!((status, body.as_str()), (429, ""));
        assert!(!headers.contains_key("x-why") && headers.contains_key("x-envoy-ratelimited"));
    }
    assert_eq!(stub.asked().len(), 10, "the breaker is closed");
    let limited = lines(
        &ward.mesh,
        "mesh_rate_limit_total",
        &["outcome=\"limited\""],
    );
    assert!(limited[0].ends_with(" 10"), "{limited:?}");
    let told = log.with(&["more than 1 MiB", "ratelimit.platform:8081"]);
    assert!(!told.is_empty(), "{}", log.text());
}

/// Its changes are not known, so that it counts as none.
#[tokio::test]
async fn a_long_answer_that_allows_is_no_answer() {
    for (service, status) in [("", 200), (CLOSED, 500)] {
        let stub = Stub::new(long(OK)).await;
        let ward = Ward::new(&quota(service, READS), stub.address()).await;
        assert_eq!(ward.status().await, status);
        let errors = lines(&ward.mesh, "mesh_rate_limit_total", &["outcome=\"error\""]);
        assert_eq!(errors.len(), 1);
    }
}

/// A limit that can never count is a mistake, and so is a second one of its name.
#[tokio::test]
async fn limits_in_rust_that_can_never_count_are_mistakes() {
    let service = |host: &str| ServiceLimit::new(host, 8081, "clinic");
    let counted = || Limit::new("a").descriptor([Action::Method]);
    let one = TokenBucket::new(1, Duration::from_secs(1));
    for (limit, piece) in [
        (Limit::new("a"), "nothing counts"),
        (counted().service(service("http://h")), "a name only"),
        (counted().service(service("h:8081")), "a name only"),
        (Limit::new("a").service(service("h")), "only descriptors"),
        (counted().service(ServiceLimit::new("h", 1, "")), "domain"),
        (counted().local(Local::default()), "no bucket"),
        (counted().descriptor([]).local(Local::new(one)), "no action"),
        (
            counted().local(Local::new(one).descriptor([("host", "")], one)),
            "no request reaches",
        ),
        (
            counted().local(Local::new(one).descriptor([], one)),
            "no request reaches",
        ),
    ] {
        let pki = Pki::new("cluster.local").unwrap();
        let error = app(&pki)
            .rate_limit(limit.clone())
            .build()
            .await
            .unwrap_err();
        assert!(error.to_string().contains(piece), "{error}");
        // In front of one service, too.
        let error = RateLimitLayer::builder().limit(limit).build().unwrap_err();
        assert_eq!(error.mistakes().len(), 1);
        assert!(error.to_string().contains(piece), "{error}");
    }
}

/// Headers of verified tokens are the token guard's, also for a request without a token: the
/// application takes them for verified.
#[tokio::test]
async fn a_service_sets_no_header_of_verified_tokens() {
    let issuer = Issuer::es256("https://login.clinic.example");
    let users = format!(
        "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users}}
spec:
  jwtRules:
  - issuer: {}
    jwks: '{}'
    outputClaimToHeaders: [{{header: x-user, claim: sub}}]
",
        issuer.name(),
        issuer.jwks(),
    );
    for (name, status) in [("x-user", 500), ("x_user", 500), ("x-plan", 200)] {
        let stub = Stub::new(sets(name, "admin")).await;
        let limits = quota(CLOSED, &format!("{READS}{users}"));
        let ward = Ward::new(&limits, stub.address()).await;
        assert_eq!(ward.status().await, status, "{name}");
    }
}
