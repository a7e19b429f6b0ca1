//! How long a decision counts.

use super::*;

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
        include_str!("../../decisions.rs"),
        include_str!("../../../../bounded_cache/ways.rs"),
    ] {
        assert!(!text.contains("SystemTime"));
    }
}
