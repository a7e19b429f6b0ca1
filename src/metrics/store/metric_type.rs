/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum MetricType {
    Counter,
    /// A counter whose name does not end in `_total`, like some of Envoy's own. OpenMetrics has no
    /// such counters and calls their type unknown.
    PlainCounter,
    Gauge,
    Histogram,
}
