//! What a document says it is: our kinds under groups that are not ours, kinds and lists that are misspelt.

use super::*;

/// `apiVersion`, `kind`, the field to blame, a piece of the message.
type Row = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip] // one row a line
const SLIPS: &[Row] = &[
    // Without a version, without a group, without either.
    ("security.istio.io", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io/", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("rbac.istio.io", "ServiceRole", "apiVersion", "write rbac.istio.io/v1alpha1"),
    ("v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("v1beta1", "PeerAuthentication", "apiVersion", "write security.istio.io/v1"),
    ("/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    // A version that the group does not have.
    ("security.istio.io/v1gamma", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io/V1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io/v1/", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io//v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("authentication.istio.io/v1beta1", "Policy", "apiVersion", "write authentication.istio.io/v1alpha1"),
    // A group of ours that has other kinds.
    ("rbac.istio.io/v1alpha1", "AuthorizationPolicy", "kind", "write security.istio.io/v1"),
    ("security.istio.io/v1", "ServiceRole", "kind", "write rbac.istio.io/v1alpha1"),
    ("security.istio.io/v1beta1", "MeshPolicy", "kind", "write authentication.istio.io/v1alpha1"),
    ("authentication.istio.io/v1alpha1", "RequestAuthentication", "kind", "write security.istio.io/v1"),
    // Other groups of Istio.
    ("config.istio.io/v1alpha2", "ServiceRole", "apiVersion", "write rbac.istio.io/v1alpha1"),
    ("config.istio.io/v1alpha2", "ServiceRoleBinding", "apiVersion", "write rbac.istio.io/v1alpha1"),
    ("config.istio.io/v1alpha2", "RbacConfig", "apiVersion", "write rbac.istio.io/v1alpha1"),
    ("networking.istio.io/v1", "AuthorizationPolicy", "kind", "write security.istio.io/v1"),
    ("networking.istio.io/v1alpha3", "authorizationpolicy", "kind", "write security.istio.io/v1"),
    ("extensions.istio.io/v1alpha1", "RequestAuthentication", "apiVersion", "write security.istio.io/v1"),
    ("telemetry.istio.io/v1", "PeerAuthentication", "kind", "write security.istio.io/v1"),
    ("security.istio.io/v1", "Telemetry", "kind", "write telemetry.istio.io/v1"),
    ("telemetry.istio.io/v1beta1", "Telemetry", "apiVersion", "write telemetry.istio.io/v1"),
    ("telemetry.istio.io/v1", "Telemetri", "kind", "did you mean Telemetry?"),
    ("telemtry.istio.io/v1", "Telemetry", "apiVersion", "write telemetry.istio.io/v1"),
    ("authorization.istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    // Misspelt, whatever the kind.
    ("securty.istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.isto.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.oi/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io./v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    (".security.istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security..istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("Security.Istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("SECURITY.ISTIO.IO/v1", "PeerAuthentication", "apiVersion", "write security.istio.io/v1"),
    (" security.istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io /v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io:v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.io.v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security-istio-io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security,istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("istio.security.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.istio.com/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("\u{455}ecurity.istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("security.\u{200b}istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("v1/security.istio.io", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("https://security.istio.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("${GROUP}/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("authentiction.istio.io/v1alpha1", "Policy", "apiVersion", "write authentication.istio.io/v1alpha1"),
    ("rabc.istio.io/v1alpha1", "ServiceRoleBinding", "apiVersion", "write rbac.istio.io/v1alpha1"),
    ("rbac.istio.oi/v1alpha1", "ClusterRbacConfig", "apiVersion", "write rbac.istio.io/v1alpha1"),
    ("netwroking.istoi.io/v1", "AuthorizationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("securty.istio.io/v1", "AuthorisationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("securty.istio.io/v1", "Whatever", "apiVersion", "did you mean security.istio.io"),
    ("Security.istio.io/v1", "Whatever", "apiVersion", "did you mean security.istio.io"),
    // A kind that is misspelt.
    ("security.istio.io/v1", "AuthorisationPolicy", "kind", "did you mean AuthorizationPolicy"),
    ("security.istio.io/v1", "Authorizationpolicy", "kind", "did you mean AuthorizationPolicy"),
    ("security.istio.io/v1", "AuthorizationPolicies", "kind", "did you mean AuthorizationPolicy"),
    ("security.istio.io/v1", "AuthorizationPolicy ", "kind", "did you mean AuthorizationPolicy"),
    ("security.istio.io/v1", "AuthorizationPolicyList", "kind", "AuthorizationPolicy"),
    ("security.istio.io/v1", "Peerauthentication", "kind", "did you mean PeerAuthentication"),
    ("rbac.istio.io/v1alpha1", "Servicerole", "kind", "did you mean ServiceRole"),
    ("authentication.istio.io/v1alpha1", "policy", "kind", "did you mean Policy"),
    ("security.istio.io", "AuthorisationPolicy", "apiVersion", "write security.istio.io/v1"),
    ("v1", "AuthorisationPolicy", "apiVersion", "write security.istio.io/v1"),
];

fn document(version: &str, kind: &str) -> String {
    format!("{{apiVersion: \"{version}\", kind: \"{kind}\", metadata: {{name: a}}, spec: {{}}}}\n")
}

#[test]
fn one_of_our_kinds_under_a_group_that_is_none_is_refused() {
    for (version, kind, field, piece) in SLIPS {
        let problem = match parse("f", &document(version, kind), "foo") {
            Ok(_) => panic!("nothing is wrong with {version} {kind}"),
            Err(problems) => problems.to_string(),
        };
        assert!(
            problem.contains(&format!(": {field}: ")) && problem.contains(piece),
            "{version} {kind}\n     due: {field}: ..{piece}..\nreported: {problem}"
        );
    }
}

#[test]
fn a_slip_is_found_inside_lists_and_only_it_is_told() {
    for (version, kind, field, piece) in SLIPS {
        let list = format!(
            "{{apiVersion: v1, kind: List, items: [{}, {}]}}",
            document("v1", "Secret"),
            document(version, kind)
        );
        let problem = only_problem(&list);
        assert!(
            problem.contains(&format!(": items[1].{field}: ")) && problem.contains(piece),
            "{version} {kind}: {problem}"
        );
    }
}

/// Whoever else has such a kind: it is not read, and only said to be passed over.
#[test]
fn what_is_plainly_someone_elses_is_skipped_and_noted() {
    for (version, kind) in [
        ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
        ("security.example.com/v1", "AuthorizationPolicy"),
        ("mesh.clinic.example/v2", "PeerAuthentication"),
        ("security.openshift.io/v1", "RequestAuthentication"),
        ("rbac.clinic.example/v1", "ServiceRole"),
    ] {
        let resources = parse("f", &document(version, kind), "foo").unwrap();
        assert_eq!(resources.skipped.len(), 1, "{version}");
        let [note] = &resources.notes[..] else {
            panic!("{version} {kind}: {:?}", resources.notes)
        };
        let note = note.to_string();
        assert!(
            note.starts_with("f:1:14: apiVersion: ") && note.contains(kind),
            "{note}"
        );
    }
}

/// The kinds that Kubernetes, Istio and others have under their own names.
#[test]
fn kinds_that_are_not_ours_are_skipped_without_a_word() {
    #[rustfmt::skip]
    let groups: &[(&str, &[&str])] = &[
        ("v1", &["Binding", "ConfigMap", "Endpoints", "Event", "LimitRange", "Namespace", "Node", "PersistentVolume",
            "PersistentVolumeClaim", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota", "Secret", "Service", "ServiceAccount"]),
        ("apps/v1", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
        ("batch/v1", &["CronJob", "Job"]),
        ("policy/v1", &["Eviction", "PodDisruptionBudget", "PodSecurityPolicy"]),
        ("extensions/v1beta1", &["Ingress", "NetworkPolicy", "PodSecurityPolicy", "Deployment"]),
        ("autoscaling/v2", &["HorizontalPodAutoscaler", "Scale"]),
        ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
        ("networking.k8s.io/v1", &["Ingress", "IngressClass", "NetworkPolicy"]),
        ("admissionregistration.k8s.io/v1", &["MutatingWebhookConfiguration", "ValidatingAdmissionPolicy"]),
        ("audit.k8s.io/v1", &["Policy"]),
        ("kyverno.io/v1", &["ClusterPolicy", "Policy"]),
        ("policy.open-cluster-management.io/v1", &["Policy"]),
        ("gateway.networking.k8s.io/v1", &["BackendTLSPolicy", "Gateway", "GatewayClass", "TCPRoute"]),
        ("policy.linkerd.io/v1beta3", &["MeshTLSAuthentication", "NetworkAuthentication", "Server", "ServerAuthorization"]),
        ("cilium.io/v2", &["CiliumNetworkPolicy"]),
        ("kuadrant.io/v1", &["AuthPolicy"]),
        ("networking.istio.io/v1", &["EnvoyFilter", "Gateway", "ProxyConfig"]),
        ("extensions.istio.io/v1alpha1", &["WasmPlugin", "TrafficExtension"]),
        ("install.istio.io/v1alpha1", &["IstioOperator"]),
        ("operator.istio.io/v1alpha1", &["Istio", "IstioCNI", "IstioRevision"]),
        ("sailoperator.io/v1", &["Istio", "IstioCNI", "ZTunnel"]),
        ("config.istio.io/v1alpha2", &["adapter", "attributemanifest", "authorization", "handler",
            "HTTPAPISpec", "HTTPAPISpecBinding", "instance", "listchecker", "metric", "opa", "QuotaSpec", "QuotaSpecBinding", "rbac",
            "rule", "template"]),
    ];
    for (version, kinds) in groups {
        for kind in *kinds {
            let resources = parse("f", &document(version, kind), "foo").unwrap();
            assert_eq!(resources.skipped.len(), 1, "{version} {kind}");
            assert_eq!(resources.notes, [], "{version} {kind}");
        }
    }
}

#[test]
fn lists_are_read_and_misspelt_ones_are_refused() {
    let policy = document("security.istio.io/v1", "AuthorizationPolicy");
    for (version, kind) in [
        ("v1", "List"),
        ("security.istio.io/v1", "AuthorizationPolicyList"),
        ("securty.istio.io/v1", "AuthorizationPolicyList"),
        ("config.kubernetes.io/v1", "ResourceList"),
    ] {
        let text = format!("{{apiVersion: {version}, kind: {kind}, items: [{policy}]}}");
        let resources = parse("f", &text, "foo").unwrap();
        assert_eq!(resources.authorization_policies.len(), 1, "{kind}");
        assert_eq!(resources.skipped, [], "{kind}");
        let empty = format!("{{apiVersion: {version}, kind: {kind}, items: []}}");
        assert_eq!(parse("f", &empty, "foo").unwrap().skipped, [], "{kind}");
    }
    for (version, kind) in [
        ("v1", "list"),
        ("v1", "LIST"),
        ("v1", "Lists"),
        ("v1", "Lsit"),
        ("V1", "Lst"),
        ("security.istio.io/v1", "AuthorizationPolicylist"),
        ("example.com/v1", "Bundle"),
    ] {
        let text = format!("{{apiVersion: {version}, kind: {kind}, items: [{policy}]}}");
        let problem = only_problem(&text);
        assert!(problem.contains(": kind: "), "{kind}: {problem}");
    }
    // Others' lists of their own things stay theirs.
    let foreign = "{apiVersion: example.com/v1, kind: Bundle, items: [{apiVersion: v1, kind: Pod}, {a: b}, 7]}";
    assert_eq!(parse("f", foreign, "foo").unwrap().skipped.len(), 1);
}

#[test]
fn the_config_map_of_the_mesh_under_another_name_of_its_kind_is_refused() {
    let map = |version: &str, kind: &str| {
        format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: istio}}, data: {{mesh: 'rootNamespace: r'}}}}"
        )
    };
    assert!(
        parse("f", &map("v1", "ConfigMap"), "foo")
            .unwrap()
            .mesh_config
            .is_some()
    );
    for (version, kind) in [
        ("v1", "Configmap"),
        ("v1", "ConfigMaps"),
        ("v1beta1", "ConfigMap"),
    ] {
        let problem = only_problem(&map(version, kind));
        assert!(problem.contains("kind: ConfigMap"), "{problem}");
    }
}
