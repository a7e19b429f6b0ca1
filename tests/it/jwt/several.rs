//! Several tokens in one request, as a running Envoy 1.40 answered: which user policy sees, and which one the application is told of.

use http::header::{AUTHORIZATION, COOKIE};
use http::{Request, StatusCode};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::{Claims, Peer};
use tower_mesh::istio::{ClaimToHeader, JwtHeader, JwtRule, LegacyJwt};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::{Authentication, Engine, LegacyAuthentication};
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::Issuer;
use tower_mesh::{Workload, context};

use super::support::{Outcome, get, layer, rule, send};

/// A rule that looks in these headers and tells the application the subject in `output`.
pub(super) fn at(issuer: &Issuer, headers: &[&str], output: &str) -> JwtRule {
    let mut rule = rule(issuer);
    for name in headers {
        let mut location = JwtHeader::default();
        location.name = (*name).into();
        rule.from_headers.push(location);
    }
    rule.output_claim_to_headers = vec![subject_to(output)];
    rule
}

fn subject_to(header: &str) -> ClaimToHeader {
    let mut output = ClaimToHeader::default();
    output.header = header.into();
    output.claim = "sub".into();
    output
}

async fn ask(guard: &JwtLayer, lines: &[(&str, &str)], uri: &str) -> Outcome {
    let request = lines.iter().fold(get(uri), |request, (name, value)| {
        request.header(*name, *value)
    });
    send(guard, request.body(Empty::new()).unwrap()).await
}

/// The user that policy sees, then the user that the application is told of by either rule.
fn users(answer: &Outcome) -> [Option<String>; 3] {
    let Some(seen) = &answer.seen else {
        return [None, None, None];
    };
    let text = |name: &str| {
        let lines: Vec<_> = seen.head.get_all(name).iter().collect();
        (!lines.is_empty()).then(|| lines.iter().map(|line| line.to_str().unwrap()).collect())
    };
    let claims = seen.claims.as_ref().and_then(Claims::subject);
    [claims.map(str::to_owned), text("x-user"), text("x-other")]
}

