//! The writer: a thread for each trail, behind a bounded queue.

mod attempt;
mod builder;
mod clock;
mod counters;
mod error;
mod flood;
mod handle;
mod place;
mod queue;
mod second;
mod settings;
mod sink;
mod stream;
#[cfg(test)]
mod tests;
mod thread;

pub use builder::{AuditBuilder, Trail};
pub use clock::{Clock, SystemClock};
pub use counters::Counters;
pub use error::{AuditUnavailable, StartError};
pub use handle::{Audit, Recorded};
#[cfg(feature = "otlp")]
pub(super) use settings::Whose;
pub use settings::{Durability, OnFailure};
pub use sink::{Sink, SinkError};
pub(crate) use stream::Stream;
