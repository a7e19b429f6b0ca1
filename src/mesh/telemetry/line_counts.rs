//! The metrics of access logs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access_log::Sink;
use crate::metrics::Registry;

/// The counts of all lines. None goes back: what a sink has counted stays when it is gone.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    shown: Arc<ArcSwap<Shown>>,
    is_registered: bool,
}

#[derive(Debug, Default)]
struct Shown {
    sinks: Vec<Sink>,
    /// Of sinks that are gone: in the order of [`COUNTS`].
    gone: [u64; COUNTS.len()],
}

impl LineCounts {
    /// Shows the counts of these sinks from now on; a mesh without a log has none.
    pub(super) fn show<'s>(&mut self, registry: &Registry, sinks: impl Iterator<Item = &'s Sink>) {
        let mut next = Shown::default();
        for sink in sinks {
            if !next.has(sink) {
                next.sinks.push(sink.clone());
            }
        }
        let before = self.shown.load_full();
        let mut gone = before.gone;
        for sink in before.sinks.iter().filter(|sink| !next.has(sink)) {
            for (gone, count) in gone.iter_mut().zip(COUNTS) {
                *gone += count(sink);
            }
        }
        next.gone = gone;
        let is_any = !next.sinks.is_empty();
        self.shown.store(Arc::new(next));
        if is_any && !self.is_registered {
            self.is_registered = true;
            self.register(registry);
        }
    }

    fn register(&self, registry: &Registry) {
        let sum = |index: usize| {
            let shown = Arc::clone(&self.shown);
            move || shown.load().sum(index)
        };
        registry.counter_of(
            "mesh_access_log_lines_total",
            "Lines of the access log that were written.",
            &[],
            sum(0),
        );
        for (index, reason) in [(1, "full"), (2, "write")] {
            registry.counter_of(
                "mesh_access_log_dropped_total",
                "Lines of the access log that were lost, by reason.",
                &[("reason", reason)],
                sum(index),
            );
        }
    }
}

impl Shown {
    fn has(&self, sink: &Sink) -> bool {
        self.sinks.iter().any(|known| known.is_same(sink))
    }

    fn sum(&self, index: usize) -> Option<u64> {
        let (count, gone) = (COUNTS.get(index)?, self.gone.get(index)?);
        Some(gone + self.sinks.iter().map(count).sum::<u64>())
    }
}

type Count = fn(&Sink) -> u64;

const COUNTS: [Count; 3] = [Sink::written_lines, Sink::dropped_lines, Sink::failed_lines];
