//! The record of a call.

use crate::mesh::watches::Watches;
use crate::message;
use crate::metrics::ClientRecord;
use crate::propagation::ClientSpan;

/// Records a call for its span, its metrics and the application's observers.
pub(super) type Record = message::Record<Watches<ClientSpan, ClientRecord>>;
