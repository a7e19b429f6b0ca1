use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::istio::traffic::{
    EndpointSlice, KubernetesService, KubernetesServicePort, Locality, LocalityDistribute,
    LocalityFailover, LocalityLbSetting, Node, Pod, Resolution, ServiceEntry, ServicePort,
    SliceEndpoint, SlicePort, TargetPort, TrafficDistribution, TrafficResources, WorkloadEntry,
    WorkloadEntrySpec, ZoneAwareLbSetting,
};
use crate::istio::{Meta, Selector, Text};
use crate::routing::services::Registry;

fn text(text: &str) -> Text {
    Text::new(text, Default::default())
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Meta::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, Text> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), text(value)))
        .collect()
}

fn selector(pairs: &[(&str, &str)]) -> Selector {
    Selector {
        match_labels: labels(pairs),
        ..Selector::default()
    }
}

fn workload(address: &str) -> WorkloadEntrySpec {
    WorkloadEntrySpec {
        address: Some(text(address)),
        ..WorkloadEntrySpec::default()
    }
}

fn entry(resolution: Resolution, endpoints: Vec<WorkloadEntrySpec>) -> ServiceEntry {
    ServiceEntry {
        meta: meta("srv", "x"),
        hosts: vec![text("x.test")],
        ports: vec![ServicePort {
            number: 80,
            name: text("web"),
            target_port: Some(8081),
            ..ServicePort::default()
        }],
        resolution,
        endpoints,
        ..ServiceEntry::default()
    }
}

/// The endpoints of the first port of the only service.
fn endpoints(resources: &TrafficResources) -> Vec<Endpoint> {
    let registry = Registry::new(resources, &[], "cluster.local");
    let service = &registry.services()[0];
    Inventory::new(resources).addresses(service, &service.ports[0])
}

fn addresses(resources: &TrafficResources) -> Vec<String> {
    let endpoints = endpoints(resources).into_iter();
    endpoints.map(|it| it.address.to_string()).collect()
}

#[test]
fn a_listed_endpoint_is_called_at_its_own_port_or_the_target() {
    let mut own_port = workload("1.2.3.5");
    own_port.ports = [("web".to_owned(), 9)].into();
    let listed = vec![
        workload("1.2.3.4"),
        own_port,
        workload("unix:///a/b"),
        workload("d.test"),
    ];
    for (resolution, expected) in [
        (
            Resolution::Static,
            &["1.2.3.4:8081", "1.2.3.5:9", "unix:///a/b"][..],
        ),
        (
            Resolution::Dns,
            &["1.2.3.4:8081", "1.2.3.5:9", "unix:///a/b", "d.test:8081"],
        ),
        (Resolution::None, &[]),
    ] {
        let mut resources = TrafficResources::default();
        let entry = entry(resolution, listed.clone());
        resources.service_entries.push(Arc::new(entry));
        assert_eq!(addresses(&resources), expected, "{resolution:?}");
    }
    // Without endpoints DNS resolves the host.
    let mut resources = TrafficResources::default();
    resources
        .service_entries
        .push(Arc::new(entry(Resolution::Dns, vec![])));
    assert_eq!(addresses(&resources), ["x.test:8081"]);
}

