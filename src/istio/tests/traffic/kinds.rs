//! Groups, versions and kinds: which are read, passed over and refused.

use super::*;

#[test]
fn all_versions_of_a_kind_are_read() {
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let text = format!(
            "{{apiVersion: networking.istio.io/{version}, kind: DestinationRule, metadata: {{name: a}}, spec: {{host: b}}}}"
        );
        let read = read(&text);
        let rule = &read.destination_rules[0];
        assert_eq!(
            (&*rule.meta.namespace, &*rule.host),
            ("srv", "b"),
            "{version}"
        );
        assert_eq!(rule.meta.at.to_string(), "f:1:1");
    }
    let text = resource("DestinationRule", "{host: b}").replace("/v1", "/v1alpha9");
    assert!(only_problem(&text).contains("write networking.istio.io/v1"));
}

#[test]
fn the_kinds_of_2018_are_refused_with_todays_kind() {
    for (kind, today) in [
        ("RouteRule", "VirtualService"),
        ("DestinationPolicy", "DestinationRule"),
        ("EgressRule", "ServiceEntry"),
        ("ExternalService", "ServiceEntry"),
    ] {
        for version in ["config.istio.io/v1alpha2", "networking.istio.io/v1alpha3"] {
            let text = format!(
                "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{precedence: 1}}\n"
            );
            let problem = only_problem(&text);
            assert!(
                problem.starts_with(&format!("2:7: kind: {kind} is a kind of 2018")),
                "{problem}"
            );
            assert!(
                problem.contains(&format!("as a {today} of networking.istio.io/v1")),
                "{problem}"
            );
        }
    }
}

#[test]
fn what_nothing_routes_by_is_among_the_skipped() {
    let text = resource("DestinationRule", "{host: b}");
    let resources = parse("f", &text, "srv").unwrap();
    let [skipped] = &resources.skipped[..] else {
        panic!("{:?}", resources.skipped)
    };
    assert_eq!((&*skipped.kind, &*skipped.name), ("DestinationRule", "a"));
    assert_eq!(resources.metas().count(), 1);
}

#[test]
fn a_misspelt_kind_or_group_is_refused() {
    for (version, kind, piece) in [
        (
            "networking.istio.io/v1",
            "VirtualServices",
            "did you mean VirtualService?",
        ),
        (
            "networking.istio.io/v1",
            "Whatever",
            "unknown kind `Whatever`",
        ),
        (
            "gateway.networking.k8s.io/v1",
            "HTTPRoutes",
            "did you mean HTTPRoute?",
        ),
        (
            "netwroking.istio.io/v1",
            "VirtualService",
            "write networking.istio.io/v1",
        ),
        (
            "Networking.istio.io/v1",
            "Sidecar",
            "write networking.istio.io/v1",
        ),
        (
            "gateway.networking.k8s.oi/v1",
            "HTTPRoute",
            "write gateway.networking.k8s.io/v1",
        ),
        (
            "security.istio.io/v1",
            "ServiceEntry",
            "write networking.istio.io/v1",
        ),
        ("v1", "VirtualService", "write networking.istio.io/v1"),
    ] {
        let text =
            format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}, spec: {{}}}}");
        let problem = only_problem(&text);
        assert!(problem.contains(piece), "{version} {kind}: {problem}");
    }
}

#[test]
fn what_others_name_alike_is_theirs() {
    for (version, kind) in [
        ("networking.k8s.io/v1", "Ingress"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "ServiceCIDR"),
        ("gateway.networking.x-k8s.io/v1alpha1", "XListenerSet"),
        ("multicluster.x-k8s.io/v1alpha1", "ServiceImport"),
        ("v1", "Endpoints"),
        ("v1", "ServiceAccount"),
        ("v1", "Secret"),
        ("apps/v1", "Deployment"),
        ("serving.knative.dev/v1", "Service"),
    ] {
        let text = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}}}");
        assert!(notes(&text).is_empty(), "{version} {kind}");
    }
    let theirs = "{apiVersion: policy.linkerd.io/v1beta3, kind: HTTPRoute, metadata: {name: a}}";
    assert!(notes(theirs)[0].contains("is passed over"));
}

#[test]
fn a_resource_is_written_once() {
    let text = resource("Sidecar", "{egress: [{hosts: [./*]}]}");
    let twice = format!("{text}---\n{}", text.replace("/v1", "/v1beta1"));
    assert!(only_problem(&twice).contains("was already written at f:1:1; keep one"));
}
