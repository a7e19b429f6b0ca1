#![expect(
    clippy::disallowed_types,
    reason = "a request only tries the lock, and does without where another holds it"
)]

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::buckets::FAMILIES;
use super::histogram::Observed;
use crate::context::{SpanId, TraceContext, TraceId};

/// The span of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct SpanIds {
    pub(in crate::metrics) trace: TraceId,
    pub(in crate::metrics) span: SpanId,
}

impl SpanIds {
    /// `None` for a span that is not recorded: an exemplar that leads nowhere helps nobody.
    pub(in crate::metrics) fn sampled(trace: Option<&TraceContext>) -> Option<Self> {
        let trace = trace.filter(|trace| trace.sampled)?;
        Some(Self {
            trace: trace.trace_id,
            span: trace.span_id,
        })
    }
}

/// One request of those that a sample counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct Exemplar {
    pub(in crate::metrics) ids: SpanIds,
    pub(in crate::metrics) value: u64,
    pub(in crate::metrics) at: SystemTime,
}

/// The newest recorded request of a series, and of each bucket of its histograms.
///
/// They are kept apart from the cells, which a request without a span alone touches. There is at
/// most one for each bucket, so that a series has bounded memory; a series without recorded
/// requests has none.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Exemplars(OnceLock<Box<Mutex<Kept>>>);

#[derive(Clone, Debug, Default)]
pub(in crate::metrics) struct Kept {
    newest: Option<Exemplar>,
    buckets: [Vec<(usize, Exemplar)>; FAMILIES],
}

impl Exemplars {
    /// Keeps a request that fell into these buckets, unless another thread is at it.
    pub(super) fn note(&self, ids: SpanIds, observed: Observed, buckets: [usize; FAMILIES]) {
        let Ok(mut kept) = self.0.get_or_init(Box::default).try_lock() else {
            return;
        };
        let at = SystemTime::now();
        let exemplar = |value| Exemplar { ids, value, at };
        kept.newest = Some(exemplar(1));
        let values = observed.values().into_iter().zip(buckets);
        for (kept, (value, bucket)) in kept.buckets.iter_mut().zip(values) {
            match kept.iter_mut().find(|(known, _)| *known == bucket) {
                Some((_, known)) => *known = exemplar(value),
                None => kept.push((bucket, exemplar(value))),
            }
        }
    }

    /// Those of now.
    pub(in crate::metrics) fn read(&self) -> Kept {
        self.0.get().map_or_else(Kept::default, |kept| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }
}

impl Kept {
    /// Of the counter; its value is the one that the request added.
    pub(in crate::metrics) const fn newest(&self) -> Option<&Exemplar> {
        self.newest.as_ref()
    }

    /// Of one histogram, by bucket.
    pub(in crate::metrics) fn histogram(&self, family: usize) -> &[(usize, Exemplar)] {
        self.buckets.get(family).map_or(&[], Vec::as_slice)
    }
}
