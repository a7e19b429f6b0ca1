//! How much a cache takes.

use super::*;

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
