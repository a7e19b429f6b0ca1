use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

use super::expose::format::Format;
use super::registry::Registry;
use super::scrape_body::ScrapeBody;

/// The path at which a sidecar is scraped. A server may serve another.
pub const PATH: &str = "/stats/prometheus";

/// A service that serves a [`Registry`] to Prometheus, in the format that the request's `accept`
/// asks for. It answers GET and HEAD at any path.
///
/// Serve it on a port of its own, or where only the scraper may call. A registry serves four
/// scrapes at a time; a fifth gets 503 and `retry-after`. A scrape that takes more than 30 seconds
/// may lose its slot to another.
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
    /// Serves this registry.
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The answer to a request, for servers that route by hand.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<ScrapeBody> {
        let format = Format::accepted(request.headers());
        let body = match *request.method() {
            Method::HEAD => ScrapeBody::whole(""),
            Method::GET => match ScrapeBody::begin(&self.registry, format) {
                Some(body) => body,
                None => return busy(),
            },
            _ => {
                let allow = (header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                return refuse(StatusCode::METHOD_NOT_ALLOWED, "", allow);
            }
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, format.content_type());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<B> Service<Request<B>> for Scrape {
    type Response = Response<ScrapeBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<ScrapeBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

fn busy() -> Response<ScrapeBody> {
    let later = (header::RETRY_AFTER, HeaderValue::from_static("5"));
    let text = "too many scrapes are under way\n";
    refuse(StatusCode::SERVICE_UNAVAILABLE, text, later)
}

fn refuse(
    status: StatusCode,
    text: &'static str,
    (name, value): (HeaderName, HeaderValue),
) -> Response<ScrapeBody> {
    let mut response = Response::new(ScrapeBody::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(name, value);
    response
}

#[cfg(test)]
mod tests;
