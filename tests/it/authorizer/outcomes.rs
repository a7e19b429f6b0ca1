//! What follows from what an authorizer answers, or does not.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tower_mesh::external::{Authorization, AuthorizerOptions, BodyBound, Changes, Denial, Stage};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;

use super::{ALLOWED, REFUSED, Says, Stub, asks, build, builder, get, request, send, status};
use crate::support::mesh::{ISSUER, authentication, lines, policy, proven};

fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn value(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}

#[tokio::test(start_paused = true)]
async fn an_authorizer_without_an_answer_refuses_or_passes_as_it_is_set() {
    let forbidden = Changes::new().set_header(named("host"), value("other"));
    for (what, says) in [
        ("an error", Says::Error),
        ("a panic", Says::Panics),
        ("nothing", Says::Nothing),
        (
            "a change that it may not make",
            Says::This(forbidden.into()),
        ),
    ] {
        let closed = AuthorizerOptions::new();
        let other = closed.status_on_error(StatusCode::SERVICE_UNAVAILABLE);
        let open = closed.danger().fail_open();
        for (options, expected) in [(closed, REFUSED), (other, 503), (open, ALLOWED)] {
            let stub = Stub::new(says.clone());
            let mesh = builder(asks("own")).authorizer_with("own", options, stub.clone());
            let mesh = build(mesh).await;
            let got = get(&mesh, "/own", "desk").await;
            assert_eq!((got.status, stub.count()), (expected, 1), "{what}: {got:?}");
            assert_eq!(status(&mesh, "/else", "desk").await, ALLOWED, "{what}");
            assert_eq!(stub.count(), 1, "{what}: no rule matches");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_authorizer_has_as_long_as_it_is_given() {
    let options = AuthorizerOptions::new().timeout(Duration::from_millis(200));
    let stub = Stub::new(Says::Nothing);
    let mesh = builder(asks("own")).authorizer_with("own", options, stub);
    let mesh = build(mesh).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(status(&mesh, "/own", "desk").await, REFUSED);
    let took = begun.elapsed().as_millis();
    assert!((200..210).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_its_question() {
    /// Tells when it is dropped.
    struct Told(tokio::sync::mpsc::UnboundedSender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    struct Waiting(tokio::sync::mpsc::UnboundedSender<&'static str>);
    impl tower_mesh::external::Authorizer for Waiting {
        async fn authorize(
            &self,
            _: tower_mesh::external::AuthorizationRequest,
        ) -> Result<Authorization, tower_mesh::external::AuthorizerError> {
            let _told = Told(self.0.clone());
            let _ = self.0.send("asked");
            std::future::pending().await
        }
    }
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mesh = build(builder(asks("own")).authorizer("own", Waiting(sender))).await;
    let caller = tokio::spawn(async move { status(&mesh, "/own", "desk").await });
    assert_eq!(told.recv().await, Some("asked"));
    caller.abort();
    assert_eq!(told.recv().await, Some("dropped"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_authorizers() {
    let denial = Denial::new(StatusCode::UNAUTHORIZED)
        .header(named("www-authenticate"), value("Bearer"))
        .body("who are you?");
    let mesh = builder(asks("own"));
    let mesh = build(mesh.authorizer("own", Stub::new(Says::This(denial.into())))).await;
    let got = get(&mesh, "/own", "desk").await;
    assert_eq!((got.status, &*got.body), (401, "who are you?"));
    assert_eq!(got.headers["www-authenticate"], "Bearer");
    assert_eq!(got.headers["content-type"], "text/plain");

    let mesh = builder(asks("own"));
    let mesh = build(mesh.authorizer("own", Stub::new(Says::This(Authorization::deny())))).await;
    let got = get(&mesh, "/own", "desk").await;
    assert_eq!((got.status, &*got.body), (REFUSED, ""));
}

#[tokio::test(start_paused = true)]
async fn changes_reach_the_application_and_the_caller() {
    let changes = Changes::new()
        .set_header(named("x-ward"), value("7"))
        .append_header(named("x-list"), value("b"))
        .remove_header(named("x-secret"))
        .add_response_header(named("x-told"), value("yes"))
        .set_query("b", "2")
        .remove_query("c")
        .metadata("plan", json!("gold"));
    let stub = Stub::new(Says::This(changes.into()));
    let mesh = build(builder(asks("own")).authorizer("own", stub)).await;
    let request = request("/own?a=1&c=3", proven("desk"))
        .header("x-ward", "1")
        .header("x-list", "a")
        .header("x-secret", "s")
        .body(Full::default());
    let got = send(&mesh, request.unwrap()).await;
    assert_eq!(got.status, ALLOWED);
    let mut words: Vec<_> = got.body.split(' ').collect();
    words.sort_unstable();
    assert!(words.contains(&"/own?a=1&b=2"), "{words:?}");
    assert!(words.contains(&"x-ward=7"), "{words:?}");
    assert!(
        words.contains(&"x-list=a") || words.contains(&"x-list=a,b"),
        "{words:?}"
    );
    assert!(!got.body.contains("x-secret"), "{words:?}");
    assert_eq!(got.headers["x-told"], "yes");
}

/// Its yes is not the last word.
#[tokio::test(start_paused = true)]
async fn policies_judge_after_the_authorizer() {
    let deny = policy("deny", "DENY", "[{to: [{operation: {paths: [/own/x]}}]}]");
    let stub = Stub::allowing();
    let mesh = build(builder(asks("own") + &deny).authorizer("own", stub.clone())).await;
    assert_eq!(status(&mesh, "/own/x", "desk").await, REFUSED);
    assert_eq!(stub.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn claims_are_there_after_tokens_and_not_before() {
    let issuer = Issuer::es256(ISSUER);
    let token = issuer.token().subject("alice").sign();
    for (stage, expected) in [
        (Stage::AfterTokens, Some("alice")),
        (Stage::BeforeTokens, None),
    ] {
        let stub = Stub {
            stage,
            ..Stub::allowing()
        };
        let mesh = builder(authentication(&issuer) + &asks("own"));
        let mesh = build(mesh.authorizer("own", stub.clone())).await;
        let with = |token: &str| {
            let request = request("/own", proven("desk"));
            let request = request.header("authorization", format!("Bearer {token}"));
            request.body(Full::<Bytes>::default()).unwrap()
        };
        assert_eq!(send(&mesh, with(&token)).await.status, ALLOWED);
        let asked = stub.asked();
        let claims = asked[0].claims();
        let subject = claims.and_then(tower_mesh::Claims::subject);
        assert_eq!(subject, expected, "{stage:?}");
        assert_eq!(
            asked[0].principal(),
            Some("cluster.local/ns/default/sa/desk")
        );

        // A bad token is refused by the token rules: before or behind the authorizer.
        assert_eq!(send(&mesh, with("bad")).await.status, 401);
        let was_asked = stub.count() == 2;
        assert_eq!(was_asked, stage == Stage::BeforeTokens);
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_is_shown_within_its_bound_and_reaches_the_application() {
    for (bound, sent, shown, expected) in [
        (
            BodyBound::whole(5),
            "hello",
            Some(("hello", false)),
            ALLOWED,
        ),
        (BodyBound::whole(4), "hello", None, 413),
        (
            BodyBound::beginning(4),
            "hello",
            Some(("hell", true)),
            ALLOWED,
        ),
    ] {
        let stub = Stub {
            body: Some(bound),
            ..Stub::allowing()
        };
        let mesh = build(builder(asks("own")).authorizer("own", stub.clone())).await;
        let request = Request::post("/own").header("host", "app");
        let request = request.extension(proven("desk")).body(Full::from(sent));
        let got = send(&mesh, request.unwrap()).await;
        assert_eq!(got.status, expected, "{bound:?}");
        let asked = stub.asked();
        let seen = asked.first().map(|asked| {
            let body = asked.body().map(|body| &body[..]).unwrap_or_default();
            (std::str::from_utf8(body).unwrap(), asked.has_partial_body())
        });
        assert_eq!(seen, shown, "{bound:?}");
        assert_eq!(
            got.body.ends_with("[hello]"),
            expected == ALLOWED,
            "{}",
            got.body
        );
    }
}

/// Several may apply to one request: each is asked, in the order of their names.
#[tokio::test(start_paused = true)]
async fn several_authorizers_are_asked_until_one_refuses() {
    let all = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: NAME}\nspec: {action: CUSTOM, provider: {name: NAME}, rules: [{}]}\n---\n";
    let yaml: String = ["a", "b", "c"]
        .map(|name| all.replace("NAME", name))
        .concat();
    let [a, b, c] = [(); 3].map(|()| Stub::allowing());
    let early = Stub {
        stage: Stage::BeforeTokens,
        ..c.clone()
    };
    let mesh = builder(yaml)
        .authorizer("a", a.clone())
        .authorizer("b", b.clone())
        .authorizer("c", early);
    let mesh = build(mesh).await;
    let counts = || [&a, &b, &c].map(Stub::count);
    assert_eq!(status(&mesh, "/", "desk").await, ALLOWED);
    assert_eq!(counts(), [1, 1, 1]);
    a.say(Says::This(Authorization::deny()));
    assert_eq!(status(&mesh, "/", "desk").await, REFUSED);
    assert_eq!(counts(), [2, 1, 2], "the one before tokens comes first");
    c.say(Says::Error);
    assert_eq!(status(&mesh, "/", "desk").await, REFUSED);
    assert_eq!(counts(), [2, 1, 3]);
}

#[tokio::test]
async fn mistakes_of_options_are_reported_together() {
    use tower_mesh::external::{CacheKey, DecisionCache};
    let zero = AuthorizerOptions::new().timeout(Duration::ZERO);
    let by_path = || DecisionCache::keyed_by([CacheKey::Path]);
    let built = builder("")
        .authorizer("Own", Stub::allowing())
        .authorizer("own", Stub::allowing())
        .authorizer_with("own", zero, Stub::allowing())
        .decision_cache("a", DecisionCache::keyed_by([]))
        .decision_cache("b", by_path().max_entries(0))
        .decision_cache("c", DecisionCache::keyed_by([CacheKey::header("a b")]))
        .decision_cache("d", by_path())
        .decision_cache("d", by_path())
        .build()
        .await;
    let error = built.err().unwrap().mistakes().join("\n");
    for piece in [
        "\"Own\" is no provider name",
        "\"own\" is registered twice",
        "timeout of zero",
        "\"a\": a cache without keys",
        "\"b\": max_entries is 1 to",
        "\"a b\" is no header name",
        "\"d\" has two caches",
    ] {
        assert!(error.contains(piece), "{piece}: {error}");
    }
}

/// A name has one meaning.
#[tokio::test(start_paused = true)]
async fn a_name_that_two_sources_define_is_refused() {
    let rule = "apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {name: own}\nspec: {expression: 'true'}\n---\n";
    let stub = Stub::allowing();
    let mesh = build(builder(asks("own") + rule).authorizer("own", stub.clone())).await;
    assert_eq!(status(&mesh, "/own", "desk").await, REFUSED);
    assert_eq!(status(&mesh, "/", "desk").await, ALLOWED);
    let settings = "extensionProviders: [{name: own, envoyExtAuthzGrpc: {service: a.b, port: 1, timeout: 1s}}]";
    let source = Fixed::yaml("p.yaml", asks("own")).mesh_config("mesh.yaml", settings);
    let mesh = build(builder("").config(source).authorizer("own", stub.clone())).await;
    assert_eq!(status(&mesh, "/own", "desk").await, REFUSED);
    assert_eq!(stub.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_authorizers_answer_is_counted() {
    let stub = Stub::allowing();
    let mesh = build(builder(asks("own")).authorizer("own", stub.clone())).await;
    for says in [
        Says::This(Authorization::allow()),
        Says::This(Authorization::deny()),
        Says::Error,
    ] {
        stub.say(says);
        status(&mesh, "/own", "desk").await;
    }
    for outcome in ["allowed", "denied", "error"] {
        let label = format!("outcome=\"{outcome}\"");
        let labels = ["provider=\"own\"", &label];
        let line = lines(&mesh, "mesh_external_authorization_total", &labels);
        assert!(
            line.len() == 1 && line[0].ends_with(" 1"),
            "{outcome}: {line:?}"
        );
    }
}
