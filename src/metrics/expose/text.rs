use std::fmt::{Display, Write};

use super::format::Format;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::metric_type::MetricType;

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

    /// Starts a family; all its samples must follow. The name of a counter is given without
    /// `_total`, which only the older format shows in these lines.
    pub(in crate::metrics) fn family(&mut self, metric_type: MetricType, name: &str, help: &str) {
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

    /// One sample; `labels` are written already, or empty.
    pub(in crate::metrics) fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &str,
        value: impl Display,
    ) {
        if labels.is_empty() {
            self.line(format_args!("{name}{suffix} {value}"));
        } else {
            self.line(format_args!("{name}{suffix}{{{labels}}} {value}"));
        }
    }

    pub(in crate::metrics) fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        totals: &HistogramTotals,
    ) {
        for (le, count) in totals.cumulative() {
            self.line(format_args!(
                "{name}_bucket{{{labels},le=\"{le}\"}} {count}"
            ));
        }
        self.sample(name, "_sum", labels, totals.sum);
        self.sample(name, "_count", labels, totals.count());
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

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}
