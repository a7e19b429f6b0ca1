//! Decisions that count for more than one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use http_body_util::Full;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance};
use tower_mesh::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, AuthorizerOptions, BodyBound,
    CacheKey, Changes, DecisionCache, Denial, Stage,
};
use tower_mesh::source::{Fixed, channel};

use super::{ALLOWED, REFUSED, Says, Stub, asks, build, builder, get, request, send, status};
use crate::support::mesh::{lines, policy, proven, settle, until};

fn by_caller() -> DecisionCache {
    DecisionCache::keyed_by([CacheKey::Principal, CacheKey::Path]).ttl(Duration::from_secs(10))
}

/// The count of a result in the metrics.
fn counted(mesh: &tower_mesh::Mesh, result: &str) -> u64 {
    let label = format!("result=\"{result}\"");
    let lines = lines(
        mesh,
        "mesh_decision_cache_total",
        &["provider=\"own\"", &label],
    );
    let number = lines.first().and_then(|line| line.rsplit(' ').next());
    number.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_decision_counts_until_its_time_is_over() {
    let stub = Stub::allowing();
    let mesh = builder(asks("own")).authorizer("own", stub.clone());
    let mesh = build(mesh.decision_cache("own", by_caller())).await;
    for (caller, seconds, asked) in [
        ("desk", 0, 1),
        ("desk", 9, 1),
        ("web", 0, 2),
        ("desk", 1, 3),
        ("web", 0, 3),
    ] {
        advance(Duration::from_secs(seconds)).await;
        assert_eq!(status(&mesh, "/own", caller).await, ALLOWED);
        assert_eq!(stub.count(), asked, "{caller} {seconds}");
    }
    assert_eq!((counted(&mesh, "hit"), counted(&mesh, "miss")), (2, 3));
    let entries = lines(&mesh, "mesh_decision_cache_entries", &["provider=\"own\""]);
    assert!(entries[0].ends_with(" 2"), "{entries:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_is_the_same_from_the_cache() {
    let name = HeaderName::from_static("x-ward");
    let value = HeaderValue::from_static("7");
    let told = HeaderName::from_static("x-told");
    let changes = Changes::new()
        .set_header(name, value.clone())
        .add_response_header(told, value);
    let denial = Denial::new(StatusCode::UNAUTHORIZED).body("who are you?");
    for decision in [Authorization::from(changes), Authorization::from(denial)] {
        let stub = Stub::new(Says::This(decision));
        let mesh = builder(asks("own")).authorizer("own", stub.clone());
        let mesh = build(mesh.decision_cache("own", by_caller())).await;
        let mut got = Vec::new();
        for _ in 0..3 {
            let got_now = get(&mesh, "/own", "desk").await;
            let told = got_now.headers.get("x-told").cloned();
            got.push((got_now.status, got_now.body, told));
        }
        assert_eq!(stub.count(), 1);
        assert!(got.iter().all(|one| *one == got[0]), "{got:?}");
    }
}

/// The authorizer dies while many ask. Callers with a decision notice nothing, for as long as it
/// counts; the others are refused.
#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_for_callers_with_a_decision() {
    let stub = Stub::allowing();
    let cache = by_caller().stale_if_error(Duration::from_secs(600));
    let mesh = builder(asks("own")).authorizer("own", stub.clone());
    let mesh = build(mesh.decision_cache("own", cache)).await;
    assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
    stub.say(Says::This(Authorization::deny()));
    assert_eq!(status(&mesh, "/own", "banned").await, REFUSED);
    for says in [Says::Error, Says::Panics, Says::Nothing] {
        stub.say(says);
        advance(Duration::from_secs(60)).await;
        for _ in 0..5 {
            assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
            assert_eq!(status(&mesh, "/own", "banned").await, REFUSED);
            assert_eq!(status(&mesh, "/own", "stranger").await, REFUSED);
        }
    }
    assert_eq!(counted(&mesh, "stale"), 30);
    advance(Duration::from_secs(601)).await;
    assert_eq!(status(&mesh, "/own", "desk").await, REFUSED);
    // It is back.
    stub.say(Says::This(Authorization::allow()));
    assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_authorizer_that_is_killed_under_load_fails_no_cached_request() {
    const CALLERS: usize = 8;
    const EACH: usize = 200;
    let stub = Stub::allowing();
    let cache = by_caller().ttl(Duration::from_secs(3_600));
    let mesh = builder(asks("own")).authorizer("own", stub.clone());
    let mesh = build(mesh.decision_cache("own", cache)).await;
    for caller in 0..CALLERS {
        assert_eq!(status(&mesh, "/own", &format!("c{caller}")).await, ALLOWED);
    }
    let is_down = Arc::new(AtomicBool::new(false));
    let begin = Arc::new(Barrier::new(CALLERS + 1));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (mesh, stub) = (mesh.clone(), stub.clone());
        let (is_down, begin) = (is_down.clone(), begin.clone());
        callers.spawn(async move {
            begin.wait().await;
            let name = format!("c{caller}");
            for number in 0..EACH {
                if caller == 0 && number == EACH / 2 {
                    stub.say(Says::Error);
                    is_down.store(true, Ordering::SeqCst);
                }
                assert_eq!(
                    status(&mesh, "/own", &name).await,
                    ALLOWED,
                    "{name} {number}"
                );
            }
        });
    }
    let strangers = {
        let mesh = mesh.clone();
        tokio::spawn(async move {
            begin.wait().await;
            let mut refused = 0;
            for number in 0..EACH {
                let was_down = is_down.load(Ordering::SeqCst);
                let got = status(&mesh, "/own", &format!("s{number}")).await;
                assert!(
                    got == REFUSED || (got == ALLOWED && !was_down),
                    "{number}: {got}"
                );
                refused += usize::from(got == REFUSED);
            }
            refused
        })
    };
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    strangers.await.unwrap();
    assert_eq!(status(&mesh, "/own", "late").await, REFUSED);
    assert!(counted(&mesh, "hit") >= u64::try_from(CALLERS * EACH).unwrap());
}

/// Requests that are equal wait for one answer; those of others do not.
#[tokio::test(start_paused = true)]
async fn equal_requests_at_once_are_one_question() {
    let stub = Stub::new(Says::Nothing);
    let mesh = builder(asks("own")).authorizer("own", stub.clone());
    let mesh = build(mesh.decision_cache("own", by_caller())).await;
    let ask = |caller: &'static str| {
        let mesh = mesh.clone();
        tokio::spawn(async move { status(&mesh, "/own", caller).await })
    };
    // The first has no answer and goes away: the others ask for themselves.
    let first = ask("desk");
    until("a question", || stub.count() == 1).await;
    let others: Vec<_> = (0..10).map(|_| ask("desk")).collect();
    let web = ask("web");
    until("another question", || stub.count() == 2).await;
    settle().await;
    assert_eq!(stub.count(), 2, "the others wait");
    stub.say(Says::This(Authorization::allow()));
    first.abort();
    for other in others {
        assert_eq!(other.await.unwrap(), ALLOWED);
    }
    assert_eq!(web.await.unwrap(), REFUSED);

    // All get the answer of the first.
    let (asked, gate) = (stub.count(), stub.gate());
    let shared = counted(&mesh, "shared");
    advance(Duration::from_secs(20)).await;
    let all: Vec<_> = (0..10).map(|_| ask("desk")).collect();
    until("a question", || stub.count() > asked).await;
    settle().await;
    drop(gate);
    for one in all {
        assert_eq!(one.await.unwrap(), ALLOWED);
    }
    assert_eq!(stub.count(), asked + 1);
    assert_eq!(counted(&mesh, "shared"), shared + 9);
}

