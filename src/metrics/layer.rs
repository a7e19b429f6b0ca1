use super::server::ServerMetrics;
use crate::message::{WatchLayer, Watched};

/// Counts the calls that come in to a service, or those that go out through a client, by the
/// metrics that it is given: [`ServerMetrics`] or [`ClientMetrics`](super::ClientMetrics).
///
/// A call is counted once, when its response body has ended. One whose future or body is dropped
/// before that counts with the flag `DC` and, if there was no response head, the code `0`.
///
/// **On a server**, the caller is the [`Peer`](crate::context::Peer) in the request's extensions.
/// Put the layer outside of the layers that may refuse, so that refusals are counted.
///
/// **On a client**, the server is the [`Peer`](crate::context::Peer) in the response's extensions,
/// where hyper's clients put what their connector knows. A call that fails without a response
/// counts as Envoy would have answered it, with 503 and the flag `UC`. The layer takes errors of
/// any type and cannot see what failed; the mesh's own client can, and sets the flag that fits.
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
/// use tower::{ServiceBuilder, service_fn};
/// use tower_mesh::Workload;
/// use tower_mesh::message::CountingBody;
/// use tower_mesh::metrics::{MetricsLayer, Registry};
///
/// let registry = Registry::new();
/// let workload = Workload::new("default", "patients").service("patients", 8443);
/// let app: Router = Router::new()
///     .route("/patients", get(|| async { "none" }))
///     .layer(MetricsLayer::new(registry.server(&workload)));
///
/// let client = ServiceBuilder::new()
///     .layer(MetricsLayer::new(registry.client(&workload)))
///     .service(service_fn(async |_: http::Request<CountingBody<String>>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// # drop((app, client));
/// ```
pub type MetricsLayer<M = ServerMetrics> = WatchLayer<M>;

/// The service of [`MetricsLayer`].
pub type Metrics<S, M = ServerMetrics> = Watched<S, M>;

#[cfg(test)]
mod tests;
