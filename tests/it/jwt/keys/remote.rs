//! Keys that are fetched.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tower::service_fn;
use tower::util::BoxCloneService;
use tower_mesh::context::Exchange;
use tower_mesh::istio::JwtRule;
use tower_mesh::jwt::{Authenticator, Fetcher, Jwks, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::testing::Issuer;

use crate::jwt::support::{authentication, bearer, get, send};

const URI: &str = "https://issuer.example/keys";

type Body = BoxBody<Bytes, Infallible>;
type Client = BoxCloneService<Request<Empty<Bytes>>, Response<Body>, Box<dyn Error + Send + Sync>>;
type Reply = Result<Response<Body>, Box<dyn Error + Send + Sync>>;

fn rule(issuer: &Issuer) -> JwtRule {
    let mut rule = JwtRule::default();
    rule.issuer = Some(issuer.name().into());
    rule.jwks_uri = Some(URI.into());
    rule
}

fn compile(rule: JwtRule) -> (JwtLayer, Jwks) {
    let mut keyring = Keyring::new();
    let compiled = Authenticator::compile(&authentication(vec![rule]), &mut keyring).unwrap();
    let mut unfetched = keyring.take_unfetched();
    assert!(keyring.take_unfetched().is_empty(), "handed out once");
    (JwtLayer::new(Live::new(compiled)), unfetched.remove(0))
}

fn reply(text: impl Into<Bytes>) -> Reply {
    Ok(Response::new(Full::new(text.into()).boxed()))
}

/// A client that answers every request so, and counts.
fn client(
    answer: impl Fn(usize, Request<Empty<Bytes>>) -> Reply + Clone + Send + 'static,
) -> (Client, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let service = service_fn(move |request| {
        let answer = answer(counted.fetch_add(1, Ordering::SeqCst), request);
        async move { answer }
    });
    (Client::new(service), count)
}

/// Lets everything that is ready run, without letting time pass.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// J-40
#[tokio::test(start_paused = true)]
async fn until_keys_are_there_tokens_are_refused_and_others_pass() {
    let issuer = Issuer::es256("https://issuer.example");
    let (layer, jwks) = compile(rule(&issuer));
    let token = issuer.token().subject("alice").sign();
    let early = send(&layer, bearer(&token)).await;
    assert_eq!(
        (early.status.as_u16(), early.body.as_str()),
        (401, "Jwt verification fails")
    );
    let none = send(&layer, get("/").body(Empty::new()).unwrap()).await;
    assert_eq!(none.status, 200);

    let text = issuer.jwks();
    let (client, count) = client(move |_, request| {
        assert_eq!(request.uri(), URI);
        reply(text.clone())
    });
    tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
    settle().await;
    assert_eq!(send(&layer, bearer(&token)).await.status, 200);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(jwks.fetches(), (1, 0));
}

/// J-41, J-46, J-47, J-49: whatever comes back, the good keys stay.
#[tokio::test(start_paused = true)]
async fn a_failed_fetch_keeps_the_keys() {
    let issuer = Issuer::es256("i");
    let token = issuer.token().sign();
    let good = issuer.jwks();
    let big = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let many: Vec<_> = (0..101).map(|_| issuer.jwk()).collect();
    let deep = format!("{{\"keys\":{}{}}}", "[".repeat(20), "]".repeat(20));
    let texts = [
        String::new(),
        "[]".into(),
        "{}".into(),
        "<html>".into(),
        r#"{"keys": []}"#.into(),
        r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#.into(),
        good.replacen('{', r#"{"keys":[],"#, 1),
        serde_json::json!({ "keys": many }).to_string(),
        big,
        deep,
    ];
    for text in texts {
        let (layer, jwks) = compile(rule(&issuer));
        let (good, text) = (good.clone(), text.clone());
        let (client, _) = client(move |call, _| {
            reply(if call == 0 {
                good.clone()
            } else {
                text.clone()
            })
        });
        let mut fetcher = Fetcher::new(&jwks, client).unwrap();
        fetcher.fetch(&jwks).await.unwrap();
        let error = fetcher.fetch(&jwks).await.unwrap_err();
        assert!(error.to_string().starts_with(URI), "{error}");
        assert_eq!(send(&layer, bearer(&token)).await.status, 200, "{error}");
        assert_eq!(jwks.fetches(), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_errors_panics_and_silence_are_failures() {
    let issuer = Issuer::es256("i");
    let (_layer, jwks) = compile(rule(&issuer));
    let status = |status: u16| {
        move |_: Request<Empty<Bytes>>| -> Reply {
            let reply = Response::builder()
                .status(status)
                .header("location", "https://elsewhere/");
            Ok(reply.body(Empty::new().boxed()).unwrap())
        }
    };
    let text = |error: tower_mesh::jwt::FetchError| error.to_string();
    for code in [204, 301, 302, 307, 404, 500, 503] {
        let (client, _) = client(move |_, request| status(code)(request));
        let error = Fetcher::new(&jwks, client)
            .unwrap()
            .fetch(&jwks)
            .await
            .unwrap_err();
        assert!(text(error).contains(&code.to_string()));
    }
    let (refused, _) = client(|_, _| Err("connection refused".into()));
    let error = Fetcher::new(&jwks, refused)
        .unwrap()
        .fetch(&jwks)
        .await
        .unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "connection refused");
    let (panics, _) = client(|_, _| panic!("a bug in the client"));
    let error = Fetcher::new(&jwks, panics)
        .unwrap()
        .fetch(&jwks)
        .await
        .unwrap_err();
    assert!(text(error).contains("panicked"));

    let started = tokio::time::Instant::now();
    let silent = service_fn(|_: Request<Empty<Bytes>>| pending::<Reply>());
    let error = Fetcher::new(&jwks, silent)
        .unwrap()
        .fetch(&jwks)
        .await
        .unwrap_err();
    assert!(text(error).contains("too long"));
    assert_eq!(started.elapsed().as_secs(), 5);

    // A body that drips for ever is cut by the same bound.
    let (drips, _) = client(|_, _| {
        let frames = drip();
        Ok(Response::new(BodyExt::boxed(frames)))
    });
    let error = Fetcher::new(&jwks, drips)
        .unwrap()
        .fetch(&jwks)
        .await
        .unwrap_err();
    assert!(text(error).contains("too long"));
}

/// A body of one byte a second.
fn drip() -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static {
    struct Drip(Arc<AtomicBool>, Option<tokio::task::JoinHandle<()>>);
    impl http_body::Body for Drip {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            if self.0.swap(false, Ordering::SeqCst) {
                return std::task::Poll::Ready(Some(Ok(http_body::Frame::data(
                    Bytes::from_static(b" "),
                ))));
            }
            let (ready, waker) = (self.0.clone(), cx.waker().clone());
            self.1 = Some(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                ready.store(true, Ordering::SeqCst);
                waker.wake();
            }));
            std::task::Poll::Pending
        }
    }
    Drip(Arc::default(), None)
}

/// J-43, J-44: key ids that nobody knows cause one fetch, and are not kept.
#[tokio::test(start_paused = true)]
async fn unknown_key_ids_cause_one_fetch() {
    let issuer = Issuer::es256("i");
    let (layer, jwks) = compile(rule(&issuer));
    let text = issuer.jwks();
    let (client, count) = client(move |_, _| reply(text.clone()));
    tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
    settle().await;
    for number in 0..200 {
        let token = issuer
            .token()
            .header("kid", format!("random-{number}"))
            .sign();
        let answer = send(&layer, bearer(&token)).await;
        assert_eq!(
            answer.body,
            "Jwks doesn't have key to match kid or alg from Jwt"
        );
        settle().await;
    }
    let count = count.load(Ordering::SeqCst);
    assert!(
        (2..=3).contains(&count),
        "{count}: the first, and one for all the unknown ids"
    );
}

/// J-45: a removed key verifies nothing any more, remembered tokens included.
#[tokio::test(start_paused = true)]
async fn keys_rotate() {
    let (old, new) = (
        Issuer::es256("i").with_key_id("old"),
        Issuer::es256("i").with_key_id("new"),
    );
    let (layer, jwks) = compile(rule(&old));
    let sets = [
        serde_json::json!({"keys": [old.jwk()]}).to_string(),
        serde_json::json!({"keys": [old.jwk(), new.jwk()]}).to_string(),
        serde_json::json!({"keys": [new.jwk()]}).to_string(),
    ];
    let (client, _) = client(move |call, _| reply(sets[call].clone()));
    let mut fetcher = Fetcher::new(&jwks, client).unwrap();
    let tokens = [old.token().sign(), new.token().sign()];
    for expected in [[200, 401], [200, 200], [401, 200]] {
        fetcher.fetch(&jwks).await.unwrap();
        for (token, status) in tokens.iter().zip(expected) {
            for _ in 0..2 {
                assert_eq!(send(&layer, bearer(token)).await.status, status);
            }
        }
    }
}

/// J-41
#[tokio::test]
async fn keys_that_were_not_refreshed_for_a_day_count_no_more() {
    let issuer = Issuer::es256("i");
    let mut keyring = Keyring::new();
    let compiled =
        Authenticator::compile(&authentication(vec![rule(&issuer)]), &mut keyring).unwrap();
    let jwks = keyring.take_unfetched().remove(0);
    let text = issuer.jwks();
    let (client, _) = client(move |_, _| reply(text.clone()));
    Fetcher::new(&jwks, client)
        .unwrap()
        .fetch(&jwks)
        .await
        .unwrap();
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let token = issuer.token().expires_in(hours(100)).sign();
    for (later, good) in [(0, true), (0, true), (23, true), (25, false)] {
        let (mut head, ()) = {
            let request = Request::get("/").header("authorization", format!("Bearer {token}"));
            request.body(()).unwrap().into_parts()
        };
        let exchange = Exchange::default();
        let verdict = compiled.authenticate(&mut head, &exchange, SystemTime::now() + hours(later));
        assert_eq!(verdict.is_ok(), good, "{later} hours later");
    }
}

/// J-42
#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_every_twenty_minutes() {
    let issuer = Issuer::es256("i");
    let (_layer, jwks) = compile(rule(&issuer));
    let text = issuer.jwks();
    let (client, count) = client(move |_, _| reply(text.clone()));
    tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
    tokio::time::sleep(Duration::from_secs(17 * 60)).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    tokio::time::sleep(Duration::from_secs(6 * 60)).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetcher_ends_when_nobody_uses_its_keys() {
    let issuer = Issuer::es256("i");
    let (layer, jwks) = compile(rule(&issuer));
    let text = issuer.jwks();
    let (client, _) = client(move |_, _| reply(text.clone()));
    let fetcher = tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
    settle().await;
    drop((layer, jwks));
    settle().await;
    assert!(fetcher.is_finished());
}

/// J-48: rules of one URI share the keys, over reloads too.
#[test]
fn keys_belong_to_their_uri() {
    let issuer = Issuer::es256("i");
    let mut keyring = Keyring::new();
    let rules = authentication(vec![rule(&issuer), rule(&issuer)]);
    let first = Authenticator::compile(&rules, &mut keyring).unwrap();
    assert_eq!(keyring.take_unfetched().len(), 1);
    let _second = Authenticator::compile(&rules, &mut keyring).unwrap();
    assert!(keyring.take_unfetched().is_empty());
    drop(first);
    let mut other = rule(&issuer);
    other.jwks_uri = Some("https://issuer.example/keys?".into());
    let _third = Authenticator::compile(&authentication(vec![other]), &mut keyring).unwrap();
    assert_eq!(keyring.take_unfetched().len(), 1, "another URI, other keys");
}

#[tokio::test]
async fn keys_are_discovered_from_the_issuer() {
    let issuer = Issuer::es256("https://issuer.example/");
    let mut discovered = rule(&issuer);
    discovered.jwks_uri = None;
    let (layer, jwks) = compile(discovered);
    let text = issuer.jwks();
    let (client, _) = client(move |_, request| match request.uri().path() {
        "/.well-known/openid-configuration" => {
            reply(r#"{"issuer": "x", "jwks_uri": "https://keys.example/set"}"#)
        }
        "/set" => reply(text.clone()),
        other => panic!("{other}"),
    });
    Fetcher::new(&jwks, client)
        .unwrap()
        .fetch(&jwks)
        .await
        .unwrap();
    assert_eq!(
        send(&layer, bearer(&issuer.token().sign())).await.status,
        200
    );
}

/// J-47
#[test]
fn keys_come_over_https_only() {
    let issuer = Issuer::es256("i");
    for (uri, good) in [
        (URI, true),
        ("http://issuer.example/keys", false),
        ("ftp://issuer.example/keys", false),
        ("/keys", false),
        ("issuer.example", false),
        ("", false),
    ] {
        let mut rule = rule(&issuer);
        rule.jwks_uri = Some(uri.into());
        let compiled = Authenticator::compile(&authentication(vec![rule]), &mut Keyring::new());
        assert_eq!(compiled.is_ok(), good, "{uri}");
    }
    let mut plain = rule(&issuer);
    plain.jwks_uri = Some("http://issuer.example/keys".into());
    let mut keyring = Keyring::new().danger_accept_http();
    assert!(Authenticator::compile(&authentication(vec![plain]), &mut keyring).is_ok());
}
