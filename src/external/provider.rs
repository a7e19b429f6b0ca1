//! A provider by name, and what follows from its answers and from its errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::authorizer::{BoxedAnswer, DynAuthorizer};
use super::cache::{Decisions, Known, LookUp, Settled, Ticket};
use super::mutations::check;
use super::{
    Authorization, AuthorizationRequest, AuthorizerError, AuthorizerOptions, BodyBound, Changes,
    Denial, Stage,
};
#[cfg(feature = "cel")]
use crate::cel::Expression;
use crate::log_limit::limited;
use crate::message::{LocalReply, ResponseFlags};
use crate::policy::Attributes;

/// A provider that CUSTOM policies name.
#[derive(Clone)]
pub(crate) struct Provider {
    name: Arc<str>,
    decides: Decides,
    options: AuthorizerOptions,
    counts: Arc<Counts>,
    cache: Option<Arc<Decisions>>,
}

/// What decides about the requests of a provider.
#[derive(Clone, Debug)]
enum Decides {
    Authorizer(Arc<dyn DynAuthorizer>),
    /// A rule that allows the requests for which it holds. It is asked nothing: it decides at once.
    #[cfg(feature = "cel")]
    Rule(Expression),
}

/// What is known of a request without a question.
pub(crate) enum Beforehand {
    Decided(Outcome),
    /// The provider must be asked. The ticket takes its answer to the cache.
    Ask(Option<Box<Ticket>>),
}

/// What follows for a request that a provider was asked about.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It goes on with these changes, which are [checked](check).
    Allowed(Changes),
    /// It goes on, although there is no answer.
    FailedOpen,
    /// It is refused.
    Refused(LocalReply),
}

