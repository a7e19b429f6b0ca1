use std::time::Duration;

use super::*;

fn good(text: &str) -> Resources {
    match parse("good.yaml", text, "foo") {
        Ok(resources) => resources,
        Err(problems) => panic!("{problems}"),
    }
}

fn words(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(Text::as_str).collect()
}

#[test]
fn reads_an_authorization_policy_with_every_field() {
    let resources = good(
        r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: all
  namespace: bar
  annotations: {istio.io/dry-run: "true", other: “x”}
  labels: {a: b}
  creationTimestamp: 2024-05-31T08:00:00Z
  managedFields: [{manager: kubectl, fieldsV1: {f:spec: {}}}]
spec:
  selector:
    matchLabels: {app: web, version: "1"}
  action: DENY
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/a/sa/b, "*"]
        notPrincipals: [x]
        requestPrincipals: ["iss/sub"]
        notRequestPrincipals: ["*"]
        namespaces: [ns]
        notNamespaces: [ns2]
        trustDomains: ["td*"]
        not_trust_domains: [td2]
        ipBlocks: [10.0.0.0/8, "::1", 1.2.3.4]
        notIpBlocks: [10.1.0.0/16]
        remoteIpBlocks: ["2001:db8::/32"]
        notRemoteIpBlocks: [10.0.0.1]
    - source: {serviceAccounts: [sa, ns/sa], notServiceAccounts: [other]}
    to:
    - operation:
        hosts: [a.com]
        notHosts: [b.com]
        ports: ["80"]
        notPorts: ["81"]
        methods: [GET, "*"]
        notMethods: [PUT]
        paths: [/a, "/b*", "/c/{*}/{**}"]
        notPaths: [/d]
    when:
    - key: request.headers[x-user]
      values: [a, ""]
      notValues: [b]
  -
    {}
status: {anything: [goes, 1]}
"#,
    );
    let policy = &resources.authorization_policies[0];
    assert_eq!(policy.meta.name, "all");
    assert_eq!(policy.meta.namespace, "bar");
    assert_eq!(policy.meta.kind, "AuthorizationPolicy");
    assert_eq!(policy.meta.api_version, "security.istio.io/v1");
    assert_eq!(policy.meta.created.as_deref(), Some("2024-05-31T08:00:00Z"));
    assert_eq!((policy.meta.at.line, policy.meta.at.column), (2, 1));
    assert!(policy.dry_run);
    assert_eq!(policy.action, Action::Deny);
    assert_eq!(policy.selector.match_labels["version"], "1".into());
    assert_eq!(policy.rules.len(), 2);
    let source = &policy.rules[0].from[0];
    assert_eq!(words(&source.principals), ["cluster.local/ns/a/sa/b", "*"]);
    assert_eq!(source.principals[0].at().to_string(), "good.yaml:18:22");
    assert_eq!(words(&source.not_trust_domains), ["td2"]);
    assert_eq!(words(&source.not_remote_ip_blocks), ["10.0.0.1"]);
    assert_eq!(
        words(&policy.rules[0].from[1].service_accounts),
        ["sa", "ns/sa"]
    );
    let operation = &policy.rules[0].to[0];
    assert_eq!(words(&operation.paths), ["/a", "/b*", "/c/{*}/{**}"]);
    let condition = &policy.rules[0].when[0];
    assert_eq!(condition.key.as_str(), "request.headers[x-user]");
    assert_eq!(words(&condition.values), ["a", ""]);
    assert_eq!(policy.rules[1].from.len() + policy.rules[1].to.len(), 0);
}

#[test]
fn an_authorization_policy_without_a_spec_selects_all_and_matches_none() {
    for spec in [
        "",
        "spec:",
        "spec: {}",
        "spec: {rules: []}",
        "spec: {rules: null}",
    ] {
        let resources = good(&format!(
            "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {{name: x}}\n{spec}\n"
        ));
        let policy = &resources.authorization_policies[0];
        assert_eq!(policy.meta.namespace, "foo");
        assert_eq!(policy.action, Action::Allow);
        assert!(policy.rules.is_empty());
    }
}

#[test]
fn reads_a_custom_policy_and_target_refs() {
    let resources = good(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask}
spec:
  action: CUSTOM
  provider: {name: opa}
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}, {kind: Service, name: s}]
  rules: [{to: [{operation: {paths: [/x]}}]}]
",
    );
    let policy = &resources.authorization_policies[0];
    assert_eq!(policy.provider.as_deref(), Some("opa"));
    assert_eq!(policy.target_refs.len(), 2);
    assert_eq!(policy.target_refs[0].kind, "Gateway");
}

#[test]
fn reads_a_request_authentication() {
    let resources = good(
        r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt}
spec:
  presence: OPTIONAL
  jwtRules:
  - issuer: https://idp
    audiences: [a]
    jwksUri: "https://idp:8443/keys"
    fromHeaders: [{name: X-Token, prefix: "Tok "}, {name: x-raw}]
    fromParams: [t]
    from_cookies: [c]
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{header: x-sub, claim: sub}]
    spaceDelimitedClaims: [scopes]
    forwardOriginalToken: true
    timeout: 1.5s
  - issuer: b
    jwks: '{"keys":[{"kty":"RSA","n":"x","e":"AQAB"}]}'
