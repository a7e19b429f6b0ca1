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
use super::series::MAX_SERIES;
use crate::metrics::expose::text::{Kind, Text};

/// A number of the process that only rises: handshakes, reloads. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it has reached.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Counter> for Arc<AtomicU64> {
    /// The number itself, for those who count without knowing of metrics. It must only rise.
    fn from(counter: Counter) -> Self {
        counter.0
    }
}

/// A number of the process that rises and falls: an age, a generation. Cheap to clone; all clones are one gauge.
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

/// The counters and gauges that rooms register.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Process(Mutex<BTreeMap<&'static str, Family>>);

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    /// By written labels.
    series: BTreeMap<String, Arc<AtomicU64>>,
    /// Those that are asked when metrics are written.
    asked: BTreeMap<String, Asked>,
}

/// Tells a value when metrics are written.
struct Asked(Box<dyn Fn() -> Option<f64> + Send + Sync>);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
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
            Some(family) => Counter(self.cell(Kind::Counter, family, help, labels)),
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
        Gauge(self.cell(Kind::Gauge, name, help, labels))
    }

    pub(in crate::metrics) fn ask(
        &self,
        is_counter: bool,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: Box<dyn Fn() -> Option<f64> + Send + Sync>,
    ) {
        let (kind, name) = match (is_counter, name.strip_suffix("_total")) {
            (true, Some(family)) => (Kind::Counter, family),
            (true, None) => (Kind::PlainCounter, name),
            (false, _) => (Kind::Gauge, name),
        };
        self.series(kind, name, help, labels, |family, key| {
            // Two samples of one series would spoil the whole scrape.
            family.series.remove(&key);
            family.asked.insert(key, Asked(value));
        });
    }

    fn cell(
        &self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Arc<AtomicU64> {
        let cell = self.series(kind, name, help, labels, |family, key| {
            if family.asked.contains_key(&key) {
                return Arc::default();
            }
            Arc::clone(family.series.entry(key).or_default())
        });
        cell.unwrap_or_default()
    }

    /// Does something with the series of these labels; not at all, with a warning, where the name cannot be had.
    fn series<T>(
        &self,
        kind: Kind,
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
            kind,
            help,
            series: BTreeMap::new(),
            asked: BTreeMap::new(),
        });
        if family.kind != kind {
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
        let known = family.series.contains_key(&key) || family.asked.contains_key(&key);
        if family.series.len() + family.asked.len() + 1 >= MAX_SERIES && !known {
            key = text(&|_| UNKNOWN.to_owned());
        }
        Some(with(family, key))
    }

    /// Writes the first family after the one of this name, and returns its name; `None` after the last.
    pub(in crate::metrics) fn write_after(
        &self,
        name: Option<&'static str>,
        text: &mut Text,
    ) -> Option<&'static str> {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = name.map_or(Bound::Unbounded, Bound::<&str>::Excluded);
        let (name, family) = families.range::<str, _>((from, Bound::Unbounded)).next()?;
        family.write(name, text);
        Some(name)
    }
}

impl Family {
    fn write(&self, name: &str, text: &mut Text) {
        let asked = self.asked.iter();
        let asked: Vec<_> = asked
            .filter_map(|(labels, asked)| Some((labels, (asked.0)()?)))
            .collect();
        if self.series.is_empty() && asked.is_empty() {
            return;
        }
        text.family(self.kind, name, self.help);
        for (labels, value) in asked {
            let suffix = if self.kind == Kind::Counter {
                "_total"
            } else {
                ""
            };
            text.sample(name, suffix, labels, value);
        }
        for (labels, cell) in &self.series {
            let bits = cell.load(Ordering::Relaxed);
            match self.kind {
                Kind::Counter => text.sample(name, "_total", labels, bits),
                Kind::PlainCounter | Kind::Gauge | Kind::Histogram => {
                    text.sample(name, "", labels, f64::from_bits(bits));
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::expose::format::Format;

    fn shown(process: &Process, format: Format) -> String {
        let mut text = Text::new(format);
        let mut last = None;
        while let Some(name) = process.write_after(last, &mut text) {
            last = Some(name);
        }
        text.end();
        text.take()
    }

    #[test]
    fn equal_names_and_labels_are_one_counter() {
        let process = Process::default();
        let count =
            |result| process.counter("mesh_handshakes_total", "Help.", &[("result", result)]);
        count("ok").add(1);
        count("ok").add(2);
        count("failed").add(1);
        process.gauge("mesh_age_seconds", "A \\ b.", &[]).set(1.5);
        assert_eq!(count("ok").value(), 3);
        assert_eq!(
            shown(&process, Format::Text),
            "# HELP mesh_age_seconds A \\\\ b.\n\
             # TYPE mesh_age_seconds gauge\n\
             mesh_age_seconds 1.5\n\
             # HELP mesh_handshakes_total Help.\n\
             # TYPE mesh_handshakes_total counter\n\
             mesh_handshakes_total{result=\"failed\"} 1\n\
             mesh_handshakes_total{result=\"ok\"} 3\n"
        );
    }

    #[test]
    fn open_metrics_names_the_family_without_total_and_marks_the_end() {
        let process = Process::default();
        process.counter("mesh_loads_total", "Help.", &[]).add(1);
        assert_eq!(
            shown(&process, Format::OpenMetrics),
            "# HELP mesh_loads Help.\n# TYPE mesh_loads counter\nmesh_loads_total 1\n# EOF\n"
        );
    }

    #[test]
    fn a_wrong_name_is_never_shown() {
        let process = Process::default();
        process.counter("mesh_loads", "", &[]).add(1);
        process.counter("9_total", "", &[]).add(1);
        process.counter("mesh-loads_total", "", &[]).add(1);
        process.gauge("mesh_load", "", &[("a b", "c")]).set(1.0);
        assert_eq!(shown(&process, Format::Text), "");
        process.gauge("mesh_age", "", &[]).set(1.0);
        process.counter("mesh_age_total", "", &[]).add(1);
        assert!(!shown(&process, Format::Text).contains("mesh_age_total"));
    }

    ///
    #[test]
    fn series_are_bounded_and_nothing_is_lost() {
        let process = Process::default();
        for reason in 0..3000 {
            let reason = reason.to_string();
            process
                .counter("mesh_x_total", "", &[("reason", &reason)])
                .add(1);
        }
        let text = shown(&process, Format::Text);
        assert_eq!(text.lines().count(), 2 + MAX_SERIES);
        assert!(text.contains("mesh_x_total{reason=\"unknown\"} 1001\n"));
    }
}
