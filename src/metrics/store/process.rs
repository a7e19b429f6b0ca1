#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken to register and to render; handles count without it"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::labels::{UNKNOWN, write_label};
use super::metric_type::MetricType;
use super::series::MAX_SERIES;

/// A number of the process that only rises, such as handshakes or reloads. Cheap to clone; all
/// clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Counter> for Arc<AtomicU64> {
    /// The number itself, for code that counts and does not know this module. The number must only
    /// rise.
    fn from(counter: Counter) -> Self {
        counter.0
    }
}

/// A number of the process that rises and falls, such as an age. Cheap to clone; all clones are the
/// same gauge.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Its value; 0 before it was set.
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// The counters and gauges that other modules register.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Process(Mutex<BTreeMap<&'static str, Family>>);

#[derive(Debug)]
pub(in crate::metrics) struct Family {
    pub(in crate::metrics) metric_type: MetricType,
    pub(in crate::metrics) help: &'static str,
    /// By written labels.
    series: BTreeMap<String, Arc<AtomicU64>>,
    /// Series whose value is computed when metrics are written, by written labels.
    callbacks: BTreeMap<String, Callback>,
}

/// Computes a value when metrics are written.
struct Callback(Box<dyn Fn() -> Option<f64> + Send + Sync>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl Process {
    pub(in crate::metrics) fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Counter {
        match name.strip_suffix("_total") {
            Some(family) => Counter(self.cell(MetricType::Counter, family, help, labels)),
            None => {
                tracing::warn!(metric = name, "a counter's name must end in _total");
                Counter::default()
            }
        }
    }

    pub(in crate::metrics) fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Gauge {
        Gauge(self.cell(MetricType::Gauge, name, help, labels))
    }

    pub(in crate::metrics) fn register_callback(
        &self,
        is_counter: bool,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: Box<dyn Fn() -> Option<f64> + Send + Sync>,
    ) {
        let (metric_type, name) = match (is_counter, name.strip_suffix("_total")) {
            (true, Some(family)) => (MetricType::Counter, family),
            (true, None) => (MetricType::PlainCounter, name),
            (false, _) => (MetricType::Gauge, name),
        };
        self.series(metric_type, name, help, labels, |family, key| {
            // Two samples of one series would invalidate the whole scrape.
            family.series.remove(&key);
            family.callbacks.insert(key, Callback(value));
        });
    }

    fn cell(
        &self,
        metric_type: MetricType,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Arc<AtomicU64> {
        let cell = self.series(metric_type, name, help, labels, |family, key| {
            if family.callbacks.contains_key(&key) {
                return Arc::default();
            }
            Arc::clone(family.series.entry(key).or_default())
        });
        cell.unwrap_or_default()
    }

    /// Calls `with` for the series of these labels. If the name is not allowed or is taken, it logs
    /// a warning and does not call.
    fn series<T>(
        &self,
        metric_type: MetricType,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        with: impl FnOnce(&mut Family, String) -> T,
    ) -> Option<T> {
        let names = labels.iter().map(|(label, _)| *label);
        if !std::iter::once(name).chain(names).all(is_name) {
            tracing::warn!(metric = name, "not a name that Prometheus reads");
            return None;
        }
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family {
            metric_type,
            help,
            series: BTreeMap::new(),
            callbacks: BTreeMap::new(),
        });
        if family.metric_type != metric_type {
            tracing::warn!(
                metric = name,
                "the name is taken by a metric of another type"
            );
            return None;
        }
        let text = |value: &dyn Fn(&str) -> String| {
            let mut text = String::new();
            for (label, given) in labels {
                write_label(&mut text, label, &value(given));
            }
            text
        };
        let mut key = text(&str::to_owned);
        let known = family.series.contains_key(&key) || family.callbacks.contains_key(&key);
        if !known && family.is_full() {
            // What is computed may be of something that is gone.
            family
                .callbacks
                .retain(|_, compute| (compute.0)().is_some());
            if family.is_full() {
                key = text(&|_| UNKNOWN.to_owned());
            }
        }
        Some(with(family, key))
    }

    /// Shows `read` the first family after the one of this name, and returns its name; `None` after
    /// the last. The lock of all families is held meanwhile.
    pub(in crate::metrics) fn read_after(
        &self,
        name: Option<&'static str>,
        read: impl FnOnce(&'static str, &Family),
    ) -> Option<&'static str> {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = name.map_or(Bound::Unbounded, Bound::<&str>::Excluded);
        let (name, family) = families.range::<str, _>((from, Bound::Unbounded)).next()?;
        read(name, family);
        Some(name)
    }
}

impl Family {
    /// One place is kept for the series of what has none of its own.
    fn is_full(&self) -> bool {
        self.series.len() + self.callbacks.len() + 1 >= MAX_SERIES
    }

    /// Written labels and value of every series that has a value now.
    pub(in crate::metrics) fn samples(&self) -> impl Iterator<Item = (&str, f64)> {
        let computed = self.callbacks.iter();
        let computed = computed.filter_map(|(labels, compute)| Some((&**labels, (compute.0)()?)));
        let kept = self.series.iter().map(|(labels, cell)| {
            let bits = cell.load(Ordering::Relaxed);
            let value = match self.metric_type {
                // Prometheus keeps every value as a float.
                MetricType::Counter => bits as f64,
                _ => f64::from_bits(bits),
            };
            (&**labels, value)
        });
        computed.chain(kept)
    }
}

fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(legal)
        && name
            .bytes()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
}
