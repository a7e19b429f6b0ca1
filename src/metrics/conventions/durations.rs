use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::metrics::store::append_only_map::AppendOnlyMap;
use crate::metrics::store::buckets::Bounds;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::series::MAX_SERIES;
use crate::striped::Striped;

/// The histograms of the conventions, by family and written labels.
///
/// There are at most 2000 series in all. What would need one more is counted under the label
/// `otel_metric_overflow`, as OpenTelemetry's SDKs do.
#[derive(Debug)]
pub(in crate::metrics) struct Durations {
    hasher: RandomState,
    series: AppendOnlyMap<Series, 256>,
    count: AtomicUsize,
}

#[derive(Debug)]
struct Series {
    family: usize,
    labels: Box<str>,
    cells: Striped<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    buckets: [AtomicU64; SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What one series holds at one moment.
#[derive(Debug)]
pub(in crate::metrics) struct DurationRow {
    pub(in crate::metrics) labels: Box<str>,
    pub(in crate::metrics) totals: HistogramTotals,
}

/// A family: its name in Prometheus, in OpenTelemetry, and its help.
pub(in crate::metrics) struct Named {
    pub(in crate::metrics) prometheus: &'static str,
    #[cfg_attr(
        not(all(feature = "otlp", feature = "server", feature = "client")),
        allow(dead_code, reason = "only OTLP has names with dots")
    )]
    pub(in crate::metrics) open_telemetry: &'static str,
    pub(in crate::metrics) help: &'static str,
}

impl Durations {
    pub(in crate::metrics) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            series: AppendOnlyMap::new(),
            count: AtomicUsize::new(0),
        }
    }

    /// Adds one request to a family.
    pub(super) fn add(&self, family: usize, labels: &str, duration: Duration) {
        let series = self
            .find(family, labels)
            .or_else(|| self.find(family, OVERFLOW));
        if let Some(cells) = series.and_then(|series| series.cells.local()) {
            let seconds = duration.as_secs_f64();
            let bucket = SECONDS.iter().filter(|bound| **bound < seconds).count();
            if let Some(bucket) = cells.buckets.get(bucket) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
            let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            cells.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        }
    }

    fn find(&self, family: usize, labels: &str) -> Option<&Series> {
        let hash = self.hasher.hash_one((family, labels));
        let is = |series: &Series| series.family == family && *series.labels == *labels;
        if let Some(series) = self.series.get(hash, is) {
            return Some(series);
        }
        // Racing threads may go past the bound by their own number.
        let room = MAX_SERIES - FAMILIES.len();
        if labels != OVERFLOW && self.count.load(Ordering::Relaxed) >= room {
            return None;
        }
        let new = Series {
            family,
            labels: labels.into(),
            cells: Striped::new(),
        };
        let (series, is_new) = self.series.get_or_add(hash, is, new)?;
        self.count.fetch_add(usize::from(is_new), Ordering::Relaxed);
        Some(series)
    }

    /// All series of a family.
    pub(in crate::metrics) fn rows(&self, family: usize) -> Vec<DurationRow> {
        let series = self.series.iter().filter(|series| series.family == family);
        let row = |series: &Series| {
            let mut totals = HistogramTotals::of_nanoseconds(SECONDS.len() + 1);
            for cells in series.cells.iter() {
                totals.add(cells.buckets.iter(), &cells.nanoseconds);
            }
            DurationRow {
                labels: series.labels.clone(),
                totals,
            }
        };
        series.map(row).collect()
    }
}

/// The bounds that the conventions advise, in seconds.
pub(in crate::metrics) fn bounds() -> &'static Bounds {
    static BOUNDS: LazyLock<Bounds> = LazyLock::new(|| Bounds::made(&SECONDS));
    &BOUNDS
}

pub(super) const HTTP_SERVER: usize = 0;
pub(super) const HTTP_CLIENT: usize = 1;
pub(super) const RPC_SERVER: usize = 2;
pub(super) const RPC_CLIENT: usize = 3;

pub(in crate::metrics) const FAMILIES: [Named; 4] = [
    Named {
        prometheus: "http_server_request_duration_seconds",
        open_telemetry: "http.server.request.duration",
        help: "Duration of HTTP server requests.",
    },
    Named {
        prometheus: "http_client_request_duration_seconds",
        open_telemetry: "http.client.request.duration",
        help: "Duration of HTTP client requests.",
    },
    Named {
        prometheus: "rpc_server_call_duration_seconds",
        open_telemetry: "rpc.server.call.duration",
        help: "Duration of inbound remote procedure calls.",
    },
    Named {
        prometheus: "rpc_client_call_duration_seconds",
        open_telemetry: "rpc.client.call.duration",
        help: "Duration of outbound remote procedure calls.",
    },
];

const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

const OVERFLOW: &str = "otel_metric_overflow=\"true\"";
