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
    async fn authorize(&self, _: AuthorizationRequest) -> Result<Authorization, AuthorizerError> {
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
    let grpc = reply.into_response_as::<http_body_util::Empty<bytes::Bytes>>(true, &Method::POST);
    assert_eq!(grpc.status(), 200);
    let headers = grpc.headers();
    assert_eq!(headers["grpc-status"], "16");
    // The body is no text.
    assert!(headers.get("grpc-message").is_none());
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    assert!(headers.get("content-length").is_none());
}
