//! CUSTOM: who is asked, in which order, and what happens where nobody can be asked.

use tower_mesh::Workload;
use tower_mesh::istio::{Action, parse_mesh_config};
use tower_mesh::policy::{Engine, Judgement, Request};

const PROVIDERS: &str = "
extensionProviders:
- name: opa
  envoyExtAuthzGrpc: {service: opa.policy.svc.cluster.local, port: 9191}
- name: web
  envoyExtAuthzHttp: {service: web.policy.svc.cluster.local, port: 80}
- name: tracer
  zipkin: {service: zipkin.trace.svc.cluster.local, port: 9411}
";

/// An engine for policies given as (name, spec).
fn engine(policies: &[(&str, &str)]) -> Engine {
    let yaml: String = policies
        .iter()
        .map(|(name, spec)| {
            format!(
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {{name: {name}, namespace: foo}}\nspec: {spec}\n"
            )
        })
        .collect();
    Engine::builder(&Workload::new("foo", "httpbin"))
        .mesh_config(parse_mesh_config("mesh.yaml", PROVIDERS).unwrap())
        .yaml(&yaml)
        .build()
        .unwrap()
}

fn asks(provider: &str, path: &str) -> String {
    format!(
        "{{action: CUSTOM, provider: {{name: {provider}}}, rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}"
    )
}

fn asked(judgement: &Judgement) -> Vec<(&str, &str)> {
    let custom = judgement.custom.iter();
    custom
        .map(|asked| (asked.provider.as_str(), asked.policy.as_str()))
        .collect()
}

const DENY_X: &str = "{action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}";

/// Row 52: what the provider allows, DENY and ALLOW still judge.
#[test]
fn a_provider_is_asked_about_what_its_rules_match_and_others_still_judge() {
    let engine = engine(&[
        ("ask", &asks("opa", "\"/x*\"")),
        ("deny", DENY_X),
        ("allow", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"),
    ]);
    let opa = ("opa", "istio-ext-authz-opa-ns[foo]-policy[ask]-rule[0]");

    let denied = engine.judge(&Request::new().get("/x"));
    assert_eq!(asked(&denied), [opa]);
    assert_eq!(denied.status, Some(403));
    assert_eq!(denied.decision.action, Some(Action::Deny));

    let allowed = engine.judge(&Request::new().get("/xy"));
    assert_eq!((asked(&allowed), allowed.status), (vec![opa], Some(200)));
    let unlisted = engine.judge(&Request::new().post("/xy"));
    assert_eq!((asked(&unlisted), unlisted.status), (vec![opa], Some(403)));
    assert_eq!(unlisted.decision.policy, None);
    let unasked = engine.judge(&Request::new().get("/y"));
    assert_eq!((asked(&unasked), unasked.status), (vec![], Some(200)));
}

/// Unknown, unable to authorize, or one of several: what their rules match is refused as by a DENY, before anything else is asked.
#[test]
fn a_provider_that_cannot_be_asked_refuses_what_its_rules_match() {
    let suffix = "-deny-due-to-bad-CUSTOM-action";
    for (policies, provider) in [
        (vec![("ask", asks("nobody", "/x"))], "nobody"),
        (vec![("ask", asks("tracer", "/x"))], "tracer"),
        (
            vec![("ask", asks("opa", "/x")), ("other", asks("web", "/z"))],
            "opa",
        ),
    ] {
        let mut policies: Vec<_> = policies
            .iter()
            .map(|(name, spec)| (*name, spec.as_str()))
            .collect();
        policies.push(("deny", DENY_X));
        policies.push(("audit", "{action: AUDIT, rules: [{}]}"));
        let engine = engine(&policies);
        let refused = engine.judge(&Request::new().get("/x"));
        let name = format!("istio-ext-authz-{provider}-ns[foo]-policy[ask]-rule[0]{suffix}");
        assert_eq!(refused.status, Some(403), "{provider}");
        assert!(asked(&refused).is_empty(), "{provider}");
        assert_eq!(refused.decision.action, Some(Action::Custom));
        assert_eq!(refused.decision.policy.as_ref().unwrap().as_str(), name);
        assert_eq!(refused.decision.marks, None, "AUDIT stands behind CUSTOM");
        assert_eq!(
            refused.decision.details(),
            format!("rbac_access_denied_matched_policy[{name}]")
        );
        let passed = engine.judge(&Request::new().get("/y"));
        assert_eq!((passed.status, asked(&passed)), (Some(200), vec![]));
        assert!(!engine.program().notes.is_empty(), "the load says so");
    }
}

/// Of several providers none is usable, so each refuses what is its own.
#[test]
fn two_providers_refuse_each_its_own_requests() {
    let (first, second) = (asks("opa", "/a"), asks("web", "/b"));
    let engine = engine(&[("first", &first), ("second", &second)]);
    for (path, status) in [("/a", 403), ("/b", 403), ("/c", 200)] {
        let judgement = engine.judge(&Request::new().get(path));
        assert_eq!(judgement.status, Some(status), "{path}");
    }
}

/// An HTTP provider cannot be asked about raw TCP and is left out of it; a gRPC one is asked, by what its rules say without HTTP.
#[test]
fn raw_tcp_asks_grpc_providers_only() {
    for (provider, expected) in [("opa", 1), ("web", 0)] {
        let spec = asks(provider, "/x");
        let judgement = engine(&[("ask", &spec)]).judge(&Request::tcp());
        assert_eq!(judgement.custom.len(), expected, "{provider}");
        assert_eq!((judgement.status, judgement.decision.allowed), (None, true));
    }
}

/// CUSTOM runs before the token is looked at: a legacy Policy's 401 comes after a refusal, and what it asks is asked without a token too.
#[test]
fn custom_comes_before_the_token() {
    let origin = "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: default, namespace: foo}
spec: {origins: [{jwt: {issuer: https://idp, jwksUri: https://idp/keys}}]}
";
    let engine = |provider: &str| {
        let ask = format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: ask, namespace: foo}}\nspec: {}\n",
            asks(provider, "/x")
        );
        Engine::builder(&Workload::new("foo", "httpbin").service("httpbin", 80))
            .mesh_config(parse_mesh_config("mesh.yaml", PROVIDERS).unwrap())
            .yaml(origin)
            .yaml(&ask)
            .build()
            .unwrap()
    };
    let unasked = engine("nobody").judge(&Request::new().get("/x"));
    assert_eq!(unasked.status, Some(403));
    let asked_first = engine("opa").judge(&Request::new().get("/x"));
    assert_eq!(
        (asked_first.status, asked_first.custom.len()),
        (Some(401), 1)
    );
}
