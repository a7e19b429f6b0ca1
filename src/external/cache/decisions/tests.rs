use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::time::advance;

use super::*;
use crate::external::{CacheKey, Changes, Denial};
use crate::policy;

/// A request as policy sees it, and its head.
type Asked = (Parts, policy::Request);

fn get(path: &str) -> Asked {
    of("GET", path, None)
}

fn of(method: &str, path: &str, caller: Option<&str>) -> Asked {
    let head = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let request = policy::Request::new().method(method, path);
    let request = match caller {
        Some(caller) => request.from(caller),
        None => request,
    };
    (head.into_parts().0, request)
}

fn with_header(mut asked: Asked, name: &'static str, value: &'static str) -> Asked {
    asked
        .0
        .headers
        .append(name, HeaderValue::from_static(value));
    asked
}

fn with_claims(mut asked: Asked, claims: &serde_json::Value) -> Asked {
    asked.1 = asked.1.claims(claims.as_object().unwrap().clone());
    asked
}

fn cache(settings: DecisionCache) -> Arc<Decisions> {
    Arc::new(Decisions::new("opa", settings, Arc::default()))
}

fn by_path() -> DecisionCache {
    DecisionCache::keyed_by([CacheKey::Path]).ttl(Duration::from_secs(10))
}

fn look_up(cache: &Arc<Decisions>, (head, request): &Asked) -> LookUp {
    cache.look_up(head, request, Stage::AfterTokens)
}

fn hit(cache: &Arc<Decisions>, asked: &Asked) -> Option<Known> {
    match look_up(cache, asked) {
        LookUp::Known(known) => Some(known),
        LookUp::Ask(_) => None,
    }
}

/// The decision that a request gets; `answer` is the provider's, if it is asked.
fn decide(
    cache: &Arc<Decisions>,
    asked: &Asked,
    answer: Result<Authorization, AuthorizerError>,
) -> Result<Known, AuthorizerError> {
    match look_up(cache, asked) {
        LookUp::Known(known) => Ok(known),
        LookUp::Ask(ticket) => settle(ticket, answer),
    }
}

fn settle(
    ticket: Box<Ticket>,
    answer: Result<Authorization, AuthorizerError>,
) -> Result<Known, AuthorizerError> {
    match ticket.settle(answer) {
        Settled::Answer(answer) => answer.map(Known::from),
        Settled::Stale(known) => Ok(known),
    }
}

fn down() -> Result<Authorization, AuthorizerError> {
    Err(AuthorizerError::from_static("down"))
}

fn is_allowed(known: &Known) -> bool {
    match known {
        Known::Allow => true,
        Known::Decision(decision) => decision.is_allowed(),
    }
}

fn allows(outcome: &Result<Known, AuthorizerError>) -> Option<bool> {
    outcome.as_ref().ok().map(is_allowed)
}

/// Every attribute tells requests apart, and no other does.
#[tokio::test(start_paused = true)]
async fn a_decision_is_found_by_its_declared_attributes_alone() {
    let desk = Some("cluster.local/ns/default/sa/desk");
    let alice = || json!({"iss": "clinic", "sub": "alice", "role": ["a", "b"]});
    let base = || with_claims(with_header(of("GET", "/a?x=1", desk), "x-a", "1"), &alice());
    let method = || with_claims(with_header(of("PUT", "/a?x=1", desk), "x-a", "1"), &alice());
    let query = || with_claims(with_header(of("GET", "/a?x=2", desk), "x-a", "1"), &alice());
    let path = || with_claims(with_header(of("GET", "/b?x=1", desk), "x-a", "1"), &alice());
    let caller = || with_claims(with_header(of("GET", "/a?x=1", None), "x-a", "1"), &alice());
    let header = || with_header(base(), "x-a", "1");
    let bob = || {
        let mut bob = base();
        bob.1 = bob.1.claims(
            json!({"iss": "clinic", "sub": "bob"})
                .as_object()
                .unwrap()
                .clone(),
        );
        bob
    };
    let role = || {
        let claims = json!({"iss": "clinic", "sub": "alice", "role": ["a,b"]});
        with_claims(base(), &claims)
    };
    let others: [(&str, Asked); 7] = [
        ("method", method()),
        ("query", query()),
        ("path", path()),
        ("caller", caller()),
        ("header", header()),
        ("bob", bob()),
        ("role", role()),
    ];
    for (key, apart) in [
        (CacheKey::Method, vec!["method"]),
        (CacheKey::Path, vec!["query", "path"]),
        (CacheKey::PathWithoutQuery, vec!["path"]),
        (CacheKey::Principal, vec!["caller"]),
        (CacheKey::header("X-A"), vec!["header"]),
        (CacheKey::RequestPrincipal, vec!["bob"]),
        (CacheKey::claim("role"), vec!["bob", "role"]),
        (CacheKey::DestinationPort, vec![]),
        (CacheKey::RemoteIp, vec![]),
    ] {
        let cache = cache(DecisionCache::keyed_by([key.clone()]));
        decide(&cache, &base(), Ok(Authorization::allow())).unwrap();
        for (name, other) in &others {
            let is_apart = hit(&cache, other).is_none();
            assert_eq!(is_apart, apart.contains(name), "{key} {name}");
        }
    }
}

