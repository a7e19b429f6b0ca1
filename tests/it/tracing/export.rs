//! Collectors that are away, slow, or no good: no request notices, and the counts tell.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_mesh::identity::TraceServiceName;
use tower_mesh::metrics::Format;
use tower_mesh::propagation::{ExportCounts, Otlp, Propagation, Zipkin};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::collector::{Bad, Collector, bad, request, silent_port};
use crate::support::log::Log;
use crate::support::mesh::{app, build, reader};

const SOON: Duration = Duration::from_secs(20);

fn to(zipkin: &Zipkin) -> Propagation {
    Propagation::new()
        .sample_percent(100.0)
        .export_to(zipkin.clone())
}

fn all(counts: ExportCounts) -> u64 {
    let ExportCounts {
        queued,
        exported,
        dropped,
        failed,
        lost,
        ..
    } = counts;
    queued + exported + dropped + failed + lost
}

#[tokio::test]
async fn a_collector_may_be_down_at_the_start_come_and_go() {
    let (socket, address) = silent_port();
    let zipkin = Zipkin::to(&format!("http://{address}")).unwrap();
    let propagation = to(&zipkin);
    request(&propagation, &[]).await;
    assert!(zipkin.flush(SOON).await, "given up in time");
    assert_eq!(
        (zipkin.counts().failed, zipkin.counts().failed_batches),
        (2, 1)
    );

    let mut collector = Collector::on(socket.listen(16).unwrap());
    request(&propagation, &[]).await;
    assert!(zipkin.flush(SOON).await);
    assert_eq!(collector.spans().len(), 2);
    drop(collector);

    request(&propagation, &[]).await;
    assert!(zipkin.flush(SOON).await);
    let counts = zipkin.counts();
    assert_eq!((counts.failed, counts.exported, counts.queued), (4, 2, 0));
}

#[tokio::test]
async fn the_log_tells_when_it_begins_and_when_it_is_over() {
    let (log, _guard) = Log::listen(tracing::Level::INFO);
    let mut collector = Collector::start().await;
    collector.answer(400);
    let zipkin = Zipkin::to(&collector.url()).unwrap();
    let propagation = to(&zipkin);
    for status in [400, 400, 202, 202, 400] {
        collector.answer(status);
        request(&propagation, &[]).await;
        assert!(zipkin.flush(SOON).await);
    }
    let place = format!("collector=http://{}/api/v2/spans", collector.address);
    let begun = log.with(&["WARN tower_mesh::export: ", &place, "400 Bad Request"]);
    assert_eq!(begun.len(), 2, "{}", log.text());
    let over = log.with(&["INFO tower_mesh::export: ", &place, "failed=4"]);
    assert_eq!(over.len(), 1, "{}", log.text());
    assert_eq!(collector.take().len(), 5);
}

