//! A trail in an OpenTelemetry collector.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_mesh::audit::{Audit, PublicKeys, SigningKey, Trail, Verify};

use super::PATIENCE;
use super::clinic::{Clinic, SetClock, ask};
use crate::access_log::collectors::{body, over_grpc, over_http, shown};
use crate::support::mesh::{pass, still};

/// Verifies what a collector has got, one of each number, and returns how many records it had.
fn verified(records: &[LogRecord], keys: PublicKeys) -> u64 {
    let of = |record: &LogRecord, name| shown(&record.attributes, name).unwrap();
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| of(record, "audit.seq").parse::<u64>().unwrap());
    records.dedup_by_key(|record| of(record, "audit.seq"));
    let folder = tempfile::tempdir().unwrap();
    let stream = of(records[0], "audit.stream");
    let lines: String = records.iter().map(|record| body(record) + "\n").collect();
    let name = format!("20260102T030405.000006Z-{stream}-000001.jsonl");
    std::fs::write(folder.path().join(name), lines).unwrap();
    let report = Verify::new(folder.path()).keys(keys).run().unwrap();
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.open_intents(), 0, "{report}");
    report.records()
}

fn records(request: ExportLogsServiceRequest) -> Vec<LogRecord> {
    let resources = request.resource_logs.into_iter();
    let scopes = resources.flat_map(|resource| {
        let attributes = resource.resource.unwrap().attributes;
        assert_eq!(
            shown(&attributes, "service.name").as_deref(),
            Some("app.default")
        );
        resource.scope_logs
    });
    scopes.flat_map(|scope| scope.log_records).collect()
}

#[tokio::test]
async fn what_a_collector_has_got_verifies_as_a_trail() {
    for (url, mut exports) in [over_http().await, over_grpc().await] {
        let key = SigningKey::random("k").unwrap();
        let keys = PublicKeys::from_iter([key.public()]);
        let trail = Trail::otlp(&url).unwrap().signer(key);
        let clinic = Clinic::new(|audit| audit.trail(trail)).await;
        for _ in 0..3 {
            assert_eq!(clinic.ask().await, 200, "{url}");
        }
        assert_eq!(clinic.handled(), 3);
        assert!(clinic.mesh.stop_audit(PATIENCE).await);
        let mut got = Vec::new();
        while let Ok(request) = exports.try_recv() {
            got.extend(records(request));
        }
        // Start, configuration, identity, three of two, stop, and the checkpoint over all.
        assert_eq!(verified(&got, keys), 11);
        let intent = got
            .iter()
            .find(|one| body(one).contains("\"intent\""))
            .unwrap();
        assert_eq!(intent.event_name, "tower_mesh.audit.access");
        assert_eq!(shown(&intent.attributes, "audit.type").unwrap(), "access");
        let trace: String = intent
            .trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(
            body(intent).contains(&format!("\"trace\":\"{trace}\"")),
            "{trace}"
        );
        let name = clinic
            .mesh
            .audit()
            .unwrap()
            .counters()
            .next()
            .unwrap()
            .name()
            .to_owned();
        assert!(url.starts_with(name.trim_end_matches('/')), "{name}");
    }
}

/// What a collector does with a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Takes,
    Rejects,
    Answers(u16),
    /// It takes the batch, and the answer is lost.
    Loses,
    /// It waits until it is told.
    Hangs,
}

#[derive(Clone)]
struct Collector {
    does: Arc<Mutex<Does>>,
    got: Arc<Mutex<Vec<LogRecord>>>,
    is_asked: Arc<Notify>,
    goes_on: Arc<Notify>,
    url: String,
}

impl Collector {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            does: Arc::new(Mutex::new(Does::Takes)),
            got: Arc::default(),
            is_asked: Arc::default(),
            goes_on: Arc::default(),
            url: format!("http://{}/v1/logs", listener.local_addr().unwrap()),
        };
        let own = collector.clone();
        let app = Router::new().route(
            "/v1/logs",
            post(move |body: Bytes| {
                let own = own.clone();
                async move { own.answer(body).await }
            }),
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        collector
    }

    fn does(&self, what: Does) {
        *self.does.lock().unwrap() = what;
    }

    async fn answer(&self, body: Bytes) -> axum::response::Response {
        self.is_asked.notify_one();
        let does = *self.does.lock().unwrap();
        if does == Does::Hangs {
            self.goes_on.notified().await;
        }
        if matches!(does, Does::Takes | Does::Loses) {
            let request = ExportLogsServiceRequest::decode(body).unwrap();
            self.got.lock().unwrap().extend(records(request));
        }
        match does {
            Does::Takes => StatusCode::OK.into_response(),
            Does::Answers(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Does::Rejects => {
                let partial = ExportLogsServiceResponse {
                    partial_success: Some(ExportLogsPartialSuccess {
                        rejected_log_records: 1,
                        error_message: "quota".to_owned(),
                    }),
                };
                partial.encode_to_vec().into_response()
            }
            Does::Loses | Does::Hangs => StatusCode::BAD_GATEWAY.into_response(),
        }
    }
}