/// In HTTP/2 the host is no header.
#[tokio::test(start_paused = true)]
async fn the_header_host_is_the_host_of_the_request() {
    for key in [
        CacheKey::header("Host"),
        CacheKey::Header("host".to_owned()),
    ] {
        let cache = cache(DecisionCache::keyed_by([key]));
        let to = |host: &str| {
            let (head, request) = get("/");
            (head, request.authority(host))
        };
        decide(&cache, &to("public"), Ok(Authorization::allow())).unwrap();
        assert!(hit(&cache, &to("public")).is_some());
        assert!(hit(&cache, &to("admin")).is_none());
    }
}

/// What one caller gets alone: cookies, a login's state, a nonce.
#[tokio::test(start_paused = true)]
async fn a_decision_for_one_caller_is_not_kept() {
    let named = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let denial = |status, name: &'static str, text: &'static str| {
        let denial = Denial::new(StatusCode::from_u16(status).unwrap());
        Authorization::from(denial.header(named(name), value(text)))
    };
    let cookie = Changes::new().add_response_header(named("set-cookie"), value("a=1"));
    for (what, decision, kept) in [
        ("a cookie with a yes", cookie.into(), false),
        (
            "a cookie with a no",
            denial(403, "set-cookie", "a=1"),
            false,
        ),
        (
            "a redirect",
            denial(302, "location", "https://idp/?state=s"),
            false,
        ),
        (
            "a nonce",
            denial(401, "www-authenticate", "Digest Nonce=\"n\""),
            false,
        ),
        (
            "Kerberos",
            denial(401, "www-authenticate", "Negotiate"),
            false,
        ),
        (
            "a plain challenge",
            denial(401, "www-authenticate", "Bearer"),
            true,
        ),
        ("another header", denial(403, "x-reason", "nonce"), true),
    ] {
        let cache = cache(by_path().stale_if_error(Duration::from_secs(60)));
        // What was there before is gone, too.
        decide(&cache, &get("/a"), Ok(Authorization::allow())).unwrap();
        advance(Duration::from_secs(11)).await;
        decide(&cache, &get("/a"), Ok(decision)).unwrap();
        assert_eq!(hit(&cache, &get("/a")).is_some(), kept, "{what}");
        assert_eq!(decide(&cache, &get("/a"), down()).is_ok(), kept, "{what}");
        assert_eq!(cache.counts().unkept, u64::from(!kept), "{what}");
    }
}

/// Names of a certificate of another kind than the mesh's.
#[tokio::test(start_paused = true)]
async fn names_of_a_certificate_keep_their_kind() {
    use crate::identity::PeerCertificate;
    let of = |uris: &[&str], dns: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        PeerCertificate::from_names(texts(uris), texts(dns), String::new())
    };
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for certificate in [
        of(&["a"], &[]),
        of(&[], &["a"]),
        of(&["a", "b"], &[]),
        of(&["a"], &["b"]),
        of(&[], &["a", "b"]),
    ] {
        let mut key = Key::default();
        key.certificate(Some(&certificate));
        assert!(
            !keys.iter().any(|other| *other == key.bytes()),
            "{certificate:?}"
        );
        keys.push(key.bytes().to_vec());
    }
}

/// Two attributes do not run into each other.
#[tokio::test(start_paused = true)]
async fn attributes_are_told_apart_at_their_borders() {
    let keys = [CacheKey::header("x-a"), CacheKey::header("x-b")];
    let cache = cache(DecisionCache::keyed_by(keys));
    let asked = with_header(with_header(get("/"), "x-a", "1"), "x-b", "2");
    decide(&cache, &asked, Ok(Authorization::allow())).unwrap();
    assert!(hit(&cache, &asked).is_some());
    for other in [
        get("/"),
        with_header(get("/"), "x-a", "1"),
        with_header(get("/"), "x-a", "12"),
        with_header(with_header(get("/"), "x-a", "1"), "x-a", "2"),
        with_header(with_header(get("/"), "x-a", "2"), "x-b", "1"),
        with_header(with_header(get("/"), "x-a", ""), "x-b", "12"),
    ] {
        assert!(hit(&cache, &other).is_none(), "{:?}", other.0.headers);
    }
}

