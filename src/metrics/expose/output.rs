use crate::metrics::store::buckets::Bounds;
use crate::metrics::store::exemplars::Exemplar;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::value::Value;

/// Takes all families of a registry, one after the other: a text, or the form of another library.
///
/// Labels are written already, `a="x",b="y"`, or empty.
pub(in crate::metrics) trait Output {
    /// Whether samples come with exemplars, which cost a lock to read.
    fn takes_exemplars(&self) -> bool;

    /// Starts a family; all its samples follow. The name of a counter is without `_total`.
    fn family(&mut self, metric_type: MetricType, name: &str, help: &str);

    /// A sample of a family that is no histogram.
    fn sample(
        &mut self,
        family: (MetricType, &str),
        labels: &str,
        value: Value,
        exemplar: Option<&Exemplar>,
    );

    /// All samples of a histogram with these labels. Exemplars come with their buckets.
    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        histogram: (&HistogramTotals, &Bounds),
        exemplars: &[(usize, Exemplar)],
    );
}
