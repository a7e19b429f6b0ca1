use std::fmt::{self, Write};
use std::time::UNIX_EPOCH;

use super::format::Format;
use super::output::Output;
use crate::metrics::store::buckets::Bounds;
use crate::metrics::store::exemplars::Exemplar;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::value::Value;

/// Writes metric families in one of the text formats.
#[derive(Debug)]
pub(in crate::metrics) struct Text {
    format: Format,
    text: String,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            format: Format::Text,
            text: text.to_owned(),
        }
    }
}

impl Text {
    pub(in crate::metrics) const fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// After the last family.
    pub(in crate::metrics) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
    }

    /// The bytes that were written since the last [`take`](Self::take).
    pub(in crate::metrics) const fn len(&self) -> usize {
        self.text.len()
    }

    /// The text that was written since the last time.
    pub(in crate::metrics) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn plain(&mut self, name: &str, suffix: &str, labels: &str, value: impl fmt::Display) {
        if labels.is_empty() {
            self.line(format_args!("{name}{suffix} {value}"));
        } else {
            self.line(format_args!("{name}{suffix}{{{labels}}} {value}"));
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

impl Output for Text {
    /// The older format cannot write them.
    fn takes_exemplars(&self) -> bool {
        self.format == Format::OpenMetrics
    }

    /// Only the older format shows `_total` in these lines.
    fn family(&mut self, metric_type: MetricType, name: &str, help: &str) {
        let (suffix, metric_type) = match (metric_type, self.format) {
            (MetricType::Counter, Format::Text) => ("_total", "counter"),
            (MetricType::Counter, Format::OpenMetrics) => ("", "counter"),
            (MetricType::PlainCounter, Format::Text) => ("", "counter"),
            (MetricType::PlainCounter, Format::OpenMetrics) => ("", "unknown"),
            (MetricType::Gauge, _) => ("", "gauge"),
            (MetricType::Histogram, _) => ("", "histogram"),
        };
        let mut help = help.replace('\\', "\\\\").replace('\n', "\\n");
        if self.format == Format::OpenMetrics {
            help = help.replace('"', "\\\"");
        }
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {metric_type}"));
    }

    fn sample(
        &mut self,
        (metric_type, name): (MetricType, &str),
        labels: &str,
        value: Value,
        exemplar: Option<&Exemplar>,
    ) {
        let suffix = match metric_type {
            MetricType::Counter => "_total",
            MetricType::PlainCounter | MetricType::Gauge | MetricType::Histogram => "",
        };
        let value = format_args!("{value}{}", Shown(exemplar)).to_string();
        self.plain(name, suffix, labels, value);
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        (totals, bounds): (&HistogramTotals, &Bounds),
        exemplars: &[(usize, Exemplar)],
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bucket, (le, count)) in totals.cumulative(bounds).enumerate() {
            let exemplar = exemplars.iter().find(|(of, _)| *of == bucket);
            let exemplar = Shown(exemplar.map(|(_, exemplar)| exemplar));
            self.line(format_args!(
                "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}{exemplar}"
            ));
        }
        self.plain(name, "_sum", labels, totals.sum());
        self.plain(name, "_count", labels, totals.count());
    }
}

/// An exemplar behind a sample, as OpenMetrics 1.0 writes it. Names and values have 64 of its 128
/// characters.
struct Shown<'a>(Option<&'a Exemplar>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Exemplar { ids, value, at }) = self.0 else {
            return Ok(());
        };
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, milliseconds) = (at.as_secs(), at.subsec_millis());
        write!(
            f,
            " # {{trace_id=\"{}\",span_id=\"{}\"}} {value} {seconds}.{milliseconds:03}",
            ids.trace, ids.span
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::store::buckets::Buckets;

    /// Resources may remove every label.
    #[test]
    fn a_histogram_without_labels_is_valid_text() {
        let mut text = Text::new(Format::Text);
        let totals = HistogramTotals::of_nanoseconds(1);
        let bounds = Buckets::usual().get(0).unwrap();
        text.histogram("a", "", (&totals, bounds), &[]);
        let text = text.take();
        assert!(text.starts_with("a_bucket{le=\"0.5\"} 0\n"), "{text}");
        assert!(text.ends_with("a_sum 0\na_count 0\n"), "{text}");
    }
}
