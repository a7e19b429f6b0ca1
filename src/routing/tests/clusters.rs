//! Compares our clusters and endpoints with recorded ones:
//! `TOWER_MESH_TRAFFIC_CASES=DIR cargo test --lib routing::tests::clusters -- --ignored`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::case::Case;
use super::cluster_form::{localities, normal, short, trimmed};
use crate::routing::cluster::Clusters;
use crate::routing::envoy::{cluster, load_assignment, unknown_clusters};
use crate::routing::route::ClusterName;

/// What differs by design.
const BY_DESIGN: [&str; 2] = [
    // An endpoint that is not ready, and of which nothing says that it goes, counts as ill; istiod
    // takes the missing word for going.
    "loc-dist-panic",
    // Of a flag of istiod.
    "od-panic-flag-off",
];

/// The names of cases about clusters.
const KINDS: [&str; 10] = [
    "cp", "dr", "k8s", "lb", "loc", "od", "sc", "se", "tls", "unk",
];

/// Expectations about other things.
const OTHER: [&str; 9] = ["hash", "lss", "ls", "vhs", "vh", "vo", "rcs", "a", "ext"];

#[test]
#[ignore = "needs recorded cases"]
fn recorded_clusters_agree() {
    let (mut agreeing, mut differing, mut expectations) = (0, Vec::new(), 0);
    for case in Case::all() {
        let kind = case.name.split('-').next().unwrap();
        let is_ours = KINDS.contains(&kind) && !BY_DESIGN.contains(&case.name.as_str());
        if !is_ours || case.want.get("refused").is_some() || case.sidecars().is_empty() {
            continue;
        }
        let mut seen = BTreeMap::new();
        let mut refusal = None;
        for node in case.sidecars() {
            match case.clusters(node) {
                Ok((clusters, unknown)) => {
                    let known = unknown_clusters(&unknown);
                    seen.insert(node.to_owned(), Seen::new(&clusters, &known));
                }
                Err(problems) => refusal = Some(problems),
            }
        }
        if let Some(refusal) = refusal {
            println!("{} is refused: {refusal}", case.name);
            continue;
        }
        let mut report = Report::default();
        let first = seen.keys().next().unwrap().clone();
        let filter = Filter {
            node: first,
            ..Filter::default()
        };
        walk(&seen, &filter, "", &case.want, &mut report);
        expectations += report.checked;
        match (report.checked, report.differences.is_empty()) {
            (0, _) => {}
            (_, true) => agreeing += 1,
            (_, false) => differing.push((case.name, report.differences)),
        }
    }
    for (name, differences) in &differing {
        println!("{name}");
        for difference in differences {
            println!("    {difference}");
        }
    }
    println!(
        "{agreeing} cases agree in {expectations} expectations, {} differ",
        differing.len()
    );
    assert!(agreeing > 0);
    assert!(differing.is_empty(), "{} cases differ", differing.len());
}

#[derive(Default)]
struct Report {
    checked: usize,
    differences: Vec<String>,
}

/// What one sidecar has.
struct Seen {
    named: BTreeMap<String, Printed>,
}

struct Printed {
    name: Option<ClusterName>,
    whole: Value,
    trimmed: Value,
    localities: Value,
}

impl Seen {
    fn new(clusters: &Clusters, known: &[Value]) -> Self {
        let of_services = clusters.iter().map(|it| {
            let whole = cluster(it);
            Printed {
                name: Some(it.name.clone()),
                trimmed: trimmed(&whole),
                localities: normal(&localities(&load_assignment(it))),
                whole,
            }
        });
        let others = known.iter().map(|whole| Printed {
            name: None,
            whole: whole.clone(),
            trimmed: trimmed(whole),
            localities: json!([]),
        });
        let all = of_services.chain(others);
        let all = all.map(|it| (it.whole["name"].as_str().unwrap().to_owned(), it));
        Self {
            named: all.collect(),
        }
    }

    fn names(&self) -> Vec<&str> {
        let names = self.named.keys().map(String::as_str);
        names.filter(|name| name.starts_with("outbound|")).collect()
    }
}

/// Which clusters an expectation is about.
#[derive(Clone, Default)]
struct Filter {
    node: String,
    port: Option<u16>,
    subset: String,
    host: Option<String>,
}