impl Provider {
    pub(crate) fn new(
        name: impl Into<Arc<str>>,
        authorizer: Arc<dyn DynAuthorizer>,
        options: AuthorizerOptions,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            name: name.into(),
            decides: Decides::Authorizer(authorizer),
            options,
            counts,
            cache: None,
        }
    }

    /// A provider that allows the requests for which a rule holds.
    #[cfg(feature = "cel")]
    pub(crate) fn rule(name: &str, rule: Expression, counts: Arc<Counts>) -> Self {
        Self {
            name: name.into(),
            decides: Decides::Rule(rule),
            options: AuthorizerOptions::new(),
            counts,
            cache: None,
        }
    }

    /// Keeps the decisions.
    pub(crate) fn cached(self, cache: Arc<Decisions>) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }

    /// The cache of the decisions.
    pub(crate) fn cache(&self) -> Option<&Arc<Decisions>> {
        self.cache.as_ref()
    }

    pub(crate) fn stage(&self) -> Stage {
        match &self.decides {
            Decides::Authorizer(authorizer) => authorizer.stage(),
            #[cfg(feature = "cel")]
            Decides::Rule(_) => Stage::AfterTokens,
        }
    }

    pub(crate) fn wants_body(&self) -> Option<BodyBound> {
        match &self.decides {
            Decides::Authorizer(authorizer) => authorizer.wants_body(),
            #[cfg(feature = "cel")]
            Decides::Rule(_) => None,
        }
    }

    /// What is known of a request without a question: the decision of a rule, or one that the cache
    /// has kept. `written` is that of [`ask`](Self::ask).
    pub(crate) fn beforehand(
        &self,
        head: &Parts,
        request: &dyn Attributes,
        written: &[HeaderName],
    ) -> Beforehand {
        if let Some(outcome) = self.by_rule(request) {
            return Beforehand::Decided(outcome);
        }
        // The body is no part of what a decision is found by.
        let cache = self.cache.as_ref().filter(|_| self.wants_body().is_none());
        match cache.map(|cache| cache.look_up(head, request, self.stage())) {
            None => Beforehand::Ask(None),
            Some(LookUp::Ask(ticket)) => Beforehand::Ask(Some(ticket)),
            Some(LookUp::Known(known)) => Beforehand::Decided(self.known(known, written)),
        }
    }

    /// Whether it is a rule, which decides at once.
    pub(crate) fn is_rule(&self) -> bool {
        match &self.decides {
            Decides::Authorizer(_) => false,
            #[cfg(feature = "cel")]
            Decides::Rule(_) => true,
        }
    }

    #[cfg(feature = "cel")]
    fn by_rule(&self, request: &dyn Attributes) -> Option<Outcome> {
        let Decides::Rule(rule) = &self.decides else {
            return None;
        };
        let answer = rule.evaluate(request);
        let answer = answer.map_err(|error| AuthorizerError::new(error).never_passes());
        Some(match answer {
            Ok(true) => {
                self.counts.add(Kind::Allowed);
                Outcome::Allowed(Changes::new())
            }
            Ok(false) => {
                self.counts.add(Kind::Denied);
                Outcome::Refused(denied(&Denial::forbidden()))
            }
            Err(error) => self.failed(&error),
        })
    }

    #[cfg(not(feature = "cel"))]
    #[expect(clippy::unused_self, reason = "rules need the feature `cel`")]
    fn by_rule(&self, _: &dyn Attributes) -> Option<Outcome> {
        None
    }

    /// What follows from a decision of earlier. Headers that tokens set may be others by now.
    fn known(&self, known: Known, written: &[HeaderName]) -> Outcome {
        let Known::Decision(decision) = known else {
            return Outcome::Allowed(Changes::new());
        };
        match &*decision {
            Authorization::Denied(denial) => Outcome::Refused(denied(denial)),
            Authorization::Allowed(changes) => match check(changes, written) {
                Ok(()) => Outcome::Allowed(changes.clone()),
                Err(error) => self.failed(&error),
            },
        }
    }

    /// How long a question may take if the caller waits for this long.
    pub(crate) fn patience(&self, deadline: Option<Duration>) -> Duration {
        let timeout = self.options.question_timeout();
        deadline
            .map_or(timeout, |deadline| deadline.min(timeout))
            .min(FAR)
    }

    /// The reply to a request whose body is longer than the provider takes: Envoy's. The provider
    /// is not asked, and failing open does not apply.
    pub(crate) fn body_too_large() -> LocalReply {
        let (status, details) = (StatusCode::PAYLOAD_TOO_LARGE, "request_payload_too_large");
        LocalReply::new(status, "Payload Too Large", details)
    }

    /// Asks about a request. The question ends when the provider's timeout or the deadline of the
    /// request ends. `written` are the request headers that guards of this crate set from tokens; a
    /// provider may not change them. With a `ticket`, the cache keeps the answer, or replaces an
    /// error by a decision of earlier.
    pub(crate) async fn ask(
        &self,
        request: AuthorizationRequest,
        written: &[HeaderName],
        ticket: Option<Box<Ticket>>,
    ) -> Outcome {
        #[cfg_attr(
            not(feature = "cel"),
            allow(
                clippy::infallible_destructuring_match,
                reason = "there are no rules then"
            )
        )]
        let authorizer = match &self.decides {
            Decides::Authorizer(authorizer) => authorizer,
            // INVARIANT: what decides at once is never asked.
            #[cfg(feature = "cel")]
            Decides::Rule(_) => {
                return self.failed(&AuthorizerError::from_static("a rule is asked nothing"));
            }
        };
        let begun = Instant::now();
        let deadline = request.deadline();
        let patience = self.patience(deadline);
        let request = request.with_deadline(patience);
        let mut ticket = ticket;
        let asked = async {
            if let Some(ticket) = &mut ticket
                && let Some(known) = ticket.wait(patience / 2).await
            {
                return Ok(Answered::Shared(known));
            }
            let asked = Contained::new(authorizer, request).await;
            asked.map(Answered::Asked)
        };
        let end = begun + patience;
        let answer = match timeout_at(end, asked).await {
            Ok(Ok(Answered::Asked(answer))) => Ok(answer),
            Ok(Ok(Answered::Shared(known))) => return self.known(known, written),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let message = format!("it has not answered within {patience:?}");
                Err(AuthorizerError::new(message))
            }
        };
        // A caller must not get past the provider by a deadline that no answer can keep.
        let is_callers_fault = self.is_too_short(deadline, begun.elapsed());
        let answer = answer.map_err(|error| match is_callers_fault {
            true => error.never_passes(),
            false => error,
        });
        let answer = answer.and_then(|answer| match answer {
            Authorization::Allowed(changes) => {
                check(&changes, written).map(|()| Authorization::Allowed(changes))
            }
            denied @ Authorization::Denied(_) => Ok(denied),
        });
        let answer = match ticket {
            None => answer,
            Some(ticket) => match ticket.settle(answer) {
                Settled::Answer(answer) => answer,
                Settled::Stale(known) => return self.known(known, written),
            },
        };
        match answer {
            Ok(Authorization::Allowed(changes)) => {
                self.counts.add(Kind::Allowed);
                Outcome::Allowed(timed(changes, begun.elapsed()))
            }
            Ok(Authorization::Denied(denial)) => {
                self.counts.add(Kind::Denied);
                Outcome::Refused(denied(&denial))
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Whether an error after this time may be due to the caller's own deadline. A provider that
    /// knows the deadline may give up before it.
    fn is_too_short(&self, deadline: Option<Duration>, elapsed: Duration) -> bool {
        let shorter = deadline.filter(|deadline| *deadline < self.options.question_timeout());
        shorter.is_some_and(|deadline| deadline < HURRY || elapsed >= deadline / 2)
    }

    /// What follows from an error of the provider.
    pub(crate) fn failed(&self, error: &AuthorizerError) -> Outcome {
        let provider = &*self.name;
        if self.options.fails_open() && !error.fails_closed() {
            self.counts.add(Kind::FailedOpen);
            limited!(
                target: TARGET, WARN, provider, reason = %error,
                "a request passes without the answer of its provider, which fails open"
            );
            return Outcome::FailedOpen;
        }
        self.counts.add(Kind::Error);
        limited!(
            target: TARGET, WARN, provider, reason = %error,
            "a request is refused because its provider has not answered as it should"
        );
        Outcome::Refused(match error.given_reply() {
            Some(denial) => {
                let status = match error.has_status_on_error() {
                    true => self.options.error_status(),
                    false => denial.status(),
                };
                reply(status, denial, "ext_authz_error")
            }
            None => {
                let status = self.options.error_status();
                flagged(LocalReply::new(status, "", "ext_authz_error"))
            }
        })
    }
}

debug_fields!(Provider(provider) {
    name = provider.name,
    decides = provider.decides,
    options = provider.options,
    cache = provider.cache
});

/// Envoy adds how long the question took to the facts of an answer that has some.
fn timed(changes: Changes, elapsed: Duration) -> Changes {
    match changes.facts().is_empty() {
        true => changes,
        false => {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            changes.metadata("ext_authz_duration", json!(millis))
        }
    }
}

/// The reply to a caller whom a provider refuses.
fn denied(denial: &Denial) -> LocalReply {
    reply(denial.status(), denial, "ext_authz_denied")
}

fn reply(status: StatusCode, denial: &Denial, details: &'static str) -> LocalReply {
    let headers = denial.headers().iter().cloned();
    let headers: HeaderMap = headers.fold(HeaderMap::new(), |mut headers, (name, value)| {
        if !super::mutations::is_framing(name.as_str()) {
            headers.append(name, value);
        }
        headers
    });
    let reply = LocalReply::from_bytes(status, denial.body_bytes().clone(), details);
    flagged(reply.headers(headers))
}

fn flagged(reply: LocalReply) -> LocalReply {
    reply.flags(ResponseFlags::UNAUTHORIZED_EXTERNAL)
}

/// Where an answer comes from.
enum Answered {
    Asked(Authorization),
    /// From the question of an equal request.
    Shared(Known),
}

/// A question whose panic is an error of the provider.
struct Contained(Option<BoxedAnswer>);

impl Contained {
    fn new(authorizer: &Arc<dyn DynAuthorizer>, request: AuthorizationRequest) -> Self {
        let ask = || Arc::clone(authorizer).ask(request);
        Self(catch_unwind(AssertUnwindSafe(ask)).ok())
    }
}

impl Future for Contained {
    type Output = Result<Authorization, AuthorizerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.0 else {
            return Poll::Ready(Err(panicked()));
        };
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| {
            let left = self.0.take();
            // What panicked once may do so again.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
            Poll::Ready(Err(panicked()))
        })
    }
}

