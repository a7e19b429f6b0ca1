//! The record of one inbound request.

use crate::mesh::watches::Watches;
use crate::message;
use crate::metrics::ServerRecord;
use crate::propagation::ServerSpan;

/// The record of an inbound request: its span, its metrics, and the application's observers.
pub(super) type Record = message::Record<Watches<ServerSpan, ServerRecord>>;