impl Filter {
    /// A key is a node, `PORT`, `PORT|SUBSET`, `PORT|SUBSET|HOST`, a host or a subset.
    fn narrowed(&self, key: &str, seen: &BTreeMap<String, Seen>) -> Self {
        let mut filter = self.clone();
        if seen.contains_key(key) {
            filter.node = key.to_owned();
            return filter;
        }
        let mut parts = key.split('|');
        let first = parts.next().unwrap_or_default();
        if let Ok(port) = first.trim_start_matches("hl").parse() {
            filter.port = Some(port);
            filter.subset = parts.next().unwrap_or_default().to_owned();
            filter.host = parts.next().map(str::to_owned);
        } else if key.contains('.') {
            filter.host = Some(key.to_owned());
        } else {
            let names = seen.values().flat_map(|seen| seen.named.values());
            let mut subsets = names.filter_map(|it| Some(it.name.as_ref()?.subset.as_str()));
            if subsets.any(|subset| subset == key) {
                filter.subset = key.to_owned();
            }
        }
        filter
    }

    fn fits(&self, name: &ClusterName) -> bool {
        self.port.is_none_or(|port| port == name.port)
            && self.subset == name.subset
            && self.host.as_ref().is_none_or(|host| *host == name.host)
    }
}

fn walk(
    seen: &BTreeMap<String, Seen>,
    filter: &Filter,
    key: &str,
    want: &Value,
    report: &mut Report,
) {
    // A cluster of requests to us, which have no counterpart here.
    if OTHER.contains(&key) || want["name"] == "InboundPassthroughCluster" {
        return;
    }
    let filter = filter.narrowed(key, seen);
    let here = &seen[&filter.node];
    let all = here.named.values();
    let fitting: Vec<_> = all
        .filter(|it| it.name.as_ref().is_some_and(|name| filter.fits(name)))
        .collect();
    let Some(agrees) = judge(here, &fitting, key, want) else {
        match want {
            Value::Object(fields) => {
                for (key, want) in fields {
                    walk(seen, &filter, key, want, report);
                }
            }
            Value::Array(list) if key == "cl" => {
                for want in list {
                    walk(seen, &filter, "", want, report);
                }
            }
            _ => {}
        }
        return;
    };
    report.checked += 1;
    if !agrees {
        let have = fitting
            .iter()
            .map(|it| format!("{}\n      {}", it.trimmed, it.localities));
        let have: Vec<_> = have.collect();
        let names = here.names();
        let have = have.join("\n    ");
        report.differences.push(format!(
            "{key}: want {want}\n    have {have}\n    {names:?}"
        ));
    }
}

/// `None`: it is no expectation that we know, or one of several.
fn judge(seen: &Seen, fitting: &[&Printed], key: &str, want: &Value) -> Option<bool> {
    let any = |test: &dyn Fn(&Printed) -> bool| Some(fitting.iter().any(|it| test(it)));
    let field = |name: &'static str| {
        any(&|it| it.trimmed.get(name).map_or(Value::Null, normal) == normal(want))
    };
    match want {
        Value::Object(fields) => {
            let has = |name: &str| fields.contains_key(name);
            if has("maxc") {
                return any(&|it| summary(it) == *want);
            }
            if has("name") {
                let name = fields["name"].as_str()?;
                let mut want = normal(want);
                let Some(printed) = seen.named.get(name) else {
                    return Some(false);
                };
                // Some records leave the panic threshold out.
                if want.get("common_lb_config").is_none() {
                    want["common_lb_config"] = printed.trimmed["common_lb_config"].clone();
                }
                return Some(normal(&printed.trimmed) == normal(&want));
            }
            if fields.keys().any(|key| CLUSTER.contains(&key.as_str())) {
                let is_partial = |it: &Printed| {
                    fields.iter().all(|(key, want)| match key.as_str() {
                        "eds" => it.localities == normal(want),
                        "circuit_breakers" if want.get("thresholds").is_some() => {
                            normal(&it.whole[key]) == normal(want)
                        }
                        "connect_timeout" => it.whole[key] == *want,
                        "transport_socket_matches" => matches_agree(&it.trimmed[key], want),
                        _ => it.trimmed.get(key).map_or(Value::Null, normal) == normal(want),
                    })
                };
                return any(&is_partial);
            }
            if has("params") {
                let want = normal(want);
                return any(&|it| {
                    let of_match = &it.trimmed["transport_socket_matches"][0]["tls"];
                    it.trimmed["transport_socket"] == want || *of_match == want
                });
            }
            if has(HTTP_OPTIONS) {
                return field("typed_extension_protocol_options");
            }
            if has("tcp_keepalive") {
                return field("upstream_connection_options");
            }
            if has("thresholds") {
                return any(&|it| normal(&it.whole["circuit_breakers"]) == normal(want));
            }
            if has("healthy_panic_threshold") || key == "lb" {
                return field("common_lb_config");
            }
            None
        }
        Value::Array(list) => judge_list(seen, fitting, key, list),
        Value::Number(_) => any(&|it| it.trimmed["circuit_breakers"]["max_connections"] == *want),
        Value::String(text) if text == "DEFAULT" => any(&|it| {
            it.trimmed["circuit_breakers"]
                .get("max_connections")
                .is_none()
        }),
        Value::Null | Value::String(_) if key == "policy" => field("lb_policy"),
        Value::String(text) if text == "ORIGINAL_DST" => field("type"),
        Value::Null if key.contains("||") => field("typed_extension_protocol_options"),
        _ => None,
    }
}