/// A question that hangs delays those behind it a little, not for as long as it may take.
#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_is_asked_again_by_one_that_waits() {
    let long = AuthorizerOptions::new().timeout(Duration::from_secs(600));
    let stub = Stub::new(Says::Nothing);
    let mesh = builder(asks("own")).authorizer_with("own", long, stub.clone());
    let mesh = build(mesh.decision_cache("own", by_caller())).await;
    let ask = || {
        let mesh = mesh.clone();
        tokio::spawn(async move { status(&mesh, "/own", "desk").await })
    };
    let hung = ask();
    until("a question", || stub.count() == 1).await;
    stub.say(Says::This(Authorization::allow()));
    let begun = Instant::now();
    let others: Vec<_> = (0..10).map(|_| ask()).collect();
    for other in others {
        assert_eq!(other.await.unwrap(), ALLOWED);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(stub.count(), 2, "one of them asks for all");
    hung.abort();
}

/// A decision of earlier is better than failing open, and no decision is not.
#[tokio::test(start_paused = true)]
async fn failing_open_is_for_callers_without_a_decision() {
    let open = AuthorizerOptions::new().danger().fail_open();
    let stub = Stub::new(Says::This(Authorization::deny()));
    let cache = by_caller().stale_if_error(Duration::from_secs(600));
    let mesh = builder(asks("own")).authorizer_with("own", open, stub.clone());
    let mesh = build(mesh.decision_cache("own", cache)).await;
    assert_eq!(status(&mesh, "/own", "banned").await, REFUSED);
    stub.say(Says::Error);
    advance(Duration::from_secs(11)).await;
    assert_eq!(status(&mesh, "/own", "banned").await, REFUSED);
    assert_eq!(status(&mesh, "/own", "stranger").await, ALLOWED);
}

