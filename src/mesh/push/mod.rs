//! What a mesh sends by itself: its metrics, to a collector.

pub(super) mod otlp_metrics;
