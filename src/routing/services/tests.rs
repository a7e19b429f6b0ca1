use std::sync::Arc;

use super::*;
use crate::identity::Workload;
use crate::istio::traffic::{
    EgressListener, KubernetesService, KubernetesServicePort, Protocol, ServiceEntry, Sidecar,
    SidecarPort, TrafficResources,
};
use crate::istio::{Meta, Selector, Text};

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Meta::default()
    }
}

fn texts(list: &[&str]) -> Vec<Text> {
    let text = |text: &&str| Text::new(*text, Default::default());
    list.iter().map(text).collect()
}

fn kubernetes(namespace: &str, name: &str, ports: &[(u16, &str)]) -> KubernetesService {
    let ports = ports.iter().map(|(number, name)| KubernetesServicePort {
        number: *number,
        name: (*name).to_owned(),
        protocol: Protocol::of_kubernetes(*number, name, "TCP", None),
        ..KubernetesServicePort::default()
    });
    KubernetesService {
        meta: meta(namespace, name),
        ports: ports.collect(),
        ..KubernetesService::default()
    }
}

fn entry(namespace: &str, hosts: &[&str], export_to: &[&str]) -> ServiceEntry {
    ServiceEntry {
        meta: meta(namespace, "entry"),
        hosts: texts(hosts),
        export_to: texts(export_to),
        ..ServiceEntry::default()
    }
}

fn resources(services: Vec<KubernetesService>, entries: Vec<ServiceEntry>) -> TrafficResources {
    TrafficResources {
        services: services.into_iter().map(Arc::new).collect(),
        service_entries: entries.into_iter().map(Arc::new).collect(),
        ..TrafficResources::default()
    }
}

fn seen(scope: &EgressScope) -> Vec<String> {
    let services = scope.services().iter();
    services
        .map(|service| format!("{}@{}", service.host, service.namespace))
        .collect()
}

fn sidecar(name: &str, hosts: &[&str], port: Option<u16>) -> Sidecar {
    let port = port.map(|number| SidecarPort {
        number,
        protocol: Protocol::Http,
        name: None,
    });
    let listener = EgressListener {
        port,
        hosts: texts(hosts),
        ..EgressListener::default()
    };
    Sidecar {
        meta: meta("client", name),
        egress: vec![listener],
        ..Sidecar::default()
    }
}

#[test]
fn a_service_is_exported_as_it_is_written_or_as_the_mesh_says() {
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        [Option<Reach>; 3],
    );
    let table: [Row; 8] = [
        (&[], &[], [Some(Reach::Public); 3]),
        (&["*"], &["."], [Some(Reach::Public); 3]),
        (&["*", "client"], &[], [Some(Reach::Public); 3]),
        (&["~"], &[], [None; 3]),
        (&["."], &[], [Some(Reach::Private), None, None]),
        (&["client"], &[], [None, Some(Reach::Named), None]),
        (&[], &["."], [Some(Reach::Private), None, None]),
        (&[], &["client"], [None; 3]),
    ];
    for (written, default, expected) in table {
        let exports = Exports::new(&texts(written), &texts(default), "srv");
        let reach = ["srv", "client", "other"].map(|to| exports.reach("srv", to));
        assert_eq!(reach, expected, "{written:?} {default:?}");
    }
}

#[test]
fn an_external_name_is_an_alias_of_what_it_ends_at() {
    let external = |name: &str, target: &str| KubernetesService {
        external_name: texts(&[target]).pop(),
        ..kubernetes("srv", name, &[])
    };
    let registry = Registry::new(
        &resources(
            vec![
                kubernetes("srv", "a", &[(80, "http")]),
                external("one", "a.srv.svc.cluster.local"),
                external("two", "one.srv.svc.cluster.local"),
                external("lost", "real.test"),
                external("ring", "ring.srv.svc.cluster.local"),
            ],
            vec![],
        ),
        &[],
        "cluster.local",
    );
    let [only] = registry.services() else {
        panic!("{:?}", registry.services());
    };
    let aliases = ["one.srv.svc.cluster.local", "two.srv.svc.cluster.local"];
    assert_eq!(only.aliases, aliases);
    assert!(only.is_kubernetes());
}