fn judge_list(seen: &Seen, fitting: &[&Printed], key: &str, list: &[Value]) -> Option<bool> {
    let whole = Value::from(list.to_vec());
    let any = |test: &dyn Fn(&Printed) -> bool| Some(fitting.iter().any(|it| test(it)));
    let Some(first) = list.first() else {
        return match key {
            "eds" => any(&|it| it.localities == json!([]) || it.trimmed["type"] != "EDS"),
            "cl" => None,
            "80" | "81" => any(&|it| it.trimmed.get("transport_socket_matches").is_none()),
            _ => Some(seen.names().is_empty()),
        };
    };
    if first.get("loc").is_some() {
        return any(&|it| short(&it.localities) == whole);
    }
    if first.get("locality").is_some() {
        return any(&|it| it.localities == whole);
    }
    if first.is_array() && key == "eds" {
        return Some(list.iter().all(|want| {
            let mut all = fitting.iter();
            all.any(|it| it.localities == *want)
        }));
    }
    if first.is_array() && key == "prio" {
        return any(&|it| priorities(&it.localities) == whole);
    }
    let text = first.as_str();
    if text.is_some_and(|text| text.starts_with("outbound|")) {
        return Some(json!(seen.names()) == whole);
    }
    if text.is_some_and(|text| text.starts_with("tlsMode-")) {
        return any(&|it| {
            let matches = it.trimmed["transport_socket_matches"].as_array();
            let names = matches.into_iter().flatten().map(|it| it["name"].clone());
            names.collect::<Value>() == whole
        });
    }
    let is_address = |text: &str| text.parse::<std::net::SocketAddr>().is_ok();
    if text.is_some_and(is_address) {
        return any(&|it| {
            let groups = it.localities.as_array().unwrap().iter();
            let hosts = groups.flat_map(|group| group["hosts"].as_array().unwrap());
            hosts.map(|host| host["a"].clone()).collect::<Value>() == whole
        });
    }
    if list.len() == 3 && list.iter().all(|it| it.is_number() || it.is_null()) {
        let name = |subset: &str| format!("outbound|80|{subset}|a.srv.svc.cluster.local");
        let connections = ["", "v1", "v2"].map(|subset| {
            let found = seen.named.get(&name(subset));
            found.map_or(Value::Null, |it| {
                it.trimmed["circuit_breakers"]["max_connections"].clone()
            })
        });
        return Some(json!(connections) == whole);
    }
    None
}

/// Some records leave the TLS of matches out.
fn matches_agree(have: &Value, want: &Value) -> bool {
    let Some(want) = want.as_array() else {
        return have.is_null();
    };
    let have = have.as_array().map_or(&[][..], Vec::as_slice);
    have.len() == want.len()
        && have.iter().zip(want).all(|(have, want)| {
            have["name"] == want["name"]
                && want.get("tls").is_none_or(|tls| have["tls"] == normal(tls))
        })
}

/// As `{lb, maxc, od, tls}`.
fn summary(printed: &Printed) -> Value {
    let cluster = &printed.trimmed;
    let connections = cluster["circuit_breakers"].get("max_connections");
    let tls = match (
        cluster.get("transport_socket"),
        cluster.get("transport_socket_matches"),
    ) {
        (None, None) => "none",
        (None, Some(_)) => "auto",
        (Some(_), _) => "tls",
    };
    json!({
        "lb": cluster["lb_policy"],
        "maxc": connections.cloned().unwrap_or_else(|| json!("DEFAULT")),
        "od": cluster["outlier_detection"],
        "tls": tls,
    })
}

/// Regions, zones and priorities.
fn priorities(localities: &Value) -> Value {
    let groups = localities.as_array().unwrap().iter();
    let rows = groups.map(|group| {
        let locality = &group["locality"];
        let priority = group["priority"].as_u64().unwrap_or(0);
        json!([locality["region"], locality["zone"], priority])
    });
    rows.collect()
}

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Fields of clusters that show that an expectation is one.
const CLUSTER: [&str; 10] = [
    "type",
    "lb_policy",
    "cluster_type",
    "circuit_breakers",
    "outlier_detection",
    "transport_socket",
    "transport_socket_matches",
    "typed_extension_protocol_options",
    "common_lb_config",
    "connect_timeout",
];
