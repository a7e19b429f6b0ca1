//! How a collector of OpenTelemetry is reached: of spans its address, of logs and metrics all of it.

#[cfg(feature = "access-log")]
mod client;
mod target;

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use client::resource;
#[cfg(feature = "access-log")]
pub(crate) use client::{Client, Refused, Signal, scope};
pub(super) use target::TRACES;
pub(crate) use target::Target;

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use super::batch::{Partial, cut, shown};
