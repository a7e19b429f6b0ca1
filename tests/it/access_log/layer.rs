//! The lines of services without a mesh.

use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::access_log::{AccessLog, AccessLogLayer, AccessLogs, Side, Sink};

use super::Lines;
use crate::support::mesh::unproven;

fn request() -> Request<Full<Bytes>> {
    let request = Request::get("/a?b").header("host", "app");
    request.extension(unproven()).body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_server_writes_the_sidecars_line() {
    let kept = Lines::default();
    let log = AccessLog::text().to(kept.sink());
    let service =
        AccessLogLayer::new(AccessLogs::server([log])).layer(service_fn(async |_: Request<_>| {
            Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("ok")))
        }));
    let response = service.oneshot(request()).await.unwrap();
    response.into_body().collect().await.unwrap();
    let line = kept.one().await;
    let (time, rest) = line.split_once("] ").unwrap();
    assert_eq!(time.len(), "[2026-11-23T18:11:28.767Z".len());
    assert_eq!(
        rest,
        "\"GET /a?… HTTP/1.1\" 200 - via_upstream - \"-\" 0 2 0 0 \"-\" \"-\" \"-\" \"app\" \"-\" \
         inbound|2|| - 10.0.0.2:2 10.0.0.1:1 - default"
    );
}

#[tokio::test]
async fn a_service_that_fails_or_is_left_has_a_line_too() {
    let kept = Lines::default();
    let fails =
        service_fn(async |_: Request<_>| Err::<Response<Full<Bytes>>, _>(io::Error::other("no")));
    for (logs, expected) in [
        (
            AccessLogs::server([kept.log()]),
            "0 UC upstream_reset_before_response_started{connection_termination} 0/0",
        ),
        (
            AccessLogs::client([kept.log().side(Side::Client)]),
            "503 UC upstream_reset_before_response_started{connection_termination} 0/0",
        ),
    ] {
        let service = AccessLogLayer::new(logs).layer(fails);
        service.oneshot(request()).await.unwrap_err();
        let line = kept.one().await;
        assert_eq!(line, format!("HTTP/1.1 GET app/a?… {expected}"));
    }
    let hangs = service_fn(|_: Request<_>| {
        std::future::pending::<Result<Response<Full<Bytes>>, io::Error>>()
    });
    let logs = AccessLogs::server([kept.log(), kept.log().side(Side::Client)]);
    drop(AccessLogLayer::new(logs).layer(hangs).oneshot(request()));
    kept.take(0).await;
}

/// A sink that cannot write costs no request anything.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_no_concern_of_requests() {
    let sink = Sink::file("/dev/full").unwrap();
    let log = AccessLog::text().to(sink.clone());
    let layer = AccessLogLayer::new(AccessLogs::server([log]));
    for _ in 0..10 {
        let service = layer.layer(service_fn(async |_: Request<_>| {
            Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("ok")))
        }));
        let response = service.oneshot(request()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let flushed = tokio::task::spawn_blocking({
        let sink = sink.clone();
        move || sink.flush(std::time::Duration::from_secs(20))
    });
    assert!(flushed.await.unwrap());
    assert_eq!((sink.failed_lines(), sink.written_lines()), (10, 0));
}
