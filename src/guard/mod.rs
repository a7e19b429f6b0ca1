// The trait, for guards of the crate and of applications. The order in which a mesh runs its own
// guards is the list `STEPS` in `src/mesh/server/steps.rs`; a new one goes there.

//! Guards decide whether a request may reach the service behind them.
//!
//! A [`Guard`] judges the head of a request and returns a [`Verdict`]: pass, refuse with a
//! [`LocalReply`](crate::message::LocalReply), or ask. A guard that asks returns a [`Question`],
//! which is a future. The request waits for its [`Answer`] with its body unread. Requests that need
//! no question pay nothing for this.
//!
//! [`GuardLayer`] puts one guard in front of a service. The layers of [`rbac`](crate::rbac) and
//! [`jwt`](crate::jwt) also contain guards. A [`Mesh`](crate::Mesh) runs all its guards in one
//! order; [`MeshBuilder::guard`](crate::MeshBuilder::guard) adds those of an application.
//!
//! # Example
//!
//! This guard looks up tenants in another service and sends the plan of each to the application:
//!
//! ```
//! use http::request::Parts;
//! use http::{HeaderValue, Request, Response, StatusCode};
//! use http_body_util::Empty;
//! use tower::{Layer, ServiceExt};
//! use tower_mesh::context::Exchange;
//! use tower_mesh::guard::{Answer, Guard, GuardLayer, Question, Verdict};
//! use tower_mesh::message::LocalReply;
//!
//! #[derive(Clone)]
//! struct Tenants;
//!
//! /// A real guard would call the other service here.
//! async fn plan_of(tenant: &str) -> Option<&'static str> {
//!     (tenant == "north").then_some("gold")
//! }
//!
//! impl Guard for Tenants {
//!     fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
//!         let tenant = head.headers.get("x-tenant");
//!         let Some(tenant) = tenant.and_then(|name| name.to_str().ok()) else {
//!             // This refusal needs no question.
//!             let reply = LocalReply::new(StatusCode::BAD_REQUEST, "no tenant", "no_tenant");
//!             return Verdict::Refuse(reply);
//!         };
//!         let tenant = tenant.to_owned();
//!         Verdict::Ask(Question::new(async move {
//!             match plan_of(&tenant).await {
//!                 Some(plan) => Answer::change(move |head, _| {
//!                     head.headers.insert("x-plan", HeaderValue::from_static(plan));
//!                     Ok(())
//!                 }),
//!                 None => Answer::Refuse(LocalReply::new(
//!                     StatusCode::FORBIDDEN,
//!                     "unknown tenant",
//!                     "unknown_tenant",
//!                 )),
//!             }
//!         }))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = tower::service_fn(|request: Request<()>| async move {
//!     assert_eq!(request.headers()["x-plan"], "gold");
//!     Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! });
//! let app = GuardLayer::new(Tenants).layer(app);
//!
//! let of = |tenant| Request::get("/").header("x-tenant", tenant).body(());
//! assert_eq!(app.clone().oneshot(of("north")?).await?.status(), 200);
//! assert_eq!(app.clone().oneshot(of("south")?).await?.status(), 403);
//! assert_eq!(app.oneshot(Request::get("/").body(())?).await?.status(), 400);
//! # Ok(()) }
//! ```

mod answer;
mod layer;
mod question;
mod request;
#[cfg(any(feature = "rate-limit", feature = "rbac"))]
mod target;
mod verdict;

pub use answer::{Answer, Change};
pub use layer::{GuardLayer, Guarded, ResponseFuture};
pub use question::{BodyPrefix, Question};
pub use request::RequestAttributes;
pub use verdict::{Guard, Verdict};

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use answer::panicked;
#[cfg(any(feature = "rate-limit", feature = "rbac"))]
pub(crate) use target::judged_target;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use verdict::judge;
