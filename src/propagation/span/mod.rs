//! Spans that are recorded: what they say, and where they go.

pub(super) mod active;
#[cfg(feature = "opentelemetry")]
pub(super) mod attach;
#[cfg(not(feature = "opentelemetry"))]
#[path = "attach_nothing.rs"]
pub(super) mod attach;
pub(super) mod conventions;
pub(super) mod custom;
pub(super) mod errors;
pub(super) mod export_counts;
pub(super) mod finished;
pub(super) mod identity;
mod notes;
#[cfg(feature = "opentelemetry")]
pub(super) mod open_telemetry;
pub(super) mod recording;
#[cfg(any(feature = "opentelemetry", feature = "zipkin"))]
pub(super) mod resource;
pub(super) mod tags;
pub(super) mod target;
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "the mesh's client knows it")
)]
pub(super) mod tries;
