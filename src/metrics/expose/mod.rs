//! Writes the series as text for Prometheus, in one of two formats, piece by piece.

mod changed;
pub(in crate::metrics) mod families;
pub(in crate::metrics) mod format;
pub(in crate::metrics) mod output;
#[cfg(any(
    feature = "metrics-facade",
    feature = "prometheus-client",
    all(feature = "otlp", feature = "server", feature = "client")
))]
pub(in crate::metrics) mod pairs;
mod parts;
pub(in crate::metrics) mod projection;
mod rows;
pub(in crate::metrics) mod slots;
pub(in crate::metrics) mod text;
