//! The resources of 2018 as a team would load them, asked as a server would ask.

use tower_mesh::Workload;
use tower_mesh::istio::{Action, MtlsMode};
use tower_mesh::policy::{Engine, Request};

const ON: &str = "
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: \"ON\"}
";

const STRICT: &str = "
apiVersion: authentication.istio.io/v1alpha1
kind: MeshPolicy
metadata: {name: default}
spec: {peers: [{mtls: {}}]}
";

fn ward() -> Workload {
    Workload::new("clinic", "ward").service("ward", 8080)
}

fn engine(texts: &[&str]) -> Engine {
    let workload = ward();
    let builder = Engine::builder(&workload);
    let builder = texts
        .iter()
        .fold(builder, |builder, text| builder.yaml(text));
    builder.build().unwrap()
}

/// A role with one rule for the ward, bound to one subject.
fn grant(rule: &str, subject: &str) -> String {
    format!(
        "
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {{name: reader, namespace: clinic}}
spec:
  rules:
  - services: [\"ward.clinic.svc.cluster.local\"]
    {rule}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {{name: reader, namespace: clinic}}
spec:
  subjects: [{subject}]
  roleRef: {{kind: ServiceRole, name: reader}}
"
    )
}

fn status(engine: &Engine, request: Request) -> u16 {
    engine.judge(&request.port(8080)).status.unwrap()
}

/// Row 53: paths are the raw target, query included.
#[test]
fn a_path_is_compared_with_its_query() {
    let engine = engine(&[ON, &grant("paths: [/a]", "{user: \"*\"}")]);
    assert_eq!(status(&engine, Request::new().get("/a")), 200);
    assert_eq!(status(&engine, Request::new().get("/a?x")), 403);
}

/// Row 54.
#[test]
fn a_star_user_is_anyone_even_in_plaintext() {
    let engine = engine(&[ON, &grant("methods: [GET]", "{user: \"*\"}")]);
    assert_eq!(status(&engine, Request::new().get("/")), 200);
    assert_eq!(status(&engine, Request::new().post("/")), 403);
    let decision = engine.judge(&Request::new().get("/").port(8080)).decision;
    assert_eq!(decision.policy.unwrap().as_str(), "reader");
    assert_eq!(decision.action, Some(Action::Allow));
}

/// Row 55: unlike today, a token is mandatory.
#[test]
fn an_origin_demands_a_token() {
    let policy = "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: ward, namespace: clinic}
spec:
  targets: [{name: ward}]
  origins:
  - jwt:
      issuer: https://idp
      jwksUri: https://idp/keys
      triggerRules: [{excludedPaths: [{exact: /health}]}]
";
    let engine = engine(&[policy]);
    assert_eq!(status(&engine, Request::new().get("/")), 401);
    assert_eq!(status(&engine, Request::new().get("/health?x")), 200);
    let with_token = Request::new()
        .get("/")
        .claim("iss", "https://idp")
        .claim("sub", "a");
    assert_eq!(status(&engine, with_token), 200);
}

/// A token counts only where an origin of its issuer looks at it, as in front of a server.
#[test]
fn a_token_that_no_origin_looks_at_is_none() {
    let policy = "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: default, namespace: clinic}
spec:
  origins:
  - jwt: {issuer: https://a, jwksUri: https://a/keys, triggerRules: [{includedPaths: [{prefix: /a}]}]}
  - jwt: {issuer: https://b, jwksUri: https://b/keys, triggerRules: [{includedPaths: [{prefix: /b}]}]}
";
    let subject = "{properties: {\"request.auth.claims[team]\": ward}}";
    let engine = engine(&[policy, ON, &grant("methods: [GET]", subject)]);
    let asked = |path: &str, issuer: Option<&str>| {
        let request = Request::new().get(path).claim("team", "ward");
        let request = match issuer {
            Some(issuer) => request.claim("iss", issuer),
            None => request,
        };
        status(&engine, request)
    };
    assert_eq!(asked("/a", Some("https://a")), 200);
    assert_eq!(asked("/a", Some("https://b")), 401);
    assert_eq!(asked("/b", Some("https://b")), 200);
    assert_eq!(asked("/c", Some("https://a")), 403);
    assert_eq!(asked("/a", None), 200);
}

/// Spec §7.1: which requests must bring a token.
#[test]
fn triggers_and_optional_origins_decide_who_needs_a_token() {
    let origin =
        |rest: &str| format!("{{jwt: {{issuer: https://idp, jwksUri: https://idp/keys{rest}}}}}");
    let other = "{jwt: {issuer: https://other, jwksUri: https://other/keys, triggerRules: [{includedPaths: [{prefix: /b}]}]}}";
    let included = origin(
        ", triggerRules: [{includedPaths: [{prefix: /a}], excludedPaths: [{exact: /a/open}]}]",
    );
    let two_rules = origin(
        ", triggerRules: [{excludedPaths: [{suffix: .css}]}, {includedPaths: [{regex: \"/[a-z]+[.]css\"}]}]",
    );
    let rows: &[(String, &[&str], &[&str])] = &[
        (format!("origins: [{}]", origin("")), &["/", "/a"], &[]),
        (
            format!("origins: [{included}]"),
            &["/a", "/a/b?x"],
            &["/", "/a/open", "/a/open?x"],
        ),
        // Rules of one origin are alternatives; a regex is of the whole path.
        (
            format!("origins: [{two_rules}]"),
            &["/", "/x.css"],
            &["/9.css", "/x/y.css"],
        ),
        // One origin that applies is enough to demand a token.
        (
            format!("origins: [{included}, {other}]"),
            &["/a", "/b"],
            &["/c"],
        ),
        (
            format!("origins: [{}], originIsOptional: true", origin("")),
            &[],
            &["/", "/a"],
        ),
        ("principalBinding: USE_ORIGIN".to_owned(), &["/"], &[]),
    ];
    for (spec, demanded, free) in rows {
        let engine = engine(&[&format!(
            "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {{name: default, namespace: clinic}}
spec: {{{spec}}}
"
        )]);
        for (targets, expected) in [(demanded, 401), (free, 200)] {
            for target in *targets {
                assert_eq!(
                    status(&engine, Request::new().get(*target)),
                    expected,
                    "{spec} {target}"
                );
            }
        }
        let preflight = Request::new()
            .method("OPTIONS", "/")
            .header("origin", "https://a");
        let preflight = preflight.header("access-control-request-method", "GET");
        assert_eq!(status(&engine, preflight), 200, "{spec}");
    }
}

/// Row 56: PeerAuthentication, an unset workload under a strict namespace.
#[test]
fn an_unset_workload_takes_its_namespaces_mode() {
    let peers = |name: &str, namespace: &str, spec: &str| {
        format!(
            "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
        )
    };
    let workload = ward().label("app", "ward");
    let engine = Engine::builder(&workload)
        .yaml(&peers("mesh", "istio-system", "{mtls: {mode: DISABLE}}"))
        .yaml(&peers("namespace", "clinic", "{mtls: {mode: STRICT}}"))
        .yaml(&peers(
            "ward",
            "clinic",
            "{selector: {matchLabels: {app: ward}}, mtls: {mode: UNSET}, portLevelMtls: {\"9090\": {mode: DISABLE}}}",
        ))
        .build()
        .unwrap();
    assert_eq!(engine.mtls(8080), Some(MtlsMode::Strict));
    assert_eq!(engine.mtls(9090), Some(MtlsMode::Disable));
}

/// Spec §7.3: the example, with mutual TLS and without.
#[test]
fn a_user_is_the_peers_principal_where_mtls_is_on() {
    let role = grant(
        "methods: [GET, HEAD]",
        "{user: cluster.local/ns/clinic/sa/desk}",
    );
    let desk = || {
        Request::new()
            .get("/")
            .from("cluster.local/ns/clinic/sa/desk")
    };
    let strict = engine(&[ON, STRICT, &role]);
    assert_eq!(strict.mtls(8080), Some(MtlsMode::Strict));
    assert_eq!(status(&strict, desk()), 200);
    assert_eq!(status(&strict, desk().post("/")), 403);
    let lab = Request::new()
        .get("/")
        .from("cluster.local/ns/clinic/sa/lab");
    assert_eq!(status(&strict, lab), 403);
    assert_eq!(status(&strict, Request::new().get("/")), 403);

    let no_peers = STRICT.replace("{peers: [{mtls: {}}]}", "{}");
    let plain = engine(&[ON, &no_peers, &role]);
    assert_eq!(plain.mtls(8080), Some(MtlsMode::Disable));
    assert_eq!(status(&plain, desk()), 403);
}

#[test]
fn claims_are_lists_of_words_and_the_binding_names_the_principal() {
    let policy = "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: default, namespace: clinic}
spec:
  origins: [{jwt: {issuer: https://idp, jwksUri: https://idp/keys}}]
  principalBinding: USE_ORIGIN
";
    let by_claim = grant(
        "methods: [\"*\"]",
        "{properties: {\"request.auth.claims[groups]\": nurses, request.auth.principal: \"https://idp*\"}}",
    );
    let engine = engine(&[ON, policy, &by_claim]);
    let user = |groups: serde_json::Value| {
        let token = Request::new().get("/").claim("iss", "https://idp");
        token.claim("sub", "a/b").claim("groups", groups)
    };
    assert_eq!(status(&engine, user("doctors nurses".into())), 200);
    assert_eq!(status(&engine, user(vec!["nurses"].into())), 200);
    assert_eq!(status(&engine, user("doctors".into())), 403);
    assert_eq!(status(&engine, user(5.into())), 403);
}

#[test]
fn a_permissive_binding_only_reports() {
    let on_trial = grant("methods: [GET]", "{user: \"*\"}")
        .replace("  subjects:", "  mode: PERMISSIVE\n  subjects:");
    let engine = engine(&[ON, &on_trial]);
    let judgement = engine.judge(&Request::new().get("/").port(8080));
    assert_eq!(judgement.status, Some(403));
    let marks = judgement.decision.marks.unwrap();
    assert!(marks.dry_run_allow.as_ref().unwrap().allowed);
}

#[test]
fn a_workload_that_states_no_services_is_an_error_that_says_so() {
    let workload = Workload::new("clinic", "ward");
    let problems = Engine::builder(&workload)
        .named_yaml("rbac.yaml", ON)
        .build()
        .unwrap_err();
    let message = problems.to_string();
    assert!(message.starts_with("rbac.yaml:2:1: "), "{message}");
    assert!(message.contains("states no services"), "{message}");
}

/// It selects no service, so that nobody has to state any.
#[test]
fn a_policy_of_the_whole_namespace_needs_no_services() {
    let workload = Workload::new("clinic", "ward");
    let policy = "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: default, namespace: clinic}
spec: {peers: [{mtls: {}}]}
";
    let engine = Engine::builder(&workload).yaml(policy).build().unwrap();
    assert_eq!(engine.mtls(8080), Some(MtlsMode::Strict));
    let targeted = policy
        .replace("default", "ward")
        .replace("peers", "targets: [{name: ward}], peers");
    let problems = Engine::builder(&workload).yaml(&targeted).build();
    assert!(
        problems
            .unwrap_err()
            .to_string()
            .contains("states no services")
    );
}

#[test]
fn an_authorization_policy_replaces_the_roles() {
    let today = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: writers, namespace: clinic}
spec: {rules: [{to: [{operation: {methods: [POST]}}]}]}
";
    let engine = engine(&[ON, &grant("methods: [GET]", "{user: \"*\"}"), today]);
    assert_eq!(status(&engine, Request::new().get("/")), 403);
    assert_eq!(status(&engine, Request::new().post("/")), 200);
    assert_eq!(engine.program().notes.len(), 1);
}
