//! `origins` of the 2018 Policy: a token is mandatory where its triggers say so.

use http::Request;
use http_body_util::Empty;
use tower_mesh::Peer;
use tower_mesh::context::TlsFacts;
use tower_mesh::istio::{LegacyJwt, MtlsMode, PrincipalBinding, StringMatch, TriggerRule};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::{Authentication, LegacyAuthentication};
use tower_mesh::testing::Issuer;

use super::support::{bearer, get, rule, send};
use crate::support::mesh::{proven, unproven};

fn legacy(change: impl FnOnce(&mut LegacyAuthentication)) -> JwtLayer {
    let mut policy = LegacyAuthentication::default();
    change(&mut policy);
    let mut authentication = Authentication::default();
    authentication.legacy = Some(policy);
    let compiled = Authenticator::compile(&authentication, &mut Keyring::new()).unwrap();
    JwtLayer::new(Live::new(compiled))
}

fn origin(issuer: &Issuer) -> LegacyJwt {
    let mut origin = LegacyJwt::default();
    origin.rule = rule(issuer);
    origin
}

/// Row 55
#[tokio::test]
async fn a_token_is_mandatory() {
    let (a, b) = (Issuer::es256("a"), Issuer::es256("b"));
    let mut with_audience = origin(&b);
    with_audience.rule.audiences = vec!["me".into()];
    let origins = vec![origin(&a), with_audience];
    let guard = legacy(|policy| policy.origins = origins.clone());
    let none = send(&guard, get("/").body(Empty::new()).unwrap()).await;
    assert_eq!(
        (none.status.as_u16(), none.body.as_str()),
        (401, "Origin authentication failed.")
    );
    assert!(!none.headers.contains_key("www-authenticate"));
    assert_eq!(
        none.exchange.details().unwrap().as_ref(),
        "istio_authn_access_denied"
    );

    let good = a.token().subject("alice").claim("scope", "read write");
    let answer = send(&guard, bearer(&good.sign())).await;
    assert_eq!(answer.status, 200);
    let seen = answer.seen.unwrap();
    assert!(seen.head.contains_key("authorization"), "always forwarded");
    assert_eq!(seen.claims.unwrap().principal(), Some("a/alice"));
    assert_eq!(send(&guard, bearer(&good.tampered())).await.status, 401);
    let wrong = b.token().audience("you").sign();
    assert_eq!(send(&guard, bearer(&wrong)).await.status, 401, "not 403");
    let right = b.token().audience("me").sign();
    assert_eq!(
        send(&guard, bearer(&right)).await.status,
        200,
        "the second origin"
    );

    let optional = legacy(|policy| {
        policy.origins = origins;
        policy.origin_is_optional = true;
    });
    let answer = send(&optional, bearer(&good.tampered())).await;
    assert_eq!(answer.status, 200);
    assert!(answer.seen.unwrap().claims.is_none());
}

#[tokio::test]
async fn triggers_say_where() {
    let issuer = Issuer::es256("a");
    let mut triggered = origin(&issuer);
    let mut trigger = TriggerRule::default();
    trigger.included_paths = vec![StringMatch::Prefix("/api/".into())];
    trigger.excluded_paths = vec![StringMatch::Suffix("/health".into())];
    triggered.trigger_rules = vec![trigger];
    let guard = legacy(|policy| policy.origins = vec![triggered]);
    for (target, status) in [
        ("/api/x?y", 401),
        ("/api/health", 200),
        ("/other", 200),
        ("/api/x?/health", 401),
    ] {
        let answer = send(&guard, get(target).body(Empty::new()).unwrap()).await;
        assert_eq!(answer.status, status, "{target}");
    }
    let preflight = Request::options("/api/x")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PUT")
        .body(Empty::new())
        .unwrap();
    assert_eq!(send(&guard, preflight).await.status, 200);
}

#[tokio::test]
async fn a_demanded_peer_is_checked_first() {
    let strict = |policy: &mut LegacyAuthentication| policy.peer = Some(MtlsMode::Strict);
    let plain = || get("/").body(Empty::new()).unwrap();
    let answer = send(&legacy(strict), plain()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (401, "Peer authentication failed.")
    );
    let optional = legacy(|policy| {
        strict(policy);
        policy.peer_is_optional = true;
    });
    assert_eq!(send(&optional, plain()).await.status, 200);
    let unanswerable = legacy(|policy| policy.principal_binding = PrincipalBinding::UseOrigin);
    let answer = send(&unanswerable, plain()).await;
    assert_eq!(answer.body, "Origin authentication failed.");
}

/// A preflight has no credentials to show, but its connection has.
#[tokio::test]
async fn a_preflight_does_not_skip_a_demanded_peer() {
    let preflight = |peer: Peer| {
        Request::options("/api/x")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "PUT")
            .extension(peer)
            .body(Empty::new())
            .unwrap()
    };
    let plain = || preflight(unproven());
    let (remote, local) = (unproven().remote_addr(), unproven().local_addr());
    let nameless = || preflight(Peer::tls(remote, local, TlsFacts::default()));
    let proven = || preflight(proven("desk"));
    let issuer = Issuer::es256("a");
    let demanding = |policy: &mut LegacyAuthentication| policy.peer = Some(MtlsMode::Strict);
    let peer_alone = legacy(demanding);
    let both = legacy(|policy| {
        demanding(policy);
        policy.origins = vec![origin(&issuer)];
    });
    for guard in [&peer_alone, &both] {
        for request in [plain(), nameless()] {
            let answer = send(guard, request).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (401, "Peer authentication failed.")
            );
            let details = answer.exchange.details().unwrap();
            assert_eq!(details.as_ref(), "istio_authn_access_denied");
        }
        // Only the token is not asked for.
        assert_eq!(send(guard, proven()).await.status, 200);
    }
    let optional = legacy(|policy| {
        demanding(policy);
        policy.peer_is_optional = true;
    });
    assert_eq!(send(&optional, plain()).await.status, 200);
    let unanswerable = legacy(|policy| {
        demanding(policy);
        policy.principal_binding = PrincipalBinding::UseOrigin;
    });
    assert_eq!(send(&unanswerable, proven()).await.status, 200);
    assert_eq!(send(&unanswerable, plain()).await.status, 401);
}
