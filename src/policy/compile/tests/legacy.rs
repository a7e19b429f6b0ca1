//! The 2018 resources.

use std::sync::Arc;

use super::notation;
use super::world::{meta, policy, texts};
use crate::identity::Workload;
use crate::istio::{
    AccessRule, Action, Constraint, EnforcementMode, LegacyJwt, LegacyMtls, LegacyPolicy,
    LegacyTarget, MeshConfig, MtlsMode, PeerAuthentication, PortSelector, Position,
    PrincipalBinding, Problems, RbacConfig, RbacMode, RbacTarget, RequestAuthentication, Resources,
    Rule, ServiceRole, ServiceRoleBinding, StringMatch, Subject, TriggerRule,
};
use crate::policy::ir::Rbac;
use crate::policy::{Program, compile};

fn ward() -> Workload {
    Workload::new("clinic", "ward-account")
        .label("app", "ward")
        .service_with_port_name("ward", 8080, "http")
}

fn compiled(resources: &Resources) -> Result<Program, Problems> {
    compile(resources, &MeshConfig::default(), &ward())
}

fn on(mode: RbacMode) -> RbacConfig {
    RbacConfig {
        meta: meta("ClusterRbacConfig", "", "default"),
        mode,
        ..RbacConfig::default()
    }
}

fn rule(set: impl FnOnce(&mut AccessRule)) -> AccessRule {
    let mut rule = AccessRule {
        services: texts(&["ward.clinic.svc.cluster.local"]),
        ..AccessRule::default()
    };
    set(&mut rule);
    rule
}

fn role(name: &str, rules: Vec<AccessRule>) -> Arc<ServiceRole> {
    Arc::new(ServiceRole {
        meta: meta("ServiceRole", "clinic", name),
        rules,
    })
}

fn binding(role: &str, subjects: Vec<Subject>) -> ServiceRoleBinding {
    ServiceRoleBinding {
        meta: meta("ServiceRoleBinding", "clinic", &format!("{role}-binding")),
        role: role.into(),
        subjects,
        ..ServiceRoleBinding::default()
    }
}

fn subject(set: impl FnOnce(&mut Subject)) -> Subject {
    let mut subject = Subject::default();
    set(&mut subject);
    subject
}

fn user(name: &str) -> Subject {
    subject(|subject| subject.user = Some(name.into()))
}

fn property(key: &str, value: &str) -> Subject {
    subject(|subject| {
        subject.properties.insert(key.to_owned(), value.into());
    })
}

/// RBAC on, the role `r` with one rule, bound to one subject.
fn granting(rule: AccessRule, subject: Subject) -> Resources {
    Resources {
        rbac_configs: vec![Arc::new(on(RbacMode::On))],
        service_roles: vec![role("r", vec![rule])],
        service_role_bindings: vec![Arc::new(binding("r", vec![subject]))],
        ..Resources::default()
    }
}

fn legacy_policy(name: &str, mtls: Option<MtlsMode>) -> LegacyPolicy {
    LegacyPolicy {
        meta: meta("Policy", "clinic", name),
        mtls: mtls.map(|mode| LegacyMtls::new(mode, Position::default())),
        ..LegacyPolicy::default()
    }
}

fn target(name: &str, ports: Vec<PortSelector>) -> LegacyTarget {
    LegacyTarget {
        name: name.into(),
        ports,
    }
}

fn lines(rbac: Option<&Rbac>) -> Vec<String> {
    rbac.map(notation::rbac).unwrap_or_default()
}

fn allow(program: &Program) -> Vec<String> {
    lines(program.http.get(8080).allow.enforced.as_ref())
}

/// Permissions and principals of the role `r`, for HTTP.
fn parts(resources: &Resources) -> (String, String) {
    let line = allow(&compiled(resources).unwrap()).concat();
    let line = line.strip_prefix("r: ").unwrap();
    let (permissions, principals) = line.split_once(" => ").unwrap();
    (permissions.to_owned(), principals.to_owned())
}

