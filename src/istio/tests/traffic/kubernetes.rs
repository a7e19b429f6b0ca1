//! Kubernetes' own documents.

use super::*;
use crate::istio::traffic::{Protocol, ServiceType, TargetPort, TrafficDistribution};

const CLUSTER: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: srv, labels: {tier: front}, annotations: {networking.istio.io/exportTo: '., client'}}
spec:
  clusterIP: 10.96.0.5
  clusterIPs: [10.96.0.5, 'fd00::5']
  selector: {app: web}
  trafficDistribution: PreferClose
  internalTrafficPolicy: Local
  ports:
  - {name: http, port: 80, targetPort: 8080, protocol: TCP}
  - {name: x, port: 81, targetPort: grpc, appProtocol: grpc}
  - {name: dns, port: 53, protocol: UDP}
---
{apiVersion: v1, kind: Service, metadata: {name: hl}, spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 3306}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ext}, spec: {type: ExternalName, externalName: real.test, ports: [{name: http, port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- {addresses: [10.4.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: web-1, namespace: srv}, nodeName: n1, zone: eu-a}
- {addresses: [10.4.0.2], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.4.0.3]}
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web, istio-locality: eu.a}}
spec: {serviceAccountName: web, nodeName: n1, containers: [{name: a, ports: [{name: grpc, containerPort: 9090}]}]}
status: {podIP: 10.4.0.1, podIPs: [{ip: 10.4.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: 'True'}]}
---
{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-a, topology.istio.io/subzone: r1}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: srv, labels: {a: b}, annotations: {networking.istio.io/traffic-distribution: prefersamenode}}}
";

#[test]
fn services_and_their_endpoints_are_read() {
    let read = read(CLUSTER);
    let [web, headless, external] = &read.services[..] else {
        panic!("{:?}", read.services)
    };
    assert_eq!((web.cluster_ips.len(), web.is_headless), (2, false));
    assert_eq!(
        web.traffic_distribution,
        Some(TrafficDistribution::PreferSameZone)
    );
    assert!(web.is_node_local);
    assert_eq!(
        (&*web.selector["app"], &*web.labels["tier"]),
        ("web", "front")
    );
    let exported: Vec<&str> = web.export_to.iter().map(|to| &**to).collect();
    assert_eq!(exported, [".", "client"]);
    let ports: Vec<_> = web
        .ports
        .iter()
        .map(|port| (port.number, port.protocol, port.target_port.clone()))
        .collect();
    assert_eq!(
        ports,
        [
            (80, Protocol::Http, TargetPort::Number(8080)),
            (81, Protocol::Grpc, TargetPort::Name("grpc".to_owned())),
            (53, Protocol::Udp, TargetPort::Same),
        ]
    );
    assert_eq!(web.ports[1].at.to_string(), "f:13:5");
    assert!(headless.is_headless && headless.cluster_ips.is_empty());
    assert_eq!(headless.ports[0].protocol, Protocol::Tcp, "MySQL's port");
    assert_eq!(external.kind, ServiceType::ExternalName);
    assert_eq!(external.external_name.as_deref(), Some("real.test"));

    let slice = &read.endpoint_slices[0];
    assert_eq!(slice.service.as_deref(), Some("web"));
    let states: Vec<_> = slice
        .endpoints
        .iter()
        .map(|one| (one.is_ready, one.is_serving, one.is_terminating))
        .collect();
    assert_eq!(
        states,
        [
            (true, true, false),
            (false, true, true),
            (true, true, false)
        ]
    );
    assert_eq!(
        slice.endpoints[0].pod,
        Some(("srv".to_owned(), "web-1".to_owned()))
    );
    assert_eq!(slice.endpoints[0].zone.as_deref(), Some("eu-a"));
    assert_eq!(slice.ports[0].number, Some(8080));
}

#[test]
fn pods_nodes_and_namespaces_are_read() {
    let read = read(CLUSTER);
    let pod = &read.pods[0];
    assert_eq!(
        (pod.ips.len(), &*pod.service_account, pod.is_ready),
        (2, "web", true)
    );
    assert_eq!((pod.node.as_deref(), pod.ports["grpc"]), (Some("n1"), 9090));
    assert_eq!(&*pod.labels["istio-locality"], "eu.a");
    assert_eq!(read.nodes[0].locality.to_string(), "eu/eu-a/r1");
    let namespace = &read.namespaces[0];
    assert_eq!(
        namespace.traffic_distribution,
        Some(TrafficDistribution::PreferSameNode)
    );
    assert_eq!(&*namespace.labels["a"], "b");
    // They are still skipped, and what they deploy is still known.
    let resources = parse("f", CLUSTER, "srv").unwrap();
    assert_eq!((resources.skipped.len(), resources.services.len()), (7, 3));
}

#[test]
#[rustfmt::skip] // one row a line
fn a_service_that_cannot_be_called_is_refused() {
    for (spec, said) in [
        ("{ports: [{name: a}]}", "ports[0].port: is missing"),
        ("{ports: [{port: 0}]}", "ports[0].port: is no port"),
        ("{ports: [{port: 80, targetPort: 70000}]}", "ports[0].targetPort: is no port"),
        ("{ports: [{port: 80, protocol: HTTP}]}", "ports[0].protocol: `HTTP` is not one of TCP"),
        ("{ports: [{port: 80}, {port: 81}]}", "ports: has several ports without a name"),
        ("{ports: [{port: 80, name: a}, {port: 81, name: a}]}", "ports: has two ports of the name `a`"),
        ("{clusterIP: here}", "clusterIP: `here` is no address"),
        ("{type: External}", "type: `External` is not one of"),
        ("{portz: []}", "portz: unknown field; did you mean `ports`?"),
    ] {
        let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {spec}\n");
        let problem = only_problem(&text);
        assert!(problem.starts_with("4:") && problem.contains(&format!("spec.{said}")), "{problem}");
    }
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nendpoints: [{addresses: [b]}]\n";
    assert!(only_problem(slice).starts_with("5:26: endpoints[0].addresses[0]: `b` is no IP address"));
}

#[test]
fn odd_pods_are_passed_over() {
    for pod in [
        "{apiVersion: v1, kind: Pod, metadata: [1]}",
        "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: 3}, spec: [], status: {podIP: x}}",
        "{apiVersion: v1, kind: Node, metadata: {name: {}}}",
    ] {
        assert!(parse("f", pod, "srv").is_ok(), "{pod}");
    }
}
