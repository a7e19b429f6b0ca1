//! Policies: compiled, judged, explained, and printed as Envoy has them.

mod custom;
mod envoy_shape;
mod explain;
mod golden;
mod laws;
mod legacy;
mod rbac;
mod rows;
mod rows_of_peers;
