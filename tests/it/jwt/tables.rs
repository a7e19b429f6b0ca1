//! Istio's rules for end-user tokens as tables, with the rows of the policy page that this guard decides alone.

use std::time::Duration;

use http::Request;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http_body_util::Empty;
use tower_mesh::context::Claims;
use tower_mesh::istio::{ClaimToHeader, JwtHeader};
use tower_mesh::jwt::{Authenticator, Keyring};
use tower_mesh::testing::Issuer;

use super::support::{authentication, bearer, get, layer, rule, send};

/// Row 34, J-22, J-23: no token is no fault, and one that no rule knows is not "no token".
#[tokio::test]
async fn only_a_bad_token_is_refused() {
    let issuer = Issuer::es256("https://issuer.example");
    let layer = layer(vec![rule(&issuer)]);
    let none = send(&layer, get("/charts").body(Empty::new()).unwrap()).await;
    assert_eq!(none.status, 200);
    assert!(none.seen.unwrap().claims.is_none());

    let good = issuer.token().subject("alice");
    let answer = send(&layer, bearer(&good.sign())).await;
    assert_eq!(answer.status, 200);
    let seen = answer.seen.unwrap();
    let principal = seen.claims.as_ref().and_then(Claims::principal);
    assert_eq!(principal, Some("https://issuer.example/alice"));
    assert!(!seen.head.contains_key(AUTHORIZATION), "taken out");

    let bad = send(&layer, bearer(&good.tampered())).await;
    assert_eq!(bad.status, 401);
    assert_eq!(bad.body, "Jwt verification fails");
    assert_eq!(
        bad.headers[WWW_AUTHENTICATE],
        r#"Bearer realm="http://patients/charts", error="invalid_token""#
    );
    assert_eq!(bad.headers["content-type"], "text/plain");
    assert_eq!(
        bad.exchange.details().unwrap().as_ref(),
        "jwt_authn_access_denied{Jwt_verification_fails}"
    );
    assert!(bad.seen.is_none(), "the application is not called");

    let stranger = Issuer::es256("https://elsewhere.example");
    let unknown = send(&layer, bearer(&stranger.token().subject("alice").sign())).await;
    assert_eq!(unknown.status, 401);
    assert_eq!(unknown.body, "Jwt issuer is not configured");
}

/// Row 36, J-18
#[tokio::test]
async fn audiences_are_compared_without_scheme_and_slash() {
    let issuer = Issuer::es256("https://issuer.example");
    let mut rule = rule(&issuer);
    rule.audiences = vec!["s1".into(), "http://s2/".into()];
    let layer = layer(vec![rule]);
    for (audience, status) in [
        ("s1", 200),
        ("https://s1/", 200),
        ("http://s1", 200),
        ("s2", 200),
        ("S1", 403),
        ("s1//", 403),
        ("x", 403),
        ("", 403),
    ] {
        let token = issuer.token().audience(audience).sign();
        let answer = send(&layer, bearer(&token)).await;
        assert_eq!(answer.status, status, "{audience}");
        if status == 403 {
            assert_eq!(answer.body, "Audiences in Jwt are not allowed");
            assert!(answer.headers.contains_key(WWW_AUTHENTICATE));
        }
    }
    let two = issuer.token().audience("x").audience("s1").sign();
    assert_eq!(send(&layer, bearer(&two)).await.status, 200);
    let none = issuer.token().sign();
    assert_eq!(send(&layer, bearer(&none)).await.status, 403);
    let forged = issuer.token().audience("x").tampered();
    assert_eq!(
        send(&layer, bearer(&forged)).await.status,
        403,
        "not verified yet"
    );
}

/// Row 45
#[tokio::test]
async fn clocks_may_be_a_minute_apart() {
    let issuer = Issuer::es256("https://issuer.example");
    let layer = layer(vec![rule(&issuer)]);
    let seconds = Duration::from_secs;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let token = || issuer.token();
    for (name, token, text) in [
        ("50 s late", token().expired_ago(seconds(50)), None),
        (
            "120 s late",
            token().expired_ago(seconds(120)),
            Some("Jwt is expired"),
        ),
        ("never ends", token().without_claim("exp"), None),
        ("zero never ends", token().claim("exp", 0), None),
        ("30 s early", token().claim("nbf", now + 30), None),
        (
            "90 s early",
            token().claim("nbf", now + 90),
            Some("Jwt not yet valid"),
        ),
        (
            "of tomorrow",
            token().claim("iat", now + 86_400),
            Some("Jwt not yet valid"),
        ),
    ] {
        let answer = send(&layer, bearer(&token.sign())).await;
        match text {
            None => assert_eq!(answer.status, 200, "{name}"),
            Some(text) => assert_eq!((answer.status.as_u16(), answer.body.as_str()), (401, text)),
        }
    }
}

