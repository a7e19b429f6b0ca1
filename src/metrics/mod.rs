//! Istio's standard metrics.