/// The requests are many more than the queue holds, and take no longer than without a collector.
#[tokio::test]
async fn a_collector_that_hangs_keeps_no_request_and_bounds_the_queue() {
    for kind in [Bad::Hangs, Bad::NeverEnds] {
        let (url, mut connections) = bad(kind).await;
        let zipkin = Zipkin::to(&url).unwrap().queue(4);
        let propagation = to(&zipkin);
        request(&propagation, &[]).await;
        // The first batch is on its way, and stays there.
        assert!(!zipkin.flush(Duration::from_millis(1)).await, "{kind:?}");
        connections.recv().await.unwrap();
        for _ in 0..50 {
            request(&propagation, &[]).await;
        }
        let counts = zipkin.counts();
        assert_eq!(counts.exported + counts.failed + counts.lost, 0, "{kind:?}");
        assert!(counts.queued <= 2 + 4, "{counts:?}");
        assert_eq!(counts.queued + counts.dropped, 102, "{counts:?}");
        let begun = Instant::now();
        assert!(!zipkin.flush(Duration::from_millis(50)).await);
        assert!(begun.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_batch_that_is_not_answered_in_time_is_given_up() {
    for kind in [Bad::Hangs, Bad::NeverEnds] {
        let (url, _connections) = bad(kind).await;
        let zipkin = Zipkin::to(&url).unwrap().timeout(Duration::from_millis(20));
        request(&to(&zipkin), &[]).await;
        assert!(zipkin.flush(SOON).await, "{kind:?}");
        let counts = zipkin.counts();
        assert_eq!((counts.failed, counts.queued), (2, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn a_collector_that_refuses_gets_a_batch_once_and_one_that_is_busy_again() {
    for (status, sent) in [(400, 1), (404, 1), (500, 1), (503, 4), (429, 4)] {
        let mut collector = Collector::start().await;
        collector.answer(status);
        let zipkin = Zipkin::to(&collector.url()).unwrap();
        let propagation = to(&zipkin);
        request(&propagation, &[]).await;
        assert!(zipkin.flush(SOON).await);
        assert_eq!(collector.take().len(), sent, "{status}");
        let counts = zipkin.counts();
        assert_eq!((counts.failed, counts.failed_batches), (2, 1), "{status}");

        collector.answer(200);
        request(&propagation, &[]).await;
        assert!(zipkin.flush(SOON).await);
        assert_eq!(zipkin.counts().exported, 2, "{status}");
    }
}

#[tokio::test]
async fn a_collector_that_answers_nonsense_fails_the_batch_alone() {
    for kind in [Bad::TalksNonsense, Bad::Closes] {
        let (url, _connections) = bad(kind).await;
        let zipkin = Zipkin::to(&url).unwrap();
        request(&to(&zipkin), &[]).await;
        assert!(zipkin.flush(SOON).await, "{kind:?}");
        assert_eq!(zipkin.counts().failed, 2, "{kind:?}");
    }
}

#[tokio::test]
async fn spans_are_sent_in_batches_without_being_asked() {
    let mut collector = Collector::start().await;
    let zipkin = Zipkin::to(&collector.url()).unwrap();
    let propagation = to(&zipkin);
    for _ in 0..300 {
        request(&propagation, &[]).await;
    }
    assert!(zipkin.flush(SOON).await);
    let batches = collector.take();
    assert!((2..=300).contains(&batches.len()), "{}", batches.len());
    assert_eq!(zipkin.counts().exported, 600);
}

#[tokio::test]
async fn the_last_handle_leaves_no_span_behind() {
    let mut collector = Collector::start().await;
    let zipkin = Zipkin::to(&collector.url()).unwrap();
    let propagation = to(&zipkin);
    request(&propagation, &[]).await;
    drop((zipkin, propagation));
    let waited = tokio::time::timeout(SOON, collector.next()).await.unwrap();
    let spans: Vec<serde_json::Value> = serde_json::from_slice(waited.body()).unwrap();
    assert_eq!(spans.len(), 2);
}

/// The task of the exporter ends with its runtime; the next runtime gets another.
#[test]
fn spans_outlive_no_runtime_and_need_one() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let zipkin = Zipkin::to("http://127.0.0.1:9").unwrap();
    let propagation = to(&zipkin);
    let first = runtime();
    first.block_on(request(&propagation, &[]));
    assert_eq!(zipkin.counts().queued, 2);
    drop(first);
    assert_eq!((zipkin.counts().queued, zipkin.counts().lost), (0, 2));

    futures_block(request(&propagation, &[]));
    assert_eq!((zipkin.counts().queued, zipkin.counts().lost), (0, 4));

    runtime().block_on(async {
        let mut collector = Collector::start().await;
        let zipkin = Zipkin::to(&collector.url()).unwrap();
        let propagation = to(&zipkin);
        let before = runtime_of_its_own(propagation.clone());
        tokio::task::spawn_blocking(before).await.unwrap();
        request(&propagation, &[]).await;
        assert!(zipkin.flush(SOON).await);
        assert_eq!(collector.spans().len(), 2);
        assert_eq!((zipkin.counts().exported, zipkin.counts().lost), (2, 2));
    });
}

fn runtime_of_its_own(propagation: Propagation) -> impl FnOnce() {
    move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(request(&propagation, &[]));
    }
}

/// Polls on a thread without any runtime; nothing here waits.
fn futures_block<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[tokio::test]
async fn a_mesh_exports_in_one_line_counts_and_sends_the_rest_at_its_end() {
    let mut collector = Collector::start().await;
    let pki = Pki::new("cluster.local").unwrap();
    let url = collector.url();
    let mesh = build(app(&pki).telemetry(|telemetry| {
        // In either order.
        let telemetry = telemetry.zipkin(&url);
        telemetry.propagation(Propagation::new().sample_percent(100.0))
    }))
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = tokio::spawn(mesh.serve_on(listener, reader()));

    let peer = tower_mesh::Peer::plaintext(
        "10.0.0.1:4711".parse().unwrap(),
        "10.0.0.2:8443".parse().unwrap(),
    );
    let request = Request::get("/").header("host", "app").extension(peer);
    let request = request.body(axum::body::Body::empty()).unwrap();
    let answer = mesh.protect(reader()).oneshot(request).await.unwrap();
    answer.into_body().collect().await.unwrap();
    let queue = "mesh_span_export_queue 1\n";
    assert!(mesh.metrics().render(Format::Text).contains(queue));

    mesh.shutdown(Duration::ZERO);
    serving.await.unwrap().unwrap();
    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0]["localEndpoint"]["serviceName"], "app.default");
    let metrics = mesh.metrics().render(Format::Text);
    for line in [
        "mesh_span_export_total{outcome=\"exported\"} 1\n",
        "mesh_span_export_total{outcome=\"dropped\"} 0\n",
        "mesh_span_export_total{outcome=\"failed\"} 0\n",
        "mesh_span_export_total{outcome=\"lost\"} 0\n",
        "mesh_span_export_queue 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

/// As MeshConfig says, unless the workload says it itself.
#[tokio::test]
async fn spans_call_the_service_as_they_are_told() {
    let pki = Pki::new("cluster.local").unwrap();
    let only = "defaultConfig: {tracingServiceName: CANONICAL_NAME_ONLY}";
    let both = Some(TraceServiceName::CanonicalNameAndNamespace);
    for (settings, chosen, expected) in [
        ("", None, "label.default"),
        (only, None, "canonical"),
        (only, both, "canonical.default"),
    ] {
        let mut collector = Collector::start().await;
        let url = collector.url();
        let workload = Workload::new("default", "app")
            .label("app", "label")
            .label("service.istio.io/canonical-name", "canonical");
        let workload = match chosen {
            Some(name) => workload.trace_service_name(name),
            None => workload,
        };
        let identity = pki.identity("default", "app").unwrap();
        let config = Fixed::yaml("none.yaml", "").mesh_config("mesh.yaml", settings);
        let builder = Mesh::builder(workload, identity).config(config);
        let mesh = build(builder.telemetry(|telemetry| {
            let telemetry = telemetry.zipkin(&url);
            telemetry.propagation(Propagation::new().sample_percent(100.0))
        }))
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = tokio::spawn(mesh.serve_on(listener, reader()));
        let request = Request::get("/").header("host", "app");
        let request = request.extension(crate::support::mesh::unproven());
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = mesh.protect(reader()).oneshot(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
        mesh.shutdown(Duration::ZERO);
        serving.await.unwrap().unwrap();
        let spans = collector.spans();
        assert_eq!(spans[0]["localEndpoint"]["serviceName"], expected);
    }
}

/// A collector that hangs keeps a server that has drained for five seconds at most, by the clock of
/// the runtime.
#[tokio::test]
async fn a_shutdown_waits_for_the_collector_no_longer_than_its_bound() {
    let (url, mut connections) = bad(Bad::Hangs).await;
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki).telemetry(|telemetry| {
        let telemetry = telemetry.propagation(Propagation::new().sample_percent(100.0));
        telemetry.otlp(&format!("{url}/v1/traces"))
    }))
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = tokio::spawn(mesh.serve_on(listener, reader()));
    let peer = tower_mesh::Peer::plaintext(
        "10.0.0.1:4711".parse().unwrap(),
        "10.0.0.2:8443".parse().unwrap(),
    );
    let request = Request::get("/").header("host", "app").extension(peer);
    let request = request.body(axum::body::Body::empty()).unwrap();
    drop(mesh.protect(reader()).oneshot(request).await.unwrap());
    mesh.shutdown(Duration::ZERO);
    connections.recv().await.unwrap();
    let begun = Instant::now();
    serving.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn a_mesh_without_an_exporter_has_no_such_metrics() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    assert!(mesh.flush_spans(Duration::ZERO).await);
    assert!(
        !mesh
            .metrics()
            .render(Format::Text)
            .contains("mesh_span_export")
    );
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_a_mistake_of_the_builder() {
    let pki = Pki::new("cluster.local").unwrap();
    let built = app(&pki)
        .telemetry(|telemetry| telemetry.otlp("collector:4317").zipkin("https://zipkin"))
        .build()
        .await;
    let error = built.unwrap_err();
    assert_eq!(
        error.mistakes(),
        [
            "MeshBuilder::telemetry: otlp: not a collector's URL: it must begin with `http://`",
            "MeshBuilder::telemetry: zipkin: not a collector's URL: `https` is not supported: send \
             to an agent on this host, with `http`",
        ]
    );
    assert_eq!(all(Otlp::to("http://c:4317").unwrap().counts()), 0);
}
