//! `github.com/envoyproxy/ratelimit` with a real Redis, as the service that counts for all workloads.

mod between;
mod process;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use self::process::Service;
use crate::guarded::{Said, World};
use crate::tool::PATIENCE;

const RULES: &str = "
domain: mesh
descriptors:
- key: user
  rate_limit: {unit: hour, requests_per_unit: 3}
- key: minute
  rate_limit: {unit: minute, requests_per_unit: 2}
- key: plan
  value: free
  descriptors:
  - key: method
    value: POST
    rate_limit: {unit: day, requests_per_unit: 2}
- key: plan
  value: gold
  rate_limit: {unlimited: true}
- key: quota
  rate_limit: {unit: day, requests_per_unit: 5, name: daily}
";

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A mesh that makes a descriptor of each header that there is; `more` are fields of the service.
async fn world(service: SocketAddr, more: Value) -> World {
    let header = |name: &str, key: &str| json!({"requestHeaders": {"headerName": name, "descriptorKey": key}});
    let mut fields = json!({
        "host": HOST,
        "port": service.port(),
        "domain": "mesh",
        "timeout": "10s",
    });
    for (key, value) in more.as_object().unwrap() {
        fields[key] = value.clone();
    }
    let limit = json!({
        "apiVersion": "mesh.tower/v1",
        "kind": "RateLimit",
        "metadata": {"name": "limit", "namespace": "default"},
        "spec": {
            "service": fields,
            "enableXRatelimitHeaders": "DRAFT_VERSION_03",
            "rateLimits": [
                {"actions": [header("x-user", "user")]},
                {"actions": [header("x-minute", "minute")]},
                {"actions": [header("x-plan", "plan"), header(":method", "method")]},
                {"actions": [header("x-quota", "quota")]},
            ],
        },
    });
    let app = Router::new().fallback(|| async { "the application's" });
    World::start(&[limit], HOST, service, app).await
}

const HOST: &str = "limits.example";

