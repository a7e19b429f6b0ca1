use std::future::Future;
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::counts::Counts;
use super::item::{Item, Message};
use super::limits::Limits;
use crate::error_chain::ErrorChain;

/// Sends batches to a collector.
pub(super) trait Transport: Send + 'static {
    /// Where to, for the log.
    fn place(&self) -> String;

    /// What it sends, for the log.
    fn items(&self) -> &'static str {
        "spans"
    }

    /// Sends a batch. Returns what the collector has rejected of it. It may take for ever: who calls
    /// this has a timeout, and drops the future.
    fn send(&mut self, batch: Vec<Item>) -> impl Future<Output = Result<Partial, BoxError>> + Send;
}

/// What a collector has rejected of a batch that it has taken: OTLP's partial success.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    pub(crate) rejected: u64,
    /// Why, in the collector's words.
    pub(crate) message: String,
}

/// The task of an exporter: takes spans from the queue, and sends them in batches.
pub(super) struct Batches<T> {
    receiver: mpsc::Receiver<Message>,
    transport: T,
    limits: Limits,
    counts: Arc<Counts>,
    batch: Vec<Item>,
    /// How many bytes the batch has.
    bytes: u64,
    /// How many spans are being sent.
    sending: u64,
    /// How many bytes these have.
    sending_bytes: u64,
    /// How many spans have failed since the collector last took some. The log tells of the first
    /// and of the end, so that a collector that is down writes one line.
    failed: u64,
    /// Whether the collector has rejected some of the last batch, which is told once, too.
    rejects: bool,
}

/// Why a batch is sent.
enum Due {
    Full,
    Asked(oneshot::Sender<()>),
    End,
}

impl<T: Transport> Batches<T> {
    pub(super) fn new(
        receiver: mpsc::Receiver<Message>,
        transport: T,
        limits: Limits,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            receiver,
            transport,
            limits,
            counts,
            batch: Vec::new(),
            bytes: 0,
            sending: 0,
            sending_bytes: 0,
            failed: 0,
            rejects: false,
        }
    }

    /// Runs until the queue is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let due = self.collect().await;
            self.send().await;
            match due {
                Due::Full => {}
                Due::Asked(asker) => {
                    // Who asked may have gone.
                    let _ = asker.send(());
                }
                Due::End => return,
            }
        }
    }

    /// Collects a batch: until it is full, its first span has waited long enough, somebody asks for
    /// it, or no more spans can come.
    async fn collect(&mut self) -> Due {
        match self.receiver.recv().await {
            Some(Message::Span(item)) => self.add(item),
            Some(Message::Flush(asker)) => return Due::Asked(asker),
            None => return Due::End,
        }
        let due = Instant::now() + self.limits.delay;
        while self.batch.len() < self.limits.batch && self.bytes < ENOUGH_BYTES {
            match timeout_at(due, self.receiver.recv()).await {
                Ok(Some(Message::Span(item))) => self.add(item),
                Ok(Some(Message::Flush(asker))) => return Due::Asked(asker),
                Ok(None) => return Due::End,
                Err(_) => break,
            }
        }
        Due::Full
    }

    fn add(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.batch.push(item);
    }

    async fn send(&mut self) {
        let batch = take(&mut self.batch);
        let spans = batch.len() as u64;
        if spans == 0 {
            return;
        }
        self.sending = spans;
        self.sending_bytes = take(&mut self.bytes);
        let sent = {
            let sending = pin!(untraced(self.transport.send(batch)));
            timeout(self.limits.timeout, sending).await
        };
        self.sending = 0;
        self.counts.release(take(&mut self.sending_bytes));
        match sent {
            Ok(Ok(partial)) => self.exported(spans, &partial),
            Ok(Err(error)) => self.failed(spans, &*error),
            Err(_) => {
                let error = format!("no answer within {:?}", self.limits.timeout);
                self.failed(spans, &*BoxError::from(error));
            }
        }
    }

    fn exported(&mut self, spans: u64, partial: &Partial) {
        let rejected = partial.rejected;
        self.counts.exported(spans, rejected);
        if rejected > 0 && !self.rejects {
            let (collector, items) = (self.transport.place(), self.transport.items());
            let reason = cut(&partial.message);
            tracing::warn!(
                target: "tower_mesh::export",
                %collector, rejected, reason,
                "the collector rejects some {items}; they are counted and not sent again"
            );
        }
        self.rejects = rejected > 0;
        let failed = take(&mut self.failed);
        if failed > 0 {
            let (collector, items) = (self.transport.place(), self.transport.items());
            tracing::info!(
                target: "tower_mesh::export",
                %collector, failed, "the collector takes {items} again"
            );
        }
    }

    fn failed(&mut self, spans: u64, error: &(dyn std::error::Error + 'static)) {
        self.counts.failed(spans);
        if self.failed == 0 {
            let (collector, error) = (self.transport.place(), shown(error));
            let items = self.transport.items();
            tracing::warn!(
                target: "tower_mesh::export",
                %collector, error, "the collector does not take {items}; they are dropped and counted"
            );
        }
        self.failed += spans;
    }
}

/// The runtime may end, or the transport panic, at any time.
impl<T> Drop for Batches<T> {
    fn drop(&mut self) {
        self.receiver.close();
        let mut lost = self.sending + self.batch.len() as u64;
        let mut bytes = self.sending_bytes + self.bytes;
        while let Ok(message) = self.receiver.try_recv() {
            if let Message::Span(item) = message {
                lost += 1;
                bytes += item.bytes();
            }
        }
        self.counts.release(bytes);
        self.counts.lost(lost);
    }
}

/// Polls with OpenTelemetry's tracing off: spans about the export would be exported, and so on.
#[cfg(feature = "opentelemetry")]
async fn untraced<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
        future.as_mut().poll(cx)
    })
    .await
}

#[cfg(not(feature = "opentelemetry"))]
async fn untraced<F: Future>(future: F) -> F::Output {
    future.await
}

/// An error with its causes, cut.
pub(crate) fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    cut(&ErrorChain(error).to_string())
}

/// A collector's own words, cut.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(LONGEST_ERROR).collect()
}

const LONGEST_ERROR: usize = 512;

/// A batch of so many bytes is sent. Collectors refuse a message of more than 4 MiB over gRPC, and
/// with it all that is in it.
const ENOUGH_BYTES: u64 = 2 << 20;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
