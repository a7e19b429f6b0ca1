//! Where lines go, and the thread that writes them.

mod counts;
mod handle;
#[cfg(feature = "otlp")]
mod otlp;
mod queue;
mod writer;

pub use handle::{LineSink, Sink};
