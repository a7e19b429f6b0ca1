//! CUSTOM: who is asked, in which order, and what happens where nobody can be asked.

use tower_mesh::Workload;
use tower_mesh::istio::{Action, MeshConfig, parse_mesh_config};
use tower_mesh::policy::{Attributes, CustomMatch, Engine, Judgement, ProviderAnswer, Request};

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
    engine_in(parse_mesh_config("mesh.yaml", PROVIDERS).unwrap(), policies)
}

fn engine_in(mesh: MeshConfig, policies: &[(&str, &str)]) -> Engine {
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
        .mesh_config(mesh)
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

/// An HTTP provider cannot be asked about raw TCP, so what its rules match there is refused, as `serve_tcp` does; a gRPC one is asked, by what its
/// rules say without HTTP.
#[test]
fn raw_tcp_asks_grpc_providers_only() {
    for (provider, expected, allowed) in [("opa", 1, true), ("web", 0, false)] {
        let spec = asks(provider, "/x");
        let judgement = engine(&[("ask", &spec)]).judge(&Request::tcp());
        assert_eq!(judgement.custom.len(), expected, "{provider}");
        assert_eq!(
            (judgement.status, judgement.decision.allowed),
            (None, allowed),
            "{provider}"
        );
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

/// Providers with what they do when they cannot be asked.
const FAILING: &str = "
extensionProviders:
- name: closed
  envoyExtAuthzHttp: {service: web.policy.svc.cluster.local, port: 80}
- name: told
  envoyExtAuthzGrpc: {service: opa.policy.svc.cluster.local, port: 9191, statusOnError: '503'}
- name: open
  envoyExtAuthzGrpc: {service: opa.policy.svc.cluster.local, port: 9191, failOpen: true, statusOnError: '503'}
";

/// Each row is an answer: its status, and the stage that decides. What a provider allows or lets pass, DENY and ALLOW still judge.
#[test]
fn the_answer_of_a_provider_decides_before_the_rules() {
    use ProviderAnswer::{Allow, Deny, Error};
    for (provider, answer, path, status, action) in [
        ("closed", Allow, "/xy", 200, Some(Action::Allow)),
        ("closed", Allow, "/x", 403, Some(Action::Deny)),
        (
            "closed",
            Deny { status: 401 },
            "/xy",
            401,
            Some(Action::Custom),
        ),
        (
            "closed",
            Deny { status: 302 },
            "/x",
            302,
            Some(Action::Custom),
        ),
        (
            "closed",
            ProviderAnswer::deny(),
            "/xy",
            403,
            Some(Action::Custom),
        ),
        // A gRPC provider may deny with 200; it is a refusal all the same.
        (
            "told",
            Deny { status: 200 },
            "/xy",
            200,
            Some(Action::Custom),
        ),
        ("closed", Error, "/xy", 403, Some(Action::Custom)),
        ("told", Error, "/xy", 503, Some(Action::Custom)),
        ("open", Error, "/xy", 200, Some(Action::Allow)),
        ("open", Error, "/x", 403, Some(Action::Deny)),
        (
            "open",
            Deny { status: 401 },
            "/xy",
            401,
            Some(Action::Custom),
        ),
        // Not asked: the answer does not count.
        (
            "closed",
            ProviderAnswer::deny(),
            "/y",
            200,
            Some(Action::Allow),
        ),
    ] {
        let ask = asks(provider, "\"/x*\"");
        let mesh = parse_mesh_config("mesh.yaml", FAILING).unwrap();
        let engine = engine_in(
            mesh,
            &[
                ("ask", &ask),
                ("deny", DENY_X),
                ("allow", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"),
            ],
        );
        let request = Request::new().get(path);
        let answers = |asked: &CustomMatch, _: &Request| {
            assert_eq!((asked.provider.as_str(), asked.answer), (provider, None));
            Some(answer)
        };
        let judgement = engine.judge_with(&request, &answers);
        let row = format!("{provider} {answer} {path}");
        assert_eq!(judgement.status, Some(status), "{row}");
        assert_eq!(judgement.decision.action, action, "{row}");
        let is_refused = action != Some(Action::Allow);
        assert_eq!(!judgement.decision.allowed, is_refused, "{row}");
        let said: Vec<_> = judgement.custom.iter().map(|asked| asked.answer).collect();
        let is_asked = path != "/y";
        assert_eq!(said, [Some(answer)][..usize::from(is_asked)], "{row}");
        if action == Some(Action::Custom) {
            let name = format!("istio-ext-authz-{provider}-ns[foo]-policy[ask]-rule[0]");
            assert_eq!(judgement.decision.policy.unwrap().as_str(), name);
        }
        let why = engine.explain_judgement_with(&request, &answers).unwrap();
        assert_eq!(why.allowed, !is_refused, "{why}");
        assert_eq!(why.action, action.map(Action::as_str), "{why}");
        assert_eq!(why.providers.len(), usize::from(is_asked), "{why}");
    }
}

/// The words of each answer, with the rule that asks; the last is the same provider unasked.
#[test]
fn an_explanation_tells_what_a_provider_answers() {
    use ProviderAnswer::{Deny, Error};
    let name = "istio-ext-authz-NAME-ns[foo]-policy[ask]-rule[0]";
    for (provider, answer, verdict, said) in [
        (
            "closed",
            None,
            "allowed: no ALLOW policy applies",
            "its answer decides",
        ),
        (
            "closed",
            Some(ProviderAnswer::Allow),
            "allowed: no ALLOW policy applies",
            "it allows",
        ),
        (
            "closed",
            Some(Deny { status: 401 }),
            "refused: CUSTOM rule {} matches",
            "it denies with 401",
        ),
        (
            "told",
            Some(Error),
            "refused: CUSTOM rule {} matches",
            "it cannot be asked, which refuses with 503",
        ),
        (
            "open",
            Some(Error),
            "allowed: no ALLOW policy applies",
            "it cannot be asked, and failOpen lets it pass",
        ),
    ] {
        let mesh = parse_mesh_config("mesh.yaml", FAILING).unwrap();
        let engine = engine_in(mesh, &[("ask", &asks(provider, "/x"))]);
        let request = Request::new().get("/x");
        let why = engine.explain_judgement_with(&request, &|_, _| answer);
        let name = name.replace("NAME", provider);
        let verdict = verdict.replace("{}", &name);
        assert_eq!(
            why.unwrap().to_string(),
            format!(
                "{verdict}\n  {name} asks provider `{provider}`: {said}\n  CUSTOM {name}: match\n"
            )
        );
        let unasked = engine.explain(&Request::new().get("/y"));
        assert!(unasked.providers.is_empty(), "{unasked}");
    }
}

/// On raw TCP a refusal has no status; a provider's comes before DENY and ALLOW, as on HTTP.
#[test]
fn a_provider_refuses_a_connection_without_a_status() {
    let ask = asks("opa", "/x");
    let engine = engine(&[("ask", &ask)]);
    for (answer, allowed) in [
        (ProviderAnswer::Allow, true),
        (ProviderAnswer::deny(), false),
        (ProviderAnswer::Error, false),
    ] {
        let judgement = engine.judge_with(&Request::tcp(), &|_, _| Some(answer));
        assert_eq!(
            (judgement.status, judgement.decision.allowed),
            (None, allowed)
        );
        let why = engine.explain_judgement_with(&Request::tcp(), &|_, _| Some(answer));
        assert_eq!(why.unwrap().allowed, allowed);
    }
}

/// Nothing can ask a provider over HTTP about a raw TCP connection, so `serve_tcp` refuses what its rules match; `judge_with` and the explanation say
/// the same, whatever the provider would answer.
#[test]
fn a_connection_that_a_provider_over_http_has_to_judge_is_refused() {
    let mesh = "
extensionProviders:
- name: web
  envoyExtAuthzHttp: {service: web.policy.svc.cluster.local, port: 80, failOpen: true}
";
    let ask = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: foo}
spec: {action: CUSTOM, provider: {name: web}, rules: [{to: [{operation: {ports: ['7']}}]}]}
";
    let engine = Engine::builder(&Workload::new("foo", "httpbin"))
        .mesh_config(parse_mesh_config("mesh.yaml", mesh).unwrap())
        .yaml(ask)
        .build()
        .unwrap();
    for answer in [
        None,
        Some(ProviderAnswer::Allow),
        Some(ProviderAnswer::Error),
    ] {
        let judge = |port| engine.judge_with(&Request::tcp().port(port), &|_, _| answer);
        let refused = judge(7);
        assert_eq!(refused.decision, engine.decide_tcp(&Request::tcp().port(7)));
        assert!(!refused.decision.allowed && refused.status.is_none());
        assert_eq!(refused.unknown_answers().count(), 0);
        assert!(judge(8).decision.allowed);
        let why = engine.explain_judgement_with(&Request::tcp().port(7), &|_, _| answer);
        let why = why.unwrap().to_string();
        let reason = "asks provider `web`: it speaks HTTP, so it cannot be asked about a connection without HTTP, which is refused";
        assert!(why.contains(reason), "{why}");
        let passes = engine.explain_tcp(&Request::tcp().port(8));
        assert!(passes.allowed && passes.providers.is_empty(), "{passes}");
    }
}

/// The answer may hang on the request, whose path is the normalized one, as the rules see it.
#[test]
fn an_answer_by_request_sees_what_the_rules_see() {
    let ask = asks("opa", "\"/x*\"");
    let engine = engine(&[("ask", &ask)]);
    let answers = |_: &CustomMatch, request: &Request| {
        let is_known = request.path() == Some("/x/1");
        Some(if is_known {
            ProviderAnswer::Allow
        } else {
            ProviderAnswer::deny()
        })
    };
    for (target, status) in [
        ("/x/1", 200),
        ("/a/../x/1", 200),
        ("/x/2", 403),
        ("/y", 200),
    ] {
        let judgement = engine.judge_with(&Request::new().get(target), &answers);
        assert_eq!(judgement.status, Some(status), "{target}");
    }
}

/// Providers in the process are asked when the token is known: after a legacy Policy's 401, and after MeshConfig's, but before DENY and ALLOW.
#[cfg(feature = "cel")]
#[test]
fn a_rule_is_asked_after_the_token_and_before_the_rules() {
    let own = "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: default, namespace: foo}
spec: {origins: [{jwt: {issuer: https://idp, jwksUri: https://idp/keys}}]}
---
apiVersion: mesh.tower/v1
kind: Authorizer
metadata: {name: a-rule, namespace: foo}
spec: {expression: \"auth.claims.sub == 'ann'\"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: rule, namespace: foo}
spec: {action: CUSTOM, provider: {name: a-rule}, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: foo}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{}]}
";
    let engine = Engine::builder(&Workload::new("foo", "httpbin").service("httpbin", 80))
        .mesh_config(parse_mesh_config("mesh.yaml", PROVIDERS).unwrap())
        .yaml(own)
        .build()
        .unwrap();
    let rules = tower_mesh::cel::ProviderRules::of(&engine);
    let judge = |request: &Request, opa: ProviderAnswer| {
        let judgement = engine.judge_with(request, &|asked, form| {
            let computed = rules.answer(asked, form);
            computed.or_else(|| (asked.provider == "opa").then_some(opa))
        });
        let names = judgement.custom.iter().map(|asked| asked.provider.clone());
        (
            judgement.status.unwrap(),
            names.collect::<Vec<_>>().join(" "),
        )
    };
    let stranger = Request::new();
    let ann = Request::new().user("https://idp", "ann");
    let bob = Request::new().user("https://idp", "bob");
    let deny = ProviderAnswer::Deny { status: 418 };
    for (request, opa, expected) in [
        (&stranger, deny, (418, "opa")),
        (&stranger, ProviderAnswer::Allow, (401, "opa")),
        (&ann, ProviderAnswer::Allow, (200, "opa a-rule")),
        (&bob, ProviderAnswer::Allow, (403, "opa a-rule")),
        (&bob, deny, (418, "opa")),
    ] {
        assert_eq!(judge(request, opa), (expected.0, expected.1.to_owned()));
    }
}

/// Where the host is judged bare, too, a provider is asked when its rules match either form, and a rule must allow both.
#[cfg(feature = "cel")]
#[test]
fn every_form_of_the_host_counts() {
    use tower_mesh::gate::Gate;
    let host = |host: &str, provider: &str| {
        format!(
            "{{action: CUSTOM, provider: {{name: {provider}}}, rules: [{{to: [{{operation: {{hosts: [\"{host}\"]}}}}]}}]}}"
        )
    };
    let request = Request::new().authority("example.com:8080");
    let request = Gate::strict().judge(&request).unwrap();

    let by_name = host("example.com", "opa");
    let judgement = engine(&[("ask", &by_name)]).judge(&request);
    assert_eq!(judgement.unknown_answers().count(), 1, "{judgement:?}");
    let nobody = host("example.com", "nobody");
    assert_eq!(
        engine(&[("ask", &nobody)]).judge(&request).status,
        Some(403)
    );

    let rule = "
apiVersion: mesh.tower/v1
kind: Authorizer
metadata: {name: own, namespace: foo}
spec: {expression: \"request.host == 'example.com:8080'\"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: foo}
spec: ";
    let rule = format!("{rule}{}", host("example.com:8080", "own"));
    let engine = Engine::builder(&Workload::new("foo", "httpbin"))
        .yaml(&rule)
        .build()
        .unwrap();
    let rules = tower_mesh::cel::ProviderRules::of(&engine);
    let judgement = engine.judge_with(&request, &|asked, form| rules.answer(asked, form));
    assert_eq!(judgement.status, Some(403), "{judgement:?}");
}