/// What cannot be part of the key is not shared.
#[tokio::test(start_paused = true)]
async fn nothing_is_cached_where_the_key_would_lack_what_decides() {
    let by_claim = DecisionCache::keyed_by([CacheKey::claim("role")]);
    let early = Stub {
        stage: Stage::BeforeTokens,
        ..Stub::allowing()
    };
    let reading = Stub {
        body: Some(BodyBound::beginning(10)),
        ..Stub::allowing()
    };
    for (stub, cache) in [(early, by_claim), (reading, by_caller())] {
        let mesh = builder(asks("own")).authorizer("own", stub.clone());
        let mesh = build(mesh.decision_cache("own", cache)).await;
        for asked in 1..=3 {
            assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
            assert_eq!(stub.count(), asked);
        }
    }
}

/// A resource gives a provider of the application a cache.
#[tokio::test(start_paused = true)]
async fn a_resource_can_add_a_cache_to_a_provider() {
    let cache = "apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {name: own}\nspec: {cache: {keys: ['request.headers[x-tenant]'], ttl: 10s}}\n---\n";
    let stub = Stub::allowing();
    let mesh = build(builder(asks("own") + cache).authorizer("own", stub.clone())).await;
    for (tenant, asked) in [("a", 1), ("a", 1), ("b", 2), ("a", 2)] {
        let request = request("/own", proven("desk")).header("x-tenant", tenant);
        let request = request.body(Full::<Bytes>::default());
        assert_eq!(send(&mesh, request.unwrap()).await.status, ALLOWED);
        assert_eq!(stub.count(), asked, "{tenant}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_outlives_a_reload_that_does_not_change_it() {
    let cache = |ttl: &str| {
        format!(
            "apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {{name: own}}\nspec: {{cache: {{keys: [source.principal], ttl: {ttl}}}}}\n---\n"
        )
    };
    let configuration = |more: &str, ttl: &str| {
        let yaml = format!("{more}{}{}", asks("own"), cache(ttl));
        Fixed::yaml("p.yaml", yaml).load("default").unwrap()
    };
    let (sender, channel) = channel(configuration("", "10m"));
    let stub = Stub::allowing();
    let mesh = builder("").config(channel).authorizer("own", stub.clone());
    let mesh = build(mesh).await;
    assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
    for (more, ttl, asked) in [
        ("# the lines move\n", "10m", 1),
        ("", "11m", 2),
        ("", "11m", 2),
    ] {
        sender.send(configuration(more, ttl)).await.unwrap();
        assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
        assert_eq!(stub.count(), asked, "{ttl}");
    }
    assert_eq!(counted(&mesh, "hit"), 2, "counts go on");
}

/// A configuration that is refused changes nothing, and so it leaves the cache as it is.
#[tokio::test(start_paused = true)]
async fn a_cache_outlives_a_reload_that_is_refused() {
    let cache = |ttl: &str| {
        format!(
            "apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {{name: own}}\nspec: {{cache: {{keys: [source.principal], ttl: {ttl}}}}}\n---\n"
        )
    };
    let load = |yaml: String| Fixed::yaml("p.yaml", yaml).load("default").unwrap();
    let closed = policy(
        "deny",
        "DENY",
        "[{to: [{operation: {paths: ['/closed']}}]}]",
    );
    let good = || load(asks("own") + &closed + &cache("10m"));
    // Without the DENY it opens the workload.
    let open = || load(asks("own") + &asks("other") + &cache("11m"));
    let (sender, channel) = channel(good());
    let stub = Stub::allowing();
    let mesh = builder("").config(channel).authorizer("own", stub.clone());
    let other = by_caller();
    let mesh = mesh.authorizer("other", Stub::allowing());
    let mesh = build(mesh.decision_cache("other", other)).await;
    let entries = || lines(&mesh, "mesh_decision_cache_entries", &["provider="]);
    assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
    let before = entries();
    assert!(before.len() == 1 && before[0].ends_with(" 1"), "{before:?}");
    stub.say(Says::Error);
    sender.send(open()).await.unwrap_err();
    assert_eq!(entries(), before, "the cache in use is shown");
    assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
    sender.send(good()).await.unwrap();
    assert_eq!(status(&mesh, "/own", "desk").await, ALLOWED);
    assert_eq!(stub.count(), 1);
    assert_eq!((counted(&mesh, "hit"), entries()), (2, before));
}

/// Takes a while, and then answers each caller the same.
struct Slow(
    Duration,
    Result<Authorization, &'static str>,
    Arc<AtomicUsize>,
);

impl Slow {
    fn new(millis: u64, answer: Result<Authorization, &'static str>) -> Self {
        Self(Duration::from_millis(millis), answer, Arc::default())
    }
}

impl Authorizer for Slow {
    async fn authorize(&self, _: AuthorizationRequest) -> Result<Authorization, AuthorizerError> {
        self.2.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.0).await;
        self.1.clone().map_err(AuthorizerError::from_static)
    }
}

/// Equal requests wait for one answer. If it cannot be shared, none of them waits for the answers
/// to the others, too.
#[tokio::test(start_paused = true)]
async fn equal_requests_do_not_queue_for_answers_that_are_not_kept() {
    const CALLERS: usize = 10;
    let long = AuthorizerOptions::new().timeout(Duration::from_secs(600));
    let cookie = HeaderName::from_static("set-cookie");
    let cookie = Changes::new().add_response_header(cookie, HeaderValue::from_static("a=1"));
    let large = Denial::forbidden().body("b".repeat(100_000));
    for (what, answer, status, kept) in [
        ("a yes", Ok(Authorization::allow()), ALLOWED, true),
        ("a cookie", Ok(cookie.into()), ALLOWED, false),
        (
            "a login",
            Ok(Denial::new(StatusCode::FOUND).into()),
            302,
            false,
        ),
        (
            "a no without a time",
            Ok(Authorization::deny()),
            REFUSED,
            false,
        ),
        ("a large answer", Ok(large.into()), REFUSED, false),
        ("an error", Err("down"), REFUSED, false),
    ] {
        let slow = Slow::new(1_000, answer);
        let asked = Arc::clone(&slow.2);
        let mesh = builder(asks("own")).authorizer_with("own", long, slow);
        let cache = by_caller().denial_ttl(Duration::ZERO);
        let mesh = build(mesh.decision_cache("own", cache)).await;
        let begun = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let mesh = mesh.clone();
            callers.spawn(async move { get(&mesh, "/own", "desk").await.status });
        }
        while let Some(got) = callers.join_next().await {
            assert_eq!(got.unwrap(), status, "{what}");
        }
        let (questions, seconds) = if kept { (1, 1) } else { (CALLERS, 2) };
        assert_eq!(asked.load(Ordering::SeqCst), questions, "{what}");
        let took = begun.elapsed();
        let longest = Duration::from_millis(seconds * 1_000 + 100);
        assert!(took < longest, "{what}: {took:?}");
    }
}

