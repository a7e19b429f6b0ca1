//! Concurrency limits: how many requests may be under way at once.
//!
//! A [`ConcurrencyLimit`] protects an application from more work than it can do. It is
//! [fixed](ConcurrencyLimit::fixed), or [adapts](ConcurrencyLimit::adaptive) to the latency of the
//! application. A request over the limit is refused at once; none waits.
//!
//! A request is under way until the body of its response has ended, so a stream counts as long as
//! it lasts, and an upgraded connection until it is closed. Health checks are not counted.
//!
//! A refused request gets 503 with the text `reached concurrency limit`, the details
//! `reached_concurrency_limit` and the flag `UO`; a gRPC caller gets UNAVAILABLE. As in Envoy, the
//! refusal has no header of its own: `x-envoy-overloaded` is for circuit breakers of calls, and
//! `retry-after` is never sent.
//!
//! A mesh takes a place before it judges a request, so the limit bounds the requests that wait for
//! an authorizer or a rate limit service, too. An adaptive limit learns from the application alone:
//! from the time between its call and the head of its response.
//!
//! [`MeshBuilder::concurrency`](crate::MeshBuilder::concurrency) limits a mesh, and a
//! [`ConcurrencyLimitLayer`] a service of your own.
//!
//! # Differences from Envoy
//!
//! The adaptive limit is that of Envoy's `adaptive_concurrency`, except:
//!
//! - Envoy counts and measures from the place of the filter in its chain, so the filters behind it
//!   are part of the latency. A mesh counts before its guards, and measures behind them.
//! - While the least latency is measured, half of the limit applies. Envoy admits three requests
//!   then, and refuses the rest.
//! - The limit grows only while at least half of it is used.
//! - The latency is that of the response's head, and errors are no samples. In Envoy it is that of
//!   the whole response.
//! - Streams cannot use up a limit that adapts: as many requests as its least may always wait for
//!   the head of their response. In Envoy, streams that last can keep the limit where it is.
//! - A refusal has the flag `UO`; Envoy sets none.
//!
//! # Example
//! ```
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{Layer, ServiceExt};
//! use tower_mesh::concurrency::{ConcurrencyLimit, ConcurrencyLimitLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = ConcurrencyLimitLayer::new(&ConcurrencyLimit::fixed(1));
//! let app = limits.layer(tower::service_fn(|_: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! }));
//! let first = app.clone().oneshot(Request::new(())).await?;
//! assert_eq!(app.clone().oneshot(Request::new(())).await?.status(), 503);
//! drop(first);
//! assert_eq!(app.oneshot(Request::new(())).await?.status(), 200);
//! assert_eq!(limits.stats().refused(), 1);
//! # Ok(()) }
//! ```

mod gradient;
mod held;
mod latencies;
mod layer;
mod limiter;
mod options;
mod refusal;
mod stats;

pub use layer::{ConcurrencyLimitLayer, ConcurrencyLimited, ResponseBody, ResponseFuture};
pub use options::{Adaptive, ConcurrencyLimit};
pub use stats::ConcurrencyStats;

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use limiter::{Limiter, Permit};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use refusal::overflow;