#[tokio::test(start_paused = true)]
async fn before_tokens_are_verified_a_cache_by_claims_asks_each_time() {
    let cache = cache(DecisionCache::keyed_by([CacheKey::claim("role")]));
    for _ in 0..2 {
        let (head, request) = get("/");
        let LookUp::Ask(ticket) = cache.look_up(&head, &request, Stage::BeforeTokens) else {
            panic!("one user's decision would serve another");
        };
        settle(ticket, Ok(Authorization::allow())).unwrap();
    }
    assert_eq!(cache.counts().unkeyed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_long_is_asked_about_each_time() {
    let keys = [CacheKey::header("x-a"), CacheKey::claim("big")];
    let cache = cache(DecisionCache::keyed_by(keys));
    let header = with_header(
        get("/"),
        "x-a",
        Box::leak("a".repeat(4_100).into_boxed_str()),
    );
    let list: Vec<_> = (0..4_000).collect();
    let claim = with_claims(get("/"), &json!({"big": list}));
    for asked in [header, claim] {
        decide(&cache, &asked, Ok(Authorization::allow())).unwrap();
        assert!(hit(&cache, &asked).is_none());
    }
    assert_eq!((cache.counts().unkeyed, cache.counts().entries), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_decision_counts_for_its_time_from_the_question_on() {
    let cache = cache(by_path());
    let LookUp::Ask(slow) = look_up(&cache, &get("/a")) else {
        panic!("nothing was decided yet");
    };
    advance(Duration::from_secs(4)).await;
    settle(slow, Ok(Authorization::allow())).unwrap();
    advance(Duration::from_millis(5_999)).await;
    assert!(hit(&cache, &get("/a")).is_some());
    advance(Duration::from_millis(2)).await;
    assert!(hit(&cache, &get("/a")).is_none());
    let counts = cache.counts();
    assert_eq!(counts.hits, 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_count_for_a_time_of_their_own() {
    for (ttl, seconds) in [(None, 10), (Some(2), 2), (Some(0), 0)] {
        let mut settings = by_path();
        if let Some(ttl) = ttl {
            settings = settings.denial_ttl(Duration::from_secs(ttl));
        }
        let cache = cache(settings);
        decide(&cache, &get("/a"), Ok(Authorization::deny())).unwrap();
        let mut counted = 0;
        while let Some(known) = hit(&cache, &get("/a")) {
            assert!(!is_allowed(&known));
            counted += 1;
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(counted, seconds, "{ttl:?}");
    }
}

/// What happens when the provider is down, by the age of what was decided before.
#[tokio::test(start_paused = true)]
async fn an_older_decision_bridges_an_outage_for_its_time() {
    let settings = by_path().stale_if_error(Duration::from_secs(60));
    for (answer, allowed) in [
        (Authorization::allow(), true),
        (Authorization::deny(), false),
    ] {
        let cache = cache(settings.clone());
        decide(&cache, &get("/a"), Ok(answer)).unwrap();
        for (seconds, found, stale) in [
            (9, Some(allowed), 0),
            (1, Some(allowed), 1),
            (59, Some(allowed), 2),
            (1, None, 2),
        ] {
            advance(Duration::from_secs(seconds)).await;
            let outcome = decide(&cache, &get("/a"), down());
            assert_eq!(allows(&outcome), found, "{seconds}");
            assert_eq!(cache.counts().stale, stale, "{seconds}");
        }
        // Those about whom nothing was decided.
        assert!(decide(&cache, &get("/b"), down()).is_err());
        assert_eq!(cache.counts().entries, 0, "an outdated decision is dropped");
    }
}

/// An error that is no outage, such as a deadline of the caller.
#[tokio::test(start_paused = true)]
async fn an_error_that_the_caller_can_cause_finds_no_older_decision() {
    let cache = cache(by_path().stale_if_error(Duration::from_secs(60)));
    decide(&cache, &get("/a"), Ok(Authorization::allow())).unwrap();
    advance(Duration::from_secs(11)).await;
    let hurried = AuthorizerError::from_static("hurried").never_passes();
    assert!(decide(&cache, &get("/a"), Err(hurried)).is_err());
    assert!(decide(&cache, &get("/a"), down()).is_ok());
}

/// No clock that an operator can set has a part in it.
#[test]
fn the_wall_clock_is_not_read() {
    for text in [
        include_str!("../decisions.rs"),
        include_str!("../../../bounded_cache/ways.rs"),
    ] {
        assert!(!text.contains("SystemTime"));
    }
}

/// A yes that was taken back does not count again in an outage.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_not_kept_ends_an_older_yes() {
    let settings = by_path()
        .stale_if_error(Duration::from_secs(60))
        .denial_ttl(Duration::ZERO);
    let cache = cache(settings);
    decide(&cache, &get("/a"), Ok(Authorization::allow())).unwrap();
    advance(Duration::from_secs(11)).await;
    let denied = decide(&cache, &get("/a"), Ok(Authorization::deny()));
    assert_eq!(allows(&denied), Some(false));
    assert!(decide(&cache, &get("/a"), down()).is_err());
}

/// Questions overtake each other.
#[tokio::test(start_paused = true)]
async fn the_answer_to_the_later_question_counts() {
    let cache = cache(by_path());
    let LookUp::Ask(first) = look_up(&cache, &get("/a")) else {
        panic!("nothing was decided yet");
    };
    advance(Duration::from_secs(1)).await;
    let LookUp::Ask(second) = look_up(&cache, &get("/a")) else {
        panic!("nothing was decided yet");
    };
    settle(second, Ok(Authorization::deny())).unwrap();
    settle(first, Ok(Authorization::allow())).unwrap();
    assert_eq!(
        hit(&cache, &get("/a")).as_ref().map(is_allowed),
        Some(false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_leaves_nothing() {
    let cache = cache(by_path());
    drop(look_up(&cache, &get("/a")));
    assert!(hit(&cache, &get("/a")).is_none());
    assert_eq!(cache.counts().entries, 0);
}

/// What the provider changed is there again, and does not hold the buffers in which it came.
#[tokio::test(start_paused = true)]
async fn changes_and_answers_are_found_again() {
    let name = HeaderName::from_static("x-a");
    let value = HeaderValue::from_static("1");
    let changes = Changes::new()
        .set_header(name.clone(), value.clone())
        .append_header(name.clone(), value.clone())
        .remove_header(name.clone())
        .add_response_header(name.clone(), value.clone())
        .set_query("a", "b")
        .remove_query("c")
        .metadata("plan", json!("gold"));
    let denial = Denial::new(StatusCode::UNAUTHORIZED)
        .header(name, value)
        .body("no");
    for decision in [Authorization::from(changes), Authorization::from(denial)] {
        let cache = cache(by_path());
        decide(&cache, &get("/a"), Ok(decision.clone())).unwrap();
        let Some(Known::Decision(found)) = hit(&cache, &get("/a")) else {
            panic!("{decision:?}");
        };
        assert_eq!(*found, decision);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_bounded_in_number() {
    for most in [1, 7, 16, 100, 1_000] {
        let cache = cache(by_path().max_entries(most));
        for number in 0..5_000 {
            let asked = get(&format!("/{number}"));
            decide(&cache, &asked, Ok(Authorization::allow())).unwrap();
        }
        let entries = cache.counts().entries;
        let most = usize::try_from(most).unwrap();
        assert!(entries <= most && entries > most / 2, "{most}: {entries}");
        assert!(hit(&cache, &get("/4999")).is_some(), "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_bounded_in_bytes() {
    const MOST: u32 = 256 << 10;
    let cache = cache(by_path().max_bytes(MOST));
    let body = "b".repeat(2_000);
    for number in 0..2_000 {
        let denial = Denial::forbidden().body(body.clone());
        let asked = get(&format!("/{number}"));
        decide(&cache, &asked, Ok(denial.into())).unwrap();
        assert!(cache.counts().bytes <= usize::try_from(MOST).unwrap());
    }
    assert!(cache.counts().entries > 50, "the room is used");
    let huge = Denial::forbidden().body("b".repeat(100_000));
    decide(&cache, &get("/huge"), Ok(huge.into())).unwrap();
    assert!(
        hit(&cache, &get("/huge")).is_none(),
        "it would take too much"
    );
}

/// A cached decision that changes nothing costs no allocation.
#[tokio::test(start_paused = true)]
async fn a_hit_allocates_nothing() {
    let keys = [CacheKey::Principal, CacheKey::Method, CacheKey::Path];
    let cache = cache(DecisionCache::keyed_by(keys));
    let asked = of(
        "GET",
        "/patients/7",
        Some("cluster.local/ns/default/sa/desk"),
    );
    decide(&cache, &asked, Ok(Authorization::allow())).unwrap();
    assert!(hit(&cache, &asked).is_some());
    let held = allocation_counter::measure(|| {
        assert!(hit(&cache, &asked).is_some());
    });
    assert_eq!(held.count_total, 0);
}