/// The example of spec §7.3.
#[test]
fn a_role_and_its_binding_become_one_policy_named_by_the_role() {
    let resources = Resources {
        rbac_configs: vec![Arc::new(on(RbacMode::On))],
        legacy_policies: vec![Arc::new(legacy_policy("default", Some(MtlsMode::Strict)))],
        service_roles: vec![role(
            "ward-reader",
            vec![rule(|rule| rule.methods = texts(&["GET", "HEAD"]))],
        )],
        service_role_bindings: vec![Arc::new(binding(
            "ward-reader",
            vec![user("cluster.local/ns/clinic/sa/desk")],
        ))],
        ..Resources::default()
    };
    let program = compiled(&resources).unwrap();
    assert_eq!(
        allow(&program),
        [
            "ward-reader: and[or[header{:method} exact GET, header{:method} exact HEAD]] => \
          and[or[authenticated exact spiffe://cluster.local/ns/clinic/sa/desk]]"
        ]
    );
    assert_eq!(program.mtls.get(8080), &Some(MtlsMode::Strict));
    assert_eq!(
        lines(program.tcp.get(8080).allow.enforced.as_ref()),
        [""; 0]
    );
    assert!(program.tcp.get(8080).allow.enforced.is_some());
}

#[test]
fn rule_fields_become_permissions() {
    let constraint = |key: &str, value: &str| {
        rule(|rule| {
            rule.constraints = vec![Constraint {
                key: key.into(),
                values: texts(&[value]),
            }];
        })
    };
    let rows = [
        (rule(|_| ()), "and[any]"),
        (
            rule(|rule| rule.paths = texts(&["/a", "/b*"])),
            "and[or[header{:path} exact /a, header{:path} prefix /b]]",
        ),
        (
            rule(|rule| rule.hosts = texts(&["A.com"])),
            "and[or[header{:authority} exact A.com]]",
        ),
        (
            rule(|rule| rule.methods = texts(&["*"])),
            "and[or[header{:method} present]]",
        ),
        (
            rule(|rule| {
                rule.not_ports = vec![1];
                rule.ports = vec![8080, 80];
                rule.not_methods = texts(&["PUT"]);
            }),
            "and[not(or[header{:method} exact PUT]), or[port 8080, port 80], not(or[port 1])]",
        ),
        (
            constraint("request.headers[X-A]", "v"),
            "and[or[header{x-a} exact v]]",
        ),
        (
            constraint("destination.ip", "10.0.0.0/8"),
            "and[or[destination_ip 10.0.0.0/8]]",
        ),
        (constraint("destination.port", "80"), "and[or[port 80]]"),
        (constraint("connection.sni", "*"), "and[or[sni regex .*]]"),
        (
            constraint("experimental.envoy.filters.f[k]", "[v]"),
            "and[or[envoy.filters.f{k} list(exact v)]]",
        ),
        (constraint("destination.labels[app]", "wa*"), "and[any]"),
        (constraint("destination.name", "ward"), "and[any]"),
        (constraint("destination.namespace", "*nic"), "and[any]"),
        (constraint("destination.user", "ward-account"), "and[any]"),
    ];
    for (rule, expected) in rows {
        assert_eq!(parts(&granting(rule, user("*"))).0, expected);
    }
    for unmet in [
        constraint("destination.labels[app]", "other"),
        constraint("destination.labels[missing]", "*"),
        constraint("destination.user", "ward"),
        rule(|rule| rule.services = texts(&["desk.clinic.svc.cluster.local"])),
        rule(|rule| rule.services = texts(&["ward"])),
    ] {
        let program = compiled(&granting(unmet, user("*"))).unwrap();
        assert_eq!(allow(&program), [""; 0]);
    }
    for service in ["*", "ward.*", "*.svc.cluster.local"] {
        let rule = rule(|rule| rule.services = texts(&[service]));
        assert_eq!(parts(&granting(rule, user("*"))).0, "and[any]");
    }
}

