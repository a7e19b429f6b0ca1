//! The gate: refuses requests that two programs could read differently, before anything else reads
//! them.
//!
//! A request has been read by a server, and will be read by guards, routers and the application. If
//! these disagree about its path, host or method, a policy judges another request than the
//! application answers. The gate lets a request pass only if there is one reading of it.
//!
//! [`GateLayer`] applies the gate as a tower layer. Put it outside of all other layers. It counts
//! what it refuses by reason ([`Refusals`]). The answer is the [status](Refusal::status) alone; the
//! [details](Refusal::details) stay inside the process.
//!
//! # Profiles
//!
//! [`Profile::Istio`] is as strict as a sidecar of Istio, except that it refuses what no client
//! sends in good faith. [`Profile::Strict`] refuses also what is legal but odd. It is the default
//! of [`GateLayer`].
//!
//! | rule | request | `Istio` | `Strict` |
//! |---|---|---|---|
//! | B-01 | a method with lower-case letters | 400 | 400 |
//! | B-02 | several `Host` lines | 400 | 400 |
//! | B-03 | no host | 400 | 400 |
//! | B-03 | HTTP/1.0 | passes; 426 by a [knob](Gate::accept_http_10) | 400 ([knob](Gate::accept_http_10)) |
//! | B-04 | the target and `Host` name different hosts | the target replaces `Host`; 400 behind a router | 400 |
//! | B-05 | a host with a user | the user is removed; 400 over HTTP/2 and behind a router | 400 |
//! | B-05 | another odd host: `a,b`, `h:`, `[fe80::1%25x]` | passes in `Host`, 400 in an absolute target | 400 |
//! | B-05 | a host with a port, or with a dot at its end | judged as it is | policy judges it without them, too ([knob](Gate::judge_bare_hosts)) |
//! | B-06 | no path, `*` other than of OPTIONS | 400 | 400 |
//! | B-06 | CONNECT | 403, as Envoy | 403 |
//! | B-08 | `%00`, `%zz` or `%` at the end of a path | 400 | 400 |
//! | B-09 | `\` in a path | a `/`; 400 behind a router | 400 |
//! | B-09 | `%2f`, `%5c` in a path | stays | 400 ([knob](Gate::keep_escaped_slashes)) |
//! | B-10 | segments such as `..;` and `.;x` | as [normalization](Gate::normalization) does | 400 |
//! | B-11 | raw bytes that RFC 3986 does not allow in a path | 400 | 400 |
//! | B-13 | a `transfer-encoding` other than `chunked` | 400 | 400 |
//! | B-15 | more than 100 headers, or 60 KiB of them | 431 | 431 |
//! | B-15 | a target of more than 8 KiB | 414 | 414 |
//! | B-30 | dot segments, and whatever else normalization changes | rewritten; 400 behind a router | the same |
//! | B-37 | headers that override the method or the path, such as `x-http-method-override` | pass | removed |
//!
//! A layer is taken to be behind a router unless [`GateLayer::in_front_of_router`] is called. A
//! router that has already chosen by the raw path does not choose again, so nothing is rewritten
//! there. Where axum's router has chosen a route, or has shortened the path, every layer is behind
//! it, whatever was called.
//!
//! In a query, every visible ASCII character passes, and escapes are not checked: applications
//! split queries, not routers. An escape is decoded once at most, so `%252e` stays literal.
//!
//! # Header trust
//!
//! What a request's headers may say, and on whose word:
//!
//! - [`Edge`] brings the headers of callers from outside into a form that the mesh may believe. A
//!   mesh applies it to the requests of a listener with the option `edge`.
//! - [`ForwardClientCert`] decides what the application sees of `x-forwarded-client-cert`. A mesh
//!   applies it by the listener's option `forward_client_cert`. [`forwarded_client_cert`] reads and
//!   writes the header.
//! - [`forwarded_for`] finds the client behind trusted proxies.
//! - [`strip`] removes the headers that only proxies of the mesh may send.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{Layer, ServiceExt};
//! use tower_mesh::gate::{GateLayer, Refusal};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = tower::service_fn(|_: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! });
//! let gate = GateLayer::new();
//! let refusals = gate.refusals().clone();
//! let app = gate.layer(app);
//!
//! let send = |target: &str| Request::get(target).header("host", "patients").body(());
//! assert_eq!(app.clone().oneshot(send("/patients/7")?).await?.status(), 200);
//! assert_eq!(app.clone().oneshot(send("/x/..;/admin")?).await?.status(), 400);
//! assert_eq!(refusals.count(Refusal::DotParameter), 1);
//! # Ok(()) }
//! ```

mod admit;
mod asked;
mod headers;
mod host;
mod judge;
mod layer;
mod one_hop;
mod path;
mod refusal;
mod refusals;
mod settings;
#[cfg(feature = "rbac")]
mod settled;
mod target;
mod trust;

#[cfg(feature = "rbac")]
pub(crate) use admit::{admit, rewrite};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use judge::{Arrival, judge_and_settle};
pub use layer::{GateGuard, GateLayer, Gated, ResponseFuture};
pub use refusal::Refusal;
pub use refusals::Refusals;
pub use settings::{Gate, Profile};
#[cfg(feature = "rbac")]
pub(crate) use settled::{settle, take_off_hearsay};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use trust::wishes::note_grpc_deadline;
pub use trust::{Edge, ForwardClientCert, forwarded_client_cert, forwarded_for, strip};

#[cfg(test)]
mod tests;
