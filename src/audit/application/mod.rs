//! The records of a request: what its exchange says of it, and the events of the application.

mod event;
mod facts;
mod trail;

pub use event::{ApplicationEvent, EventError, event};

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use facts::with_request;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use trail::RequestTrail;