#[test]
fn subject_fields_become_principals() {
    let names = |values: &[&str]| subject(|subject| subject.names = texts(values));
    let td = "td/ns/a/sa/b";
    let rows = [
        (user(td), "or[authenticated exact spiffe://td/ns/a/sa/b]"),
        (user("*/sa/b"), "or[authenticated regex spiffe://.*/sa/b]"),
        (user("*"), "or[any]"),
        (names(&["allUsers"]), "or[any]"),
        (
            names(&["allAuthenticatedUsers"]),
            "or[authenticated regex .+]",
        ),
        (
            subject(|subject| {
                subject.not_names = texts(&[td]);
                subject.group = Some("g".into());
                subject.namespaces = texts(&["n.*"]);
                subject.not_ips = texts(&["10.0.0.1"]);
            }),
            "not(or[authenticated exact spiffe://td/ns/a/sa/b]), \
             or[istio_authn{request.auth.claims|groups} list(exact g)], \
             or[authenticated regex .*/ns/n..*/.*], not(or[source_ip 10.0.0.1/32])",
        ),
        (
            subject(|subject| subject.not_groups = texts(&["*"])),
            "not(or[istio_authn{request.auth.claims|groups} list(regex .*)])",
        ),
        (
            property("source.principal", "*"),
            "or[authenticated regex .+]",
        ),
        (
            property("source.namespace", "n"),
            "or[authenticated regex .*/ns/n/.*]",
        ),
        (
            property("source.ip", "10.0.0.1"),
            "or[source_ip 10.0.0.1/32]",
        ),
        (
            property("request.auth.principal", td),
            "or[authenticated exact spiffe://td/ns/a/sa/b]",
        ),
        (
            property("request.auth.audiences", "a"),
            "or[istio_authn{request.auth.audiences} exact a]",
        ),
        (
            property("request.auth.presenter", "*"),
            "or[istio_authn{request.auth.presenter} regex .*]",
        ),
        (
            property("request.auth.claims[c]", "v*"),
            "or[istio_authn{request.auth.claims|c} list(prefix v)]",
        ),
        (property("request.headers[X]", "v"), "or[header{x} exact v]"),
        (
            property("nonsense", "v"),
            "or[envoy.filters.http.rbac{nonsense} exact v]",
        ),
        (Subject::default(), "not(any)"),
    ];
    for (subject, expected) in rows {
        let resources = granting(rule(|_| ()), subject);
        assert_eq!(parts(&resources).1, format!("and[{expected}]"));
    }
}

/// Spec §7.1: without mutual TLS there is no peer identity; `*` is anyone all the same.
#[test]
fn users_need_a_policy_with_mtls() {
    let rows = [
        (user("td/ns/a/sa/b"), "and[or[not(any)]]"),
        (user("*"), "and[or[any]]"),
        (property("source.namespace", "n"), "and[or[not(any)]]"),
        (
            subject(|subject| subject.not_names = texts(&["allAuthenticatedUsers"])),
            "and[not(or[not(any)])]",
        ),
    ];
    for (subject, expected) in rows {
        let mut resources = granting(rule(|_| ()), subject);
        resources.legacy_policies = vec![Arc::new(legacy_policy("default", None))];
        assert_eq!(parts(&resources).1, expected);
        assert_eq!(
            compiled(&resources).unwrap().mtls.get(8080),
            &Some(MtlsMode::Disable)
        );
    }
}

#[test]
fn the_principal_binding_decides_what_the_request_principal_is() {
    let mut resources = granting(rule(|_| ()), property("request.auth.principal", "iss/*"));
    let mut by_origin = legacy_policy("default", Some(MtlsMode::Strict));
    by_origin.principal_binding = PrincipalBinding::UseOrigin;
    resources.legacy_policies = vec![Arc::new(by_origin)];
    let of_user = "and[or[istio_authn{request.auth.principal} prefix iss/]]";
    assert_eq!(parts(&resources).1, of_user);

    let by_peer = legacy_policy("default", Some(MtlsMode::Strict));
    resources.legacy_policies = vec![Arc::new(by_peer)];
    assert_eq!(
        parts(&resources).1,
        "and[or[authenticated prefix spiffe://iss/]]"
    );
    // A RequestAuthentication forces the end user.
    let today = RequestAuthentication {
        meta: meta("RequestAuthentication", "clinic", "jwt"),
        ..RequestAuthentication::default()
    };
    resources.request_authentications = vec![Arc::new(today)];
    assert_eq!(parts(&resources).1, of_user);
    let program = compiled(&resources).unwrap();
    assert_eq!(program.authentication.get(8080).legacy, None);
}

