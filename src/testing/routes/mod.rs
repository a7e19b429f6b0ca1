//! Proves that no route of an application is unguarded.
//!
//! A guard covers what it wraps. With axum's `Router::layer`, routes, merges and fallbacks that are
//! added after it have no guard, and `route_layer` leaves 404 without one; no compiler and no
//! ordinary test notices. [`Routes`] walks the finished application in process, with requests that
//! its guards must refuse: the listed routes with every method, paths below and beside them, and
//! paths at random. It names each one that something other than a guard answered.
//!
//! - [`deny_all_mesh`] makes a mesh that refuses every request; [`DENY_ALL`] is its policy, for
//!   guards that you build yourself.
//! - [`Routes`] holds the routes as templates, or as a [`RecordRoutesLayer`] has recorded them from
//!   the traffic of other tests.
//! - [`Walk`] is the result. It prints as a report.
//!
//! A refusal counts only when a guard of this crate made it, as the request's
//! [`Exchange`](crate::context::Exchange) tells: a 403 that the application answers itself shows
//! that the request has reached the application.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_mesh::mesh::BuildError> {
//! use axum::{Router, body::Body, routing::get};
//! use tower_mesh::Workload;
//! use tower_mesh::testing::routes::{Routes, deny_all_mesh};
//!
//! let mesh = deny_all_mesh(Workload::new("default", "patients")).await?;
//! let charts: Router = Router::new().route("/patients/{id}", get(|| async { "a chart" }));
//! let routes = Routes::new().route("GET /patients/{id}");
//!
//! routes.walk(mesh.protect(charts.clone()), Body::empty).await.assert_guarded();
//!
//! // The layer does not reach what is added after it.
//! let open = charts.layer(mesh.server()).route("/export", get(|| async { "all charts" }));
//! let walk = routes.route("GET /export").walk(open, Body::empty).await;
//! assert_eq!(walk.unguarded()[0].route, "GET /export");
//! # Ok(()) }
//! ```

mod answer;
mod ask;
mod deny_all;
mod list;
mod probes;
mod record;
mod template;
mod walk;

pub use answer::Answer;
pub use deny_all::{DENY_ALL, deny_all_mesh};
pub use list::Routes;
pub use record::{RecordRoutes, RecordRoutesLayer};
pub use walk::{Answered, Unguarded, Walk};
