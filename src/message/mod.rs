//! The HTTP craft that all layers share: local replies, bodies that know when they end, gRPC's way of failing.
//!
//! A guard that refuses makes a [`LocalReply`] and answers it in the caller's manner: a plain text, or a gRPC status. Its response body
//! is a [`GuardBody`], the inner service's or the reply's. What measures wraps the response body into an [`EosBody`], which tells its
//! end exactly once, and the request body into a [`CountingBody`].
//!
//! Spans, metrics and observers are [`Watch`]es. A [`Record`] takes each of them through the steps of an exchange and gives it one
//! [`Report`] at the end; a [`WatchLayer`] does that around a service of your own.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use http::{HeaderMap, Method, StatusCode};
//! use http_body_util::Full;
//! use tower_mesh::message::LocalReply;
//!
//! let reply = LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", "rbac_access_denied_matched_policy[none]");
//! let response = reply.into_response::<Full<Bytes>>(&Method::GET, &HeaderMap::new());
//! assert_eq!(response.status(), StatusCode::FORBIDDEN);
//! assert_eq!(response.headers()["content-length"], "19");
//! ```

mod body;
mod counting;
mod eos;
mod flags;
mod grpc;
mod grpc_messages;
mod record;
mod reply;
mod watch;
mod watch_layer;

pub use body::GuardBody;
pub use counting::{ByteCount, CountingBody};
pub use eos::{End, EndKind, EosBody, OnEnd};
pub use flags::ResponseFlags;
pub use grpc::{GrpcStatus, is_grpc};
pub use record::{Record, contained};
pub use reply::LocalReply;
pub use watch::{Direction, Report, Watch};
pub use watch_layer::{Begin, WatchLayer, Watched, WatchedBody, WatchedFuture};

#[cfg(any(feature = "jwt", feature = "rbac"))]
pub(crate) use watch_layer::polled_too_late;
