use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

use super::format::Format;
use super::registry::Registry;

/// The path at which the sidecar is scraped; the server may have another.
pub const PATH: &str = "/stats/prometheus";

/// A service that shows a [`Registry`] to Prometheus, in the format that its `accept` asks for. It answers GET and HEAD at any path.
///
/// Serve it on a port of its own, or where only the scraper may call.
///
/// # Example
/// ```
/// use axum::Router;
/// use tower_mesh::metrics::{self, Registry, Scrape};
///
/// let registry = Registry::new();
/// let admin: Router = Router::new().route_service(metrics::PATH, Scrape::new(registry));
/// ```
#[derive(Clone, Debug)]
pub struct Scrape {
    registry: Registry,
}

impl Scrape {
    /// Shows this registry.
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The answer to a request, for those who route by hand.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<String> {
        let is_head = request.method() == Method::HEAD;
        if !is_head && request.method() != Method::GET {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let format = Format::accepted(request.headers());
        let text = if is_head {
            String::new()
        } else {
            self.registry.render(format)
        };
        let mut response = Response::new(text);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, format.content_type());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<B> Service<Request<B>> for Scrape {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

#[cfg(test)]
mod tests;
