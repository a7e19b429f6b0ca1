use std::time::Duration;

/// The bounds of a queue and its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many spans may wait.
    pub(super) queue: usize,
    /// How many bytes all spans may have that wait or are being sent.
    pub(super) bytes: u64,
    /// How many spans go in one batch.
    pub(super) batch: usize,
    /// How long the first span of a batch waits for others.
    pub(super) delay: Duration,
    /// How long a collector may take for a batch.
    pub(super) timeout: Duration,
}

impl Limits {
    /// What `OTEL_BSP_*` say, else OpenTelemetry's defaults for batches, with a timeout of 10 s.
    pub(super) fn from_env() -> Self {
        let millis = |name, usual| {
            let number = number(name).unwrap_or(usual);
            Duration::from_millis(number.min(LONGEST_MILLIS))
        };
        let count = |name, usual| {
            let number = number(name).and_then(|number| usize::try_from(number).ok());
            number.unwrap_or(usual).clamp(1, MOST)
        };
        let queue = count("OTEL_BSP_MAX_QUEUE_SIZE", 2048);
        Self {
            queue,
            bytes: bytes(queue),
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            timeout: millis("OTEL_BSP_EXPORT_TIMEOUT", 10_000),
        }
    }

    pub(super) fn queue(mut self, spans: usize) -> Self {
        self.queue = spans.clamp(1, MOST);
        self.bytes = bytes(self.queue);
        self
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// A span has some 2 KiB; few have the 1.5 MiB that a handler can note on one.
fn bytes(spans: usize) -> u64 {
    (spans as u64 * 4096).max(LEAST_BYTES)
}

const LEAST_BYTES: u64 = 64 << 20;

/// The most spans that may wait, whatever is asked for: some hundreds of megabytes.
const MOST: usize = 1 << 17;

const LONGEST_MILLIS: u64 = 3_600_000;
