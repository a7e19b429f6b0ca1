//! The headers that carry a trace from one process to the next.

pub(super) mod b3;
pub(super) mod baggage;
pub(super) mod cloud_trace;
pub(super) mod extract;
pub(super) mod headers;
pub(super) mod inject;
pub(super) mod jaeger;
pub(super) mod open_census;
pub(super) mod optional;
pub(super) mod parent;
pub(super) mod request_id;
pub(super) mod w3c;
