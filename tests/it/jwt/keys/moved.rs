//! Keys whose address moves (rule J-48), and clocks that jump (rule R-23).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::service_fn;
use tower::util::BoxCloneService;
use tower_mesh::Workload;
use tower_mesh::context::Exchange;
use tower_mesh::jwt::{Authenticator, Fetcher, Jwks, Keyring};
use tower_mesh::policy::Engine;
use tower_mesh::testing::Issuer;

const HOUR: Duration = Duration::from_secs(3600);

type Client = BoxCloneService<Request<Empty<Bytes>>, Response<Full<Bytes>>, Infallible>;

/// A RequestAuthentication of this name: issuers and where their keys are.
fn resource(name: &str, rules: &[(&str, &str)]) -> String {
    let rules: String = rules
        .iter()
        .map(|(issuer, uri)| format!("  - {{issuer: {issuer}, jwksUri: '{uri}'}}\n"))
        .collect();
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: {name}}}\nspec:\n  jwtRules:\n{rules}---\n"
    )
}

fn compile(keyring: &mut Keyring, yaml: &str) -> Authenticator {
    let workload = Workload::new("default", "patients");
    let engine = Engine::builder(&workload).yaml(yaml).build().unwrap();
    Authenticator::compile(engine.authentication(8080), keyring).unwrap()
}

/// Answers with this text, and counts how often.
fn client(text: String) -> (Client, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let service = service_fn(move |_: Request<Empty<Bytes>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let text = text.clone();
        async move { Ok(Response::new(Full::from(text))) }
    });
    (Client::new(service), count)
}

async fn fetch(jwks: &Jwks, issuer: &Issuer) {
    let (client, _) = client(issuer.jwks());
    let mut fetcher = Fetcher::new(jwks, client).unwrap();
    fetcher.fetch(jwks).await.unwrap();
}

fn is_good(authenticator: &Authenticator, token: &str, at: SystemTime) -> bool {
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    let verdict = authenticator.authenticate(&mut head, &Exchange::default(), at);
    matches!(verdict, Ok(Some(_)))
}

