//! Guard that asks the policy engine: Istio's AuthorizationPolicy, and the legacy ServiceRole.
//!
//! [`PolicyCheck`] has the two synchronous steps that the composed mesh runs, [`normalize`](PolicyCheck::normalize) in front of the router and
//! [`check`](PolicyCheck::check) after the token; [`RbacLayer`] runs them as a tower layer. A refusal is Envoy's: 403 `RBAC: access denied`, or
//! `grpc-status: 7`, and says nothing of the policy; the rule that decided is in the exchange ([`Decision`](crate::policy::Decision)) and
//! in the response code details.
//!
//! The guard needs to know the [`Peer`](crate::context::Peer). "No peer known" never means "plaintext peer": it refuses, because rules such
//! as `notPrincipals` would pass. Where no listener of this crate accepts, a [`PeerLayer`](crate::context::PeerLayer) says it by hand.
//!
//! [`Guards`](crate::Guards) keep policies fresh for a layer without a mesh.
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
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder(&tower_mesh::Workload::new("default", "patients")).yaml("
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec:
//!   rules:
//!   - to: [{operation: {methods: [GET], paths: [/patients/*]}}]
//! ").build()?;
//! let app = tower::service_fn(|_: Request<()>| async { Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new())) });
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
//! - A layer that may stand behind a router does not rewrite targets: it judges the target as it was sent, whatever nested routers left of
//!   it, and answers 400 when the router may have seen other segments, as axum's do when they nest `/api` and get `/api//admin`. It finds that target where another layer of this crate stands further
//!   out, and, with the feature `axum`, in the `OriginalUri` that axum's routers leave; under another router that takes prefixes off, put
//!   one of our layers in front. [`RbacLayer::in_front_of_router`] and the composed mesh rewrite, as Envoy does.
//! - There is one host. In front of the router the authority of the target replaces the `Host` header, as in Envoy, and a user in front of
//!   `@` is taken off on HTTP/1; behind a router a request whose target and `Host` differ in any byte, or that names a user, is answered
//!   with 400. Several `Host` lines, a host that is no text, and a user on HTTP/2 are 400 everywhere.
//! - What Envoy takes off before policy runs (`te` other than `trailers`, `keep-alive`, `x-envoy-internal`, a `referer` that is none and so
//!   on) is taken off here, too, and lines that it joins are joined, so that the application sees the headers that policy saw.
//!   `x-forwarded-client-cert` never reaches the application; rules still see what was sent. Cookies that HTTP/2 sends in crumbs are one
//!   header for both (RFC 9113 §8.2.3).
//! - Requests that a CUSTOM policy sends to a provider are refused: external authorization is not there yet.

mod check;
mod headers;
mod host;
mod layer;
mod request;
mod target;

pub use check::PolicyCheck;
pub use layer::{Rbac, RbacGuard, RbacLayer, ResponseFuture};
pub use request::RequestAttributes;
