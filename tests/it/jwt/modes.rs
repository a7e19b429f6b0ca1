//! What becomes of requests without a good token, in each mode, and where no token is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::Exchange;
use tower_mesh::istio::{JwtRule, LegacyJwt, MtlsMode};
use tower_mesh::jwt::{
    Authenticator, Counts, ExcludedPath, ExcludedPathError, JwtLayer, Keyring, TokenMode,
};
use tower_mesh::live::Live;
use tower_mesh::mesh::MeshBuilder;
use tower_mesh::metrics::Format;
use tower_mesh::policy::{Authentication, LegacyAuthentication};
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Claims, Guards, Mesh, Workload};
use tracing::Level;

use super::several::at;
use super::support::{Outcome, authentication, bearer, get, layer, rule, send};
use crate::support::log::Log;
use crate::support::mesh::{policy, unproven};

fn bare(uri: &str) -> Request<Empty<Bytes>> {
    get(uri).body(Empty::new()).unwrap()
}

fn with_token(uri: &str, token: &str) -> Request<Empty<Bytes>> {
    let request = get(uri).header(AUTHORIZATION, format!("Bearer {token}"));
    request.body(Empty::new()).unwrap()
}

fn preflight() -> Request<Empty<Bytes>> {
    let request = get("/charts").method(Method::OPTIONS);
    let request = request.header("origin", "https://desk.example");
    let request = request.header("access-control-request-method", "GET");
    request.body(Empty::new()).unwrap()
}

fn user(outcome: &Outcome) -> Option<String> {
    let claims = outcome.seen.as_ref()?.claims.as_ref()?;
    claims.principal().map(str::to_owned)
}

/// Rules whose good token fills `x-user` with its subject.
fn telling(issuer: &Issuer) -> JwtRule {
    at(issuer, &["authorization"], "x-user")
}

/// The counters that were made, by reason.
type Made = Arc<std::sync::Mutex<Vec<(&'static str, Arc<AtomicU64>)>>>;

/// A guard and its counts of refused and of reported requests, by reason.
fn counted(rules: Vec<JwtRule>) -> (JwtLayer, impl Fn(&str) -> (u64, u64)) {
    let made = |list: &Made| {
        let list = Arc::clone(list);
        move |reason: &'static str| {
            let count = Arc::new(AtomicU64::new(0));
            list.lock().unwrap().push((reason, Arc::clone(&count)));
            count
        }
    };
    let (refused, reported) = (Made::default(), Made::default());
    let counts = Counts::new(|_| Arc::default(), made(&refused)).reporting(made(&reported));
    let mut keyring = Keyring::new().counting(counts);
    let compiled = Authenticator::compile(&authentication(rules), &mut keyring).unwrap();
    let read = move |reason: &str| {
        let [refused, reported] = [&refused, &reported].map(|list| {
            let list = list.lock().unwrap();
            let count = list.iter().find(|(name, _)| *name == reason);
            count.unwrap().1.load(Ordering::Relaxed)
        });
        (refused, reported)
    };
    (JwtLayer::new(Live::new(compiled)), read)
}