fn now(authenticator: &Authenticator, token: &str) -> bool {
    is_good(authenticator, token, SystemTime::now())
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// J-48
#[tokio::test]
async fn old_keys_serve_until_the_new_address_answers() {
    let (old, new) = (Issuer::es256("a"), Issuer::es256("a"));
    let (old_token, new_token) = (old.token().sign(), new.token().sign());
    let mut keyring = Keyring::new();
    let first = compile(&mut keyring, &resource("r", &[("a", "https://one/")]));
    fetch(&keyring.take_unfetched().remove(0), &old).await;
    let second = compile(&mut keyring, &resource("r", &[("a", "https://two/")]));
    let jwks = keyring.take_unfetched().remove(0);
    drop(first);
    assert!(now(&second, &old_token) && now(&second, &old_token));
    assert!(!now(&second, &new_token));

    // A failed fetch is no answer, and another move carries on.
    let (broken, _) = client("no keys".into());
    let mut fetcher = Fetcher::new(&jwks, broken).unwrap();
    fetcher.fetch(&jwks).await.unwrap_err();
    assert!(now(&second, &old_token));
    let third = compile(&mut keyring, &resource("r", &[("a", "https://three/")]));
    let jwks = keyring.take_unfetched().remove(0);
    drop(second);
    assert!(now(&third, &old_token));
    let same = compile(&mut keyring, &resource("r", &[("a", "https://three/")]));
    drop(third);
    assert!(now(&same, &old_token), "a reload of the same address");

    fetch(&jwks, &new).await;
    assert!(now(&same, &new_token));
    assert!(!now(&same, &old_token), "remembered or not");
}

/// J-41, J-48: a day after they were fetched at most.
#[tokio::test]
async fn old_keys_serve_for_a_day_at_most() {
    let issuer = Issuer::es256("a");
    let token = issuer.token().expires_in(100 * HOUR).sign();
    let mut keyring = Keyring::new();
    let first = compile(&mut keyring, &resource("r", &[("a", "https://one/")]));
    fetch(&keyring.take_unfetched().remove(0), &issuer).await;
    let second = compile(&mut keyring, &resource("r", &[("a", "https://two/")]));
    drop(first);
    let start = SystemTime::now();
    for (hours, good) in [(0, true), (23, true), (25, false), (30, false)] {
        let verdict = is_good(&second, &token, start + hours * HOUR);
        assert_eq!(verdict, good, "{hours} hours later");
    }
}

/// J-48: keys go from address to address for one issuer in one resource, and for nobody else.
#[tokio::test]
async fn old_keys_serve_their_issuer_and_resource_only() {
    let issuer = Issuer::es256("a");
    let as_b = issuer.token().claim("iss", "b").sign();
    let token = issuer.token().sign();
    let before = resource("r", &[("a", "https://one/"), ("c", "https://c/")]);
    for (after, good) in [
        (resource("r", &[("a", "https://two/")]), true),
        (
            resource("r", &[("b", "https://two/"), ("a", "https://two/")]),
            true,
        ),
        (resource("s", &[("a", "https://two/")]), false),
        (
            resource("s", &[("a", "https://two/")]) + &resource("r", &[("c", "https://c/")]),
            false,
        ),
        (resource("r", &[("b", "https://two/")]), false),
        (
            resource("r", &[("a", "https://one/")]) + &resource("s", &[("b", "https://two/")]),
            true,
        ),
    ] {
        let mut keyring = Keyring::new();
        let first = compile(&mut keyring, &before);
        for jwks in keyring.take_unfetched() {
            if format!("{jwks:?}").contains("one") {
                fetch(&jwks, &issuer).await;
            }
        }
        assert!(now(&first, &token));
        let second = compile(&mut keyring, &after);
        drop(first);
        assert_eq!(now(&second, &token), good, "{after}");
        assert!(!now(&second, &as_b), "{after}");
    }
}

/// Two rules of one issuer: whose keys went where cannot be told.
#[tokio::test]
async fn old_keys_serve_nobody_when_it_is_not_clear_whose_they_are() {
    let (one, two) = (Issuer::es256("a"), Issuer::es256("a"));
    let mut keyring = Keyring::new();
    let both = resource("r", &[("a", "https://one/"), ("a", "https://two/")]);
    let first = compile(&mut keyring, &both);
    for (jwks, issuer) in keyring.take_unfetched().iter().zip([&one, &two]) {
        fetch(jwks, issuer).await;
    }
    let moved = resource("r", &[("a", "https://three/")]);
    let second = compile(&mut keyring, &moved);
    drop(first);
    assert!(!now(&second, &one.token().sign()) && !now(&second, &two.token().sign()));
}

/// R-23, J-41: who sees that the keys are a day old asks for new ones, instead of refusing until they would have come anyway.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_asks_for_keys_at_once() {
    let issuer = Issuer::es256("a");
    let token = issuer.token().expires_in(1000 * HOUR).sign();
    for hours in [25, 24 * 30] {
        let mut keyring = Keyring::new();
        let authenticator = compile(&mut keyring, &resource("r", &[("a", "https://one/")]));
        let jwks = keyring.take_unfetched().remove(0);
        let (client, count) = client(issuer.jwks());
        tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
        settle().await;
        let later = SystemTime::now() + hours * HOUR;
        assert!(now(&authenticator, &token));
        for _ in 0..100 {
            assert!(!is_good(&authenticator, &token, later));
        }
        settle().await;
        assert_eq!(count.load(Ordering::SeqCst), 2, "{hours}: asked once");
        assert!(is_good(&authenticator, &token, later), "{hours}");
    }
}

/// R-23: keys from the future still count, and are asked for anew.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_asks_for_keys_and_refuses_nobody() {
    let issuer = Issuer::es256("a");
    let token = issuer.token().expires_in(100 * HOUR).sign();
    for hours in [1, 25, 24 * 365] {
        let mut keyring = Keyring::new();
        let authenticator = compile(&mut keyring, &resource("r", &[("a", "https://one/")]));
        let jwks = keyring.take_unfetched().remove(0);
        let (client, count) = client(issuer.jwks());
        tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
        settle().await;
        assert!(now(&authenticator, &token));
        let earlier = SystemTime::now() - hours * HOUR;
        for _ in 0..100 {
            assert!(is_good(&authenticator, &token, earlier), "{hours}");
        }
        settle().await;
        assert_eq!(count.load(Ordering::SeqCst), 2, "{hours}: asked once");
        for _ in 0..100 {
            assert!(is_good(&authenticator, &token, earlier), "{hours}");
        }
        settle().await;
        assert_eq!(count.load(Ordering::SeqCst), 2, "{hours}: and no more");
    }
}