/// The one that asked has gone away: one of the others asks, and not all of them.
#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_is_asked_again_by_one_that_waits() {
    let long = AuthorizerOptions::new().timeout(Duration::from_secs(600));
    let slow = Slow::new(1_000, Ok(Authorization::allow()));
    let asked = Arc::clone(&slow.2);
    let mesh = builder(asks("own")).authorizer_with("own", long, slow);
    let mesh = build(mesh.decision_cache("own", by_caller())).await;
    let ask = || {
        let mesh = mesh.clone();
        tokio::spawn(async move { status(&mesh, "/own", "desk").await })
    };
    let first = ask();
    until("a question", || asked.load(Ordering::SeqCst) == 1).await;
    let others: Vec<_> = (0..10).map(|_| ask()).collect();
    settle().await;
    first.abort();
    for other in others {
        assert_eq!(other.await.unwrap(), ALLOWED);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// The wait for an equal question once took its time off the provider's: the second answer came too
/// late, and a provider that fails open let the request pass.
#[tokio::test(start_paused = true)]
async fn a_wait_for_another_question_opens_no_provider() {
    let options = AuthorizerOptions::new().danger().fail_open();
    let login = Slow::new(700, Ok(Denial::new(StatusCode::FOUND).into()));
    let mesh = builder(asks("own")).authorizer_with("own", options, login);
    let mesh = build(mesh.decision_cache("own", by_caller())).await;
    let ask = || status(&mesh, "/own", "desk");
    assert_eq!(tokio::join!(ask(), ask(), ask()), (302, 302, 302));
}