#[test]
fn of_one_host_in_several_namespaces_our_own_wins_then_kubernetes() {
    let k = "k.srv.svc.cluster.local";
    let mut old = entry("aaa", &["x.test", k], &[]);
    old.meta.created = Some("2024-01-01T00:00:00Z".to_owned());
    let mut young = entry("client", &["x.test"], &[]);
    young.meta.created = Some("2024-02-01T00:00:00Z".to_owned());
    let mut service = kubernetes("srv", "k", &[(80, "http")]);
    service.meta.created = Some("2024-03-01T00:00:00Z".to_owned());
    let resources = resources(vec![service], vec![old, young]);
    let registry = Registry::new(&resources, &[], "cluster.local");
    for (namespace, of_x) in [("client", "x.test@client"), ("other", "x.test@aaa")] {
        let workload = Workload::new(namespace, "sa");
        let scope = SidecarScope::new(&workload, "istio-system", &[], &registry);
        let all = seen(scope.for_port(80).unwrap());
        assert_eq!(all, [of_x.to_owned(), format!("{k}@srv")], "{namespace}");
    }
}

#[test]
fn a_sidecar_imports_by_namespace_host_and_port() {
    let services = vec![
        kubernetes("client", "own", &[(80, "http")]),
        kubernetes("srv", "a", &[(80, "http"), (81, "http-b")]),
        kubernetes("srv", "b", &[(81, "http")]),
    ];
    let wild = entry("srv", &["*.x.test"], &[]);
    let registry = Registry::new(&resources(services, vec![wild]), &[], "cluster.local");
    let own = "own.client.svc.cluster.local@client";
    let a = "a.srv.svc.cluster.local@srv";
    let b = "b.srv.svc.cluster.local@srv";
    let x = "*.x.test@srv";
    let table: [(&[&str], Option<u16>, &[&str]); 9] = [
        (&["*/*"], None, &[a, b, x, own]),
        (&["./*"], None, &[own]),
        (&["srv/*"], None, &[a, b, x]),
        (&["srv/a.srv.svc.cluster.local"], None, &[a]),
        (&["srv/*.svc.cluster.local"], None, &[a, b]),
        (&["srv/y.x.test"], None, &[]),
        (&["~/*"], None, &[]),
        (&["*/*", "~srv/*.svc.cluster.local"], None, &[x, own]),
        (&["*/*"], Some(81), &[a, b]),
    ];
    let workload = Workload::new("client", "sa");
    for (hosts, port, expected) in table {
        let sidecar = Arc::new(sidecar("s", hosts, port));
        let scope = SidecarScope::new(&workload, "istio-system", &[sidecar], &registry);
        assert_eq!(seen(&scope.listeners()[0]), expected, "{hosts:?} {port:?}");
        assert_eq!(scope.for_port(80).is_some(), port.is_none());
    }
}

#[test]
fn the_sidecar_that_selects_us_wins_then_that_of_the_namespace_then_of_the_root() {
    let selecting = |label: &str| {
        let labels = [("app".to_owned(), texts(&[label]).remove(0))];
        Sidecar {
            workload_selector: Some(Selector {
                match_labels: labels.into(),
                ..Selector::default()
            }),
            ..sidecar(label, &["./*"], None)
        }
    };
    let in_root = |sidecar: Sidecar| Sidecar {
        meta: meta("root", &sidecar.meta.name),
        ..sidecar
    };
    let all = [
        in_root(selecting("client")),
        in_root(sidecar("of-root", &["./*"], None)),
        sidecar("of-namespace", &["./*"], None),
        selecting("client"),
        selecting("other"),
    ];
    let all = all.map(Arc::new);
    let workload = Workload::new("client", "sa").label("app", "client");
    let registry = Registry::default();
    for (count, expected) in [(4, "client"), (3, "of-namespace"), (2, "of-root")] {
        let scope = SidecarScope::new(&workload, "root", &all[..count], &registry);
        assert_eq!(scope.sidecar().unwrap().meta.name, expected);
    }
    let scope = SidecarScope::new(&workload, "root", &all[..1], &registry);
    assert!(scope.sidecar().is_none());
}