/// J-50. Envoy's answer to a missing token; no error code, as the caller made no mistake (RFC 6750
/// §3.1).
#[tokio::test]
async fn a_required_token_may_not_be_missing() {
    let issuer = Issuer::es256("https://issuer.example");
    let (guard, counts) = counted(vec![rule(&issuer)]);
    let required = guard.clone().mode(TokenMode::Required);
    let missing = send(&required, bare("/charts?page=2")).await;
    assert_eq!(missing.status, 401);
    assert_eq!(missing.body, "Jwt is missing");
    assert_eq!(
        missing.headers["www-authenticate"],
        "Bearer realm=\"http://patients/charts?page=2\""
    );
    assert_eq!(
        missing.exchange.details().unwrap().as_ref(),
        "jwt_authn_access_denied{Jwt_is_missing}"
    );
    assert!(missing.seen.is_none());
    assert_eq!(counts("missing"), (1, 0));

    let basic = get("/charts").header(AUTHORIZATION, "Basic YTpi");
    let basic = send(&required, basic.body(Empty::new()).unwrap()).await;
    assert_eq!(basic.status, 401, "no token");
    let bad = send(&required, bearer(&issuer.token().tampered())).await;
    assert_eq!(
        (bad.status.as_u16(), bad.body.as_str()),
        (401, "Jwt verification fails")
    );
    let challenge = bad.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.ends_with("\", error=\"invalid_token\""),
        "{challenge}"
    );
    let good = issuer.token().subject("alice").sign();
    let good = send(&required, bearer(&good)).await;
    assert_eq!(user(&good).unwrap(), "https://issuer.example/alice");
    assert_eq!(send(&required, preflight()).await.status, 200);

    let missing = send(&guard, bare("/charts")).await;
    assert_eq!(missing.status, 200, "optional by default");
}

/// J-50. Without rules no token is good: nobody passes, and the log says why.
#[tokio::test]
async fn a_required_token_without_rules_lets_nobody_pass() {
    let (log, _guard) = Log::listen(Level::ERROR);
    let required = layer(vec![]).mode(TokenMode::Required);
    let issuer = Issuer::es256("a");
    for request in [bare("/charts"), bearer(&issuer.token().sign())] {
        assert_eq!(send(&required, request).await.status, 401);
    }
    assert!(!log.with(&["ERROR", "no token rule applies"]).is_empty());
}

