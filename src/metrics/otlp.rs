//! The metrics as OpenTelemetry's protocol has them.
//!
//! The SDK's own metric types cannot be made outside of the SDK, so the messages of the protocol
//! are written from the same pass that writes the text.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exemplar;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as OtlpExemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum,
};

use super::conventions::attributes::ATTRIBUTES;
use super::conventions::durations::FAMILIES;
use super::expose::families::Exposition;
use super::expose::output::Output;
use super::expose::pairs::pairs;
use super::registry::Registry;
use super::store::buckets::Bounds;
use super::store::exemplars::Exemplar;
use super::store::histogram::HistogramTotals;
use super::store::metric_type::MetricType;
use super::store::value::Value;

/// All metrics as they are now, in batches of a bounded size: cumulative since the registry was
/// made.
pub(crate) struct Batches {
    registry: Registry,
    /// `None` after the last batch.
    exposition: Option<Exposition>,
    encoder: Encoder,
}

impl Registry {
    /// All metrics as they are now, for a collector.
    pub(crate) fn batches(&self) -> Batches {
        Batches {
            registry: self.clone(),
            exposition: Some(self.exposition(Instant::now())),
            encoder: Encoder {
                metrics: Vec::new(),
                points: 0,
                family: None,
                follows_conventions: false,
                start: nanoseconds(self.began()),
                now: nanoseconds(SystemTime::now()),
            },
        }
    }
}

impl Iterator for Batches {
    type Item = Vec<Metric>;

    fn next(&mut self) -> Option<Vec<Metric>> {
        let exposition = self.exposition.as_mut()?;
        let mut is_more = true;
        while is_more && self.encoder.points < POINTS {
            is_more = self.registry.write_next(exposition, &mut self.encoder);
        }
        if !is_more {
            self.exposition = None;
        }
        self.encoder.points = 0;
        let metrics = std::mem::take(&mut self.encoder.metrics);
        (!metrics.is_empty()).then_some(metrics)
    }
}

struct Encoder {
    metrics: Vec<Metric>,
    points: usize,
    /// The family that is being written: a batch may end within it.
    family: Option<Metric>,
    /// Whether its names are those of OpenTelemetry's conventions.
    follows_conventions: bool,
    start: u64,
    now: u64,
}

impl Encoder {
    /// The data of the current family in the current batch.
    fn data(&mut self) -> Option<&mut Data> {
        let family = self.family.as_ref()?;
        if self
            .metrics
            .last()
            .is_none_or(|last| last.name != family.name)
        {
            self.metrics.push(family.clone());
        }
        self.points += 1;
        self.metrics.last_mut()?.data.as_mut()
    }

    fn number(&self, labels: &str, value: Value, exemplar: Option<&Exemplar>) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            exemplars: exemplar.into_iter().map(written).collect(),
            flags: 0,
            value: Some(match value {
                Value::Whole(value) => {
                    number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))
                }
                Value::Float(value) => number_data_point::Value::AsDouble(value),
            }),
        }
    }
}

impl Output for Encoder {
    fn takes_exemplars(&self) -> bool {
        true
    }

    fn family(&mut self, metric_type: MetricType, name: &str, help: &str) {
        let suffix = match metric_type {
            MetricType::Counter => "_total",
            MetricType::PlainCounter | MetricType::Gauge | MetricType::Histogram => "",
        };
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data = match metric_type {
            MetricType::Counter | MetricType::PlainCounter => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality,
                is_monotonic: true,
            }),
            MetricType::Gauge => Data::Gauge(Gauge::default()),
            MetricType::Histogram => Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality,
            }),
        };
        let named = FAMILIES.iter().find(|family| family.prometheus == name);
        self.follows_conventions = named.is_some();
        self.family = Some(Metric {
            name: match named {
                Some(family) => family.open_telemetry.to_owned(),
                None => format!("{name}{suffix}"),
            },
            description: help.to_owned(),
            unit: unit(name).to_owned(),
            metadata: Vec::new(),
            data: Some(data),
        });
    }

    fn sample(
        &mut self,
        _: (MetricType, &str),
        labels: &str,
        value: Value,
        exemplar: Option<&Exemplar>,
    ) {
        let point = self.number(labels, value, exemplar);
        match self.data() {
            Some(Data::Sum(sum)) => sum.data_points.push(point),
            Some(Data::Gauge(gauge)) => gauge.data_points.push(point),
            _ => {}
        }
    }

    fn histogram(
        &mut self,
        _: &str,
        labels: &str,
        (totals, bounds): (&HistogramTotals, &Bounds),
        exemplars: &[(usize, Exemplar)],
    ) {
        let point = HistogramDataPoint {
            attributes: match self.follows_conventions {
                true => conventional(labels),
                false => attributes(labels),
            },
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            count: totals.count(),
            sum: Some(totals.sum().as_f64()),
            bucket_counts: totals.buckets().to_vec(),
            explicit_bounds: bounds.bounds().to_vec(),
            exemplars: exemplars
                .iter()
                .map(|(_, exemplar)| written(exemplar))
                .collect(),
            ..HistogramDataPoint::default()
        };
        if let Some(Data::Histogram(histogram)) = self.data() {
            histogram.data_points.push(point);
        }
    }
}

fn attributes(labels: &str) -> Vec<KeyValue> {
    let pairs = pairs(labels).into_iter();
    pairs.map(|(name, value)| attribute(name, value)).collect()
}

/// The attributes with the names and types of OpenTelemetry's conventions.
fn conventional(labels: &str) -> Vec<KeyValue> {
    let pairs = pairs(labels).into_iter();
    let typed = |(label, value): (String, String)| {
        let mut known = ATTRIBUTES.iter().filter(|(known, _)| *known == label);
        let name = known.next().map_or(label, |(_, name)| (*name).to_owned());
        let number = matches!(&*name, "http.response.status_code" | "server.port")
            .then(|| value.parse().ok())
            .flatten();
        match number {
            Some(number) => KeyValue {
                value: Some(AnyValue {
                    value: Some(any_value::Value::IntValue(number)),
                }),
                ..attribute(name, String::new())
            },
            None => attribute(name, value),
        }
    };
    pairs.map(typed).collect()
}

/// One attribute with a text as its value.
pub(crate) fn attribute(key: String, value: String) -> KeyValue {
    KeyValue {
        key,
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value)),
        }),
        ..KeyValue::default()
    }
}

fn written(exemplar: &Exemplar) -> OtlpExemplar {
    OtlpExemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: nanoseconds(exemplar.at),
        span_id: exemplar.ids.span.to_bytes().to_vec(),
        trace_id: exemplar.ids.trace.to_bytes().to_vec(),
        value: Some(exemplar::Value::AsInt(
            i64::try_from(exemplar.value).unwrap_or(i64::MAX),
        )),
    }
}

/// The unit of a metric, in UCUM's letters: what its name ends in.
fn unit(name: &str) -> &'static str {
    match name.rsplit_once('_') {
        Some((_, "milliseconds")) => "ms",
        Some((_, "seconds")) => "s",
        Some((_, "bytes")) => "By",
        _ => "",
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Data points after which a batch ends: with all of Istio's labels a megabyte, which collectors
/// take. A family of the process, which has few labels, is in one batch.
const POINTS: usize = 500;
