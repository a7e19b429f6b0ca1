//! HTTP basics that all layers share: local replies, bodies that report their end, and gRPC's form
//! of errors.
//!
//! A guard that refuses a request makes a [`LocalReply`], which is sent in the caller's form: as
//! plain text, or as a gRPC status. Its response body is a [`GuardBody`], which holds the inner
//! service's body or the reply's. Layers that measure wrap the response body in an [`EosBody`],
//! which reports its end exactly once, and the request body in a [`CountingBody`].
//!
//! Spans, metrics and observers are [`Watch`]es. A [`Record`] takes each of them through the steps
//! of an exchange and gives it one [`Report`] at the end. A [`WatchLayer`] does the same around a
//! service of your own.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use http::{HeaderMap, Method, StatusCode};
//! use http_body_util::Full;
//! use tower_mesh::message::LocalReply;
//!
//! let details = "rbac_access_denied_matched_policy[none]";
//! let reply = LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", details);
//! let response = reply.into_response::<Full<Bytes>>(&Method::GET, &HeaderMap::new());
//! assert_eq!(response.status(), StatusCode::FORBIDDEN);
//! assert_eq!(response.headers()["content-length"], "19");
//! ```

mod body;
#[cfg(all(feature = "server", feature = "client"))]
mod call_progress;
mod contained;
#[cfg(any(feature = "metrics", feature = "propagation"))]
pub(crate) mod conventions;
mod counting;
mod eos;
mod flags;
mod grpc;
mod grpc_messages;
#[cfg(any(feature = "propagation", feature = "rate-limit"))]
mod health;
mod record;
mod reply;
mod watch;
mod watch_layer;

pub use body::GuardBody;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use call_progress::{CallFailure, CallProgress, CalledServer};
pub use contained::contained;
pub use counting::{ByteCount, CountingBody};
pub use eos::{End, EndKind, EosBody, OnEnd};
pub use flags::ResponseFlags;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use grpc::grpc_timeout;
pub use grpc::{GrpcStatus, is_grpc};
#[cfg(any(feature = "propagation", feature = "rate-limit"))]
pub(crate) use health::HEALTH_PATHS;
pub use record::Record;
pub use reply::LocalReply;
pub use watch::{Direction, Report, Watch};
pub use watch_layer::{Begin, WatchLayer, Watched, WatchedBody, WatchedFuture};

#[cfg(any(feature = "gate", feature = "jwt"))]
pub(crate) use watch_layer::polled_too_late;