/// Spec §7.2.
#[test]
fn the_switch_goes_by_namespace_and_service() {
    let list = |services: &[&str], namespaces: &[&str]| RbacTarget {
        services: texts(services),
        namespaces: texts(namespaces),
    };
    let ward = list(&["ward.clinic.svc.cluster.local"], &[]);
    let clinic = list(&[], &["clinic"]);
    let other = list(&["ward"], &["clin*"]);
    let rows = [
        (RbacMode::Off, &clinic, false),
        (RbacMode::On, &other, true),
        (RbacMode::OnWithInclusion, &ward, true),
        (RbacMode::OnWithInclusion, &clinic, true),
        (RbacMode::OnWithInclusion, &other, false),
        (RbacMode::OnWithExclusion, &ward, false),
        (RbacMode::OnWithExclusion, &clinic, false),
        (RbacMode::OnWithExclusion, &other, true),
    ];
    for (mode, listed, enforced) in rows {
        let config = RbacConfig {
            inclusion: listed.clone(),
            exclusion: listed.clone(),
            ..on(mode)
        };
        let resources = Resources {
            rbac_configs: vec![Arc::new(config)],
            ..Resources::default()
        };
        let program = compiled(&resources).unwrap();
        assert_eq!(
            program.http.get(8080).allow.enforced.is_some(),
            enforced,
            "{mode:?}"
        );
    }
    // The older kind is namespaced, and speaks for all namespaces.
    let mut elsewhere = on(RbacMode::On);
    elsewhere.meta = meta("RbacConfig", "istio-system", "default");
    let resources = Resources {
        rbac_configs: vec![Arc::new(elsewhere)],
        ..Resources::default()
    };
    let program = compiled(&resources).unwrap();
    assert!(program.http.get(8080).allow.enforced.is_some());
    // No switch, no RBAC; and the cluster's beats the older kind.
    let mut resources = granting(rule(|_| ()), user("*"));
    let mut older = on(RbacMode::On);
    older.meta.kind = "RbacConfig".to_owned();
    resources.rbac_configs = vec![];
    let is_on = |resources: &Resources| {
        let program = compiled(resources).unwrap();
        program.http.get(8080).allow.enforced.is_some()
    };
    assert!(!is_on(&resources));
    resources.rbac_configs = vec![Arc::new(older)];
    assert!(is_on(&resources));
    resources.rbac_configs.push(Arc::new(on(RbacMode::Off)));
    assert!(!is_on(&resources));
}

#[test]
fn permissive_bindings_and_configs_only_report() {
    let mut resources = granting(rule(|_| ()), user("*"));
    let mut on_trial = binding("r", vec![user("td/ns/a/sa/b")]);
    on_trial.mode = EnforcementMode::Permissive;
    resources.service_role_bindings.push(Arc::new(on_trial));
    let program = compiled(&resources).unwrap();
    assert_eq!(allow(&program), ["r: and[any] => and[or[any]]"]);
    assert_eq!(
        lines(program.http.get(8080).allow.shadow.as_ref()),
        ["r: and[any] => and[or[authenticated exact spiffe://td/ns/a/sa/b]]"]
    );

    let mut config = on(RbacMode::On);
    config.enforcement_mode = EnforcementMode::Permissive;
    resources.rbac_configs = vec![Arc::new(config)];
    let program = compiled(&resources).unwrap();
    assert_eq!(program.http.get(8080).allow.enforced, None);
    assert_eq!(
        lines(program.http.get(8080).allow.shadow.as_ref()),
        ["r: and[any] => and[or[any]], and[or[authenticated exact spiffe://td/ns/a/sa/b]]"]
    );
}

/// Spec §7.2: a role without a binding and a binding to a missing role grant nothing, and are
/// noted.
#[test]
fn names_that_do_not_meet_grant_nothing_and_are_noted() {
    let mut resources = granting(rule(|_| ()), user("*"));
    resources.service_role_bindings = vec![Arc::new(binding("R", vec![user("*")]))];
    let program = compiled(&resources).unwrap();
    assert_eq!(allow(&program), [""; 0]);
    assert_eq!(program.notes.len(), 2);
}