#[tokio::test]
async fn every_algorithm_of_an_asymmetric_key_verifies() {
    for issuer in [
        Issuer::es256("i"),
        Issuer::es384("i"),
        Issuer::eddsa("i"),
        Issuer::rs256("i"),
        Issuer::ps256("i"),
    ] {
        let layer = layer(vec![rule(&issuer)]);
        let token = issuer.token().subject("alice");
        for _ in 0..2 {
            let answer = send(&layer, bearer(&token.sign())).await;
            assert_eq!(answer.status, 200, "{issuer:?} {}", answer.body);
        }
        assert_eq!(send(&layer, bearer(&token.tampered())).await.status, 401);
    }
}

/// Row 48
#[tokio::test]
async fn grpc_gets_a_status_and_head_no_body() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let bad = format!("Bearer {}", issuer.token().tampered());
    let request = |method: &str, kind: &str| {
        Request::builder()
            .method(method)
            .uri("/x")
            .header(AUTHORIZATION, &bad)
            .header("content-type", kind)
            .body(Empty::new())
            .unwrap()
    };
    let grpc = send(&layer, request("POST", "application/grpc+proto")).await;
    assert_eq!((grpc.status.as_u16(), grpc.body.as_str()), (200, ""));
    assert_eq!(grpc.headers["grpc-status"], "16");
    assert_eq!(grpc.headers["grpc-message"], "Jwt verification fails");
    assert!(grpc.headers.contains_key(WWW_AUTHENTICATE));
    let web = send(&layer, request("POST", "application/grpc-web")).await;
    assert_eq!(web.status, 401);
    let head = send(&layer, request("HEAD", "text/plain")).await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (401, ""));
    assert_eq!(head.headers["content-length"], "22");
}

/// Row 43, J-26
#[tokio::test]
async fn output_headers_come_from_tokens_only() {
    let issuer = Issuer::es256("i");
    let mut rule = rule(&issuer);
    let mut output = ClaimToHeader::default();
    (output.header, output.claim) = ("x-sub".into(), "sub".into());
    rule.output_claim_to_headers = vec![output];
    rule.output_payload_to_header = Some("x-payload".into());
    let layer = layer(vec![rule]);
    let spoofed = get("/")
        .header("x-sub", "alice")
        .header("x-payload", "e30")
        .body(Empty::new())
        .unwrap();
    let seen = send(&layer, spoofed).await.seen.unwrap();
    assert!(!seen.head.contains_key("x-sub") && !seen.head.contains_key("x-payload"));

    let token = issuer.token().subject("bob").sign();
    for _ in 0..2 {
        let mut request = bearer(&token);
        request
            .headers_mut()
            .insert("x-sub", "alice".parse().unwrap());
        let seen = send(&layer, request).await.seen.unwrap();
        assert_eq!(seen.head.get_all("x-sub").iter().count(), 1);
        assert_eq!(seen.head["x-sub"], "bob");
        assert_eq!(seen.head["x-payload"], token.split('.').nth(1).unwrap());
    }
}

#[tokio::test]
async fn claims_become_headers_as_envoy_prints_them() {
    let issuer = Issuer::es256("i");
    let mut rule = rule(&issuer);
    let claims = [
        "text",
        "whole",
        "half",
        "minus",
        "yes",
        "list",
        "object.inner",
        "null",
        "empty",
        "line",
    ];
    rule.output_claim_to_headers = claims
        .iter()
        .map(|claim| {
            let mut output = ClaimToHeader::default();
            output.claim = (*claim).into();
            output.header = format!("x-{}", claim.replace('.', "-")).as_str().into();
            output
        })
        .collect();
    let layer = layer(vec![rule]);
    let token = issuer
        .token()
        .claim("text", "a b")
        .claim("whole", 42)
        .claim("half", 1.5)
        .claim("minus", -3)
        .claim("yes", true)
        .claim("list", vec!["a", "b"])
        .claim("object", serde_json::json!({"inner": "deep"}))
        .claim("object.inner", "literal")
        .claim("null", serde_json::Value::Null)
        .claim("empty", "")
        .claim("line", "a\r\nset-cookie: x")
        .sign();
    let seen = send(&layer, bearer(&token)).await.seen.unwrap();
    for (name, value) in [
        ("x-text", "a b"),
        ("x-whole", "42"),
        ("x-half", "1.500000"),
        ("x-minus", "-3.000000"),
        ("x-yes", "true"),
        ("x-list", "WyJhIiwiYiJd"),
        ("x-object-inner", "deep"),
    ] {
        assert_eq!(seen.head[name], value, "{name}");
    }
    for name in ["x-null", "x-empty", "x-line"] {
        assert!(!seen.head.contains_key(name), "{name}");
    }
}

