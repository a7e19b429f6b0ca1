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
    /// For spans: what `OTEL_BSP_*` say, else OpenTelemetry's defaults for batches, with a timeout
    /// of 10 s.
    pub(super) fn of_spans() -> Self {
        Self::from_env(|name| number("OTEL_BSP", name), 2048, 5_000)
    }

    /// For log records: what `OTEL_BLRP_*` say, else OpenTelemetry's defaults for batches, with a
    /// queue of 8,192 records and a timeout of 10 s.
    #[cfg(all(feature = "otlp", feature = "access-log"))]
    pub(super) fn of_logs() -> Self {
        Self::from_env(|name| number("OTEL_BLRP", name), 8192, 1_000)
    }

    fn from_env(env: impl Fn(&str) -> Option<u64>, queue: usize, delay: u64) -> Self {
        let millis = |name, usual| {
            let number = env(name).unwrap_or(usual);
            Duration::from_millis(number.min(LONGEST_MILLIS))
        };
        let count = |name, usual| {
            let number = env(name).and_then(|number| usize::try_from(number).ok());
            number.unwrap_or(usual).clamp(1, MOST)
        };
        let queue = count("MAX_QUEUE_SIZE", queue);
        Self {
            queue,
            bytes: bytes(queue),
            batch: count("MAX_EXPORT_BATCH_SIZE", 512),
            delay: millis("SCHEDULE_DELAY", delay),
            timeout: millis("EXPORT_TIMEOUT", 10_000),
        }
    }

    /// As many bytes as so many spans take.
    pub(super) fn queue(mut self, spans: usize) -> Self {
        self.queue = spans.clamp(1, MOST);
        self.bytes = bytes(self.queue);
        self
    }
}

fn number(processor: &str, name: &str) -> Option<u64> {
    let variable = std::env::var(format!("{processor}_{name}"));
    variable.ok()?.trim().parse().ok()
}

/// A span has some 2 KiB; few have the 1.5 MiB that a handler can note on one.
fn bytes(spans: usize) -> u64 {
    (spans as u64 * 4096).max(LEAST_BYTES)
}

const LEAST_BYTES: u64 = 64 << 20;

/// The most spans that may wait, whatever is asked for: some hundreds of megabytes.
const MOST: usize = 1 << 17;

const LONGEST_MILLIS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_bounds_queues_and_batches() {
        let env = |name: &str| match name {
            "MAX_QUEUE_SIZE" => Some(u64::MAX),
            "MAX_EXPORT_BATCH_SIZE" => Some(0),
            "SCHEDULE_DELAY" => Some(u64::MAX),
            _ => None,
        };
        let limits = Limits::from_env(env, 8192, 1_000);
        assert_eq!((limits.queue, limits.batch), (MOST, 1));
        assert_eq!(limits.delay, Duration::from_secs(3600));
        assert_eq!(limits.timeout, Duration::from_secs(10));
        let usual = Limits::from_env(|_| None, 8192, 1_000);
        assert_eq!((usual.queue, usual.batch), (8192, 512));
        assert_eq!(usual.delay, Duration::from_secs(1));
    }
}