/// Asks so often within one window of this length; again with another value where the clock has left the window in between.
async fn in_one_window(
    world: &World,
    method: Method,
    header: &str,
    count: usize,
    window: u64,
) -> (Vec<Said>, u64) {
    for attempt in 0.. {
        let value = format!("value-{attempt}");
        let before = now();
        let mut all = Vec::new();
        for _ in 0..count {
            let headers = [(header, value.as_str())];
            all.push(world.ask(method.clone(), "/", &headers).await);
        }
        if before / window == now() / window {
            return (all, before);
        }
    }
    unreachable!()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn statuses(all: &[Said]) -> Vec<u16> {
    all.iter().map(|said| said.status.as_u16()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_value_has_its_own_count() {
    let Some(service) = Service::start(RULES).await else {
        return;
    };
    let first = world(service.address, json!({})).await;
    let (all, _) = in_one_window(&first, Method::GET, "x-user", 4, HOUR).await;
    assert_eq!(statuses(&all), [200, 200, 200, 429], "{all:?}");
    assert_eq!(all[3].header("x-envoy-ratelimited"), "true");
    assert_eq!(all[3].body, "");
    assert_eq!(all[0].header("x-ratelimit-limit"), "3, 3;w=3600");
    let remaining = all.iter().map(|said| said.header("x-ratelimit-remaining"));
    assert_eq!(remaining.collect::<Vec<_>>(), ["2", "1", "0", "0"]);

    // Of another user, and of nobody; nothing is counted without a descriptor.
    for headers in [&[("x-user", "another")][..], &[]] {
        let said = first.ask(Method::GET, "/", headers).await;
        assert_eq!(
            (said.status.as_u16(), &*said.body),
            (200, "the application's")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_survives_the_workload() {
    let Some(service) = Service::start(RULES).await else {
        return;
    };
    for user in 0.. {
        let before = now();
        let user = user.to_string();
        let mut seen = Vec::new();
        for count in [2, 2] {
            // Another process of the same workload.
            let world = world(service.address, json!({})).await;
            for _ in 0..count {
                let said = world.ask(Method::GET, "/", &[("x-user", &user)]).await;
                seen.push(said.status.as_u16());
            }
        }
        if before / HOUR == now() / HOUR {
            assert_eq!(seen, [200, 200, 200, 429]);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minutes_count_and_any_descriptor_refuses() {
    let Some(service) = Service::start(RULES).await else {
        return;
    };
    let world = world(service.address, json!({})).await;
    let (all, _) = in_one_window(&world, Method::GET, "x-minute", 3, 60).await;
    assert_eq!(statuses(&all), [200, 200, 429]);
    assert_eq!(all[0].header("x-ratelimit-limit"), "2, 2;w=60");

    // Two descriptors: the one with the least left is shown, and the one that is over refuses.
    let both = [("x-user", "both"), ("x-quota", "both")];
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(world.ask(Method::GET, "/", &both).await);
    }
    let shown = "3, 3;w=3600, 5;w=86400;name=\"daily\"";
    assert_eq!(all[0].header("x-ratelimit-limit"), shown);
    assert_eq!(statuses(&all)[..3], [200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_descriptors_match_entry_by_entry() {
    let Some(service) = Service::start(RULES).await else {
        return;
    };
    let world = world(service.address, json!({})).await;
    let ask = async |method, plan| {
        let said = world.ask(method, "/", &[("x-plan", plan)]).await;
        said.status.as_u16()
    };
    assert_eq!(ask(Method::GET, "free").await, 200);
    assert_eq!(ask(Method::POST, "gold").await, 200);
    assert_eq!(ask(Method::POST, "unknown").await, 200);
    let mut seen = Vec::new();
    // At midnight all begins anew, once.
    while !seen.contains(&429) && seen.len() < 5 {
        seen.push(ask(Method::POST, "free").await);
    }
    assert!(seen.ends_with(&[200, 200, 429]), "{seen:?}");
    assert_eq!(ask(Method::GET, "free").await, 200);
}

/// Asks until the service has counted a request of this user, which shows in the answer.
async fn until_counted(world: &World, user: &str) {
    let start = Instant::now();
    loop {
        let said = world.ask(Method::GET, "/", &[("x-user", user)]).await;
        if said.header("x-ratelimit-limit") == "3, 3;w=3600" {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{said:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Each failure mode, with what it makes of a request that is not counted.
fn modes(timeout: &str) -> [(Value, u16); 2] {
    [
        (json!({"timeout": timeout}), 200),
        (json!({"timeout": timeout, "failureModeDeny": true}), 500),
    ]
}

async fn assert_uncounted(world: &World, status: u16) {
    let said = world.ask(Method::GET, "/", &[("x-user", "bob")]).await;
    assert_eq!(said.status, status, "{said:?}");
    assert_eq!(said.header("x-ratelimit-limit"), "");
}

/// The service does not start without Redis, and answers with an error once it has lost it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_down_at_the_start_or_later_is_the_services_error() {
    let Some(mut service) = Service::start_without_redis(RULES).await else {
        return;
    };
    let mut worlds = Vec::new();
    for (fields, uncounted) in modes("10s") {
        let world = world(service.address, fields).await;
        assert_uncounted(&world, uncounted).await;
        worlds.push((world, uncounted));
    }
    service.between.pass();
    service.again().await;
    for (world, _) in &worlds {
        until_counted(world, "at the start").await;
    }
    service.between.close();
    for (world, uncounted) in &worlds {
        assert_uncounted(world, *uncounted).await;
    }
    service.between.pass();
    for (world, _) in &worlds {
        until_counted(world, "later").await;
    }
}

/// A Redis that hangs makes the service hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_slow_or_hangs_is_waited_for_until_the_timeout() {
    let Some(service) = Service::start(RULES).await else {
        return;
    };
    for (fields, uncounted) in modes("200ms") {
        let world = world(service.address, fields).await;
        until_counted(&world, "before").await;
        service.between.hold();
        assert_uncounted(&world, uncounted).await;
        // Slow: its answer comes after all, and is nobody's.
        service.between.pass();
        until_counted(&world, "slow").await;
        // So often that the breaker opens.
        service.between.hold();
        for _ in 0..7 {
            assert_uncounted(&world, uncounted).await;
        }
        service.between.pass();
        until_counted(&world, "behind it").await;
    }
}

/// A quota by day is one of the calendar's, in UTC: it ends at midnight, whenever it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_ends_at_midnight_in_utc() {
    let Some(service) = Service::start(RULES).await else {
        return;
    };
    let world = world(service.address, json!({})).await;
    let (all, before) = in_one_window(&world, Method::GET, "x-quota", 6, DAY).await;
    assert_eq!(statuses(&all), [200, 200, 200, 200, 200, 429]);
    let limit = all[0].header("x-ratelimit-limit");
    assert_eq!(limit, "5, 5;w=86400;name=\"daily\"");
    let (most, least) = (DAY - before % DAY, DAY - now() % DAY);
    for said in &all {
        let reset: u64 = said.header("x-ratelimit-reset").parse().unwrap();
        assert!((least..=most).contains(&reset), "{least} {reset} {most}");
    }
}

/// Each setting: what it makes of a request while Redis is gone, and while the service is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_or_the_service_the_settings_decide() {
    let Some(mut service) = Service::start(RULES).await else {
        return;
    };
    let user = [("x-user", "ann")];
    let mut worlds = Vec::new();
    for (fields, gone) in [
        (json!({}), 200),
        (json!({"failureModeDeny": true}), 500),
        (json!({"failureModeDeny": true, "statusOnError": 503}), 503),
    ] {
        let world = world(service.address, fields.clone()).await;
        assert_eq!(
            world.ask(Method::GET, "/", &user).await.status,
            200,
            "{fields}"
        );
        worlds.push((world, fields, gone));
    }
    service.kill_redis().await;
    for (world, fields, gone) in &worlds {
        let said = world.ask(Method::GET, "/", &user).await;
        assert_eq!(said.status, *gone, "without Redis, {fields}");
        // Nobody is asked about it.
        assert_eq!(world.get("/").await.status, 200, "{fields}");
    }
    service.kill().await;
    for (world, fields, gone) in &worlds {
        let said = world.ask(Method::GET, "/", &user).await;
        assert_eq!(said.status, *gone, "without the service, {fields}");
    }
}
