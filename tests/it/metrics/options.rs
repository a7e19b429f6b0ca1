//! What a registry can be told.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, request};
use tower_mesh::Workload;
use tower_mesh::message::{ByteCount, End};
use tower_mesh::metrics::Registry;

use super::text;
use crate::support::mesh::unproven;

fn workload() -> Workload {
    Workload::new("default", "app").service("app", 2)
}

fn head(request: request::Builder) -> request::Parts {
    request.body(()).unwrap().into_parts().0
}

fn bounds(text: &str, name: &str) -> Vec<String> {
    let bucket = format!("{name}_bucket{{");
    let lines = text.lines().filter(|line| line.starts_with(&bucket));
    lines
        .map(|line| {
            let (_, le) = line.split_once("le=\"").unwrap();
            le.replace("\"}", "")
        })
        .collect()
}

#[test]
fn chosen_buckets_take_the_place_of_istios() {
    let registry = Registry::builder()
        .buckets("istio_request_duration", [1.0, 2.5, 100.0])
        .build()
        .unwrap();
    let metrics = registry.server(&workload());
    let now = Instant::now();
    for milliseconds in [0, 2, 3, 500] {
        let mut head = head(Request::get("/"));
        let record = metrics.begin(&mut head, None, ByteCount::default(), now);
        record.finish(End::cancelled(), now + Duration::from_millis(milliseconds));
    }
    let text = text(&registry);
    let expected = ["1 1", "2.5 2", "100 3", "+Inf 4"];
    assert_eq!(
        bounds(&text, "istio_request_duration_milliseconds"),
        expected
    );
    assert_eq!(bounds(&text, "istio_request_bytes").len(), 20);
    assert!(
        text.contains("istio_request_duration_milliseconds_sum{"),
        "{text}"
    );
}

#[test]
fn the_reporting_interval_says_when_messages_are_added() {
    let registry = Registry::builder()
        .reporting_interval(Duration::from_secs(1))
        .build()
        .unwrap();
    let metrics = registry.server(&workload());
    let now = Instant::now();
    let mut head = head(Request::post("/s/m").header("content-type", "application/grpc"));
    let mut record = metrics.begin(&mut head, None, ByteCount::default(), now);
    let sent = || {
        let text = text(&registry);
        let line = text
            .lines()
            .find(|line| line.starts_with("istio_response_messages_total{"));
        line.map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
    };
    record.progressed(3, now + Duration::from_millis(999));
    assert_eq!(sent(), None);
    record.progressed(4, now + Duration::from_secs(1));
    assert_eq!(sent().as_deref(), Some("4"));
}

#[test]
fn metadata_of_a_peer_in_plaintext_counts_only_where_that_is_chosen() {
    let web = Workload::new("shop", "web")
        .name("web-v1")
        .label("app", "web");
    let mut sent = head(Request::get("http://app.default/"));
    let _ = Registry::new()
        .client(&web)
        .begin(&mut sent, ByteCount::default(), Instant::now());
    let seen = |registry: Registry| {
        let metrics = registry.server(&workload());
        let mut received = head(Request::get("/"));
        received.headers = sent.headers.clone();
        let now = Instant::now();
        let record = metrics.begin(&mut received, Some(&unproven()), ByteCount::default(), now);
        assert!(!received.headers.contains_key("x-envoy-peer-metadata"));
        record.finish(End::cancelled(), now);
        text(&registry)
    };
    let usual = seen(Registry::new());
    assert!(usual.contains("source_workload=\"unknown\""), "{usual}");
    let chosen = Registry::builder()
        .read_metadata_of_plaintext_peers()
        .build()
        .unwrap();
    let chosen = seen(chosen);
    assert!(chosen.contains("source_workload=\"web-v1\""), "{chosen}");
    assert!(
        chosen.contains("source_workload_namespace=\"shop\""),
        "{chosen}"
    );
    assert!(
        chosen.contains("connection_security_policy=\"none\""),
        "{chosen}"
    );
}

#[test]
fn a_label_that_is_named_goes_to_peers() {
    let registry = Registry::builder().metadata_label("team").build().unwrap();
    let workload = workload().label("team", "blue").label("tier", "back");
    let mut sent = head(Request::get("http://app.default/"));
    let _ = registry
        .client(&workload)
        .begin(&mut sent, ByteCount::default(), Instant::now());
    let value = STANDARD
        .decode(&sent.headers["x-envoy-peer-metadata"])
        .unwrap();
    let value = String::from_utf8_lossy(&value);
    assert!(value.contains("team") && value.contains("blue"), "{value}");
    assert!(!value.contains("tier"), "{value}");
}
