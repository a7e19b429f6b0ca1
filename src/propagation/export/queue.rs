use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
#[cfg(feature = "opentelemetry")]
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::batch::{Batches, Transport};
use super::counts::Counts;
use super::item::{Item, Message};
use super::limits::Limits;
use crate::propagation::span::export_counts::ExportCounts;

/// Spans that wait for the task of an exporter. When the queue is dropped, its task sends what is
/// left, and ends.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// `None` before the first span.
    sender: ArcSwapOption<mpsc::Sender<Message>>,
    counts: Arc<Counts>,
}

impl Queue {
    /// Takes a span, or drops and counts it. Never waits, and does not panic: it is called while
    /// bodies are dropped.
    ///
    /// Without a task that lives, it starts one on the runtime of this thread.
    pub(super) fn push<T: Transport>(
        &self,
        item: Item,
        limits: Limits,
        transport: impl FnOnce() -> T,
    ) {
        self.counts.queue();
        let bytes = item.bytes();
        if !self.counts.reserve(bytes, limits.bytes) {
            return self.drop_one();
        }
        let mut message = Message::Span(item);
        let sender = self.sender.load();
        if let Some(sender) = &*sender {
            match sender.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => {
                    self.counts.release(bytes);
                    return self.drop_one();
                }
                // Its runtime has ended.
                Err(TrySendError::Closed(back)) => message = back,
            }
        }
        let Ok(runtime) = Handle::try_current() else {
            self.counts.release(bytes);
            self.counts.unqueue();
            return self.counts.lose_one();
        };
        let (fresh, receiver) = mpsc::channel(limits.queue);
        let fresh = Arc::new(fresh);
        let before = self
            .sender
            .compare_and_swap(&*sender, Some(Arc::clone(&fresh)));
        let address = |sender: &Option<Arc<_>>| sender.as_ref().map(Arc::as_ptr);
        let current = if address(&before) == address(&sender) {
            let batches = Batches::new(receiver, transport(), limits, Arc::clone(&self.counts));
            runtime.spawn(batches.run());
            Some(fresh)
        } else {
            // Another thread has just started one.
            before.clone()
        };
        let sent = current.map(|current| current.try_send(message));
        match sent {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => {
                self.counts.release(bytes);
                self.drop_one();
            }
            Some(Err(TrySendError::Closed(_))) | None => {
                self.counts.release(bytes);
                self.counts.unqueue();
                self.counts.lose_one();
            }
        }
    }

    /// Sends everything that waits. Returns whether that was done in time; spans that the collector
    /// did not take are done, too.
    pub(super) fn flush(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        let sender = self.sender.load_full();
        async move {
            let Some(sender) = sender else {
                return true;
            };
            let (done, is_done) = oneshot::channel();
            let flushed = async {
                // A task that has ended has nothing more to send.
                if sender.send(Message::Flush(done)).await.is_ok() {
                    let _ = is_done.await;
                }
            };
            timeout(within, flushed).await.is_ok()
        }
    }

    /// As [`flush`](Self::flush), for callers that are not async. Inside a runtime, which must not
    /// be blocked, it only asks for it.
    #[cfg(feature = "opentelemetry")]
    pub(super) fn flush_blocking(&self, within: Duration) -> OTelSdkResult {
        if Handle::try_current().is_ok() {
            if let Some(sender) = &*self.sender.load() {
                let (done, _) = oneshot::channel();
                let _ = sender.try_send(Message::Flush(done));
            }
            return Ok(());
        }
        let waiting = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?;
        match waiting.block_on(self.flush(within)) {
            true => Ok(()),
            false => Err(OTelSdkError::Timeout(within)),
        }
    }

    pub(super) fn counts(&self) -> ExportCounts {
        self.counts.now()
    }

    fn drop_one(&self) {
        self.counts.unqueue();
        self.counts.drop_one();
    }
}

#[cfg(all(test, feature = "zipkin"))]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::context::TraceContext;
    use crate::propagation::export::batch::{BoxError, Partial};
    use crate::propagation::ids::random;
    use crate::propagation::span::finished::{FinishedSpan, SpanKind};

    /// Takes nothing until it is told.
    struct Slow(mpsc::Receiver<Infallible>);

    impl Transport for Slow {
        fn place(&self) -> String {
            "nowhere".to_owned()
        }

        async fn send(&mut self, _: Vec<Item>) -> Result<Partial, BoxError> {
            self.0.recv().await;
            Ok(Partial::default())
        }
    }

    /// Tells how many spans each batch has.
    struct Told(mpsc::UnboundedSender<usize>);

    impl Transport for Told {
        fn place(&self) -> String {
            "nowhere".to_owned()
        }

        async fn send(&mut self, batch: Vec<Item>) -> Result<Partial, BoxError> {
            self.0.send(batch.len())?;
            Ok(Partial::default())
        }
    }

    /// Few collectors take more than 4 MiB at once.
    #[tokio::test]
    async fn a_batch_is_bounded_in_bytes() {
        let queue = Queue::default();
        let (told, mut batches) = mpsc::unbounded_channel();
        for _ in 0..5 {
            queue.push(span(1 << 20), Limits::of_spans(), || Told(told.clone()));
        }
        assert!(queue.flush(Duration::from_secs(20)).await);
        let batches = [(); 3].map(|()| batches.try_recv().unwrap());
        assert_eq!(batches, [2, 2, 1]);
        assert_eq!(queue.counts().exported, 5);
    }

    fn span(bytes: usize) -> Item {
        Item::mesh(FinishedSpan {
            name: "GET".into(),
            kind: SpanKind::Server,
            trace: TraceContext::root(random::trace_id(), random::span_id(), true),
            parent_is_remote: false,
            shared: false,
            link: None,
            start: std::time::SystemTime::now(),
            end: std::time::SystemTime::now(),
            is_error: false,
            tags: vec![("ward".into(), "x".repeat(bytes).into())],
            events: Vec::new(),
            dropped_tags: 0,
            dropped_events: 0,
        })
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_bytes_and_has_room_again_once_they_are_sent() {
        let queue = Queue::default();
        let limits = Limits {
            bytes: 100_000,
            ..Limits::of_spans()
        };
        let (go, may_go) = mpsc::channel(1);
        let mut transport = Some(Slow(may_go));
        for expected in [0, 0, 1, 2] {
            queue.push(span(40_000), limits, || transport.take().unwrap());
            assert_eq!(queue.counts().dropped, expected);
        }
        // A small one still has room.
        queue.push(span(10), limits, || -> Slow { unreachable!() });
        assert_eq!(queue.counts().dropped, 2);
        drop(go);
        assert!(queue.flush(Duration::from_secs(20)).await);
        let counts = queue.counts();
        assert_eq!((counts.queued, counts.exported), (0, 3));
        queue.push(span(90_000), limits, || -> Slow { unreachable!() });
        assert_eq!(queue.counts().dropped, 2);
    }
}
