//! The guard that asks the policy engine: Istio's AuthorizationPolicy, and the legacy ServiceRole.
//!
//! [`PolicyCheck`] has the two synchronous steps that the mesh runs:
//! [`normalize`](PolicyCheck::normalize) in front of the router, and [`check`](PolicyCheck::check)
//! after the token was verified. [`RbacLayer`] runs them as a tower layer. A refusal is Envoy's:
//! 403 `RBAC: access denied`, or `grpc-status: 7`. It reveals nothing about the policy. The rule
//! that decided is in the exchange ([`Decision`](crate::policy::Decision)) and in the response code
//! details.
//!
//! The guard needs to know the [`Peer`](crate::context::Peer). Requests without a `Peer` are
//! refused. They are not treated as plaintext requests, because rules such as `notPrincipals` would
//! then pass. If connections are not accepted by a listener of this crate, a
//! [`PeerLayer`](crate::context::PeerLayer) sets the peer.
//!
//! [`Guards`](crate::Guards) keep policies up to date for a layer without a mesh.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{Layer, ServiceExt};
//! use tower_mesh::context::Peer;
//! use tower_mesh::live::Live;
//! use tower_mesh::policy::Engine;
//! use tower_mesh::rbac::RbacLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder(&tower_mesh::Workload::new("default", "patients")).yaml("
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec:
//!   rules:
//!   - to: [{operation: {methods: [GET], paths: [/patients/*]}}]
//! ").build()?;
//! let app = tower::service_fn(|_: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! });
//! let app = RbacLayer::new(Live::new(engine)).layer(app);
//!
//! let peer = Peer::plaintext("10.0.0.1:4711".parse()?, "10.0.0.2:8080".parse()?);
//! let send = |target: &str| Request::get(target).extension(peer.clone()).body(());
//! assert_eq!(app.clone().oneshot(send("/patients/7")?).await?.status(), 200);
//! assert_eq!(app.clone().oneshot(send("/admin")?).await?.status(), 403);
//! # Ok(()) }
//! ```
//!
//! # Differences from Envoy/Istio
//!
//! - A layer that may be behind a router does not rewrite targets. It judges the target as it was
//!   sent, whatever nested routers left of it. It answers 400 if the router may have seen other
//!   segments, as axum's routers do when they nest `/api` and get `/api//admin`. It finds the sent
//!   target if another layer of this crate is further out, or, with the feature `axum`, in the
//!   `OriginalUri` that axum's routers leave. With another router that removes prefixes, put a
//!   layer of this crate in front of it. [`RbacLayer::in_front_of_router`] and the mesh rewrite
//!   targets, as Envoy does.
//! - A request has one host. In front of the router the authority of the target replaces the `Host`
//!   header, as in Envoy, and on HTTP/1 a user before the `@` is removed. Behind a router, a
//!   request is answered with 400 if its target and `Host` differ in any byte or if it names a
//!   user. Several `Host` lines, an invalid host, and a user on HTTP/2 are always answered with
//!   400.
//! - Headers that Envoy removes before policy runs are also removed here (`te` other than
//!   `trailers`, `keep-alive`, `x-envoy-internal`, an invalid `referer` and so on), and lines that
//!   Envoy joins are joined. So the application sees the headers that policy saw.
//!   `x-forwarded-client-cert` never reaches the application, but rules see what was sent. Cookies
//!   that HTTP/2 sends in pieces become one header for both (RFC 9113 §8.2.3).
//! - Requests that a CUSTOM policy sends to a provider are refused, because a layer has no client
//!   that could ask it. A [`Mesh`](crate::Mesh) asks.

mod check;
mod layer;

pub use crate::guard::RequestAttributes;
pub use check::PolicyCheck;
#[cfg(all(feature = "server", feature = "client", feature = "external"))]
pub(crate) use check::other_hosts;
pub use layer::{Rbac, RbacGuard, RbacLayer, ResponseFuture};
