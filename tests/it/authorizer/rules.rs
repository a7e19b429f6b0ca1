//! Rules in CEL: `kind: Authorizer` with an expression.

use bytes::Bytes;
use http_body_util::Full;
use tower_mesh::Workload;
use tower_mesh::istio::parse_mesh_config;
use tower_mesh::policy::{CustomFilter, Engine};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;

use super::{ALLOWED, REFUSED, asks, build, builder, request, send, status};
use crate::support::mesh::{ISSUER, authentication, lines, proven};

/// An Authorizer of a namespace (`default` without one) and this spec.
fn authorizer(namespace: &str, name: &str, spec: &str) -> String {
    let namespace = match namespace {
        "" => String::new(),
        name => format!(", namespace: {name}"),
    };
    format!(
        "apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {{name: {name}{namespace}}}\nspec: {spec}\n---\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_rule_decides_about_the_requests_that_a_policy_selects() {
    let rule = "{expression: \"source.service_account in ['desk', 'web'] && !(request.url_path.endsWith('/x') && request.method == 'GET')\"}";
    let mesh = build(builder(asks("hours") + &authorizer("", "hours", rule))).await;
    for (path, caller, expected) in [
        ("/hours", "desk", ALLOWED),
        ("/hours/x", "desk", REFUSED),
        ("/hours/x?y", "desk", REFUSED),
        ("/hours", "other", REFUSED),
        ("/", "other", ALLOWED),
    ] {
        assert_eq!(
            status(&mesh, path, caller).await,
            expected,
            "{path} {caller}"
        );
    }
    let refused = lines(
        &mesh,
        "mesh_external_authorization_total",
        &["denied", "hours"],
    );
    assert!(refused[0].ends_with(" 3"), "{refused:?}");
}

/// Claims are there, and a rule without an answer refuses.
#[tokio::test(start_paused = true)]
async fn a_rule_reads_claims_and_refuses_without_them() {
    let issuer = Issuer::es256(ISSUER);
    let rule = authorizer("", "ward", "{expression: \"auth.claims.ward == 7\"}");
    let mesh = build(builder(authentication(&issuer) + &asks("ward") + &rule)).await;
    for (ward, expected) in [(Some(7), ALLOWED), (Some(8), REFUSED), (None, REFUSED)] {
        let mut request = request("/ward", proven("desk"));
        if let Some(ward) = ward {
            let token = issuer.token().subject("a").claim("ward", ward).sign();
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        assert_eq!(send(&mesh, request).await.status, expected, "{ward:?}");
    }
}

/// The place of the rule, and the place in it.
#[test]
fn a_rule_that_cannot_be_used_is_refused_with_its_place() {
    for (rule, piece) in [
        ("request.method = 'GET'", "line 1, column 16"),
        (
            "request.methd == 'GET'",
            "line 1, column 8: no such attribute",
        ),
        ("request.path == 1", "column"),
        ("request.path", "column"),
    ] {
        let spec = format!("{{expression: \"{rule}\"}}");
        let read = Fixed::yaml("ward.yaml", authorizer("", "a", &spec)).load("default");
        let problem = read.unwrap_err().to_string();
        assert!(
            problem.starts_with("ward.yaml:4:20: spec.expression: ") && problem.contains(piece),
            "{rule}: {problem}"
        );
    }
}

/// One in the root namespace serves every namespace, another one its own.
#[test]
fn a_name_means_the_authorizer_of_the_root_or_of_the_own_namespace() {
    let rule = |namespace: &str| authorizer(namespace, "own", "{expression: 'true'}");
    let cache = |namespace: &str| authorizer(namespace, "own", "{cache: {keys: [source.ip]}}");
    let in_root = asks("own").replace(
        "{name: ask-own}",
        "{name: ask-own, namespace: istio-system}",
    );
    let settings = "extensionProviders: [{name: own, envoyExtAuthzGrpc: {service: a.b, port: 1, timeout: 1s}}]";
    #[rustfmt::skip] // one row a line
    let rows = [
        ("nothing", vec![], "", None),
        ("root", vec![rule("istio-system")], "", Some(false)),
        ("own", vec![rule("")], "", Some(false)),
        ("another", vec![rule("other")], "", None),
        ("both", vec![rule(""), rule("istio-system")], "", None),
        ("settings", vec![], settings, Some(false)),
        ("settings and rule", vec![rule("")], settings, None),
        ("only a cache", vec![cache("")], "", None),
        ("settings and cache", vec![cache("")], settings, Some(true)),
        ("settings and a cache of the root", vec![cache("istio-system")], settings, Some(true)),
        ("settings and a cache elsewhere", vec![cache("other")], settings, Some(false)),
        ("settings and two caches", vec![cache(""), cache("istio-system")], settings, None),
        ("rule and cache", vec![authorizer("", "own", "{expression: 'true', cache: {keys: [source.ip]}}")], "", Some(true)),
        ("a policy of the root, own rule", vec![in_root.clone(), rule("")], "", None),
        ("a policy of the root, root rule", vec![in_root, rule("istio-system")], "", Some(false)),
    ];
    for (what, documents, settings, expected) in rows {
        let mesh = parse_mesh_config("mesh.yaml", settings).unwrap();
        let engine = Engine::builder(&Workload::new("default", "app"))
            .mesh_config(mesh)
            .yaml(&(asks("own") + &documents.concat()))
            .build()
            .unwrap();
        let program = engine.program();
        let [filter]: &[CustomFilter] = &program.http.default.custom[..] else {
            panic!("{what}: {program:?}");
        };
        let found = filter.usable.as_ref().map(|_| filter.cache.is_some());
        assert_eq!(found, expected, "{what}: {:?}", program.notes);
        let is_refused = program
            .notes
            .iter()
            .any(|note| note.message.contains("is refused"));
        assert_eq!(
            is_refused,
            expected.is_none(),
            "{what}: {:?}",
            program.notes
        );
    }
}

/// What a cache probably does not do as it was meant.
#[test]
fn a_cache_that_lacks_what_decides_is_noted() {
    let settings = "extensionProviders: [{name: own, envoyExtAuthzGrpc: {service: a.b, port: 1, timeout: 1s}}]";
    for (keys, piece) in [
        (
            "[request.path]",
            Some("requests with different tokens share a decision"),
        ),
        ("[request.path, 'request.headers[authorization]']", None),
        (
            "[request.auth.principal]",
            Some("asked before tokens are verified"),
        ),
    ] {
        let spec = format!("{{cache: {{keys: {keys}}}}}");
        let engine = Engine::builder(&Workload::new("default", "app"))
            .mesh_config(parse_mesh_config("mesh.yaml", settings).unwrap())
            .yaml(&(asks("own") + &authorizer("", "own", &spec)))
            .build()
            .unwrap();
        let notes: Vec<_> = engine
            .program()
            .notes
            .iter()
            .map(|note| &*note.message)
            .collect();
        match piece {
            None => assert!(notes.is_empty(), "{keys}: {notes:?}"),
            Some(piece) => assert!(notes[0].contains(piece), "{keys}: {notes:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_and_a_mesh_provider_may_both_apply() {
    let all = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: NAME}\nspec: {action: CUSTOM, provider: {name: NAME}, rules: [{}]}\n---\n";
    let yaml = all.replace("NAME", "one")
        + &all.replace("NAME", "two")
        + &authorizer("", "one", "{expression: \"request.url_path != '/one'\"}")
        + &authorizer("", "two", "{expression: \"request.url_path != '/two'\"}");
    let mesh = build(builder(yaml)).await;
    for (path, expected) in [("/one", REFUSED), ("/two", REFUSED), ("/three", ALLOWED)] {
        assert_eq!(status(&mesh, path, "desk").await, expected, "{path}");
    }
}
