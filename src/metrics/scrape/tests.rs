//! What a scraper sees.

use std::pin::Pin;
use std::task::Waker;
use std::time::{Duration, Instant};

use http_body::Body;

use super::*;
use crate::Workload;
use crate::message::{ByteCount, End, ResponseFlags, Watch as _};

/// A registry with a call in, a call out, a connection and a counter.
fn eventful() -> Registry {
    let registry = Registry::new();
    let workload = Workload::new("default", "patients").service("patients", 8443);
    let start = Instant::now();
    let later = start + Duration::from_micros(400);

    let server = registry.server(&workload);
    let (mut request, ()) = Request::get("/").body(()).unwrap().into_parts();
    let mut record = server.begin(&mut request, None, ByteCount::default(), start);
    record.answered(&mut Response::new(()).into_parts().0);
    record.finish(End::cancelled(), later);

    let client = registry.client(&workload);
    let request = Request::get("http://charts.default/").body(());
    let (mut request, ()) = request.unwrap().into_parts();
    let mut record = client.begin(&mut request, ByteCount::default(), start);
    let flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.extensions_mut().insert(flags);
    record.answered(&mut response.into_parts().0);
    record.finish(End::failed(), start + Duration::from_secs(2));
    drop(client.connection("db.default", None));

    registry
        .counter("mesh_loads_total", "Loads.", &[("result", "a\"b\\c\nd")])
        .add(1);
    registry
}

fn get(accept: Option<&str>) -> Response<String> {
    let mut request = Request::get(PATH).body(()).unwrap();
    if let Some(accept) = accept {
        request
            .headers_mut()
            .insert(header::ACCEPT, accept.parse().unwrap());
    }
    Scrape::new(eventful()).respond(&request).map(text)
}

/// The whole of a body that waits for nothing.
fn text(mut body: ScrapeBody) -> String {
    let mut cx = Context::from_waker(Waker::noop());
    let mut text = String::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => {
                let piece = frame.unwrap().into_data().unwrap();
                text.push_str(std::str::from_utf8(&piece).unwrap());
            }
            Poll::Ready(None) => return text,
            // Other tasks have their turn.
            Poll::Pending => {}
        }
    }
}

#[test]
fn the_text_format_is_what_a_sidecar_writes() {
    let response = get(None);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = response.body();
    for line in [
        "# TYPE istio_requests_total counter\n",
        "# TYPE istio_request_duration_milliseconds histogram\n",
        "# TYPE istio_request_bytes histogram\n",
        "# TYPE istio_response_bytes histogram\n",
        "# TYPE istio_tcp_connections_opened_total counter\n",
        "# TYPE istio_build gauge\n",
    ] {
        assert_eq!(text.matches(line).count(), 1, "{line}");
    }
    assert!(text.contains("istio_build{component=\"proxy\",tag=\"tower-mesh-"));
    assert!(text.contains("mesh_loads_total{result=\"a\\\"b\\\\c\\nd\"} 1\n"));
    assert!(!text.contains("# EOF"));
}

/// Case 29 of the telemetry specification.
#[test]
fn a_request_of_less_than_a_millisecond_counts_from_the_first_bucket_on() {
    let response = get(None);
    let buckets: Vec<_> = response
        .body()
        .lines()
        .filter(|line| line.starts_with("istio_request_duration_milliseconds"))
        .filter(|line| line.contains("reporter=\"destination\""))
        .collect();
    assert_eq!(buckets.len(), 22);
    for line in &buckets[..20] {
        assert!(line.ends_with("\"} 1"), "{line}");
    }
    assert!(buckets[20].contains("_sum{") && buckets[20].ends_with("} 0"));
    assert!(buckets[21].contains("_count{") && buckets[21].ends_with("} 1"));
}

/// Case 26 of the telemetry specification, without the retry.
#[test]
fn a_call_that_never_arrived_still_names_its_service() {
    let response = get(None);
    let line = response
        .body()
        .lines()
        .find(|line| line.starts_with("istio_requests_total{reporter=\"source\""))
        .unwrap();
    for label in [
        "destination_service=\"charts.default.svc.cluster.local\"",
        "destination_workload=\"unknown\"",
        "response_code=\"503\"",
        "response_flags=\"UF\"",
    ] {
        assert!(line.contains(label), "{label} in {line}");
    }
}

#[test]
fn open_metrics_is_written_to_who_asks_for_it() {
    let response = get(Some("application/openmetrics-text; version=1.0.0"));
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = response.body();
    assert!(text.contains("# TYPE istio_requests counter\n"));
    assert!(text.contains("\nistio_requests_total{reporter="));
    assert!(text.contains(",le=\"1\"} "));
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn only_get_and_head_are_answered() {
    let scrape = Scrape::new(eventful());
    let head = scrape.respond(&Request::head(PATH).body(()).unwrap());
    assert_eq!(head.status(), StatusCode::OK);
    assert!(text(head.into_body()).is_empty());
    let post = scrape.respond(&Request::post(PATH).body(()).unwrap());
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(post.headers()[header::ALLOW], "GET, HEAD");
}