#[test]
fn a_selector_selects_workload_entries_and_ready_pods_of_its_namespace() {
    let mut resources = TrafficResources::default();
    resources.service_entries.push(Arc::new(ServiceEntry {
        workload_selector: Some(selector(&[("app", "x")])),
        ..entry(Resolution::Static, vec![])
    }));
    let of = |namespace: &str, name: &str, spec: WorkloadEntrySpec| WorkloadEntry {
        meta: meta(namespace, name),
        spec,
    };
    let mut one = workload("1.2.3.4");
    one.labels = labels(&[("app", "x")]);
    one.locality = Some(Locality::parse("r/z/s"));
    one.weight = Some(3);
    one.service_account = Some(text("sa1"));
    let mut plain = workload("1.2.3.5");
    plain.labels = labels(&[("app", "x"), ("security.istio.io/tlsMode", "disabled")]);
    plain.service_account = Some(text("sa1"));
    let entries = [
        of("srv", "w1", one.clone()),
        of("srv", "w2", plain),
        of("other", "w3", one),
        of("srv", "w4", workload("1.2.3.7")),
    ];
    resources.workload_entries = entries.map(Arc::new).to_vec();
    let pod = |name: &str, is_ready: bool| Pod {
        meta: meta("srv", name),
        labels: labels(&[("app", "x"), ("security.istio.io/tlsMode", "istio")]),
        ips: vec!["10.0.0.1".parse().unwrap()],
        service_account: "pods".to_owned(),
        is_ready,
        ..Pod::default()
    };
    resources.pods = [pod("p", true), pod("ill", false)].map(Arc::new).to_vec();
    let found = endpoints(&resources);
    let rows = found.iter().map(|it| {
        let account = it.service_account.as_deref().unwrap_or_default();
        format!(
            "{} {} {account} {} {}",
            it.address, it.weight, it.takes_mtls, it.locality
        )
    });
    let expected = [
        "10.0.0.1:8081 1 pods true ",
        "1.2.3.4:8081 3 sa1 true r/z/s",
        "1.2.3.5:8081 1 sa1 false ",
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert_eq!(found[0].account_source, AccountSource::Pod);
    assert_eq!(found[1].account_source, AccountSource::WorkloadEntry);
}

#[test]
fn a_service_of_kubernetes_has_the_endpoints_of_its_slices_and_what_their_pods_say() {
    let mut resources = TrafficResources::default();
    resources.services.push(Arc::new(KubernetesService {
        meta: meta("srv", "k"),
        selector: labels(&[("app", "k")]),
        ports: vec![KubernetesServicePort {
            name: "http".to_owned(),
            number: 80,
            target_port: TargetPort::Name("web".to_owned()),
            ..KubernetesServicePort::default()
        }],
        ..KubernetesService::default()
    }));
    let endpoint =
        |address: &str, is_ready: bool, is_terminating: bool, pod: Option<&str>| SliceEndpoint {
            addresses: vec![text(address)],
            is_ready,
            is_terminating,
            pod: pod.map(|name| ("srv".to_owned(), name.to_owned())),
            zone: Some("z".to_owned()),
            ..SliceEndpoint::default()
        };
    resources.endpoint_slices.push(Arc::new(EndpointSlice {
        meta: meta("srv", "k-1"),
        service: Some(text("k")),
        endpoints: vec![
            endpoint("10.0.0.1", true, false, Some("p")),
            endpoint("10.0.0.2", false, false, None),
            endpoint("10.0.0.3", false, true, None),
        ],
        ports: vec![SlicePort {
            name: "http".to_owned(),
            number: Some(8080),
        }],
    }));
    resources.pods.push(Arc::new(Pod {
        meta: meta("srv", "p"),
        labels: labels(&[("v", "1")]),
        service_account: "acc".to_owned(),
        node: Some("n".to_owned()),
        ..Pod::default()
    }));
    resources.nodes.push(Arc::new(Node {
        meta: meta("", "n"),
        locality: Locality::parse("r/a/1"),
    }));
    let mut machine = workload("1.2.3.4");
    machine.labels = labels(&[("app", "k")]);
    machine.ports = [("web".to_owned(), 9)].into();
    resources.workload_entries.push(Arc::new(WorkloadEntry {
        meta: meta("srv", "w"),
        spec: machine,
    }));
    let found = endpoints(&resources);
    let rows = found
        .iter()
        .map(|it| format!("{} {:?} {}", it.address, it.health, it.locality));
    let expected = [
        "10.0.0.1:8080 Healthy r/a/1",
        "10.0.0.2:8080 Unhealthy /z",
        "1.2.3.4:9 Unknown ",
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert!(found[0].has_labels(&labels(&[("v", "1"), ("kubernetes.io/hostname", "n")])));
    assert_eq!(found[0].service_account.as_deref(), Some("acc"));
}

/// Localities with their priorities, weights and numbers of endpoints.
fn groups(setting: &LocalitySetting, detects_outliers: bool) -> Vec<String> {
    let mut resources = TrafficResources::default();
    let places = ["us/a/1", "us/a/2", "us/b/1", "eu/a/1", "ap/a/1"];
    let listed = places
        .iter()
        .zip(1..)
        .map(|(place, number)| WorkloadEntrySpec {
            locality: Some(Locality::parse(place)),
            ..workload(&format!("10.0.0.{number}"))
        });
    let entry = entry(Resolution::Static, listed.collect());
    resources.service_entries.push(Arc::new(entry));
    let caller = Caller {
        locality: &Locality::parse("us/a/1"),
        network: "",
        labels: &BTreeMap::new(),
    };
    let groups = LocalityGroup::all(endpoints(&resources), setting, &caller, detects_outliers);
    let row = |it: LocalityGroup| {
        format!(
            "{} {} {} {}",
            it.locality,
            it.priority,
            it.weight,
            it.endpoints.len()
        )
    };
    groups.into_iter().map(row).collect()
}

#[test]
fn localities_have_priorities_or_weights_by_the_setting() {
    let flat = [
        "ap/a/1 0 1 1",
        "eu/a/1 0 1 1",
        "us/a/1 0 1 1",
        "us/a/2 0 1 1",
        "us/b/1 0 1 1",
    ];
    let near = [
        "ap/a/1 3 1 1",
        "eu/a/1 3 1 1",
        "us/a/1 0 1 1",
        "us/a/2 1 1 1",
        "us/b/1 2 1 1",
    ];
    let by_default = LocalitySetting::Locality(LocalityLbSetting::default());
    assert_eq!(groups(&by_default, true), near);
    assert_eq!(groups(&by_default, false), flat);
    assert_eq!(groups(&LocalitySetting::Off, true), flat);
    let to_ap = LocalityFailover {
        from: text("us"),
        to: text("ap"),
    };
    let failover = LocalitySetting::Locality(LocalityLbSetting {
        failover: vec![to_ap.clone()],
        ..LocalityLbSetting::default()
    });
    let failed = [
        "ap/a/1 3 1 1",
        "eu/a/1 4 1 1",
        "us/a/1 0 1 1",
        "us/a/2 1 1 1",
        "us/b/1 2 1 1",
    ];
    assert_eq!(groups(&failover, true), failed);
    assert!(failover.is_weighted(true) && !failover.is_weighted(false));
    // Traffic distribution needs no outlier detection.
    let same_zone = LocalitySetting::Distribution(TrafficDistribution::PreferSameZone);
    let by_zone = [
        "ap/a/1 2 1 1",
        "eu/a/1 2 1 1",
        "us/a/1 0 1 1",
        "us/a/2 0 1 1",
        "us/b/1 1 1 1",
    ];
    assert_eq!(groups(&same_zone, false), by_zone);
    // What distribute does not name gets nothing, and keeps its place.
    let distribute = LocalityDistribute {
        from: text("us/a"),
        to: [("us/a".to_owned(), 80), ("us/b".to_owned(), 20)].into(),
        ..LocalityDistribute::default()
    };
    let shares = LocalitySetting::Locality(LocalityLbSetting {
        distribute: vec![distribute],
        ..LocalityLbSetting::default()
    });
    let shared = [
        "ap/a/1 0 1 0",
        "eu/a/1 0 1 0",
        "us/a/1 0 40 1",
        "us/a/2 0 40 1",
        "us/b/1 0 20 1",
    ];
    assert_eq!(groups(&shares, true), shared);
    // Zone-aware routing has our region first, then that of failover.
    let mut zones = ZoneAwareLbSetting::default();
    let ours = [
        "ap/a/1 1 1 1",
        "eu/a/1 1 1 1",
        "us/a/1 0 1 1",
        "us/a/2 0 1 1",
        "us/b/1 0 1 1",
    ];
    assert_eq!(
        groups(&LocalitySetting::ZoneAware(zones.clone()), false),
        ours
    );
    zones.failover = vec![to_ap];
    let then = [
        "ap/a/1 1 1 1",
        "eu/a/1 2 1 1",
        "us/a/1 0 1 1",
        "us/a/2 0 1 1",
        "us/b/1 0 1 1",
    ];
    assert_eq!(groups(&LocalitySetting::ZoneAware(zones), false), then);
}
