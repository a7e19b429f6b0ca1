//! Questions that overtake each other.

use std::sync::Barrier;

use super::*;

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

fn key(path: &str) -> Key {
    let reader = Reader::new(&[CacheKey::Path]);
    let (head, request) = get(path);
    reader.read(&head, &request, Stage::AfterTokens).unwrap()
}

fn yes_and_no() -> [Known; 2] {
    [Authorization::allow(), Authorization::deny()].map(Known::from)
}

/// Two answers come at the same moment.
#[test]
fn an_older_yes_never_takes_the_place_of_a_newer_no() {
    const ROUNDS: usize = 20_000;
    let cache = cache(by_path().ttl(Duration::from_secs(3_600)));
    let (key, barrier) = (key("/a"), Barrier::new(2));
    let [yes, no] = yes_and_no();
    std::thread::scope(|scope| {
        for (decision, asked) in [(yes, 0), (no, 1)] {
            let (cache, key, barrier) = (&cache, &key, &barrier);
            scope.spawn(move || {
                for round in (0..).step_by(2).take(ROUNDS) {
                    barrier.wait();
                    cache.keep(key, &decision, round + asked);
                    barrier.wait();
                    let found = cache.fresh(key, round);
                    assert_eq!(found.as_ref().map(is_allowed), Some(false), "{round}");
                }
            });
        }
    });
    assert_eq!(cache.counts().entries, 1);
}

/// The answer to the older question is one that is not kept, and comes last.
#[test]
fn what_is_forgotten_is_never_newer_than_the_answer() {
    let cache = cache(by_path());
    let key = key("/a");
    for known in yes_and_no() {
        cache.keep(&key, &known, 5);
        cache.forget(&key, 4);
        assert!(cache.fresh(&key, 5).is_some());
        cache.forget(&key, 5);
        assert!(cache.fresh(&key, 5).is_none());
    }
}
