use std::time::Duration;

/// The bounds of a queue and its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many spans may wait.
    pub(super) queue: usize,
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
        Self {
            queue: count("OTEL_BSP_MAX_QUEUE_SIZE", 2048),
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            timeout: millis("OTEL_BSP_EXPORT_TIMEOUT", 10_000),
        }
    }

    pub(super) fn queue(mut self, spans: usize) -> Self {
        self.queue = spans.clamp(1, MOST);
        self
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// The most spans that may wait, whatever is asked for: some hundreds of megabytes.
const MOST: usize = 1 << 17;

const LONGEST_MILLIS: u64 = 3_600_000;
