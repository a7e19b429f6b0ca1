//! Which decisions are kept, and what of them.

use super::*;

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
async fn a_question_without_an_answer_leaves_nothing() {
    let cache = cache(by_path());
    drop(look_up(&cache, &get("/a")));
    assert!(hit(&cache, &get("/a")).is_none());
    assert_eq!(cache.counts().entries, 0);
}
