//! An OpenTelemetry collector as the place of a trail.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use super::record::Entry;
use super::writer::{Sink, SinkError, Trail, Whose};
use crate::propagation::EndpointError;
use crate::propagation::collector::{
    Client, LOGS, Logs, Refused, Target, attribute, cut, logs_request, shown, text,
};

impl Trail {
    /// Log records of an OpenTelemetry collector at this URL, which begins with `http://`: protobuf
    /// over HTTP where its port is 4318 or it has a path, else gRPC, which keeps its connection.
    ///
    /// The body of a log record is the record of the trail as a folder would have it: a line in the
    /// canonical form. Its attributes are `audit.stream`, `audit.seq` and `audit.type`, its event
    /// name is `tower_mesh.audit.` and the type, it has the id of the trace, if the record has one,
    /// and in a mesh the resource of its workload. Headers for the collector are those of
    /// `OTEL_EXPORTER_OTLP_LOGS_HEADERS`, else `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// A record is durable once the collector has answered that it took all of its batch; what it
    /// then does with it is its own affair. A batch of which it rejects anything, that it refuses,
    /// or that it does not answer within five seconds has failed: it is kept, at most 1 MiB, and
    /// sent again each second, before anything else. So every record arrives, in the order of the
    /// numbers, but one whose answer was lost arrives twice: keep one of each `audit.stream` and
    /// `audit.seq`. What the collector has not taken when the process ends is lost. The start of an
    /// audit waits for the answer to its first batch.
    ///
    /// To verify what a collector has, write the bodies of a stream in the order of `audit.seq`, one
    /// in a line, to a file of a folder that is named as a segment:
    /// `20260102T030405.000006Z-STREAM-000001.jsonl`.
    ///
    /// # Errors
    /// When it is no such URL: another scheme, no host, or a user or password in it.
    pub fn otlp(url: &str) -> Result<Self, EndpointError> {
        let whose = Whose::default();
        let client = Client::new::<Logs>(Target::guess(url, LOGS)?);
        let mut trail = Self::sink(OtlpLogs {
            place: client.place(),
            client,
            whose: Arc::clone(&whose),
            waiting: Vec::new(),
            bytes: 0,
            is_failing: false,
            runtime: None,
        });
        trail.collector = Some(whose);
        Ok(trail)
    }
}

/// Sends records in batches, and keeps them until the collector has taken them: the trail never
/// gives a record again that its sink has taken.
struct OtlpLogs {
    /// The URL, for the log.
    place: String,
    client: Client,
    whose: Whose,
    waiting: Vec<LogRecord>,
    bytes: usize,
    is_failing: bool,
    /// It has no thread of its own: it runs while this waits for an answer.
    runtime: Option<Runtime>,
}

impl Sink for OtlpLogs {
    fn name(&self) -> &str {
        &self.place
    }

    fn record(&mut self, line: &str) -> Result<(), SinkError> {
        if self.is_failing || self.bytes >= ENOUGH_BYTES {
            self.flush()?;
        }
        self.bytes += line.len();
        self.waiting.push(log_record(line));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let request = logs_request(self.whose.get().cloned(), waiting);
        let sent = self.send(&request);
        match &sent {
            Ok(()) => self.bytes = 0,
            Err(_) => self.waiting = log_records(request),
        }
        self.tell(sent.as_ref().err());
        self.is_failing = sent.is_err();
        sent.map_err(|error| SinkError::new(&error))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl OtlpLogs {
    fn send(&mut self, request: &ExportLogsServiceRequest) -> Result<(), String> {
        let runtime = match &mut self.runtime {
            Some(runtime) => runtime,
            none => {
                let new = Builder::new_current_thread().enable_all().build();
                none.insert(new.map_err(|error| shown(&error))?)
            }
        };
        let sending = within_time(&mut self.client, request);
        match Handle::try_current() {
            Err(_) => runtime.block_on(sending),
            // The first batch is sent where the audit is started, and no other runtime may run in
            // the thread of one.
            Ok(_) => thread::scope(|scope| {
                let sent = scope.spawn(|| runtime.block_on(sending)).join();
                sent.unwrap_or_else(|_| Err("sending has panicked".to_owned()))
            }),
        }
    }

    /// Tells of the first failure and of its end.
    fn tell(&self, error: Option<&String>) {
        let collector = &self.place;
        match (error, self.is_failing) {
            (Some(error), false) => tracing::error!(
                target: "tower_mesh::audit",
                %collector, error,
                "the collector does not take records of the audit trail; they are kept and sent again"
            ),
            (None, true) => tracing::info!(
                target: "tower_mesh::audit",
                %collector, "the collector takes records of the audit trail again"
            ),
            _ => {}
        }
    }
}

impl Drop for OtlpLogs {
    fn drop(&mut self) {
        // It may be dropped in the thread of another runtime, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn within_time(
    client: &mut Client,
    request: &ExportLogsServiceRequest,
) -> Result<(), String> {
    match timeout(WITHIN, exported(client, request)).await {
        Ok(sent) => sent,
        Err(_) => Err(format!("no answer within {WITHIN:?}")),
    }
}

/// Sends twice before it gives up: the collector may have closed the connection since the last batch.
async fn exported(client: &mut Client, request: &ExportLogsServiceRequest) -> Result<(), String> {
    let partial = match client.export::<Logs>(request).await {
        Ok(partial) => partial,
        Err(_) => {
            let again = client.export::<Logs>(request).await;
            again.map_err(|error| shown(&*Refused::into_error(error)))?
        }
    };
    match partial.rejected {
        0 => Ok(()),
        count => {
            let message = cut(&partial.message);
            Err(format!("it rejects {count} records of a batch: {message}"))
        }
    }
}

fn log_record(line: &str) -> LogRecord {
    let body = Value::StringValue(line.to_owned());
    let mut record = LogRecord {
        observed_time_unix_nano: nanos(SystemTime::now()),
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(body) }),
        ..LogRecord::default()
    };
    // The trail writes nothing else.
    if let Ok(entry) = Entry::parse(line.as_bytes()) {
        let seq = Value::IntValue(i64::try_from(entry.seq()).unwrap_or(i64::MAX));
        record.time_unix_nano = nanos(entry.time().to_system());
        record.event_name = format!("tower_mesh.audit.{}", entry.kind());
        record.attributes = vec![
            text("audit.stream", entry.stream()),
            attribute("audit.seq", seq),
            text("audit.type", entry.kind()),
        ];
        let trace = entry.text("trace").filter(|trace| trace.len() == 32);
        if let Some(Ok(trace)) = trace.map(|trace| u128::from_str_radix(&trace, 16)) {
            record.trace_id = trace.to_be_bytes().to_vec();
        }
    }
    record
}

fn log_records(request: ExportLogsServiceRequest) -> Vec<LogRecord> {
    let resources = request.resource_logs.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Collectors refuse a message of more than 4 MiB over gRPC.
const ENOUGH_BYTES: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(5);
