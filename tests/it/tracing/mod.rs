//! Traces: where their context goes, what a handler adds, and where spans go.

mod carried_tasks;
mod collector;
mod deadlines;
mod drops;
mod export;
mod forced;
mod handler_spans;
mod mesh_spans;
mod other_clients;
mod otlp;
mod rows;
pub(crate) mod support;
mod w3c_cases;
mod zipkin;
