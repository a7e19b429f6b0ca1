//! The strict parser of Prometheus' Python client.

use serde_json::Value;
use tower_mesh::metrics::Format;

use super::traffic::Traffic;
use crate::tool;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_strict_parser_reads_our_openmetrics_and_its_exemplars() {
    let Some(python) = tool::find("openmetrics-python") else {
        return;
    };
    let traffic = Traffic::start().await;
    traffic.send().await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/peers/prometheus/openmetrics.py"
    );
    for text in traffic.both(Format::OpenMetrics) {
        let said = tool::run(&python, &[script], &text).await;
        assert_eq!(said.code, Some(0), "{}", said.text);
        let read: Value = serde_json::from_str(&said.text).unwrap();
        for (family, kind) in [
            ("istio_requests", "counter"),
            ("istio_request_duration_milliseconds", "histogram"),
            ("istio_request_bytes", "histogram"),
            ("istio_response_bytes", "histogram"),
            ("istio_build", "gauge"),
        ] {
            assert_eq!(read["families"][family], kind, "{family}");
        }
        for sample in [
            "istio_requests_total",
            "istio_request_duration_milliseconds_bucket",
        ] {
            let exemplar = &read["exemplars"][sample][0];
            assert_eq!(exemplar["labels"]["trace_id"].as_str().unwrap().len(), 32);
            assert_eq!(exemplar["labels"]["span_id"].as_str().unwrap().len(), 16);
            assert!(
                exemplar["timestamp"].as_f64().unwrap() > 1.7e9,
                "{exemplar}"
            );
        }
    }
}

/// So that a silent pass of everything would be seen.
#[tokio::test]
async fn the_strict_parser_refuses_what_is_wrong() {
    let Some(python) = tool::find("openmetrics-python") else {
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/peers/prometheus/openmetrics.py"
    );
    let said = tool::run(&python, &[script], "# TYPE a counter\na_total 1\n").await;
    assert_ne!(said.code, Some(0), "there is no # EOF");
}
