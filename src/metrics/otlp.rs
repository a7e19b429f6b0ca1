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
use super::conventions::names::{ACTIVE, FAMILIES};
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
        let start = nanoseconds(self.began());
        Batches {
            registry: self.clone(),
            exposition: Some(self.exposition(Instant::now())),
            encoder: Encoder {
                metrics: Vec::new(),
                points: 0,
                family: None,
                follows_conventions: false,
                start,
                now: time_after(start, SystemTime::now()),
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

    fn attributes(&self, labels: &str) -> Vec<KeyValue> {
        match self.follows_conventions {
            true => conventional(labels),
            false => attributes(labels),
        }
    }

    fn number(&self, labels: &str, value: Value, exemplar: Option<&Exemplar>) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(labels),
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
        // An up-down counter, which Prometheus does not have.
        let is_active = ACTIVE.iter().any(|family| family.prometheus == name);
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data = match metric_type {
            MetricType::Counter | MetricType::PlainCounter => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality,
                is_monotonic: true,
            }),
            MetricType::Gauge if is_active => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality,
                is_monotonic: false,
            }),
            MetricType::Gauge => Data::Gauge(Gauge::default()),
            MetricType::Histogram => Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality,
            }),
        };
        let mut named = FAMILIES.iter().chain(&ACTIVE);
        let named = named.find(|family| family.prometheus == name);
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
            attributes: self.attributes(labels),
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
        let typed = match &*name {
            "http.response.status_code" | "server.port" => {
                value.parse().ok().map(any_value::Value::IntValue)
            }
            "otel.metric.overflow" => value.parse().ok().map(any_value::Value::BoolValue),
            _ => None,
        };
        KeyValue {
            key: name,
            value: Some(AnyValue {
                value: Some(typed.unwrap_or(any_value::Value::StringValue(value))),
            }),
            ..KeyValue::default()
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

/// The unit of a metric as UCUM writes it, by OpenTelemetry's rules: what Istio's counters count is
/// an annotation, and another name ends in its unit. The unit never changes what a collector calls
/// the metric in Prometheus.
fn unit(name: &str) -> &'static str {
    match name {
        "istio_requests" | "http_server_active_requests" | "http_client_active_requests" => {
            "{request}"
        }
        "istio_request_messages" | "istio_response_messages" => "{message}",
        "istio_tcp_connections_opened" | "istio_tcp_connections_closed" => "{connection}",
        _ => match name.rsplit_once('_') {
            Some((_, "milliseconds")) => "ms",
            Some((_, "seconds")) => "s",
            Some((_, "bytes")) => "By",
            _ => "",
        },
    }
}

/// The time of a point. A clock that was set back must not put it before the start of the count:
/// such a point is invalid, and collectors drop it.
fn time_after(start: u64, now: SystemTime) -> u64 {
    nanoseconds(now).max(start)
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Data points after which a batch ends: with all of Istio's labels a megabyte, which collectors
/// take. A family of the process, which has few labels, is in one batch.
const POINTS: usize = 500;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_point_is_never_before_its_start() {
        let began = UNIX_EPOCH + Duration::from_secs(1000);
        let start = nanoseconds(began);
        let (before, after) = (Duration::from_secs(60), Duration::from_secs(1));
        assert_eq!(time_after(start, began - before), start);
        assert_eq!(time_after(start, began + after), start + 1_000_000_000);
    }

    #[test]
    fn attributes_of_the_conventions_have_their_types() {
        let attributes = conventional(
            "server_port=\"80\",otel_metric_overflow=\"true\",http_response_status_code=\"?\"",
        );
        let value = |index: usize| attributes[index].value.clone().unwrap().value.unwrap();
        assert_eq!(value(0), any_value::Value::IntValue(80));
        assert_eq!(attributes[1].key, "otel.metric.overflow");
        assert_eq!(value(1), any_value::Value::BoolValue(true));
        assert_eq!(value(2), any_value::Value::StringValue("?".to_owned()));
    }

    #[test]
    fn units_are_those_of_open_telemetry() {
        for (name, expected) in [
            ("istio_requests", "{request}"),
            ("istio_request_duration_milliseconds", "ms"),
            ("istio_response_bytes", "By"),
            ("istio_tcp_sent_bytes", "By"),
            ("istio_tcp_connections_opened", "{connection}"),
            ("istio_response_messages", "{message}"),
            ("http_server_request_duration_seconds", "s"),
            ("http_client_response_body_size_bytes", "By"),
            ("http_server_active_requests", "{request}"),
            ("istio_build", ""),
        ] {
            assert_eq!(unit(name), expected, "{name}");
        }
    }
}