#[test]
fn on_tcp_rules_and_subjects_that_ask_for_http_are_dropped_one_by_one() {
    let mut resources = granting(rule(|rule| rule.methods = texts(&["GET"])), user("*"));
    let tcp = |resources: &Resources| {
        let program = compiled(resources).unwrap();
        lines(program.tcp.get(8080).allow.enforced.as_ref())
    };
    assert_eq!(tcp(&resources), [""; 0]);
    let by_port = rule(|rule| rule.ports = vec![8080]);
    resources.service_roles = vec![role(
        "r",
        vec![rule(|rule| rule.paths = texts(&["/"])), by_port],
    )];
    let subjects = vec![
        property("request.auth.claims[a]", "b"),
        subject(|subject| subject.groups = texts(&["g"])),
        property("source.ip", "10.0.0.1"),
    ];
    resources.service_role_bindings = vec![Arc::new(binding("r", subjects))];
    assert_eq!(
        tcp(&resources),
        ["r: and[or[port 8080]] => and[or[source_ip 10.0.0.1/32]]"]
    );
}

/// Spec §7.1: port beats service beats namespace beats mesh; nothing is merged.
#[test]
fn the_narrowest_policy_is_effective() {
    let for_target = |name: &str, target: LegacyTarget, mode| LegacyPolicy {
        targets: vec![target],
        ..legacy_policy(name, Some(mode))
    };
    let mesh = LegacyPolicy {
        meta: meta("MeshPolicy", "", "default"),
        ..legacy_policy("default", Some(MtlsMode::Permissive))
    };
    let mut policies = vec![Arc::new(mesh)];
    let mode = |policies: &[Arc<LegacyPolicy>], port| {
        let resources = Resources {
            legacy_policies: policies.to_vec(),
            ..Resources::default()
        };
        let workload = ward().service_with_port_name("desk", 9090, "grpc");
        let program = compile(&resources, &MeshConfig::default(), &workload).unwrap();
        *program.mtls.get(port)
    };
    assert_eq!(mode(&policies, 8080), Some(MtlsMode::Permissive));
    policies.push(Arc::new(legacy_policy("default", None)));
    assert_eq!(mode(&policies, 8080), Some(MtlsMode::Disable));
    let of_service = for_target("s", target("ward", vec![]), MtlsMode::Permissive);
    policies.push(Arc::new(of_service));
    assert_eq!(mode(&policies, 8080), Some(MtlsMode::Permissive));
    assert_eq!(mode(&policies, 9090), Some(MtlsMode::Disable));
    for port in [
        PortSelector::Number(8080),
        PortSelector::Name("http".into()),
    ] {
        let of_port = for_target("p", target("ward", vec![port]), MtlsMode::Strict);
        policies.push(Arc::new(of_port));
        assert_eq!(mode(&policies, 8080), Some(MtlsMode::Strict));
        policies.pop();
    }
    for port in [
        PortSelector::Number(9090),
        PortSelector::Name("grpc".into()),
    ] {
        let of_port = for_target("p", target("ward", vec![port]), MtlsMode::Strict);
        policies.push(Arc::new(of_port));
        assert_eq!(mode(&policies, 8080), Some(MtlsMode::Permissive));
        policies.pop();
    }
    // A port that no service names still has the namespace's policy.
    assert_eq!(mode(&policies, 1), Some(MtlsMode::Disable));
}

