//! Rate limits: how many requests may pass, by who sends them and what they ask for.
//!
//! A [`Limit`](crate::policy::limit::Limit) says what is counted and how much of it may pass. A
//! [`RateLimitLayer`] counts in this process. A [`Mesh`](crate::Mesh) does the same, and also reads
//! limits from `mesh.tower/v1` RateLimit resources and asks a rate limit service.
//!
//! # Buckets
//!
//! Local limits are token buckets, as those of Envoy's `local_ratelimit`. A bucket begins full; a
//! request takes one token; tokens come back continuously, at the rate of the limit, until the
//! bucket is full. A bucket that fills in a day is not a quota by calendar day, and a restart fills
//! it: where that matters, let a rate limit service count.
//!
//! A descriptor is a list of keys and values that a request is described by, such as its method and
//! its caller. A limit may have a bucket for a written descriptor, and one for each distinct value
//! that requests bring. A request takes a token from the bucket of each of its descriptors, and
//! then from the default bucket. The first bucket without a token refuses it, and the buckets and
//! limits behind keep theirs.
//!
//! # Bounds
//!
//! The number of buckets by value is bounded
//! ([`Local::max_keys`](crate::policy::limit::Local::max_keys)); each takes at most 150 bytes, and
//! 50 where many are in use. A value whose bucket is full again gives its place to a new value. If
//! no place is free, all new values share one further bucket of the same rate. A caller who rotates
//! values so gets the tokens of that one bucket, resets the limit of no other value, and is counted
//! ([`LimitStats::overflowed`]). Count by what callers cannot choose, such as their principal,
//! where you can.
//!
//! # Answers
//!
//! A refused request gets 429 with the text `local_rate_limited`, as from Envoy; a gRPC caller gets
//! UNAVAILABLE, or RESOURCE_EXHAUSTED if the limit says so. The response has the flag `RL`.
//!
//! # Differences from Envoy
//!
//! - A limit applies to all requests once it exists: there is no share of requests that it is
//!   enabled for. [`Limit::report_only`](crate::policy::limit::Limit::report_only) counts and logs
//!   without refusing.
//! - Envoy forgets the value that was used least recently when there are more than twenty, so that
//!   a caller who rotates values resets limits. See Bounds for what happens here.
//! - The buckets of a connection are kept among those of all connections, and count against the same
//!   bound.
//!
//! # Example
//!
//! Each tenant may send ten requests per hour, and all together a hundred:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{Layer, ServiceExt};
//! use tower_mesh::policy::limit::{Action, Limit, Local, TokenBucket};
//! use tower_mesh::rate_limit::RateLimitLayer;
//!
//! let per_hour = |tokens| TokenBucket::new(tokens, Duration::from_secs(3600));
//! let local = Local::new(per_hour(100)).descriptor([("tenant", "")], per_hour(10));
//! let limit = Limit::new("reads")
//!     .descriptor([Action::header("x-tenant", "tenant")])
//!     .local(local);
//! let limits = RateLimitLayer::builder().limit(limit).build()?;
//!
//! let app = tower::service_fn(|_: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! });
//! let app = limits.layer(app);
//! # let peer = tower_mesh::Peer::plaintext("192.0.2.7:4711".parse()?, "192.0.2.1:80".parse()?);
//! let from = |tenant| {
//!     let request = Request::get("/").header("x-tenant", tenant);
//!     // The mesh's listeners do this.
//!     request.extension(peer.clone()).body(())
//! };
//! for _ in 0..10 {
//!     assert_eq!(app.clone().oneshot(from("north")?).await?.status(), 200);
//! }
//! assert_eq!(app.clone().oneshot(from("north")?).await?.status(), 429);
//! assert_eq!(app.oneshot(from("south")?).await?.status(), 200);
//! assert_eq!(limits.stats()[0].refused(), 1);
//! # Ok(()) }
//! ```

mod actions;
mod bucket;
mod candidates;
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only a mesh is reconfigured")
)]
mod changes;
mod counts;
mod headers;
mod key;
mod layer;
mod limits;
mod local;
mod refusal;
mod running;
#[cfg(feature = "rate-limit-service")]
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, unused_imports, reason = "only a mesh asks services")
)]
mod service;
mod stats;
mod table;

pub use layer::{
    RateLimitError, RateLimitGuard, RateLimitLayer, RateLimitLayerBuilder, RateLimited,
    ResponseFuture,
};
pub use stats::LimitStats;

#[cfg(feature = "rate-limit-service")]
pub(crate) use limits::Counting;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use limits::Limits;
#[cfg(all(feature = "client", feature = "rate-limit-service", feature = "server"))]
pub(crate) use service::{CountingService, OverGrpc};