/// A batch that the collector does not take as a whole is not durable: no handler runs. It is kept, and comes
/// later.
#[tokio::test]
async fn a20_what_a_collector_does_not_take_is_not_durable_and_is_kept() {
    for does in [
        Does::Rejects,
        Does::Answers(400),
        Does::Answers(503),
        Does::Loses,
    ] {
        let (collector, clock) = (Collector::new().await, SetClock::new());
        let key = SigningKey::random("k").unwrap();
        let keys = PublicKeys::from_iter([key.public()]);
        let trail = Trail::otlp(&collector.url).unwrap().signer(key);
        let set = clock.clone();
        let clinic = Clinic::new(|audit| audit.trail(trail).clock(set)).await;
        assert_eq!(clinic.ask().await, 200);
        collector.does(does);
        for _ in 0..3 {
            assert_eq!(clinic.ask().await, 503, "{does:?}");
        }
        assert_eq!(clinic.handled(), 1, "{does:?}");
        assert!(!clinic.mesh.readiness().is_ready());
        collector.does(Does::Takes);
        clock.pass(Duration::from_secs(2));
        assert!(clinic.mesh.flush_audit(PATIENCE).await);
        assert_eq!(clinic.ask().await, 200, "{does:?}");
        assert!(clinic.mesh.stop_audit(PATIENCE).await);
        let got = collector.got.lock().unwrap();
        // With the gap that says how long nothing could be written.
        assert_eq!(verified(&got, keys), 16, "{does:?}");
    }
}

/// A collector that hangs: refused when the time is over, and at once after that.
#[tokio::test]
async fn a22_a_collector_that_hangs_refuses_in_time_and_at_once_after_that() {
    let (collector, clock) = (Collector::new().await, SetClock::new());
    let (trail, set) = (Trail::otlp(&collector.url).unwrap(), clock.clone());
    let short = Duration::from_millis(500);
    let clinic = Clinic::new(|audit| audit.trail(trail).clock(set).deadline(short)).await;
    assert!(clinic.mesh.flush_audit(PATIENCE).await);
    collector.is_asked.notified().await;
    collector.does(Does::Hangs);
    let (pki, address) = (Arc::clone(&clinic.pki), clinic.served.address);
    let asking = tokio::spawn(async move { ask(&pki, address).await });
    collector.is_asked.notified().await;
    let stands = still();
    // A timer may be a millisecond late.
    pass(2 * short).await;
    assert_eq!(asking.await.unwrap(), 503);
    // No time passes for the second.
    clock.pass(2 * short);
    assert_eq!(clinic.ask().await, 503);
    assert_eq!(clinic.handled(), 0);
    drop(stands);
    tokio::time::resume();
    collector.does(Does::Takes);
    collector.goes_on.notify_waiters();
    clock.pass(Duration::from_secs(2));
    assert!(clinic.mesh.flush_audit(PATIENCE).await);
    assert_eq!(clinic.ask().await, 200);
}

/// Nobody is there: the mesh starts, and refuses what must be recorded.
#[tokio::test]
async fn a_collector_that_is_down_keeps_no_mesh_from_its_start() {
    let absent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", absent.local_addr().unwrap());
    drop(absent);
    let trail = Trail::otlp(&url).unwrap();
    let clinic = Clinic::new(|audit| audit.trail(trail)).await;
    assert_eq!(clinic.ask().await, 503);
    assert_eq!(clinic.handled(), 0);
    // Also where an audit is started in the thread of a runtime.
    let audit = Audit::builder().trail(Trail::otlp(&url).unwrap()).start();
    assert_eq!(audit.unwrap().failing(), 1);
    for wrong in ["", "https://c:4317", "http://user:word@c", "c:4317"] {
        assert!(Trail::otlp(wrong).is_err(), "{wrong}");
    }
}