#[test]
fn todays_resources_replace_those_of_2018() {
    let mut resources = granting(rule(|_| ()), user("td/ns/a/sa/b"));
    let mut effective = legacy_policy("default", None);
    effective.origins = vec![LegacyJwt::default()];
    resources.legacy_policies = vec![Arc::new(effective)];
    let legacy = compiled(&resources).unwrap();
    let authentication = legacy.authentication.get(8080).legacy.clone().unwrap();
    assert_eq!(
        (authentication.origins.len(), authentication.peer),
        (1, None)
    );

    // A PeerAuthentication replaces the peers, and with mutual TLS there are users again.
    let peers = PeerAuthentication {
        meta: meta("PeerAuthentication", "clinic", "strict"),
        mode: MtlsMode::Strict,
        ..PeerAuthentication::default()
    };
    resources.peer_authentications = vec![Arc::new(peers)];
    let program = compiled(&resources).unwrap();
    assert_eq!(program.mtls.get(8080), &Some(MtlsMode::Strict));
    let authentication = program.authentication.get(8080).legacy.clone().unwrap();
    assert_eq!(authentication.peer, Some(MtlsMode::Strict));
    assert_eq!(
        parts(&resources).1,
        "and[or[authenticated exact spiffe://td/ns/a/sa/b]]"
    );

    // An AuthorizationPolicy replaces all of RBAC.
    let mut today = policy("p", Action::Deny, vec![Rule::default()]);
    today.meta.namespace = "clinic".to_owned();
    resources.authorization_policies = vec![Arc::new(today)];
    let program = compiled(&resources).unwrap();
    assert_eq!(program.http.get(8080).allow.enforced, None);
    assert!(program.http.get(8080).deny.enforced.is_some());
    assert_eq!(program.notes.len(), 1);
}

#[test]
fn what_would_widen_or_guess_is_refused() {
    let constraint = |key: &str| {
        rule(|rule| {
            rule.constraints = vec![Constraint {
                key: key.into(),
                values: texts(&["v"]),
            }];
        })
    };
    let mut inline = granting(rule(|_| ()), user("*"));
    let mut binding = binding("", vec![user("*")]);
    binding.actions = vec![AccessRule::default()];
    inline.service_role_bindings = vec![Arc::new(binding)];
    let mut twice = granting(rule(|_| ()), user("*"));
    twice.service_roles.push(role("r", vec![]));
    let rows = [
        (
            granting(constraint("nonsense"), user("*")),
            "spec.rules[0].constraints[0].key",
        ),
        (
            granting(constraint("destination.ip"), user("*")),
            "spec.rules[0].constraints[0].values[0]",
        ),
        (
            granting(rule(|rule| rule.services.clear()), user("*")),
            "spec.rules[0].services",
        ),
        (
            granting(
                rule(|_| ()),
                subject(|subject| subject.names = texts(&["*"])),
            ),
            "spec.subjects[0].names[0]",
        ),
        (
            granting(rule(|_| ()), property("source.ip", "x")),
            "spec.subjects[0].properties[source.ip]",
        ),
        (inline, "spec.actions"),
        (twice, "metadata.name"),
    ];
    for (mut resources, field) in rows {
        for mode in [RbacMode::On, RbacMode::Off] {
            resources.rbac_configs = vec![Arc::new(on(mode))];
            let problems = compiled(&resources).unwrap_err();
            let fields: Vec<_> = problems
                .as_slice()
                .iter()
                .map(|p| p.field.as_str())
                .collect();
            assert_eq!(fields, [field]);
        }
    }
}

#[test]
fn a_trigger_that_is_no_regex_is_refused() {
    let mut policy = legacy_policy("default", None);
    let trigger = TriggerRule {
        included_paths: vec![StringMatch::Regex("/a(".into())],
        ..TriggerRule::default()
    };
    policy.origins = vec![LegacyJwt {
        trigger_rules: vec![trigger],
        ..LegacyJwt::default()
    }];
    let resources = Resources {
        legacy_policies: vec![Arc::new(policy)],
        ..Resources::default()
    };
    let problems = compiled(&resources).unwrap_err();
    assert_eq!(
        problems.as_slice()[0].field,
        "spec.origins[0].jwt.triggerRules"
    );
}

#[test]
fn a_workload_without_services_is_told_to_state_them() {
    let workload = Workload::new("clinic", "ward");
    let resources = granting(rule(|_| ()), user("*"));
    let problems = compile(&resources, &MeshConfig::default(), &workload).unwrap_err();
    assert!(
        problems.to_string().contains("states no services"),
        "{problems}"
    );
    // Resources of another namespace are not ours.
    let mut elsewhere = granting(rule(|_| ()), user("*"));
    elsewhere.rbac_configs.clear();
    let workload = Workload::new("desk", "desk");
    assert!(compile(&elsewhere, &MeshConfig::default(), &workload).is_ok());
}