#[tokio::test]
async fn each_order_of_lines_ends_as_in_envoy() {
    let (a, b) = (Issuer::eddsa("a"), Issuer::eddsa("b"));
    let guards = |forwards: bool| {
        let apart = [at(&a, &["x-jwt"], "x-user"), at(&b, &["x-b"], "x-other")];
        let shared = [
            at(&a, &["x-jwt", "x-b"], "x-user"),
            at(&b, &["x-b"], "x-other"),
        ];
        let alone = [at(&a, &["x-jwt"], "x-user")];
        [&apart[..], &shared[..], &alone[..]].map(|rules| {
            let mut rules = rules.to_vec();
            for rule in &mut rules {
                rule.forward_original_token = forwards;
            }
            layer(rules)
        })
    };
    let [apart, shared, alone] = guards(false);
    let [apart_forwards, ..] = guards(true);
    let g1 = a.token().subject("u1").sign();
    let g2 = a.token().subject("u2").sign();
    let gb = b.token().subject("ub").sign();
    let bad = a.token().subject("u1").tampered();
    let old = a
        .token()
        .subject("u1")
        .expired_ago(std::time::Duration::from_secs(999))
        .sign();
    let jwt = |value| ("x-jwt", value);
    type Row<'r> = (
        &'r str,
        &'r JwtLayer,
        Vec<(&'r str, &'r str)>,
        [Option<&'r str>; 3],
    );
    let rows: Vec<Row<'_>> = vec![
        (
            "bad, good",
            &apart,
            vec![jwt("garbage"), jwt(&g1)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "tampered, good",
            &apart,
            vec![jwt(&bad), jwt(&g1)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "expired, good",
            &apart,
            vec![jwt(&old), jwt(&g1)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "empty, good",
            &apart,
            vec![jwt(""), jwt(&g1)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "of another, good",
            &apart,
            vec![jwt(&gb), jwt(&g1)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "good, bad",
            &apart,
            vec![jwt(&g1), jwt("garbage")],
            [None, None, None],
        ),
        (
            "bad, good, bad",
            &apart,
            vec![jwt("garbage"), jwt(&g1), jwt("garbage")],
            [None, None, None],
        ),
        (
            "two good",
            &apart,
            vec![jwt(&g1), jwt(&g2)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "bad, two good",
            &apart,
            vec![jwt("garbage"), jwt(&g1), jwt(&g2)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "bad, good, and B",
            &apart,
            vec![jwt("garbage"), jwt(&g1), ("x-b", &gb)],
            [Some("ub"), None, Some("ub")],
        ),
        (
            "bad, good, bad B",
            &apart,
            vec![jwt("garbage"), jwt(&g1), ("x-b", "junk")],
            [None, None, None],
        ),
        (
            "A and B where A looks too",
            &shared,
            vec![jwt(&g1), ("x-b", &gb)],
            [Some("ub"), None, Some("ub")],
        ),
        (
            "bad B, A",
            &shared,
            vec![jwt(&g1), ("x-b", "junk"), ("x-b", &gb)],
            [Some("ub"), None, Some("ub")],
        ),
        (
            "one rule: bad, good",
            &alone,
            vec![jwt("garbage"), jwt(&g1)],
            [None, None, None],
        ),
        (
            "one rule: two good",
            &alone,
            vec![jwt(&g1), jwt(&g2)],
            [Some("u1"), Some("u1"), None],
        ),
        (
            "forwarded: bad, good",
            &apart_forwards,
            vec![jwt("garbage"), jwt(&g1)],
            [None, None, None],
        ),
        (
            "forwarded: bad, good, and B",
            &apart_forwards,
            vec![jwt("garbage"), jwt(&g1), ("x-b", &gb)],
            [Some("ub"), None, Some("ub")],
        ),
    ];
    for (name, guard, lines, expected) in rows {
        let answer = ask(guard, &lines, "/").await;
        let passes = expected != [None, None, None];
        assert_eq!(
            answer.status == StatusCode::OK,
            passes,
            "{name}: {}",
            answer.body
        );
        assert_eq!(
            users(&answer),
            expected.map(|user| user.map(str::to_owned)),
            "{name}"
        );
        assert_eq!(
            answer.exchange.claims().and_then(Claims::subject),
            expected[0],
            "{name}: what is left of a refused request"
        );
        let forwards = name.starts_with("forwarded");
        if let Some(seen) = answer.seen {
            assert_eq!(
                seen.head.contains_key("x-jwt"),
                forwards,
                "{name}: what Envoy took out"
            );
        }
    }
}

/// A cookie is not taken out, so that two rules may find the same token: the headers of both are of the one whose claims policy sees.
#[tokio::test]
async fn a_token_that_two_rules_find_fills_the_headers_of_both() {
    let a = Issuer::eddsa("a");
    let mut first = at(&a, &["x-jwt"], "x-user");
    first.from_cookies = vec!["c".into()];
    let mut second = at(&a, &[], "x-other");
    second.from_cookies = vec!["c".into()];
    let guard = layer(vec![first.clone(), second.clone()]);
    let g1 = a.token().subject("u1").sign();
    let g2 = a.token().subject("u2").sign();
    let cookie = format!("c={g1}");
    let told = |user: &str| Some(user.to_owned());
    let lines = [("x-jwt", "garbage"), ("cookie", cookie.as_str())];
    let answer = ask(&guard, &lines, "/").await;
    assert_eq!(users(&answer), [told("u1"), told("u1"), told("u1")]);
    // The first rule ends well: the second is not asked.
    let answer = ask(&guard, &[("x-jwt", &g2), ("cookie", &cookie)], "/").await;
    assert_eq!(users(&answer), [told("u2"), told("u2"), None]);
    let answer = ask(&guard, &lines[1..], "/").await;
    assert_eq!(users(&answer), [told("u1"), told("u1"), None]);
    // A rule that fills nothing takes nothing away from the same token.
    second.output_claim_to_headers.clear();
    let answer = ask(&layer(vec![first, second]), &lines, "/").await;
    assert_eq!(users(&answer), [told("u1"), told("u1"), None]);
}

/// What a sidecar refuses with 403: the user of the token behind a bad one is denied.
#[tokio::test]
async fn a_bad_line_in_front_does_not_hide_a_denied_user() {
    let (a, b) = (
        Issuer::eddsa("https://a.example"),
        Issuer::eddsa("https://b.example"),
    );
    let yaml = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  action: DENY
  rules: [{from: [{source: {requestPrincipals: ['https://a.example/mallory']}}]}]
";
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(yaml);
    let rbac = RbacLayer::new(Live::new(engine.build().unwrap()));
    let jwt = layer(vec![
        at(&a, &["x-jwt"], "x-user"),
        at(&b, &["x-b"], "x-user"),
    ]);
    let app = service_fn(async |request: Request<Empty<bytes::Bytes>>| {
        let user = request.headers().get("x-user").cloned();
        let mut response = http::Response::new(Empty::<bytes::Bytes>::new());
        response
            .headers_mut()
            .extend(user.map(|user| (http::HeaderName::from_static("x-user"), user)));
        Ok::<_, std::convert::Infallible>(response)
    });
    let guarded = jwt.layer(rbac.layer(app));
    let token = |subject: &str| a.token().subject(subject).sign();
    for (lines, status) in [
        (vec![token("mallory")], 403),
        (vec!["garbage".to_owned(), token("mallory")], 403),
        (
            vec![a.token().subject("mallory").tampered(), token("mallory")],
            403,
        ),
        (vec![token("mallory"), token("alice")], 403),
        (vec![token("mallory"), "garbage".to_owned()], 401),
        (vec!["garbage".to_owned(), token("alice")], 200),
    ] {
        let local = "10.0.0.2:2".parse().unwrap();
        let mut request = get("/").body(Empty::new()).unwrap();
        request
            .extensions_mut()
            .insert(Peer::plaintext("10.0.0.1:1".parse().unwrap(), local));
        for line in &lines {
            request.headers_mut().append("x-jwt", line.parse().unwrap());
        }
        let answer = guarded.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{lines:?}");
        let told = answer
            .headers()
            .get("x-user")
            .map(|user| user.to_str().unwrap());
        assert_eq!(told, (status == 200).then_some("alice"), "{lines:?}");
    }
}

/// An origin that may be missing: what is bad leaves nothing, also where another token of it was good.
#[tokio::test]
async fn an_optional_origin_of_old_leaves_claims_and_headers_or_neither() {
    let a = Issuer::eddsa("a");
    let mut origin = LegacyJwt::default();
    origin.rule = at(&a, &["x-jwt"], "x-user");
    let mut policy = LegacyAuthentication::default();
    policy.origins = vec![origin];
    policy.origin_is_optional = true;
    let mut authentication = Authentication::default();
    authentication.legacy = Some(policy);
    let compiled = Authenticator::compile(&authentication, &mut Keyring::new()).unwrap();
    let guard = JwtLayer::new(Live::new(compiled));
    let good = a.token().subject("u1").sign();
    for (lines, user) in [
        (vec![("x-jwt", good.as_str())], Some("u1")),
        (vec![("x-jwt", "garbage"), ("x-jwt", &good)], None),
        (vec![("x-jwt", &good), ("x-jwt", "garbage")], None),
    ] {
        let user = user.map(str::to_owned);
        let answer = ask(&guard, &lines, "/").await;
        assert_eq!(users(&answer), [user.clone(), user, None], "{lines:?}");
    }
    let strict = guard.strict();
    let other = a.token().subject("u2").sign();
    for lines in [
        [("x-jwt", "garbage"), ("x-jwt", &good)],
        [("x-jwt", &good), ("x-jwt", &other)],
    ] {
        assert_eq!(ask(&strict, &lines, "/").await.status, 401, "{lines:?}");
    }
}

/// J-21: with one rule as with several.
#[tokio::test]
async fn the_strict_guard_with_one_rule_wants_one_principal_too() {
    let a = Issuer::eddsa("a");
    let g1 = a.token().subject("u1").sign();
    let again = a.token().subject("u1").claim("jti", "2").sign();
    let g2 = a.token().subject("u2").sign();
    let nobody = a.token().sign();
    let somebody = a.token().claim("jti", "2").sign();
    let mut anywhere = at(&a, &["x-jwt", "x-two"], "x-user");
    anywhere.from_params = vec!["q".into()];
    anywhere.from_cookies = vec!["c".into()];
    let guard = layer(vec![anywhere]).strict();
    let twice = |name: &str, one: &str, two: &str| format!("{name}={one}; {name}={two}");
    let (q12, q11) = (format!("/?q={g1}&q={g2}"), format!("/?q={g1}&%71={g1}"));
    let (c12, c11) = (twice("c", &g1, &g2), twice("c", &g1, &g1));
    let c1bad = twice("c", &g1, "bad");
    let qbad = format!("/?q={g1}&q=bad");
    for (name, lines, uri, status) in [
        ("one", vec![("x-jwt", g1.as_str())], "/", 200),
        (
            "lines of two users",
            vec![("x-jwt", &g1), ("x-jwt", &g2)],
            "/",
            401,
        ),
        (
            "lines of one user",
            vec![("x-jwt", &g1), ("x-jwt", &again)],
            "/",
            200,
        ),
        (
            "headers of two users",
            vec![("x-jwt", &g1), ("x-two", &g2)],
            "/",
            401,
        ),
        ("header and query", vec![("x-jwt", &g2)], q11.as_str(), 401),
        ("query twice", vec![], &q12, 401),
        ("query twice the same", vec![], &q11, 200),
        ("query good, bad", vec![], &qbad, 401),
        ("cookie twice", vec![("cookie", &c12)], "/", 401),
        ("cookie twice the same", vec![("cookie", &c11)], "/", 200),
        ("cookie good, bad", vec![("cookie", &c1bad)], "/", 401),
        (
            "cookie and header",
            vec![("cookie", &c11), ("x-jwt", &g2)],
            "/",
            401,
        ),
        (
            "two without a subject",
            vec![("x-jwt", &nobody), ("x-jwt", &somebody)],
            "/",
            401,
        ),
        (
            "the same without a subject",
            vec![("x-jwt", &nobody), ("x-jwt", &nobody)],
            "/",
            200,
        ),
    ] {
        let answer = ask(&guard, &lines, uri).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        let user = users(&answer);
        assert_eq!(user[0], user[1], "{name}");
    }
}

/// J-21: `Authorization` is no list (RFC 9110 §11.6.2), and an application may read either line.
#[tokio::test]
async fn the_strict_guard_refuses_two_authorization_lines() {
    let a = Issuer::eddsa("a");
    let good = format!("Bearer {}", a.token().subject("u1").sign());
    let bad = format!("Bearer {}", a.token().subject("u1").tampered());
    for rules in [vec![rule(&a)], vec![rule(&a), rule(&Issuer::eddsa("b"))]] {
        let strict = layer(rules).strict();
        for lines in [
            [good.as_str(), good.as_str()],
            [&good, &bad],
            ["Basic YTpi", &good],
            ["Basic YTpi", &bad],
            [&good, "Basic YTpi"],
            ["", &good],
            [&good, ""],
        ] {
            let lines = lines.map(|line| (AUTHORIZATION.as_str(), line));
            let answer = ask(&strict, &lines, "/").await;
            assert_eq!(answer.status, 401, "{lines:?}");
        }
        let one = [(AUTHORIZATION.as_str(), good.as_str())];
        assert_eq!(ask(&strict, &one, "/").await.status, 200);
    }
}

/// Two guards, one inside the other: the second one's headers would tell of a user whom policy does not see.
#[tokio::test]
async fn a_guard_inside_another_does_not_tell_of_another_user() {
    let a = Issuer::eddsa("a");
    let (outer, inner) = (
        layer(vec![at(&a, &["x-jwt"], "x-user")]),
        layer(vec![at(&a, &["x-two"], "x-other")]),
    );
    let (g1, g2) = (
        a.token().subject("u1").sign(),
        a.token().subject("u2").sign(),
    );
    for (second, status) in [(&g1, 200), (&g2, 401)] {
        let app = service_fn(async |request: Request<Empty<bytes::Bytes>>| {
            let exchange =
                context::Exchange::from_extensions(&mut request.into_parts().0.extensions);
            assert_eq!(exchange.claims().and_then(Claims::subject), Some("u1"));
            Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<bytes::Bytes>::new()))
        });
        let request = get("/").header("x-jwt", &g1).header("x-two", second);
        let request = request.body(Empty::new()).unwrap();
        let guarded = outer.layer(inner.layer(app));
        assert_eq!(guarded.oneshot(request).await.unwrap().status(), status);
    }
}

/// Lines that Envoy joins, and cookies, as Envoy reads them.
#[tokio::test]
async fn joined_lines_and_cookies_are_read_as_envoy_reads_them() {
    let a = Issuer::eddsa("a");
    let default = layer(vec![rule(&a)]);
    let g1 = a.token().subject("u1").sign();
    let bearer = format!("Bearer {g1}");
    for (name, lines, expected) in [
        ("empty, good", vec!["", &bearer], Some(true)),
        ("good, empty", vec![&bearer, ""], Some(true)),
        ("two empty, good", vec!["", "", &bearer], Some(true)),
        ("two empty", vec!["", ""], Some(false)),
        ("comma, good", vec![",", &bearer], Some(true)),
        ("good, basic", vec![&bearer, "Basic x"], None),
        ("basic, good", vec!["Basic x", &bearer], Some(true)),
        ("twice", vec![&bearer, &bearer], None),
    ] {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (AUTHORIZATION.as_str(), *line))
            .collect();
        let answer = ask(&default, &lines, "/").await;
        let has_claims = answer.seen.map(|seen| seen.claims.is_some());
        assert_eq!(has_claims, expected, "{name}: {}", answer.body);
    }
    let mut cookie = rule(&a);
    cookie.from_cookies = vec!["t".into()];
    let cookie = layer(vec![cookie]);
    for (line, expected) in [
        (format!("t={g1}"), Some(true)),
        (format!("a=1;t={g1}"), Some(true)),
        (format!("a=1;  t={g1} ;x"), Some(true)),
        (format!("t=\"{g1}\""), Some(true)),
        (format!("t=\"{g1} \""), Some(true)),
        (format!("=x; t={g1}"), Some(true)),
        (format!("t; t={g1}"), Some(true)),
        (format!("t={g1}; t=junk"), Some(true)),
        (format!("t=junk; t={g1}"), None),
        (format!("t=; t={g1}"), None),
        (format!("t= {g1}"), None),
        (format!("t==\"{g1}\""), None),
        (format!("t=\"{g1}\" ; x"), None),
        (format!("t=\"{g1}"), None),
        (format!("t=\" ; t={g1}"), None),
        (format!("t = {g1}"), Some(false)),
        (format!("a=1;\tt={g1}"), Some(false)),
        (format!("a=b, t={g1}"), Some(false)),
        (format!("T={g1}"), Some(false)),
    ] {
        let answer = ask(&cookie, &[(COOKIE.as_str(), &line)], "/").await;
        let has_claims = answer.seen.map(|seen| seen.claims.is_some());
        assert_eq!(has_claims, expected, "{line}: {}", answer.body);
    }
}
