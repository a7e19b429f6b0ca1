use std::task::{Context, Poll};
use std::time::SystemTime;

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::Authenticator;
use crate::access;
use crate::context::Exchange;
use crate::live::Live;
use crate::message::{GuardBody, GuardFuture};

/// The response future of [`Jwt`].
pub type ResponseFuture<F, B> = GuardFuture<F, B>;

/// Applies [`Jwt`].
#[derive(Clone, Debug)]
pub struct JwtLayer {
    authenticator: Live<Authenticator>,
    strict: bool,
}

impl JwtLayer {
    /// A layer that judges tokens by these rules, by whatever generation of them is current when a request comes.
    #[must_use]
    pub fn new(authenticator: Live<Authenticator>) -> Self {
        Self {
            authenticator,
            strict: false,
        }
    }

    /// Goes by the letter of the RFCs where Istio is lenient:
    ///
    /// - base64url without padding, white space and stray bits, exactly two dots;
    /// - `exp` must be there and lie below 2^53;
    /// - every token of a request must be good by some rule, and all must name one principal: also with a single rule, and also the second
    ///   parameter or cookie of one name, which Istio does not look at;
    /// - a second line of a header that is no list, as `authorization`, is refused, whatever stands in it;
    /// - the scheme `Bearer` is compared without case, stands first, and needs a token behind it;
    /// - the signature is checked before time and audience;
    /// - a token that names a key is verified by a key of that name, even where there is only one, without a name.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

impl<S> Layer<S> for JwtLayer {
    type Service = Jwt<S>;

    fn layer(&self, inner: S) -> Jwt<S> {
        Jwt {
            inner,
            layer: self.clone(),
        }
    }
}

/// Verifies end-user tokens before it calls the inner service, and answers in its place when one is bad.
///
/// The claims of a good token are in the request's [`Exchange`], for the layers and handlers inside. Trigger rules of a legacy Policy are asked
/// about the whole path as it was sent, whatever nested routers have left of it, and about each form that normalization may give it.
#[derive(Clone, Debug)]
pub struct Jwt<S> {
    inner: S,
    layer: JwtLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Jwt<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<GuardBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::of_request(&mut head);
        let authenticator = self.layer.authenticator.load();
        let now = SystemTime::now();
        let verdict = if self.layer.strict {
            authenticator.authenticate_strictly(&mut head, &exchange, now)
        } else {
            authenticator.authenticate(&mut head, &exchange, now)
        };
        match verdict {
            Ok(_) => GuardFuture::inner(self.inner.call(Request::from_parts(head, body))),
            Err(reply) => {
                access::refused(&head, &exchange, &reply, None);
                GuardFuture::refused(reply, &head.method, &head.headers)
            }
        }
    }
}
