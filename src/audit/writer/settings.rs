//! What an audit promises.

#[cfg(feature = "otlp")]
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[cfg(feature = "otlp")]
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::sink::SinkError;
use crate::audit::proof::Checkpoint;

/// When the events of a trail are made durable. An event of
/// `submit_durable` always is before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each batch: all that have come while the batch before was made durable.
    Strict,
    /// When there are so many events, or the first of them is so old.
    Grouped(u64, Duration),
    /// When the first event is so old. A crash of the machine loses as much.
    Interval(Duration),
}

/// What happens when an event cannot be made durable in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// `submit_durable` fails, so that what it is about does not happen.
    #[default]
    Refuse,
    /// It goes on, and counts.
    Continue,
}

/// Whose records a collector gets. A mesh says it before the first is sent.
#[cfg(feature = "otlp")]
pub(in crate::audit) type Whose = Arc<OnceLock<Resource>>;

/// Takes checkpoints.
pub(super) type SecondPlace = Box<dyn FnMut(&Checkpoint) -> Result<(), SinkError> + Send>;

/// What has failed is tried again after this.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// The target of log events.
pub(super) const TARGET: &str = "tower_mesh::audit";
