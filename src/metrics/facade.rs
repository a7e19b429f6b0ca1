//! The metrics in a recorder of the crate `metrics`.

use metrics_facade::{Key, Label, Level, Metadata, Recorder};

use super::expose::output::Output;
use super::expose::pairs::pairs;
use super::registry::Registry;
use super::store::buckets::Bounds;
use super::store::exemplars::Exemplar;
use super::store::histogram::HistogramTotals;
use super::store::metric_type::MetricType;
use super::store::value::Value;

impl Registry {
    /// Writes all metrics as they are now into a recorder of the crate `metrics` (0.24), under the
    /// names, labels and values of [`render`](Self::render). Call it before that recorder is
    /// scraped, or at intervals.
    ///
    /// A histogram of that crate takes single values and not counts, so that each bucket is a
    /// counter here, with the label `le`, and so are sum and count: in Prometheus they are the same
    /// series.
    ///
    /// ```
    /// # use metrics_facade as metrics;
    /// use tower_mesh::metrics::Registry;
    ///
    /// fn refresh(registry: &Registry) {
    ///     metrics::with_recorder(|recorder| registry.record_into(recorder));
    /// }
    /// # refresh(&Registry::new());
    /// ```
    pub fn record_into(&self, recorder: &dyn Recorder) {
        let mut into = Into { recorder };
        let mut exposition = self.exposition(std::time::Instant::now());
        while self.write_next(&mut exposition, &mut into) {}
    }
}

struct Into<'a> {
    recorder: &'a dyn Recorder,
}

const METADATA: Metadata<'static> = Metadata::new("tower_mesh", Level::INFO, None);

impl Into<'_> {
    fn counter(&self, name: String, labels: Vec<(String, String)>, value: u64) {
        let counter = self
            .recorder
            .register_counter(&key(name, labels), &METADATA);
        counter.absolute(value);
    }

    fn gauge(&self, name: String, labels: Vec<(String, String)>, value: f64) {
        let gauge = self.recorder.register_gauge(&key(name, labels), &METADATA);
        gauge.set(value);
    }
}

fn key(name: String, labels: Vec<(String, String)>) -> Key {
    let labels = labels
        .into_iter()
        .map(|(name, value)| Label::new(name, value));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

fn suffix(metric_type: MetricType) -> &'static str {
    match metric_type {
        MetricType::Counter => "_total",
        MetricType::PlainCounter | MetricType::Gauge | MetricType::Histogram => "",
    }
}

impl Output for Into<'_> {
    fn takes_exemplars(&self) -> bool {
        false
    }

    fn family(&mut self, metric_type: MetricType, name: &str, help: &str) {
        let (recorder, help) = (self.recorder, help.to_owned());
        let name = format!("{name}{}", suffix(metric_type));
        match metric_type {
            MetricType::Counter | MetricType::PlainCounter => {
                recorder.describe_counter(name.into(), None, help.into());
            }
            MetricType::Gauge => recorder.describe_gauge(name.into(), None, help.into()),
            MetricType::Histogram => {
                for part in ["_bucket", "_sum", "_count"] {
                    let name = format!("{name}{part}");
                    recorder.describe_counter(name.into(), None, help.clone().into());
                }
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters of the process are whole numbers that only rise"
    )]
    fn sample(
        &mut self,
        (metric_type, name): (MetricType, &str),
        labels: &str,
        value: Value,
        _: Option<&Exemplar>,
    ) {
        let name = format!("{name}{}", suffix(metric_type));
        match (metric_type, value) {
            (MetricType::Gauge, value) => self.gauge(name, pairs(labels), value.as_f64()),
            (_, Value::Whole(value)) => self.counter(name, pairs(labels), value),
            (_, Value::Float(value)) => self.counter(name, pairs(labels), value as u64),
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        (totals, bounds): (&HistogramTotals, &Bounds),
        _: &[(usize, Exemplar)],
    ) {
        let labels = pairs(labels);
        for (le, count) in totals.cumulative(bounds) {
            let mut labels = labels.clone();
            labels.push(("le".to_owned(), le.to_owned()));
            self.counter(format!("{name}_bucket"), labels, count);
        }
        let sum = format!("{name}_sum");
        match totals.sum() {
            Value::Whole(value) => self.counter(sum, labels.clone(), value),
            // A counter of that crate is a whole number.
            Value::Float(value) => self.gauge(sum, labels.clone(), value),
        }
        self.counter(format!("{name}_count"), labels, totals.count());
    }
}
