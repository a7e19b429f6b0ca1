//! Records the routes of an application from the traffic of its tests.
#![expect(
    clippy::disallowed_types,
    reason = "routes are recorded in tests, not where requests are served"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Request;
use http::request::Parts;
use tower_layer::Layer;
use tower_service::Service;

use super::template::Template;
use crate::context::Exchange;

/// Notes the method and the route of each request, for [`Routes::recorded`](super::Routes::recorded).
/// For tests only: it locks, and keeps paths in memory.
///
/// Put it into the application where your tests run it, and walk the application afterwards. In
/// axum's `Router::layer` it notes the template of the matched route (feature `axum`); elsewhere it
/// notes the path, without the query. It notes 1,024 different routes at most, unless
/// [`at_most`](Self::at_most) says otherwise; if there were more,
/// [`Walk::assert_guarded`](super::Walk::assert_guarded) fails.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, routing::get};
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_mesh::testing::routes::RecordRoutesLayer;
///
/// let recorder = RecordRoutesLayer::new();
/// let app: Router = Router::new()
///     .route("/patients/{id}", get(|| async { "a chart" }))
///     .layer(recorder.clone());
/// app.oneshot(Request::get("/patients/7?ward=3").body(Body::empty())?).await?;
/// assert_eq!(recorder.routes(), ["GET /patients/{id}"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RecordRoutesLayer {
    recorded: Arc<Mutex<Recorded>>,
    at_most: usize,
}

#[derive(Clone, Debug, Default)]
struct Recorded {
    routes: BTreeSet<Template>,
    left_out: u64,
}

impl RecordRoutesLayer {
    /// Has recorded nothing yet. Its clones share what they record.
    #[must_use]
    pub fn new() -> Self {
        Self {
            recorded: Arc::default(),
            at_most: 1024,
        }
    }

    /// How many different routes to note.
    #[must_use]
    pub fn at_most(self, routes: usize) -> Self {
        let at_most = routes;
        Self { at_most, ..self }
    }

    /// The recorded routes in order, as [`Routes::route`](super::Routes::route) reads them.
    #[must_use]
    pub fn routes(&self) -> Vec<String> {
        let (routes, _) = self.recorded();
        routes.iter().map(Template::to_string).collect()
    }

    /// The routes, and how many requests were left out.
    pub(super) fn recorded(&self) -> (BTreeSet<Template>, u64) {
        let lock = self.recorded.lock();
        let recorded = lock.unwrap_or_else(PoisonError::into_inner);
        (recorded.routes.clone(), recorded.left_out)
    }

    fn note(&self, head: &Parts) {
        let route = Template::new(head.method.as_str(), &path(head));
        // `OPTIONS *` is always asked, and the target of CONNECT is no route.
        if !route.path().starts_with('/') {
            return;
        }
        let lock = self.recorded.lock();
        let mut recorded = lock.unwrap_or_else(PoisonError::into_inner);
        let is_room = recorded.routes.len() < self.at_most && route.path().len() <= LONGEST;
        if is_room {
            recorded.routes.insert(route);
        } else if !recorded.routes.contains(&route) {
            recorded.left_out += 1;
        }
    }
}

impl Default for RecordRoutesLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RecordRoutesLayer {
    type Service = RecordRoutes<S>;

    fn layer(&self, inner: S) -> RecordRoutes<S> {
        RecordRoutes {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`RecordRoutesLayer`] makes.
#[derive(Clone, Debug)]
pub struct RecordRoutes<S> {
    inner: S,
    layer: RecordRoutesLayer,
}

impl<S, ReqBody> Service<Request<ReqBody>> for RecordRoutes<S>
where
    S: Service<Request<ReqBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> S::Future {
        let (head, body) = request.into_parts();
        self.layer.note(&head);
        self.inner.call(Request::from_parts(head, body))
    }
}

/// The template of the route that a router has chosen, or the path.
fn path(head: &Parts) -> String {
    #[cfg(feature = "axum")]
    if let Some(matched) = head.extensions.get::<axum::extract::MatchedPath>() {
        return matched.as_str().to_owned();
    }
    let exchange = head.extensions.get::<Exchange>();
    let kept = exchange.and_then(Exchange::path);
    let path = kept.unwrap_or_else(|| Exchange::sent_uri(head).path());
    // A template writes braces twice.
    path.replace('{', "{{").replace('}', "}}")
}

/// The longest path that is noted, in bytes.
const LONGEST: usize = 1024;
