//! Asks over HTTP.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use tokio::time::{Instant, timeout};
use tower_service::Service;

use super::answer::{Said, TakenHeaders, said};
use super::check_request::Question;
use super::patterns::HeaderPatterns;
use crate::external::transport::unreachable;
use crate::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, BodyBound, Stage,
};

/// A provider that is asked over plain HTTP, as Envoy's filter `ext_authz` asks it: Istio's
/// `envoyExtAuthzHttp`.
///
/// `S` is any HTTP client that is a tower service, such as a mesh's
/// [`Client`](crate::mesh::Client). The question has the request's method, path, host and
/// `authorization`, and no body unless [`with_body`](Self::with_body) is called. An answer with 200
/// allows the request, one below 500 denies it with its status, body and headers, and all others
/// are errors of the provider. The body of an answer may have 64 KiB, and its headers as much; a
/// refusal with more, or with a body that does not come, goes without it.
///
/// # Differences from Envoy/Istio
///
/// Envoy joins the lines of `cookie` with a comma; they are joined with `; ` here, as servers
/// expect. Envoy does not bound the answer.
#[derive(Clone)]
pub struct HttpAuthorizer<S> {
    service: S,
    question: Question,
    taken: TakenHeaders,
    body: Option<BodyBound>,
}

impl<S> HttpAuthorizer<S> {
    /// Asks the server at `origin` (`http://host:port`) through `service`.
    #[must_use]
    pub fn new(service: S, origin: Uri) -> Self {
        Self {
            service,
            question: Question {
                origin,
                ..Question::default()
            },
            taken: TakenHeaders::default(),
            body: None,
        }
    }

    /// Sets a text before the path of the request, such as `/check`.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.question.path_prefix = prefix.into();
        self
    }

    /// Shows the provider these headers of the request, besides `authorization`.
    #[must_use]
    pub fn show_headers(mut self, patterns: HeaderPatterns) -> Self {
        self.question.shown = patterns;
        self
    }

    /// Adds a header to the question. It replaces one of the request.
    #[must_use]
    pub fn add_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.question.added.push((name, value));
        self
    }

    /// Copies these headers of an answer that allows to the request.
    #[must_use]
    pub fn upstream_on_allow(mut self, patterns: HeaderPatterns) -> Self {
        self.taken.upstream_on_allow = patterns;
        self
    }

    /// Copies these headers of an answer that allows to the application's response.
    #[must_use]
    pub fn downstream_on_allow(mut self, patterns: HeaderPatterns) -> Self {
        self.taken.downstream_on_allow = patterns;
        self
    }

    /// Copies only these headers of an answer that denies to the caller, besides `location` and
    /// `www-authenticate`. Without patterns the caller gets all.
    #[must_use]
    pub fn downstream_on_deny(mut self, patterns: HeaderPatterns) -> Self {
        self.taken.downstream_on_deny = patterns;
        self
    }

    /// Shows the provider the request's body, up to this bound.
    #[must_use]
    pub fn with_body(mut self, bound: BodyBound) -> Self {
        self.body = Some(bound);
        self
    }
}

impl<S, B> Authorizer for HttpAuthorizer<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    async fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> Result<Authorization, AuthorizerError> {
        let begun = Instant::now();
        let deadline = request.deadline();
        let question = self.question.about(&request)?;
        drop(request);
        let mut service = self.service.clone();
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        ready.map_err(|error| unreachable(&*error.into()))?;
        let called = service.call(question).await;
        let (mut head, body) = called
            .map_err(|error| unreachable(&*error.into()))?
            .into_parts();
        // It is read to its end in any case, so that the connection can serve the next question.
        let body = Limited::new(body, LARGEST_BODY).collect();
        match said(head.status)? {
            Said::Allow => {
                check_size(&head.headers)?;
                body.await.map_err(|error| cut(&*error))?;
                self.taken.allowed(&head)
            }
            // A no stays a no, whatever else is wrong with it: what cannot be sent is left out.
            Said::Deny => {
                if check_size(&head.headers).is_err() {
                    head.headers.clear();
                }
                // The question must not end before the refusal is there.
                let left = deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
                let left = left.map_or(LONGEST_BODY, |left| left.min(LONGEST_BODY * 2) / 2);
                let body = timeout(left, body).await.ok().and_then(Result::ok);
                let body = body.map(Collected::to_bytes).unwrap_or_default();
                Ok(self.taken.denied(&head, body))
            }
        }
    }

    /// As in Envoy, before tokens are verified.
    fn stage(&self) -> Stage {
        Stage::BeforeTokens
    }

    fn wants_body(&self) -> Option<BodyBound> {
        self.body
    }
}

fn check_size(headers: &HeaderMap) -> Result<(), AuthorizerError> {
    let lines = headers.iter();
    let bytes: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    match bytes > LARGEST_HEADERS {
        true => Err(AuthorizerError::from_static(
            "its answer has headers of more than 64 KiB",
        )),
        false => Ok(()),
    }
}

fn cut(error: &(dyn Error + Send + Sync + 'static)) -> AuthorizerError {
    match error.is::<LengthLimitError>() {
        true => AuthorizerError::from_static("its answer has a body of more than 64 KiB"),
        false => unreachable(error),
    }
}

impl<S> fmt::Debug for HttpAuthorizer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The added headers may hold a secret.
        f.debug_struct("HttpAuthorizer")
            .field("origin", &self.question.origin)
            .field("path_prefix", &self.question.path_prefix)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The longest wait for the body of a refusal.
const LONGEST_BODY: Duration = Duration::from_secs(5);

/// The most bytes of an answer's body.
const LARGEST_BODY: usize = 64 * 1024;

/// The most bytes of an answer's headers.
const LARGEST_HEADERS: usize = 64 * 1024;