fn panicked() -> AuthorizerError {
    AuthorizerError::from_static("it panicked")
}

/// How often a provider was asked, by outcome. The counts of a name outlive its configuration.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; 4]);

/// The outcomes that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Allowed,
    Denied,
    Error,
    FailedOpen,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Allowed, Self::Denied, Self::Error, Self::FailedOpen];

    /// The value of the label `outcome`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::FailedOpen => "failed_open",
        }
    }

    fn of<T>(self, [allowed, denied, error, failed_open]: &[T; 4]) -> &T {
        match self {
            Self::Allowed => allowed,
            Self::Denied => denied,
            Self::Error => error,
            Self::FailedOpen => failed_open,
        }
    }
}

impl Counts {
    fn add(&self, kind: Kind) {
        kind.of(&self.0).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, kind: Kind) -> u64 {
        kind.of(&self.0).load(Ordering::Relaxed)
    }
}

/// A timeout of centuries is none. Clocks and gRPC cannot hold every duration.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

const TARGET: &str = "tower_mesh::external";

/// A provider may miss a deadline that is shorter than this, however well it is.
const HURRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::{HeaderValue, Method, Request};

    use super::*;
    use crate::Peer;
    use crate::external::Authorizer;

    /// Answers always the same.
    struct Stub(Says);

    enum Says {
        This(Result<Authorization, AuthorizerError>),
        Nothing,
        Panics,
    }

    impl Authorizer for Stub {
        async fn authorize(
            &self,
            _: AuthorizationRequest,
        ) -> Result<Authorization, AuthorizerError> {
            match &self.0 {
                Says::This(answer) => answer.clone(),
                Says::Nothing => pending().await,
                Says::Panics => panic!("as the test wants it"),
            }
        }
    }

    fn request() -> AuthorizationRequest {
        let [remote, local] = ["10.0.0.1:1", "10.0.0.2:2"].map(|text| text.parse().unwrap());
        let request = Request::get("/").body(()).unwrap();
        AuthorizationRequest::new(&Peer::plaintext(remote, local), request)
    }

    /// The outcome, and what was counted.
    async fn asked(says: Says, options: AuthorizerOptions) -> (Outcome, [u64; 4]) {
        let counts = Arc::new(Counts::default());
        let stub = Arc::new(Stub(says));
        let provider = Provider::new("opa", stub, options, Arc::clone(&counts));
        let outcome = provider.ask(request(), &[], None).await;
        (outcome, Kind::ALL.map(|kind| counts.count(kind)))
    }

    fn error(error: AuthorizerError) -> Says {
        Says::This(Err(error))
    }

    fn forbidden_change() -> Says {
        let (host, value) = (http::header::HOST, HeaderValue::from_static("other"));
        Says::This(Ok(Changes::new().set_header(host, value).into()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_answer_refuses_or_passes_as_the_provider_is_set() {
        let down = || AuthorizerError::from_static("down");
        for (name, says, passes) in [
            ("error", error(down()), true),
            (
                "error with a reply",
                error(down().reply(Denial::new(StatusCode::BAD_GATEWAY))),
                true,
            ),
            ("nothing", Says::Nothing, true),
            ("panic", Says::Panics, true),
            ("a change it may not make", forbidden_change(), true),
            ("unknown host", error(down().never_passes()), false),
        ] {
            let open = AuthorizerOptions::new().danger().fail_open();
            let (outcome, counted) = asked(says, open).await;
            let expected = if passes { [0, 0, 0, 1] } else { [0, 0, 1, 0] };
            assert_eq!(counted, expected, "{name}");
            assert_eq!(matches!(outcome, Outcome::FailedOpen), passes, "{name}");
        }
        for (name, says, status) in [
            ("error", error(down()), 503),
            (
                "error with a reply",
                error(down().reply(Denial::new(StatusCode::BAD_GATEWAY))),
                502,
            ),
            ("nothing", Says::Nothing, 503),
            ("panic", Says::Panics, 503),
            ("a change it may not make", forbidden_change(), 503),
            ("unknown host", error(down().never_passes()), 503),
        ] {
            let closed = AuthorizerOptions::new().status_on_error(StatusCode::SERVICE_UNAVAILABLE);
            let (outcome, counted) = asked(says, closed).await;
            assert_eq!(counted, [0, 0, 1, 0], "{name}");
            let Outcome::Refused(reply) = outcome else {
                panic!("{name}: {outcome:?}");
            };
            assert_eq!(
                (reply.status().as_u16(), reply.body()),
                (status, ""),
                "{name}"
            );
            assert_eq!(&**reply.details(), "ext_authz_error", "{name}");
            let flags = reply.response_flags();
            assert_eq!(flags, ResponseFlags::UNAUTHORIZED_EXTERNAL, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_ends_with_the_timeout_or_the_deadline_of_the_request() {
        for (timeout, deadline, expected) in [
            (700, None, 700),
            (700, Some(200), 200),
            (200, Some(700), 200),
            (700, Some(0), 0),
        ] {
            let options = AuthorizerOptions::new().timeout(Duration::from_millis(timeout));
            let stub = Arc::new(Stub(Says::Nothing));
            let provider = Provider::new("opa", stub, options, Arc::default());
            let mut request = request();
            if let Some(deadline) = deadline {
                request = request.with_deadline(Duration::from_millis(deadline));
            }
            let begun = Instant::now();
            assert!(matches!(
                provider.ask(request, &[], None).await,
                Outcome::Refused(_)
            ));
            let took = begun.elapsed().as_millis();
            assert!(
                (expected..expected + 2).contains(&took),
                "{timeout} {deadline:?}: {took}"
            );
        }
    }

    /// A caller that does not wait gets neither past a provider that fails open nor a decision of
    /// earlier.
    #[tokio::test(start_paused = true)]
    async fn a_deadline_of_the_caller_opens_nothing() {
        let down = || error(AuthorizerError::from_static("down"));
        for (name, says, deadline, passes) in [
            ("no answer", Says::Nothing, None, true),
            (
                "no answer, a long deadline",
                Says::Nothing,
                Some(5_000),
                true,
            ),
            (
                "no answer, a short deadline",
                Says::Nothing,
                Some(600),
                false,
            ),
            ("no answer, none can come", Says::Nothing, Some(0), false),
            ("down", down(), None, true),
            ("down, a short deadline", down(), Some(600), true),
            ("down, no answer can come", down(), Some(1), false),
        ] {
            let options = AuthorizerOptions::new().danger().fail_open();
            let provider = Provider::new("opa", Arc::new(Stub(says)), options, Arc::default());
            let mut request = request();
            if let Some(deadline) = deadline {
                request = request.with_deadline(Duration::from_millis(deadline));
            }
            let outcome = provider.ask(request, &[], None).await;
            assert_eq!(matches!(outcome, Outcome::FailedOpen), passes, "{name}");
        }
    }

    /// Allows if the question has a deadline that clocks and gRPC can hold.
    struct Deadlines;

    impl Authorizer for Deadlines {
        async fn authorize(
            &self,
            request: AuthorizationRequest,
        ) -> Result<Authorization, AuthorizerError> {
            let deadline = request.deadline().unwrap();
            let is_near = deadline <= FAR;
            Ok(if is_near {
                Authorization::allow()
            } else {
                Authorization::deny()
            })
        }
    }

    #[tokio::test]
    async fn a_timeout_without_end_is_a_long_one() {
        let options = AuthorizerOptions::new().timeout(Duration::MAX);
        let provider = Provider::new("opa", Arc::new(Deadlines), options, Arc::default());
        for deadline in [None, Some(Duration::MAX), Some(Duration::from_secs(1))] {
            let request = match deadline {
                Some(deadline) => request().with_deadline(deadline),
                None => request(),
            };
            let outcome = provider.ask(request, &[], None).await;
            assert!(matches!(outcome, Outcome::Allowed(_)), "{deadline:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_passed_on_and_facts_get_the_time_that_it_took() {
        let changes = Changes::new().metadata("plan", json!("gold"));
        let allowed = Says::This(Ok(changes.into()));
        let (outcome, counted) = asked(allowed, AuthorizerOptions::new()).await;
        assert_eq!(counted, [1, 0, 0, 0]);
        let Outcome::Allowed(changes) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(changes.facts()["plan"], "gold");
        assert!(changes.facts()["ext_authz_duration"].is_u64());
        let plain = Says::This(Ok(Authorization::allow()));
        let (outcome, _) = asked(plain, AuthorizerOptions::new()).await;
        assert!(matches!(outcome, Outcome::Allowed(changes) if changes.is_empty()));
    }

    #[tokio::test]
    async fn a_refusal_is_the_providers_for_http_and_grpc_callers() {
        let name = |name| HeaderName::from_static(name);
        let value = |value| HeaderValue::from_static(value);
        let denial = || {
            let denial = Denial::new(StatusCode::UNAUTHORIZED).body(&b"no \xff"[..]);
            denial
                .header(name("set-cookie"), value("a=1"))
                .header(name("set-cookie"), value("b=2"))
                .header(name("content-type"), value("text/html"))
                .header(name("content-length"), value("99"))
        };
        let denied = || asked(Says::This(Ok(denial().into())), AuthorizerOptions::new());
        let (Outcome::Refused(reply), counted) = denied().await else {
            panic!("allowed");
        };
        assert_eq!(counted, [0, 1, 0, 0]);
        assert_eq!(&**reply.details(), "ext_authz_denied");
        let http = reply
            .clone()
            .into_response_as::<http_body_util::Empty<bytes::Bytes>>(false, &Method::GET);
        assert_eq!(http.status(), 401);
        let headers = http.headers();
        assert_eq!(headers["content-length"], "4");
        assert_eq!(headers["content-type"], "text/html");
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        let body = http_body_util::BodyExt::collect(http.into_body())
            .await
            .unwrap();
        assert_eq!(body.to_bytes(), &b"no \xff"[..]);
        let grpc =
            reply.into_response_as::<http_body_util::Empty<bytes::Bytes>>(true, &Method::POST);
        assert_eq!(grpc.status(), 200);
        let headers = grpc.headers();
        assert_eq!(headers["grpc-status"], "16");
        // The body is no text.
        assert!(headers.get("grpc-message").is_none());
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        assert!(headers.get("content-length").is_none());
    }
}