"#,
    );
    let rule = &resources.request_authentications[0].jwt_rules[0];
    assert_eq!(rule.issuer.as_deref(), Some("https://idp"));
    assert_eq!(rule.jwks_uri.as_deref(), Some("https://idp:8443/keys"));
    assert_eq!(rule.from_headers[0].prefix, "Tok ");
    assert_eq!(words(&rule.from_cookies), ["c"]);
    assert_eq!(rule.output_claim_to_headers[0].claim.as_str(), "sub");
    assert!(rule.forward_original_token);
    assert_eq!(rule.timeout, Some(Duration::from_millis(1500)));
    assert!(
        resources.request_authentications[0].jwt_rules[1]
            .jwks
            .is_some()
    );
    assert!(resources.notes.is_empty());
}

#[test]
fn reads_a_peer_authentication() {
    let resources = good(
        r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: peers}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls:
    8080: {mode: PERMISSIVE}
    "9090": {mode: DISABLE}
    9091: {}
"#,
    );
    let peer = &resources.peer_authentications[0];
    assert_eq!(peer.mode, MtlsMode::Strict);
    assert_eq!(peer.port_level[&8080], MtlsMode::Permissive);
    assert_eq!(peer.port_level[&9090], MtlsMode::Disable);
    assert_eq!(peer.port_level[&9091], MtlsMode::Unset);
}

#[test]
fn reads_the_legacy_kinds() {
    let resources = good(
        r#"
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: patients, namespace: default}
spec:
  targets:
  - name: patients
    ports: [{number: 8443}, {name: http}]
  peers:
  - mtls: {}
  origins:
  - jwt:
      issuer: https://idp
      audiences: [patients]
      jwksUri: https://idp/keys
      jwtHeaders: [x-token, ingress-authorization]
      jwtParams: [t]
      triggerRules:
      - excludedPaths: [{exact: /healthz}, {prefix: /public/}]
        includedPaths: [{suffix: .html}, {regex: "/a/.*"}]
  principalBinding: USE_ORIGIN
---
apiVersion: authentication.istio.io/v1alpha1
kind: MeshPolicy
metadata: {name: default}
spec: {peers: [{mtls: null}]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec:
  mode: ON_WITH_INCLUSION
  inclusion: {namespaces: [default], services: [a.b.svc.cluster.local]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: reader, namespace: default}
spec:
  rules:
  - services: ["*"]
    methods: [GET]
    paths: ["/a*"]
    ports: [8080, "8081"]
    constraints:
    - {key: "request.headers[x]", values: [a]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: bind, namespace: default}
spec:
  subjects:
  - user: cluster.local/ns/default/sa/web
    properties: {"request.auth.claims[role]": nurse}
  roleRef: {kind: ServiceRole, name: reader}
  mode: PERMISSIVE
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: inline, namespace: default}
spec:
  subjects: [{names: [allUsers]}]
  actions: [{services: ["*"], methods: [GET]}]
"#,
    );
    let policy = &resources.legacy_policies[0];
    assert_eq!(policy.targets[0].ports[0], PortSelector::Number(8443));
    assert_eq!(policy.mtls.as_ref().map(|m| m.mode), Some(MtlsMode::Strict));
    assert_eq!(policy.principal_binding, PrincipalBinding::UseOrigin);
    let jwt = &policy.origins[0];
    assert_eq!(jwt.rule.from_headers[1].prefix, "istio");
    assert!(jwt.rule.forward_original_token);
    assert_eq!(
        jwt.trigger_rules[0].excluded_paths[1],
        StringMatch::Prefix("/public/".into())
    );
    let mesh = &resources.legacy_policies[1];
    assert_eq!(mesh.meta.namespace, "");
    assert_eq!(mesh.mtls.as_ref().map(|m| m.mode), Some(MtlsMode::Strict));
    let config = &resources.rbac_configs[0];
    assert_eq!(config.mode, RbacMode::OnWithInclusion);
    assert_eq!(words(&config.inclusion.namespaces), ["default"]);
    let role = &resources.service_roles[0];
    assert_eq!(role.rules[0].ports, [8080, 8081]);
    let binding = &resources.service_role_bindings[0];
    assert_eq!(binding.role.as_str(), "reader");
    assert_eq!(binding.mode, EnforcementMode::Permissive);
    assert_eq!(binding.subjects[0].properties.len(), 1);
    assert_eq!(resources.service_role_bindings[1].actions.len(), 1);
}

