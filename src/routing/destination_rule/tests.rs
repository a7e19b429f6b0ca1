use std::sync::Arc;

use super::*;
use crate::identity::Workload;
use crate::istio::traffic::{
    ClientTls, ClientTlsMode, ConnectionPool, ConsistentHash, DestinationRule, HashAlgorithm,
    HashKey, LoadBalancer, MeshTraffic, OutlierDetection, PortTrafficPolicy, RetryBudget,
    ServiceEntry, SimpleLb, Subset, TcpPool, TrafficPolicy, TrafficResources,
};
use crate::istio::{Meta, Selector, Text};
use crate::routing::services::{Registry, SidecarScope};
use crate::routing::virtual_service::HashLookup;

fn text(text: &str) -> Text {
    Text::new(text, Default::default())
}

/// A rule that says `mark`, of the age `mark`.
fn rule(namespace: &str, host: &str, export_to: &[&str], mark: u32) -> DestinationRule {
    DestinationRule {
        meta: Meta {
            namespace: namespace.to_owned(),
            name: format!("r{mark}"),
            created: Some(format!("2024-01-0{mark}T00:00:00Z")),
            ..Meta::default()
        },
        host: text(host),
        export_to: export_to.iter().map(|name| text(name)).collect(),
        traffic_policy: Some(TrafficPolicy {
            connection_pool: Some(pool(mark)),
            ..TrafficPolicy::default()
        }),
        ..DestinationRule::default()
    }
}

fn pool(max_connections: u32) -> ConnectionPool {
    ConnectionPool {
        tcp: Some(TcpPool {
            max_connections: Some(max_connections),
            ..TcpPool::default()
        }),
        ..ConnectionPool::default()
    }
}

fn subset(name: &str, traffic_policy: Option<TrafficPolicy>) -> Subset {
    Subset {
        name: text(name),
        traffic_policy,
        ..Subset::default()
    }
}

fn mark(policy: &Policy) -> Option<u32> {
    let tcp = policy.connection_pool.as_ref()?.tcp?;
    tcp.max_connections
}

fn all(rules: Vec<DestinationRule>, default_export: &[&str]) -> DestinationRules {
    let rules: Vec<_> = rules.into_iter().map(Arc::new).collect();
    let default_export: Vec<_> = default_export.iter().map(|name| text(name)).collect();
    DestinationRules::new(&rules, &default_export, "cluster.local", "root")
}

fn registry() -> Registry {
    let mut resources = TrafficResources::default();
    resources.service_entries.push(Arc::new(ServiceEntry {
        meta: Meta {
            namespace: "srv".to_owned(),
            ..Meta::default()
        },
        hosts: vec![text("a.srv.svc.cluster.local")],
        ..ServiceEntry::default()
    }));
    Registry::new(&resources, &[], "cluster.local")
}

/// The marks of the rules for callers in `client`, `srv`, `root` and `other`; 0 for none.
fn found(rules: &DestinationRules) -> [u32; 4] {
    let registry = registry();
    ["client", "srv", "root", "other"].map(|namespace| {
        let workload = Workload::new(namespace, "sa").label("app", "client");
        let rule = rules.find(&workload, &registry.services()[0]);
        let mesh = MeshTraffic::default();
        mark(&Policy::new(rule.map(|rule| &**rule), "", 80, &mesh)).unwrap_or(0)
    })
}

const A: &str = "a.srv.svc.cluster.local";

#[test]
fn the_callers_namespace_comes_first_then_the_services_then_the_root() {
    let one = |rules: Vec<DestinationRule>| found(&all(rules, &[]));
    // A wildcard of the caller's namespace beats the exact host of the service's.
    let rules = vec![rule("client", "*.local", &[], 1), rule("srv", A, &[], 2)];
    assert_eq!(one(rules), [1, 2, 2, 2]);
    // In one namespace the exact host wins, then the longest wildcard.
    let rules = vec![
        rule("srv", "*.local", &[], 1),
        rule("srv", "*.cluster.local", &[], 2),
        rule("root", A, &[], 3),
    ];
    assert_eq!(one(rules.clone()), [2, 2, 2, 2]);
    let exact = rule("srv", "a", &[], 4);
    assert_eq!(one([rules, vec![exact]].concat()), [4, 4, 4, 4]);
    // What is for others only is not for the own namespace.
    let rules = vec![rule("client", A, &["other"], 1), rule("srv", A, &[], 2)];
    assert_eq!(one(rules), [2, 2, 2, 2]);
    // A caller in the root namespace looks at its private rules only.
    let rules = vec![rule("root", A, &["."], 3), rule("srv", A, &[], 2)];
    assert_eq!(one(rules), [2, 2, 3, 2]);
    assert_eq!(one(vec![rule("root", A, &[], 3)]), [3, 3, 3, 3]);
}