/// J-50. A guard further out may have taken the token out of the request.
#[tokio::test]
async fn claims_of_an_outer_guard_are_a_token() {
    let issuer = Issuer::es256("a");
    let required = layer(vec![rule(&issuer)]).mode(TokenMode::Required);
    let app = service_fn(|request: Request<Empty<Bytes>>| async move {
        let exchange = request.extensions().get::<Exchange>().unwrap();
        assert!(exchange.claims().is_some());
        Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
    });
    let nested = layer(vec![rule(&issuer)]).layer(required.layer(app));
    for (request, status) in [
        (bearer(&issuer.token().subject("alice").sign()), 200),
        (bare("/charts"), 401),
    ] {
        let answer = nested.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

/// J-51. Nothing of a bad token counts: no claims, no headers, and the application does not see it.
#[tokio::test]
async fn a_reported_token_counts_as_none() {
    let issuer = Issuer::es256("a");
    let (guard, counts) = counted(vec![telling(&issuer)]);
    let (log, _guard) = Log::listen(Level::INFO);
    let reporting = guard.mode(TokenMode::ReportOnly);
    assert_eq!(log.with(&["WARN", "are not refused"]).len(), 1);

    let good = issuer.token().subject("alice");
    let bad = good.tampered();
    let expired = issuer
        .token()
        .subject("alice")
        .expired_ago(Duration::from_secs(600))
        .sign();
    for (token, reason, count) in [(&bad, "signature", 1), (&expired, "expired", 1)] {
        let request = get("/charts").header(AUTHORIZATION, token.as_str());
        let request = request.header("x-user", "root").body(Empty::new()).unwrap();
        let outcome = send(&reporting, request).await;
        assert_eq!(outcome.status, 200);
        assert_eq!(user(&outcome), None);
        let head = &outcome.seen.as_ref().unwrap().head;
        assert!(!head.contains_key("x-user"), "{reason}");
        assert!(!head.contains_key(AUTHORIZATION), "{reason}");
        assert_eq!(counts(reason), (0, count));
    }
    let told = log.with(&["WARN tower_mesh::access", "path=/charts"]);
    assert_eq!(told.len(), 2, "{}", log.text());
    assert!(told[0].contains("reason=Jwt verification fails"));
    assert!(!log.text().contains(bad.rsplit('.').next().unwrap()));

    let token = good.sign();
    let request = get("/charts").header(AUTHORIZATION, &token);
    let outcome = send(&reporting, request.body(Empty::new()).unwrap()).await;
    assert_eq!(user(&outcome).unwrap(), "a/alice");
    assert_eq!(outcome.seen.unwrap().head["x-user"], "alice");
}

/// J-51. One bad token spoils the good ones of its rule, as it does where it is refused.
#[tokio::test]
async fn a_reported_request_is_never_half_trusted() {
    let issuer = Issuer::es256("a");
    let reporting = || {
        let rule = at(&issuer, &["x-one", "x-two"], "x-user");
        layer(vec![rule]).mode(TokenMode::ReportOnly)
    };
    let good = issuer.token().subject("alice").sign();
    let bad = issuer.token().subject("alice").tampered();
    for guard in [reporting(), reporting().strict()] {
        for (one, two) in [(&good, &bad), (&bad, &good)] {
            let request = get("/charts").header("x-one", one).header("x-two", two);
            let outcome = send(&guard, request.body(Empty::new()).unwrap()).await;
            assert_eq!(outcome.status, 200);
            assert_eq!(user(&outcome), None);
            let head = outcome.seen.unwrap().head;
            for name in ["x-user", "x-one", "x-two"] {
                assert!(!head.contains_key(name), "{name}");
            }
        }
    }
}

/// J-51. A rule that forwards tokens forwards a bad one, too.
#[tokio::test]
async fn a_reported_token_is_forwarded_where_the_rule_forwards() {
    let issuer = Issuer::es256("a");
    let mut rule = telling(&issuer);
    rule.forward_original_token = true;
    let reporting = layer(vec![rule]).mode(TokenMode::ReportOnly);
    let bad = issuer.token().subject("alice").tampered();
    let request = get("/charts").header(AUTHORIZATION, &bad);
    let outcome = send(&reporting, request.body(Empty::new()).unwrap()).await;
    assert_eq!((outcome.status.as_u16(), user(&outcome)), (200, None));
    assert_eq!(outcome.seen.unwrap().head[AUTHORIZATION], bad.as_str());
}

fn legacy(change: impl FnOnce(&mut LegacyAuthentication)) -> JwtLayer {
    let mut policy = LegacyAuthentication::default();
    change(&mut policy);
    let mut authentication = Authentication::default();
    authentication.legacy = Some(policy);
    let compiled = Authenticator::compile(&authentication, &mut Keyring::new()).unwrap();
    JwtLayer::new(Live::new(compiled))
}

/// J-51, J-52. A legacy Policy demands tokens and certificates by itself; no mode and no exclusion
/// waives that.
#[tokio::test]
async fn a_legacy_policy_holds_in_every_mode() {
    let issuer = Issuer::es256("a");
    let mut origin = LegacyJwt::default();
    origin.rule = rule(&issuer);
    for guard in [
        legacy(|policy| policy.origins = vec![origin]),
        legacy(|policy| policy.peer = Some(MtlsMode::Strict)),
    ] {
        let guard = guard
            .mode(TokenMode::ReportOnly)
            .exclude("/charts".parse().unwrap());
        for request in [bare("/charts"), bearer(&issuer.token().tampered())] {
            assert_eq!(send(&guard, request).await.status, 401);
        }
    }
}

/// J-52, H-16. At an excluded path tokens are neither demanded nor read, and a client still cannot
/// set the headers that only the guard sets.
#[tokio::test]
async fn an_excluded_path_reads_no_token() {
    let issuer = Issuer::es256("a");
    let guard = layer(vec![telling(&issuer)]).exclude("/healthz".parse().unwrap());
    let good = issuer.token().subject("alice").sign();
    let bad = issuer.token().subject("alice").tampered();
    for mode in [TokenMode::Required, TokenMode::Optional] {
        let guard = guard.clone().mode(mode);
        for token in [None, Some(&good), Some(&bad)] {
            let mut request = get("/healthz?verbose").header("x-user", "root");
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, token);
            }
            let outcome = send(&guard, request.body(Empty::new()).unwrap()).await;
            assert_eq!((outcome.status.as_u16(), user(&outcome)), (200, None));
            let head = outcome.seen.unwrap().head;
            assert!(!head.contains_key("x-user"));
            let kept = head.get(AUTHORIZATION).map(|line| line.to_str().unwrap());
            assert_eq!(kept, token.map(String::as_str), "unread");
        }
    }
}