/// Row 41
#[tokio::test]
async fn space_delimited_claims_become_lists() {
    let issuer = Issuer::es256("i");
    let mut rule = rule(&issuer);
    rule.space_delimited_claims = vec!["groups".into()];
    let layer = layer(vec![rule]);
    let token = issuer
        .token()
        .claim("scope", "write  read")
        .claim("permission", " ")
        .claim("permissions", "a b")
        .claim("groups", "x y")
        .sign();
    let seen = send(&layer, bearer(&token)).await.seen.unwrap();
    let claims = seen.claims.unwrap();
    assert_eq!(
        claims.get("scope"),
        Some(&serde_json::json!(["write", "read"]))
    );
    assert_eq!(claims.get("permission"), Some(&" ".into()));
    assert_eq!(claims.get("permissions"), Some(&"a b".into()));
    assert_eq!(claims.get("groups"), Some(&serde_json::json!(["x", "y"])));
}

/// Section 3.1 of the policy page, and J-25.
#[tokio::test]
async fn tokens_are_found_where_envoy_finds_them() {
    let issuer = Issuer::es256("i");
    let good = issuer.token().subject("alice").sign();
    let default = layer(vec![rule(&issuer)]);
    let header = |value: String| get("/x").header(AUTHORIZATION, value);
    let two = |second: &str| {
        get("/x")
            .header(AUTHORIZATION, format!("Bearer {good}"))
            .header(AUTHORIZATION, second)
    };
    for (name, request, status, claims) in [
        ("plain", header(format!("Bearer {good}")), 200, true),
        ("inside", header(format!("xx Bearer {good}")), 200, true),
        ("spaces", header(format!("Bearer   {good}")), 200, true),
        ("lower case", header(format!("bearer {good}")), 200, false),
        ("basic", header("Basic YTpi".into()), 200, false),
        ("alone", header("Bearer ".into()), 200, false),
        ("two lines", two("Basic YTpi"), 401, false),
        (
            "query",
            get(&format!("/x?a=1&access_token={good}")),
            200,
            true,
        ),
        ("empty query", get("/x?access_token="), 401, false),
        (
            "other case",
            get(&format!("/x?Access_token={good}")),
            200,
            false,
        ),
        (
            "opaque bytes",
            get("/x").header(AUTHORIZATION, &b"Bearer \xff\xfe"[..]),
            401,
            false,
        ),
    ] {
        let answer = send(&default, request.body(Empty::new()).unwrap()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        let seen = answer.seen.and_then(|seen| seen.claims);
        assert_eq!(seen.is_some(), claims, "{name}");
    }
    let query = get(&format!("/x?a=%20&access_token={good}&b"));
    let seen = send(&default, query.body(Empty::new()).unwrap())
        .await
        .seen
        .unwrap();
    assert_eq!(seen.uri, "/x?a=%20&b");
    let query = get(&format!("/x?access_token={good}"));
    let seen = send(&default, query.body(Empty::new()).unwrap())
        .await
        .seen
        .unwrap();
    assert_eq!(seen.uri, "/x");

    let mut listed = rule(&issuer);
    let mut raw = JwtHeader::default();
    raw.name = "X-Token".into();
    listed.from_headers = vec![raw];
    listed.from_cookies = vec!["session".into()];
    let listed = layer(vec![listed]);
    for (name, request, status, claims) in [
        ("header", get("/").header("x-token", &good), 200, true),
        ("empty header", get("/").header("x-token", ""), 401, false),
        ("unlisted", header(format!("Bearer {good}")), 200, false),
        (
            "cookie",
            get("/").header("cookie", format!("a=b; session=\"{good}\"")),
            200,
            true,
        ),
        (
            "empty cookie",
            get("/").header("cookie", "session="),
            401,
            false,
        ),
        (
            "two good",
            get("/").header("x-token", &good).header("x-token", &good),
            200,
            true,
        ),
        (
            "one bad",
            get("/").header("x-token", &good).header("x-token", "x"),
            401,
            false,
        ),
    ] {
        let answer = send(&listed, request.body(Empty::new()).unwrap()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        let seen = answer.seen.and_then(|seen| seen.claims);
        assert_eq!(seen.is_some(), claims, "{name}");
    }
}

/// J-25
#[tokio::test]
async fn a_challenge_does_not_repeat_the_token() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let bad = issuer.token().tampered();
    let answer = send(
        &layer,
        get(&format!("/x?a=1&access_token={bad}"))
            .body(Empty::new())
            .unwrap(),
    )
    .await;
    assert_eq!(
        answer.headers[WWW_AUTHENTICATE],
        r#"Bearer realm="http://patients/x?a=1", error="invalid_token""#
    );
}

/// J-25: what telemetry may show of a target.
#[test]
fn a_target_can_be_shown_without_its_token() {
    let issuer = Issuer::es256("i");
    let rules = authentication(vec![rule(&issuer)]);
    let compiled = Authenticator::compile(&rules, &mut Keyring::new()).unwrap();
    for (target, shown) in [
        ("/x", None),
        ("/x?a=1", None),
        ("/x?access_token=t", Some("/x")),
        ("/x?a=1&access%5Ftoken=t&access_token=u&b", Some("/x?a=1&b")),
        ("https://app/x?access_token=t", Some("https://app/x")),
    ] {
        let without = compiled.without_tokens(&target.parse().unwrap());
        assert_eq!(
            without.map(|target| target.to_string()).as_deref(),
            shown,
            "{target}"
        );
    }
}

/// Row 44, and the table of section 3.5 of the policy page.
#[tokio::test]
async fn several_rules_are_tried_in_order() {
    let (a, b) = (Issuer::es256("a"), Issuer::es256("b"));
    let same = layer(vec![rule(&a), rule(&b)]);
    for issuer in [&a, &b] {
        let answer = send(&same, bearer(&issuer.token().subject("s").sign())).await;
        assert_eq!(answer.status, 200);
        let claims = answer.seen.unwrap().claims.unwrap();
        assert_eq!(claims.issuer(), Some(issuer.name()));
    }
    let stranger = Issuer::es256("c").token().sign();
    let answer = send(&same, bearer(&stranger)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.body, "Jwt issuer is not configured");

    let at = |issuer: &Issuer, header: &str| {
        let mut rule = rule(issuer);
        let mut location = JwtHeader::default();
        location.name = header.into();
        rule.from_headers = vec![location];
        rule
    };
    let apart = layer(vec![at(&a, "x-a"), at(&b, "x-b")]);
    let good_a = a.token().sign();
    let request = get("/")
        .header("x-a", &good_a)
        .header("x-b", b.token().tampered())
        .body(Empty::new())
        .unwrap();
    let answer = send(&apart, request).await;
    assert_eq!(answer.status, 200, "the first good rule decides");
    let seen = answer.seen.unwrap();
    assert!(seen.head.contains_key("x-b") && !seen.head.contains_key("x-a"));
    let only_bad = get("/").header("x-b", b.token().tampered());
    let answer = send(&apart, only_bad.body(Empty::new()).unwrap()).await;
    assert_eq!(answer.body, "Jwt verification fails");
    let misplaced = get("/").header("x-b", &good_a);
    let answer = send(&apart, misplaced.body(Empty::new()).unwrap()).await;
    assert_eq!(answer.body, "Jwt issuer is not configured");

    let both = |forwards: bool| {
        let mut rules = vec![rule(&a), rule(&b)];
        rules[0].forward_original_token = forwards;
        rules[1].forward_original_token = forwards;
        layer(rules)
    };
    let request = || {
        get(&format!("/?access_token={}", b.token().sign()))
            .header(AUTHORIZATION, format!("Bearer {good_a}"))
            .body(Empty::new())
            .unwrap()
    };
    let answer = send(&both(false), request()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.seen.unwrap().claims.unwrap().issuer(), Some("a"));
    assert_eq!(send(&both(true), request()).await.status, 401);
}

/// Row 46
#[tokio::test]
async fn a_cors_preflight_passes_with_any_token() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let preflight = |method: &str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/")
            .header("origin", "https://app.example")
            .header("access-control-request-method", method)
            .header(AUTHORIZATION, "Bearer junk")
            .body(Empty::new())
            .unwrap()
    };
    let answer = send(&layer, preflight("PUT")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.seen.unwrap().claims.is_none());
    assert_eq!(send(&layer, preflight("")).await.status, 401);
}
