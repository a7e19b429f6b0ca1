use super::world::{routes, routing, routing_with, try_routing, virtual_service};
use crate::routing::RoutingOptions;
use crate::routing::route::{Action, Call};

fn domains(namespace: &str, yaml: &str, name: &str) -> Vec<String> {
    let routing = routing(namespace, yaml);
    let table = routing.table(80).unwrap();
    let mut all = table.virtual_hosts.iter();
    let found = all.find(|virtual_host| virtual_host.name == name);
    let mut domains = found.map_or(Vec::new(), |found| found.domains.clone());
    domains.sort();
    domains
}

const A: &str = "a.srv.svc.cluster.local:80";

#[test]
fn a_service_has_short_names_addresses_and_a_trailing_dot() {
    let full = [
        "a.srv",
        "a.srv.svc",
        "a.srv.svc.cluster.local",
        "a.srv.svc.cluster.local.",
    ];
    let mut expected = vec!["10.96.0.1"];
    expected.extend(full);
    assert_eq!(domains("client", "", A), expected);
    expected.insert(1, "a");
    assert_eq!(domains("srv", "", A), expected);
}

#[test]
fn endpoints_of_a_headless_service_have_names() {
    let yaml = "
apiVersion: v1
kind: Service
metadata: {name: h, namespace: srv}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: srv}
spec: {type: ExternalName, externalName: a.srv.svc.cluster.local}
";
    let of_headless = domains("client", yaml, "h.srv.svc.cluster.local:80");
    for name in ["h.srv", "*.h.srv", "*.h.srv.svc.cluster.local."] {
        assert!(of_headless.contains(&name.to_owned()), "{of_headless:?}");
    }
    assert!(domains("client", yaml, A).contains(&"alias.srv".to_owned()));
}

#[test]
fn a_domain_is_given_once() {
    let yaml = virtual_service(
        "x",
        "hosts: [b.srv], http: [{name: x, route: [{destination: {host: b.srv}}]}]",
    );
    let routing = routing("client", &yaml);
    assert_eq!(
        routes(&routing, "http://b.srv/"),
        ["x / -> outbound|80||b.srv"]
    );
    assert_eq!(
        routes(&routing, "http://b.srv.svc/"),
        ["default / -> outbound|80||b"]
    );
}

#[test]
fn the_most_specific_host_routes_a_service() {
    let one = |name: &str, host: &str| {
        let http = format!("http: [{{name: {name}, route: [{{destination: {{host: c}}}}]}}]");
        virtual_service(name, &format!("hosts: ['{host}'], {http}"))
    };
    let yaml = one("a-wide", "*.svc.cluster.local")
        + &one("b-narrow", "*.srv.svc.cluster.local")
        + &one("c-exact", "a.srv.svc.cluster.local");
    let routing = routing("client", &yaml);
    assert_eq!(
        routes(&routing, "http://a.srv/"),
        ["c-exact / -> outbound|80||c"]
    );
    assert_eq!(
        routes(&routing, "http://b.srv/"),
        ["b-narrow / -> outbound|80||c"]
    );
    let unknown = routes(&routing, "http://x.other.svc.cluster.local/");
    assert_eq!(unknown, ["allow_any / -> PassthroughCluster"]);
}

#[test]
fn a_host_that_is_no_service_is_known_on_port_80_only() {
    let yaml = virtual_service(
        "x",
        "hosts: [x.test], http: [{name: x, route: [{destination: {host: b}}]}]",
    );
    let routing = routing("client", &yaml);
    assert_eq!(
        routes(&routing, "http://X.Test:80/"),
        ["x / -> outbound|80||b"]
    );
    let other = routes(&routing, "http://x.test:81/");
    assert_eq!(other, ["allow_any / -> PassthroughCluster"]);
    assert!(routing.choose(9, &Call::get("http://x.test:9/")).is_none());
    let options = RoutingOptions {
        hosts_on_any_port: true,
        ..RoutingOptions::default()
    };
    let routing = routing_with("client", &yaml, "", &(), &options).unwrap();
    assert_eq!(
        routes(&routing, "http://x.test:81/"),
        ["x / -> outbound|81||b"]
    );
}

#[test]
fn hosts_are_looked_up_exact_then_by_suffix_then_any() {
    let entry = |name: &str, host: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
             metadata: {{name: {name}, namespace: srv}}\nspec: {{hosts: ['{host}'], \
             resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], \
             endpoints: [{{address: 1.1.1.1}}]}}\n"
        )
    };
    let yaml = entry("e", "a.x.w.test") + &entry("w", "*.w.test") + &entry("x", "*.x.w.test");
    let routing = routing("client", &yaml);
    let table = [
        ("a.x.w.test", "a.x.w.test"),
        ("A.X.W.TEST:8080", "a.x.w.test"),
        ("b.x.w.test", "*.x.w.test"),
        ("c.w.test", "*.w.test"),
    ];
    for (host, service) in table {
        let call = Call::get(&format!("http://{host}/"));
        let chosen = routing.choose(80, &call).unwrap();
        assert_eq!(chosen.virtual_host.name, format!("{service}:80"), "{host}");
    }
    // The star is not nothing.
    for host in ["w.test", ".w.test"] {
        let call = Call::get(&format!("http://{host}/"));
        let chosen = routing.choose(80, &call).unwrap();
        assert_eq!(chosen.virtual_host.name, "allow_any", "{host}");
    }
}

#[test]
fn unknown_hosts_are_called_resolved_or_refused() {
    let call = Call::get("http://nobody.test/");
    let sidecar = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: client}
spec: {egress: [{hosts: ['*/*']}], outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: b.srv.svc.cluster.local, port: {number: 80}}}}
";
    let table = [
        ("", "", "allow_any", "PassthroughCluster"),
        (
            "",
            "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
            "block_all",
            "502",
        ),
        (
            "",
            "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}",
            "allow_any_dynamic_dns",
            "AllowAnyDynamicDNSCluster",
        ),
        (
            sidecar,
            "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
            "allow_any",
            "outbound|80||b.srv.svc.cluster.local",
        ),
    ];
    for (yaml, mesh, name, to) in table {
        let routing = try_routing("client", yaml, mesh).unwrap();
        let choice = routing.choose(80, &call).unwrap();
        assert_eq!(choice.virtual_host.name, name);
        let found = match choice.action() {
            Action::Respond(respond) => respond.status.to_string(),
            _ => choice.draw(1).unwrap().cluster.to_string(),
        };
        assert_eq!(found, to);
        if let Some(forward) = choice.forward() {
            assert!(forward.retry.is_none() && forward.timeout.is_none());
        }
    }
}