/// J-52. Every form of the path must be excluded, so that no spelling of another path is.
#[tokio::test]
async fn no_spelling_of_another_path_is_excluded() {
    let issuer = Issuer::es256("a");
    let guard = layer(vec![rule(&issuer)])
        .mode(TokenMode::Required)
        .exclude("/healthz".parse().unwrap())
        .exclude("/public/*".parse().unwrap());
    for (path, status) in [
        ("/healthz", 200),
        ("/healthz?x=/admin", 200),
        ("/public/", 200),
        ("/public/a/b", 200),
        ("/healthz/", 401),
        ("/healthz/../admin", 401),
        ("/Healthz", 401),
        ("/healthz;x", 401),
        ("//healthz", 401),
        ("/health%7a", 401),
        ("/public", 401),
        ("/publication", 401),
        ("/public/../admin", 401),
        ("/public/%2e%2e/admin", 401),
        ("/public/%2e%2e%2fadmin", 401),
        ("/public/..%5cadmin", 401),
        ("/public/a/..//../admin", 401),
        ("/public/%00", 401),
        ("/admin/../public/a", 401),
        ("/admin", 401),
    ] {
        let outcome = send(&guard, bare(path)).await;
        assert_eq!(outcome.status, status, "{path}");
    }
}

/// J-52. A nested router has cut the path; the whole one counts.
#[tokio::test]
async fn an_excluded_path_is_the_whole_one() {
    let issuer = Issuer::es256("a");
    let guard = layer(vec![rule(&issuer)])
        .mode(TokenMode::Required)
        .exclude("/healthz".parse().unwrap());
    let handler = axum::routing::get(|| async { "fine" });
    let nested = axum::Router::new()
        .route("/healthz", handler.clone())
        .layer(guard);
    let app = axum::Router::new()
        .nest("/wards", nested.clone())
        .merge(nested);
    for (path, status) in [("/healthz", 200), ("/wards/healthz", 401)] {
        let request = get(path).body(axum::body::Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

/// J-52
#[test]
fn an_excluded_path_is_one_path_or_all_below_one() {
    use ExcludedPathError::{Everything, NotAbsolute, NotNormal, Star};
    for (text, error) in [
        ("/healthz", None),
        ("/grpc.health.v1.Health/Check", None),
        ("/public/*", None),
        ("/", None),
        ("", Some(NotAbsolute)),
        ("healthz", Some(NotAbsolute)),
        ("*", Some(NotAbsolute)),
        ("/*", Some(Everything)),
        ("/healthz*", Some(Star)),
        ("/*/healthz", Some(Star)),
        ("/public/**", Some(Star)),
        ("/a/*/*", Some(Star)),
        ("/a/../b", Some(NotNormal)),
        ("/a//b", Some(NotNormal)),
        ("//*", Some(NotNormal)),
        ("/%61", Some(NotNormal)),
        ("/a%2fb", Some(NotNormal)),
        ("/a?b", Some(NotNormal)),
        ("/a#b", Some(NotNormal)),
        ("/a b", Some(NotNormal)),
    ] {
        let parsed = text.parse::<ExcludedPath>();
        match (parsed, error) {
            (Ok(path), None) => assert_eq!(path.to_string(), text),
            (parsed, error) => assert_eq!(parsed.err(), error, "{text}"),
        }
    }
}

/// One rule for tokens; users are allowed, and so is everybody at `/healthz` and `/open`.
fn resources(issuer: &Issuer) -> Fixed {
    let rules = "[{from: [{source: {requestPrincipals: ['*']}}]}, \
                 {to: [{operation: {paths: [/healthz, /open]}}]}]";
    let text = format!(
        "{}
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users}}
spec:
  jwtRules: [{{issuer: {}, jwks: '{}'}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: plain}}
spec: {{mtls: {{mode: PERMISSIVE}}}}
",
        policy("users", "ALLOW", rules),
        issuer.name(),
        issuer.jwks()
    );
    Fixed::yaml("policies.yaml", text)
}

fn builder(issuer: &Issuer) -> MeshBuilder {
    let pki = Pki::new("cluster.local").unwrap();
    let identity = pki.identity("default", "patients").unwrap();
    Mesh::builder(Workload::new("default", "patients"), identity).config(resources(issuer))
}

/// The statuses of a request without a token, with a bad and with a good one.
async fn statuses(mesh: &Mesh, issuer: &Issuer, path: &str) -> [u16; 3] {
    let app = service_fn(|request: Request<_>| async move {
        drop::<Request<_>>(request);
        Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
    });
    let mut statuses = [0; 3];
    let requests = [
        bare(path),
        with_token(path, &issuer.token().tampered()),
        with_token(path, &issuer.token().subject("alice").sign()),
    ];
    for (status, mut request) in statuses.iter_mut().zip(requests) {
        request.extensions_mut().insert(unproven());
        let answer = mesh.protect(app).oneshot(request).await.unwrap();
        *status = answer.status().as_u16();
    }
    statuses
}

/// J-50, J-51, J-52. The composed mesh takes the same settings, and shows what opens.
#[tokio::test]
async fn a_mesh_has_the_modes_and_shows_them() {
    let issuer = Issuer::es256("a");
    for (mode, label, here, there, excluded) in [
        (
            TokenMode::Required,
            "required",
            [401, 401, 200],
            [401, 401, 200],
            [200; 3],
        ),
        (
            TokenMode::Optional,
            "optional",
            [403, 401, 200],
            [200, 401, 200],
            [200; 3],
        ),
        (
            TokenMode::ReportOnly,
            "report_only",
            [403, 403, 200],
            [200; 3],
            [200; 3],
        ),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        let builder = builder(&issuer).tokens(|tokens| tokens.mode(mode).exclude("/healthz"));
        let (mesh, _driver) = builder.build().await.unwrap();
        let opens = mode == TokenMode::ReportOnly;
        assert_eq!(
            log.with(&["WARN tower_mesh::jwt", "are not refused"]).len(),
            usize::from(opens)
        );
        assert_eq!(
            log.with(&["INFO tower_mesh::jwt", "path=/healthz"]).len(),
            1
        );
        assert_eq!(mesh.readiness().tokens, mode);
        let shown = mesh.readiness().to_string();
        assert_eq!(shown.contains("tokens are reported"), opens, "{shown}");

        assert_eq!(statuses(&mesh, &issuer, "/charts").await, here, "{mode:?}");
        assert_eq!(statuses(&mesh, &issuer, "/open").await, there, "{mode:?}");
        let at_health = statuses(&mesh, &issuer, "/healthz").await;
        assert_eq!(at_health, excluded, "{mode:?}");
        // A sidecar judges the normalized path, too, and so does the application.
        let dots = statuses(&mesh, &issuer, "/healthz/../charts").await;
        assert_eq!(dots, here, "{mode:?}");

        let metrics = mesh.metrics().render(Format::Text);
        let reported = if opens { 3 } else { 0 };
        for line in [
            format!("mesh_jwt_mode{{mode=\"{label}\"}} 1\n"),
            format!("mesh_jwt_reported_total{{reason=\"signature\"}} {reported}\n"),
        ] {
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    }
}

/// J-52. A mistaken exclusion is found at the start.
#[tokio::test]
async fn a_mistaken_exclusion_fails_the_build() {
    let issuer = Issuer::es256("a");
    let builder = builder(&issuer).tokens(|tokens| tokens.exclude("/*").exclude("healthz"));
    let error = builder.build().await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    });
    let text: Vec<_> = causes.map(ToString::to_string).collect();
    let text = text.join(": ");
    for piece in ["tokens: exclude(\"/*\")", "tokens: exclude(\"healthz\")"] {
        assert!(text.contains(piece), "{text}");
    }
}