#[test]
fn what_is_not_exported_is_not_there_or_sends_the_search_to_the_root() {
    let one = |rules: Vec<DestinationRule>| found(&all(rules, &[]));
    // A private rule does not exist for others: the public wildcard is taken.
    let rules = vec![
        rule("srv", A, &["."], 2),
        rule("srv", "*.local", &[], 4),
        rule("root", A, &[], 3),
    ];
    assert_eq!(one(rules), [4, 2, 4, 4]);
    // One for others hides the wildcard, and the root namespace follows.
    let rules = vec![
        rule("srv", A, &["other", "x"], 2),
        rule("srv", "*.local", &[], 4),
        rule("root", A, &[], 3),
    ];
    assert_eq!(one(rules), [3, 4, 3, 2]);
    let rules = all(vec![rule("srv", A, &[], 5)], &["."]);
    assert_eq!(found(&rules), [0, 5, 0, 0]);
}

#[test]
fn rules_of_one_host_are_merged_into_the_oldest() {
    let with_subsets = |mut rule: DestinationRule, names: &[&str]| {
        rule.subsets = names.iter().map(|name| subset(name, None)).collect();
        rule
    };
    let subsets = |rules: Vec<DestinationRule>| {
        let rules = all(rules, &[]);
        let workload = Workload::new("client", "sa");
        let rule = rules
            .find(&workload, &registry().services()[0])
            .unwrap()
            .clone();
        let names = rule.subsets.iter().map(|it| it.name.as_str().to_owned());
        (found(&rules)[0], names.collect::<Vec<_>>().join(" "))
    };
    let old = with_subsets(rule("srv", A, &[], 1), &["v1"]);
    let young = with_subsets(rule("srv", "a", &[], 2), &["v1", "v2"]);
    let merged = (1, "v1 v2".to_owned());
    assert_eq!(subsets(vec![young.clone(), old.clone()]), merged);
    let bare = DestinationRule {
        traffic_policy: None,
        ..old.clone()
    };
    assert_eq!(subsets(vec![bare, young.clone()]), (2, "v1 v2".to_owned()));
    // Another exportTo: the newest that is seen wins whole.
    let apart = DestinationRule {
        export_to: vec![text("*")],
        ..young
    };
    assert_eq!(subsets(vec![apart, old]), (2, "v1 v2".to_owned()));
}

#[test]
fn a_selector_that_fits_wins_in_its_own_namespace() {
    let selecting = |rule: DestinationRule, label: &str| {
        let labels = [("app".to_owned(), text(label))];
        let selector = Selector {
            match_labels: labels.into(),
            ..Selector::default()
        };
        DestinationRule {
            workload_selector: Some(selector),
            ..rule
        }
    };
    let rules = vec![
        rule("client", A, &[], 1),
        selecting(rule("client", A, &[], 2), "client"),
        selecting(rule("client", A, &[], 3), "zzz"),
        selecting(rule("srv", A, &[], 9), "client"),
    ];
    assert_eq!(found(&all(rules, &[])), [2, 9, 0, 0]);
}