#[test]
fn reads_json_and_lists_and_skips_other_groups() {
    let resources = good(
        r#"{
	"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
	"items": [
		{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "a"},
		 "spec": {"rules": [{"to": [{"operation": {"paths": ["/\u00e9\ud83d\ude00"], "not_methods": []}}]}]}},
		{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 3}},
		{"apiVersion": "v1", "kind": "Secret", "data": {}},
		{"apiVersion": "security.istio.io/v1", "kind": "PeerAuthenticationList",
		 "items": [{"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "p"}}]}
	]
}"#,
    );
    let policy = &resources.authorization_policies[0];
    assert_eq!(policy.rules[0].to[0].paths[0].as_str(), "/é😀");
    assert_eq!(resources.peer_authentications.len(), 1);
    let skipped: Vec<_> = resources
        .skipped
        .iter()
        .map(|s| (&*s.kind, &*s.name))
        .collect();
    assert_eq!(skipped, [("Deployment", "d"), ("Secret", "")]);
}

#[test]
fn an_empty_namespace_is_none() {
    for namespace in ["", "''", "null"] {
        let resources = good(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: x, namespace: {namespace}}}\n"
        ));
        assert_eq!(resources.peer_authentications[0].meta.namespace, "foo");
    }
}

#[test]
fn reads_nothing_from_nothing() {
    for text in ["", "\n", "---\n---\n", "# only a comment\n", "null"] {
        let resources = good(text);
        assert!(resources.authorization_policies.is_empty(), "{text:?}");
    }
}

#[test]
fn reads_more_documents_than_a_yaml_reader_allows_by_default() {
    let mut text = String::new();
    for n in 0..1_500 {
        text += &format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{n}}}\nspec: {{rules: [{{}}]}}\n"
        );
    }
    assert_eq!(good(&text).authorization_policies.len(), 1_500);
}

#[test]
fn reads_aliases() {
    let resources = good(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a}
spec:
  rules:
  - to: &to
    - operation: {paths: &paths [/a, /b]}
    when: [{key: source.ip, values: [1.2.3.4]}]
  - to: *to
  - to: [{operation: {notPaths: *paths}}]
",
    );
    let rules = &resources.authorization_policies[0].rules;
    assert_eq!(rules[0].to, rules[1].to);
    assert_eq!(words(&rules[2].to[0].not_paths), ["/a", "/b"]);
}

#[test]
fn reads_a_mesh_config_bare_and_in_its_config_map() {
    let bare = r#"
trustDomain: td1
trustDomainAliases: [td2]
rootNamespace: root
accessLogFile: /dev/stdout
defaultConfig: {tracing: {}}
enablePrometheusMerge: true
pathNormalization: {normalization: MERGE_SLASHES}
extensionProviders:
- name: opa
  envoyExtAuthzGrpc: {service: opa.ns.svc, port: 9191, timeout: 2s, failOpen: true, statusOnError: "503"}
- name: oauth
  envoyExtAuthzHttp: {service: ns/oauth.svc, port: "80", pathPrefix: /check, includeRequestHeadersInCheck: [cookie], headersToUpstreamOnAllow: [x]}
- name: zipkin
  zipkin: {service: z, port: 9411}
"#;
    let config = parse_mesh_config("mesh.yaml", bare).unwrap();
    assert_eq!(config.trust_domain.as_deref(), Some("td1"));
    assert_eq!(config.trust_domain_aliases, ["td2"]);
    assert_eq!(config.root_namespace, "root");
    assert_eq!(config.path_normalization, PathNormalization::MergeSlashes);
    assert_eq!(config.unused, ["enablePrometheusMerge"]);
    assert_eq!(
        config.extension_providers[0].kind,
        ProviderKind::ExtAuthzGrpc {
            service: "opa.ns.svc".to_owned(),
            port: 9191,
            timeout: Some(Duration::from_secs(2)),
            fail_open: true,
            status_on_error: Some(503),
            include_request_body: None,
            clear_route_cache: false,
        }
    );
    let ProviderKind::Telemetry(zipkin) = &config.extension_providers[2].kind else {
        panic!("{:?}", config.extension_providers[2]);
    };
    let TelemetryProvider::Zipkin(service) = &**zipkin else {
        panic!("{zipkin:?}");
    };
    assert_eq!((service.service.as_str(), service.port), ("z", 9411));

    let indented = bare.replace('\n', "\n    ");
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |-{indented}\n  meshNetworks: 'networks: {{}}'\n"
    );
    assert_eq!(parse_mesh_config("mesh.yaml", &map).unwrap(), config);
    let resources = good(&map);
    assert_eq!(resources.mesh_config.as_deref(), Some(&config));
    assert_eq!(resources.skipped[0].kind, "ConfigMap");

    assert_eq!(parse_mesh_config("x", "").unwrap(), MeshConfig::default());
}

#[test]
fn points_into_the_mesh_config_of_a_config_map() {
    let map = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio}
data:
  mesh: |
    trustDomain: td
    pathNormalization:
      normalization: MERGE
";
    let problems = parse_mesh_config("mesh.yaml", map).unwrap_err().to_string();
    assert_eq!(
        problems,
        "mesh.yaml:9:22: data.mesh: pathNormalization.normalization: `MERGE` is not one of DEFAULT, NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES"
    );
}
