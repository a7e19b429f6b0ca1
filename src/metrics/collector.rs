//! The metrics in a registry of the crate `prometheus-client`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType as ClientType;
use prometheus_client::metrics::exemplar::Exemplar as ClientExemplar;

use super::expose::output::Output;
use super::expose::pairs::pairs;
use super::registry::Registry;
use super::store::buckets::Bounds;
use super::store::exemplars::Exemplar;
use super::store::histogram::HistogramTotals;
use super::store::metric_type::MetricType;
use super::store::value::Value;

/// Shows all metrics in a registry of the crate `prometheus-client`, beside the application's own.
///
/// Names, labels and values are those of [`render`](Registry::render). That crate writes bounds of
/// buckets its own way (`le="1.0"`) and takes no exemplars of others.
///
/// ```
/// use tower_mesh::metrics::Registry;
///
/// let mesh = Registry::new(); // or `mesh.metrics().clone()`
/// let mut registry = prometheus_client::registry::Registry::default();
/// registry.register_collector(Box::new(mesh));
/// let mut text = String::new();
/// prometheus_client::encoding::text::encode(&mut text, &registry)?;
/// assert!(text.contains("istio_build{component=\"proxy\""));
/// # Ok::<(), std::fmt::Error>(())
/// ```
impl Collector for Registry {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families {
            encoder,
            family: None,
            result: Ok(()),
        };
        let mut exposition = self.exposition(std::time::Instant::now());
        while self.write_next(&mut exposition, &mut families) {}
        families.end();
        families.result
    }
}

/// Keeps one family at a time: the other crate's encoder of a family borrows that of all.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
    family: Option<Family>,
    result: fmt::Result,
}

struct Family {
    metric_type: MetricType,
    name: String,
    help: String,
    rows: Vec<(Vec<(String, String)>, Row)>,
}

enum Row {
    Number(Value),
    Histogram {
        sum: f64,
        count: u64,
        buckets: Vec<(f64, u64)>,
    },
}

impl Families<'_> {
    fn end(&mut self) {
        if let Some(family) = self.family.take()
            && self.result.is_ok()
        {
            self.result = family.write(&mut self.encoder);
        }
    }

    fn push(&mut self, labels: &str, row: Row) {
        if let Some(family) = &mut self.family {
            family.rows.push((pairs(labels), row));
        }
    }
}

impl Family {
    fn write(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metric_type = match self.metric_type {
            MetricType::Counter => ClientType::Counter,
            MetricType::PlainCounter => ClientType::Unknown,
            MetricType::Gauge => ClientType::Gauge,
            MetricType::Histogram => ClientType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(&self.name, &self.help, None, metric_type)?;
        for (labels, row) in self.rows {
            if labels.is_empty() {
                row.write(self.metric_type, &mut metric)?;
            } else {
                row.write(self.metric_type, &mut metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn write(&self, metric_type: MetricType, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match (self, metric_type) {
            (Self::Number(Value::Whole(value)), MetricType::Counter) => {
                encoder.encode_counter(value, None::<&ClientExemplar<NoLabelSet, u64>>)
            }
            (Self::Number(Value::Float(value)), MetricType::Counter) => {
                encoder.encode_counter(value, None::<&ClientExemplar<NoLabelSet, f64>>)
            }
            (Self::Number(Value::Whole(value)), _) => encoder.encode_gauge(value),
            (Self::Number(Value::Float(value)), _) => encoder.encode_gauge(value),
            (
                Self::Histogram {
                    sum,
                    count,
                    buckets,
                },
                _,
            ) => encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
        }
    }
}

impl Output for Families<'_> {
    fn takes_exemplars(&self) -> bool {
        false
    }

    fn family(&mut self, metric_type: MetricType, name: &str, help: &str) {
        self.end();
        self.family = Some(Family {
            metric_type,
            name: name.to_owned(),
            help: help.to_owned(),
            rows: Vec::new(),
        });
    }

    fn sample(&mut self, _: (MetricType, &str), labels: &str, value: Value, _: Option<&Exemplar>) {
        self.push(labels, Row::Number(value));
    }

    fn histogram(
        &mut self,
        _: &str,
        labels: &str,
        (totals, bounds): (&HistogramTotals, &Bounds),
        _: &[(usize, Exemplar)],
    ) {
        let bounds = bounds.bounds().iter().copied().chain([f64::INFINITY]);
        let row = Row::Histogram {
            sum: totals.sum().as_f64(),
            count: totals.count(),
            buckets: bounds.zip(totals.buckets().iter().copied()).collect(),
        };
        self.push(labels, row);
    }
}