#[test]
fn blocks_are_inherited_whole_and_a_port_replaces_them_all() {
    let detection = |errors| OutlierDetection {
        consecutive_5xx_errors: Some(errors),
        ..OutlierDetection::default()
    };
    let balancer = |simple| LoadBalancer {
        simple,
        ..LoadBalancer::default()
    };
    let tls = |mode| ClientTls {
        mode,
        ..ClientTls::default()
    };
    let mut of_rule = rule("srv", A, &[], 1);
    of_rule.traffic_policy = Some(TrafficPolicy {
        connection_pool: Some(pool(1)),
        outlier_detection: Some(detection(3)),
        load_balancer: Some(balancer(SimpleLb::RoundRobin)),
        tls: Some(tls(ClientTlsMode::Simple)),
        retry_budget: Some(RetryBudget::default()),
        port_level_settings: vec![PortTrafficPolicy {
            port: 80,
            tls: Some(tls(ClientTlsMode::Disable)),
            ..PortTrafficPolicy::default()
        }],
        ..TrafficPolicy::default()
    });
    let lb = TrafficPolicy {
        load_balancer: Some(balancer(SimpleLb::Random)),
        ..TrafficPolicy::default()
    };
    let pl = TrafficPolicy {
        connection_pool: Some(pool(9)),
        port_level_settings: vec![PortTrafficPolicy {
            port: 80,
            outlier_detection: Some(detection(8)),
            ..PortTrafficPolicy::default()
        }],
        ..TrafficPolicy::default()
    };
    of_rule.subsets = vec![
        subset("plain", None),
        subset("lb", Some(lb)),
        subset("pl", Some(pl)),
    ];
    type Row = (
        Option<SimpleLb>,
        Option<u32>,
        Option<u32>,
        Option<ClientTlsMode>,
    );
    let (robin, random) = (Some(SimpleLb::RoundRobin), Some(SimpleLb::Random));
    let (simple, disable) = (Some(ClientTlsMode::Simple), Some(ClientTlsMode::Disable));
    let table: [(u16, &str, Row, bool); 8] = [
        (80, "", (None, None, None, disable), false),
        (80, "plain", (None, None, None, disable), false),
        (80, "lb", (random, None, None, disable), false),
        (80, "pl", (None, None, Some(8), None), false),
        (81, "", (robin, Some(1), Some(3), simple), true),
        (81, "plain", (robin, Some(1), Some(3), simple), true),
        (81, "lb", (random, Some(1), Some(3), simple), true),
        (81, "pl", (robin, Some(9), Some(3), simple), true),
    ];
    for (port, subset, row, has_budget) in table {
        let policy = Policy::new(Some(&of_rule), subset, port, &MeshTraffic::default());
        let found = (
            policy.load_balancer.as_ref().map(|it| it.simple),
            mark(&policy),
            policy
                .outlier_detection
                .as_ref()
                .and_then(|it| it.consecutive_5xx_errors),
            policy.tls.as_ref().map(|it| it.mode),
        );
        assert_eq!(found, row, "{port} {subset}");
        assert_eq!(policy.retry_budget.is_some(), has_budget, "{port} {subset}");
    }
    // The defaults of the mesh are under the level of the rule.
    let mesh = MeshTraffic {
        default_connection_pool: Some(pool(7)),
        default_outlier_detection: Some(detection(6)),
        ..MeshTraffic::default()
    };
    let expected = [(80, "", 7, false), (81, "", 1, true), (80, "lb", 7, false)];
    for (port, subset, connections, by_rule) in expected {
        let policy = Policy::new(Some(&of_rule), subset, port, &mesh);
        assert_eq!(mark(&policy), Some(connections), "{port} {subset}");
        assert_eq!(policy.detects_by_rule, by_rule, "{port} {subset}");
        assert!(policy.outlier_detection.is_some());
    }
}

#[test]
fn the_hash_of_a_port_counts_where_the_route_names_it() {
    let hash = |header: &str| LoadBalancer {
        consistent_hash: Some(ConsistentHash {
            key: HashKey::HttpHeader(text(header)),
            algorithm: HashAlgorithm::default(),
            at: Default::default(),
        }),
        ..LoadBalancer::default()
    };
    let policy = |own: Option<&str>, port: Option<&str>| TrafficPolicy {
        load_balancer: own.map(hash),
        port_level_settings: vec![PortTrafficPolicy {
            port: 80,
            load_balancer: port.map(hash),
            ..PortTrafficPolicy::default()
        }],
        ..TrafficPolicy::default()
    };
    let mut of_rule = rule("srv", A, &[], 1);
    of_rule.traffic_policy = Some(policy(Some("rule"), Some("port")));
    of_rule.subsets = vec![
        subset("none", None),
        subset("own", Some(policy(Some("subset"), Some("subset-port")))),
        subset("port", Some(policy(None, Some("subset-port")))),
    ];
    let rules = all(vec![of_rule], &[]);
    let workload = Workload::new("client", "sa");
    let scope = SidecarScope::new(&workload, "root", &[], &registry());
    let hashes = DestinationHashes {
        rules: &rules,
        workload: &workload,
        scope: &scope,
    };
    let table = [
        ("", "port", "rule"),
        ("none", "port", "rule"),
        ("own", "subset-port", "subset"),
        ("port", "subset-port", "rule"),
        ("unknown", "port", "rule"),
    ];
    for (subset, named, unnamed) in table {
        for (is_named, header) in [(true, named), (false, unnamed)] {
            let key = hashes.hash(A, subset, 80, is_named).unwrap().key;
            assert_eq!(
                key,
                HashKey::HttpHeader(text(header)),
                "{subset} {is_named}"
            );
        }
    }
    assert_eq!(hashes.hash("b.test", "", 80, true), None);
}
