//! Limits the log lines that a peer can cause to ten per second of each kind.
//!
//! Suppressed lines are counted, and the next line of the same kind reports the count in its field
//! `suppressed`. Metrics and observers count every event.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts the lines of one kind in the current second.
#[derive(Debug)]
pub(crate) struct LogLimit {
    /// The second of the last line, and in the low byte the number of lines written in that second.
    window: AtomicU64,
    left_out: AtomicU64,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self {
            window: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// `Some` if a line may be written now. The inner value is the number of lines suppressed since
    /// the last line, if there were any. Never waits.
    pub(crate) fn admit(&self) -> Option<Option<u64>> {
        self.admit_in(START.elapsed().as_secs() + 1)
    }

    fn admit_in(&self, second: u64) -> Option<Option<u64>> {
        let next = |window: u64| {
            let (begun, written) = (window >> 8, window & 0xff);
            if begun < second {
                Some(second << 8 | 1)
            } else {
                (written < MOST).then_some(window + 1)
            }
        };
        let order = Ordering::Relaxed;
        if self.window.fetch_update(order, order, next).is_err() {
            self.left_out.fetch_add(1, order);
            return None;
        }
        let left_out = self.left_out.swap(0, order);
        Some((left_out > 0).then_some(left_out))
    }
}

/// Writes an event as `tracing::event!` does, at most ten times per second. The limit belongs to
/// the line in the source, or is the [`LogLimit`] given as `limit:`. An event without a subscriber
/// does not count as suppressed.
///
/// ```text
/// limited!(target: "tower_mesh::client", DEBUG, reason = %ended.reason, "draining a connection");
/// ```
macro_rules! limited {
    (limit: $limit:expr, target: $target:expr, $level:ident, $($fields:tt)+) => {
        if tracing::enabled!(target: $target, tracing::Level::$level)
            && let Some(suppressed) = $limit.admit()
        {
            tracing::event!(target: $target, tracing::Level::$level, suppressed, $($fields)+);
        }
    };
    (target: $target:expr, $level:ident, $($fields:tt)+) => {{
        static LIMIT: $crate::log_limit::LogLimit = $crate::log_limit::LogLimit::new();
        $crate::log_limit::limited!(limit: LIMIT, target: $target, $level, $($fields)+);
    }};
    ($level:ident, $($fields:tt)+) => {
        $crate::log_limit::limited!(target: module_path!(), $level, $($fields)+);
    };
}

pub(crate) use limited;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The largest number of lines of one kind in one second; fits into a byte.
const MOST: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_by_the_next_line() {
        let limit = LogLimit::new();
        let in_first: Vec<_> = (0..10_000).filter_map(|_| limit.admit_in(1)).collect();
        assert_eq!(in_first, [None; 10]);
        assert_eq!(limit.admit_in(2), Some(Some(9_990)));
        assert_eq!(limit.admit_in(2), Some(None));
    }

    /// A thread that read the clock earlier than another thread, but arrives later, does not start
    /// its second again.
    #[test]
    fn a_late_thread_begins_nothing_anew() {
        let limit = LogLimit::new();
        let seconds = (0..1_000).map(|index| 5 + index % 2);
        let admitted = seconds.filter(|&second| limit.admit_in(second).is_some());
        assert_eq!(
            admitted.count(),
            11,
            "one in the fifth second, ten in the sixth"
        );
    }

    #[test]
    fn threads_share_one_limit_and_lose_no_count() {
        let limit = LogLimit::new();
        let told = || (0..1_000).filter_map(|_| limit.admit_in(7));
        let written: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| told().count())).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(written, 10);
        let later = limit.admit_in(8).unwrap().unwrap_or_default();
        assert!(later <= 3_990);
    }
}
