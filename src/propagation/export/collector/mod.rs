//! How a collector of OpenTelemetry is reached: of spans its address, of logs and metrics all of it.

#[cfg(any(feature = "access-log", feature = "audit"))]
mod client;
#[cfg(any(feature = "access-log", feature = "audit"))]
mod logs;
mod target;

#[cfg(any(feature = "access-log", feature = "audit"))]
pub(crate) use client::{Client, Refused};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use client::{Signal, resource, scope};
#[cfg(any(feature = "access-log", feature = "audit"))]
pub(crate) use logs::{LOGS, Logs, attribute, logs_request, text};
pub(super) use target::TRACES;
pub(crate) use target::Target;

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use super::batch::Partial;
#[cfg(any(feature = "audit", all(feature = "server", feature = "client")))]
pub(crate) use super::batch::{cut, shown};