/// J-50. Guards that are composed by hand take the settings, and notice a token layer that was
/// forgotten.
#[tokio::test]
async fn guards_have_the_modes() {
    let issuer = Issuer::es256("a");
    let workload = Workload::new("default", "patients");
    let allow_all = Fixed::yaml("p.yaml", policy("all", "ALLOW", "[{}]"));
    for (config, good) in [(resources(&issuer), 200), (allow_all, 401)] {
        let guards = Guards::builder(workload.clone())
            .config(config)
            .tokens(|tokens| tokens.mode(TokenMode::Required).exclude("/healthz"));
        let (guards, _driver) = guards.build().await.unwrap();
        assert_eq!(guards.readiness().tokens, TokenMode::Required);
        let app = service_fn(|_: Request<Empty<Bytes>>| async {
            Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
        });
        let whole = guards.jwt().layer(guards.rbac().layer(app));
        let half = guards.rbac().layer(app);
        let token = issuer.token().subject("alice").sign();
        for (path, token, status, without_layer) in [
            ("/charts", None, 401, 403),
            ("/charts", Some(&token), good, 403),
            ("/healthz", None, 200, 403),
        ] {
            let request = || {
                let mut request = match token {
                    Some(token) => with_token(path, token),
                    None => bare(path),
                };
                request.extensions_mut().insert(unproven());
                request
            };
            let answer = whole.clone().oneshot(request()).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            let answer = half.clone().oneshot(request()).await.unwrap();
            assert_eq!(answer.status(), without_layer, "{path}");
        }
    }
}

