use super::world::{routing, try_routing};
use crate::routing::route::Split;

/// A service `t` of this protocol on port 9000 at this address, and a VirtualService of it.
fn yaml(protocol: &str, addresses: &str, routes: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: t, namespace: srv}}
spec:
  hosts: [t.test]
  addresses: [{addresses}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9000, name: p, protocol: {protocol}}}]
  endpoints: [{{address: 1.1.1.1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: t, namespace: srv}}
spec:
  hosts: [t.test, '*.t.test']
  {routes}
"
    )
}

fn chosen(yaml: &str, mesh: &str, sni: Option<&str>, address: &str) -> String {
    let routing = try_routing("client", yaml, mesh).unwrap();
    let routes = routing.connections("t.test", 9000).unwrap();
    match routes.choose(sni, address.parse().ok()) {
        None => routes.otherwise.to_string(),
        Some(Split::One(cluster)) => cluster.to_string(),
        Some(Split::Weighted(all)) => format!("{} of several", all.len()),
    }
}

#[test]
fn tls_goes_by_the_most_specific_name_that_is_asked_for() {
    let routes = "tls:
  - {match: [{sniHosts: ['*.t.test']}], route: [{destination: {host: wide.test}}]}
  - {match: [{sniHosts: [a.t.test], sourceLabels: {app: client}}], route: [{destination: {host: exact.test}}]}
  - {match: [{sniHosts: [a.t.test]}], route: [{destination: {host: late.test}}]}
  - {match: [{sniHosts: [b.t.test], sourceLabels: {app: other}}], route: [{destination: {host: other.test}}]}";
    let yaml = yaml("TLS", "240.1.0.1", routes);
    let table = [
        ("a.t.test", "outbound|9000||exact.test"),
        ("A.T.test", "outbound|9000||exact.test"),
        ("b.t.test", "outbound|9000||wide.test"),
        // A route fits us, and none its name: it is an unknown destination.
        ("t.test", "PassthroughCluster"),
    ];
    for (sni, cluster) in table {
        assert_eq!(chosen(&yaml, "", Some(sni), "240.1.0.1"), cluster, "{sni}");
    }
    let mesh = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
    assert_eq!(chosen(&yaml, mesh, Some("t.test"), ""), "BlackHoleCluster");
}

#[test]
fn without_a_fitting_tls_route_a_service_takes_its_connections() {
    let routes =
        "tls: [{match: [{sniHosts: [t.test], port: 1}], route: [{destination: {host: x.test}}]}]";
    let by_address = yaml("TLS", "240.1.0.1", routes);
    assert_eq!(
        chosen(&by_address, "", Some("z.test"), ""),
        "outbound|9000||t.test"
    );
    // Without an address it is known by its name only.
    let by_name = yaml("TLS", "", routes);
    assert_eq!(
        chosen(&by_name, "", Some("t.test"), ""),
        "outbound|9000||t.test"
    );
    assert_eq!(
        chosen(&by_name, "", Some("z.test"), ""),
        "PassthroughCluster"
    );
}

#[test]
fn tcp_goes_by_the_first_route_that_takes_the_address() {
    let routes = "tcp:
  - {match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: near.test}}]}
  - {match: [{sourceNamespace: other}], route: [{destination: {host: other.test}}]}
  - {route: [{destination: {host: u.test}, weight: 1}, {destination: {host: v.test}, weight: 3}]}
  - {route: [{destination: {host: never.test}}]}";
    let all = yaml("TCP", "240.1.0.1", routes);
    assert_eq!(
        chosen(&all, "", None, "10.1.2.3"),
        "outbound|9000||near.test"
    );
    assert_eq!(chosen(&all, "", None, "240.1.0.1"), "2 of several");
    let none = yaml(
        "TCP",
        "240.1.0.1",
        "tcp: [{match: [{port: 1}], route: [{destination: {host: x.test}}]}]",
    );
    assert_eq!(
        chosen(&none, "", None, "240.1.0.1"),
        "outbound|9000||t.test"
    );
}

#[test]
fn a_port_that_shows_no_protocol_is_routed_both_ways() {
    let routes = "http: [{name: h, route: [{destination: {host: t.test}}]}]
  tcp: [{route: [{destination: {host: u.test}}]}]";
    let yaml = yaml("''", "240.1.0.1", routes);
    assert_eq!(
        chosen(&yaml, "", None, "240.1.0.1"),
        "outbound|9000||u.test"
    );
    let routing = routing("client", &yaml);
    let [table] = routing.tables_by_address().collect::<Vec<_>>()[..] else {
        panic!("one table");
    };
    assert_eq!(table.name, "t.test:9000");
    assert_eq!(table.virtual_hosts[0].domains, ["*"]);
    assert_eq!(table.virtual_hosts[0].routes[0].name.as_deref(), Some("h"));
}
