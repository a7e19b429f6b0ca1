//! The trait of authorizers.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::authorization::{Authorization, Denial};
use super::request::AuthorizationRequest;

/// A provider of the application that CUSTOM policies ask whether a request is allowed.
///
/// It is asked about the requests that match a rule of an AuthorizationPolicy with `action: CUSTOM`
/// and the provider's name. Its yes is not the last word: DENY and ALLOW policies still apply.
///
/// The future is dropped when the caller goes away, when the provider's timeout ends, and when the
/// deadline of the request ends. An authorizer must therefore keep no lock across an `await`.
///
/// # Panics in callbacks
///
/// A panic counts as an error of the provider: the request is refused unless the provider fails
/// open. Other requests go on. With `panic = "abort"` the process ends.
pub trait Authorizer: Send + Sync + 'static {
    /// Decides about one request.
    ///
    /// # Errors
    ///
    /// When there is no decision. The request is then refused with the provider's status on error,
    /// 403 by default, unless the provider fails open.
    fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> impl Future<Output = Result<Authorization, AuthorizerError>> + Send;

    /// Whether it is asked before or after tokens are verified. By default it is asked after, so
    /// that [`AuthorizationRequest::claims`] are those of a verified token.
    fn stage(&self) -> Stage {
        Stage::AfterTokens
    }

    /// How much of the request's body it wants to see; by default nothing.
    fn wants_body(&self) -> Option<BodyBound> {
        None
    }
}

impl<A: Authorizer> Authorizer for Arc<A> {
    fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> impl Future<Output = Result<Authorization, AuthorizerError>> + Send {
        (**self).authorize(request)
    }

    fn stage(&self) -> Stage {
        (**self).stage()
    }

    fn wants_body(&self) -> Option<BodyBound> {
        (**self).wants_body()
    }
}

/// When a provider is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before tokens are verified, as Envoy asks its providers. There are no claims; a header that
    /// the provider sets is there when tokens are looked for.
    BeforeTokens,
    /// After tokens are verified, and before AUDIT, DENY and ALLOW policies.
    #[default]
    AfterTokens,
}

/// How much of a request's body a provider wants to see. The application gets the whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BodyBound {
    /// The most bytes that the provider sees.
    pub max_bytes: usize,
    /// Whether the provider sees the beginning of a longer body. Otherwise a request with a longer
    /// body is refused with 413, also by a provider that fails open (Envoy's rule).
    pub allow_partial: bool,
}

impl BodyBound {
    /// The whole body, up to so many bytes. A request with a longer one is refused with 413.
    #[must_use]
    pub fn whole(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            allow_partial: false,
        }
    }

    /// The first bytes of the body, up to so many.
    #[must_use]
    pub fn beginning(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            allow_partial: true,
        }
    }
}

/// A provider could not be asked, or its answer cannot be used.
///
/// The message goes to the log and never to the caller. It must name no token and no other secret
/// of the request.
#[derive(Clone, Debug)]
pub struct AuthorizerError {
    message: Cow<'static, str>,
    reply: Option<Box<Denial>>,
    fails_closed: bool,
    has_status_on_error: bool,
}

impl AuthorizerError {
    /// An error with this message for the log.
    #[must_use]
    pub fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string().into(),
            reply: None,
            fails_closed: false,
            has_status_on_error: false,
        }
    }

    /// An error with a fixed message; it allocates nothing.
    #[must_use]
    pub fn from_static(message: &'static str) -> Self {
        Self {
            message: Cow::Borrowed(message),
            reply: None,
            fails_closed: false,
            has_status_on_error: false,
        }
    }

    /// Sets the answer for the caller, in place of the provider's status on error and an empty
    /// body. A provider that fails open lets the request pass all the same.
    #[must_use]
    pub fn reply(mut self, reply: Denial) -> Self {
        self.reply = Some(Box::new(reply));
        self
    }

    /// Sends the [reply](Self::reply) with the provider's status on error.
    pub(crate) fn with_status_on_error(mut self) -> Self {
        self.has_status_on_error = true;
        self
    }

    /// Whether the reply has the provider's status on error.
    pub(crate) fn has_status_on_error(&self) -> bool {
        self.has_status_on_error
    }

    /// Makes the request be refused also where the provider fails open: the provider is configured
    /// wrongly, and was never there to be asked.
    #[must_use]
    pub(crate) fn never_passes(mut self) -> Self {
        self.fails_closed = true;
        self
    }

    /// Whether the request is refused also where the provider fails open.
    pub(crate) fn fails_closed(&self) -> bool {
        self.fails_closed
    }

    /// The message for the log.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The answer for the caller, if the provider gave one.
    #[must_use]
    pub fn given_reply(&self) -> Option<&Denial> {
        self.reply.as_deref()
    }
}

impl fmt::Display for AuthorizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AuthorizerError {}

/// The answer of any authorizer.
pub(crate) type BoxedAnswer =
    Pin<Box<dyn Future<Output = Result<Authorization, AuthorizerError>> + Send>>;

/// [`Authorizer`] as an object.
pub(crate) trait DynAuthorizer: Send + Sync + 'static {
    fn ask(self: Arc<Self>, request: AuthorizationRequest) -> BoxedAnswer;

    fn stage(&self) -> Stage;

    fn wants_body(&self) -> Option<BodyBound>;
}

impl<A: Authorizer> DynAuthorizer for A {
    fn ask(self: Arc<Self>, request: AuthorizationRequest) -> BoxedAnswer {
        Box::pin(async move { self.authorize(request).await })
    }

    fn stage(&self) -> Stage {
        Authorizer::stage(self)
    }

    fn wants_body(&self) -> Option<BodyBound> {
        Authorizer::wants_body(self)
    }
}

impl fmt::Debug for dyn DynAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer")
            .field("stage", &self.stage())
            .field("wants_body", &self.wants_body())
            .finish_non_exhaustive()
    }
}