/// J-51. A handler's claims are absent, as without a token.
#[tokio::test]
async fn a_reported_token_gives_a_handler_no_claims() {
    let issuer = Issuer::es256("a");
    let app = axum::Router::new()
        .route(
            "/charts",
            axum::routing::get(|claims: Option<Claims>| async move {
                claims.map_or("nobody", |_| "somebody")
            }),
        )
        .layer(layer(vec![rule(&issuer)]).mode(TokenMode::ReportOnly));
    let request = get("/charts").header(
        AUTHORIZATION,
        format!("Bearer {}", issuer.token().tampered()),
    );
    let request = request.body(axum::body::Body::empty()).unwrap();
    let answer = app.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = axum::body::to_bytes(answer.into_body(), 64).await.unwrap();
    assert_eq!(body, "nobody");
}

/// J-52. Behind a router, a path that was sent otherwise is not excluded: the router has chosen by
/// what was sent.
#[tokio::test]
async fn a_path_that_a_router_read_otherwise_is_not_excluded() {
    let issuer = Issuer::es256("a");
    let builder = builder(&issuer).tokens(|tokens| {
        let required = tokens.mode(TokenMode::Required);
        required.exclude("/healthz").exclude("/public/*")
    });
    let (mesh, _driver) = builder.build().await.unwrap();
    let open = axum::routing::any(|| async { "open" });
    let app = axum::Router::new()
        .route("/healthz", open.clone())
        .route("/{tenant}", open.clone())
        .route("/{tenant}/{chart}", open)
        .layer(mesh.server());
    for (path, status) in [
        ("/healthz", 200),
        // Excluded, and no policy allows it.
        ("/public/x", 403),
        ("/health%7a", 401),
        ("/publi%63/x", 401),
    ] {
        let request = Request::get(path)
            .header("host", "app")
            .extension(unproven());
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}
