//! OpenTelemetry's metrics of HTTP and RPC, beside Istio's or for tools that do not know those.

pub(in crate::metrics) mod active;
pub(in crate::metrics) mod attributes;
pub(in crate::metrics) mod families;
pub(in crate::metrics) mod names;
