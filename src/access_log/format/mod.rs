//! The format of a line: Envoy's operators, read once, and written for each exchange.

mod compiled;
mod details;
mod error;
mod escape;
mod facts;
mod grpc;
mod names;
mod operator;
mod parse;
mod refused;
mod simple;
mod time;
mod value;

pub(super) use compiled::Format;
#[cfg(feature = "otlp")]
pub(super) use details::of as details_of;
pub use error::FormatError;
pub(crate) use facts::Call;
pub(crate) use facts::Facts;
pub(super) use facts::Kept;
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
pub(crate) use facts::Measured;
