//! Runs recorded cases: `TOWER_MESH_TRAFFIC_CASES=DIR cargo test --lib routing -- --ignored`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::Case;
use super::normal::{normal, parse_short, short, standard};
use super::seen::{Seen, domains};

/// What istiod writes and Envoy then refuses whole: we refuse it.
const REFUSED_BY_ENVOY: [&str; 3] = ["direct-600", "fault-600", "redir-badcode"];

/// What we have no counterpart of: requests that name a proxy, of a process that has none.
const WITHOUT_COUNTERPART: [&str; 1] = ["sc-proxy"];

/// Expectations about other things than routes, by their key.
const NOT_ROUTES: [&str; 8] = ["cl", "cls", "eds", "ls", "lss", "rcs", "vo", "tcp"];

#[test]
#[ignore = "needs recorded cases"]
fn recorded_cases_agree() {
    let mut agreeing = 0;
    let mut differing = Vec::new();
    for case in Case::all() {
        let is_ours = !WITHOUT_COUNTERPART.contains(&case.name.as_str());
        if !is_ours || case.want.get("refused").is_some() || case.sidecars().is_empty() {
            continue;
        }
        let mut report = Report::default();
        judge(&case, &mut report);
        if let Some(refusal) = report.refusal {
            println!("{} is refused: {refusal}", case.name);
        }
        match (report.checked, report.differences.is_empty()) {
            (0, true) => {}
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
    println!("{agreeing} cases agree, {} differ", differing.len());
    assert!(agreeing > 0);
    assert!(differing.is_empty(), "{} cases differ", differing.len());
}

#[derive(Default)]
struct Report {
    checked: usize,
    differences: Vec<String>,
    refusal: Option<String>,
}

fn judge(case: &Case, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for node in case.sidecars() {
        match case.routing(node) {
            Ok(routing) => {
                seen.insert(node, Seen::new(&routing));
            }
            Err(_) if REFUSED_BY_ENVOY.contains(&case.name.as_str()) => {
                report.checked += 1;
                return;
            }
            Err(problems) => {
                report.refusal = Some(problems.to_string());
                return;
            }
        }
    }
    let whole = Some(&case.want).filter(|want| !matches!(want, Value::Object(_)));
    if let Some(want) = whole {
        let seen = seen.values().next().unwrap();
        return compare("", want, seen, report);
    }
    for (key, want) in case.want.as_object().unwrap() {
        if NOT_ROUTES.contains(&key.as_str()) {
            continue;
        }
        match (seen.get(key.as_str()), case.is_node(key)) {
            (Some(seen), _) => match want {
                // Several virtual hosts of a node.
                Value::Object(inner) if inner.values().all(first_is_short) => {
                    for (key, want) in inner {
                        compare(key, want, seen, report);
                    }
                }
                want => compare("", want, seen, report),
            },
            // A gateway.
            (None, true) => {}
            (None, false) => {
                let of_node = seen.iter().find(|(node, _)| is_port_of(key, node));
                let seen = of_node.or_else(|| seen.iter().next()).unwrap().1;
                if is_whole(&case.want) {
                    return compare("", &case.want, seen, report);
                }
                compare(key, want, seen, report);
            }
        }
    }
}

/// Whether a key is a node and a port, such as `c80`.
fn is_port_of(key: &str, node: &str) -> bool {
    let port = key.strip_prefix(node);
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn first_is_short(want: &Value) -> bool {
    want.get(0)
        .and_then(Value::as_str)
        .is_some_and(|text| text.contains(" | "))
}

/// Whether an object is one expectation and not several by key.
fn is_whole(want: &Value) -> bool {
    let fields = want.as_object().unwrap();
    let marks = ["retry_on", "match", "m", "prefix"];
    marks.iter().any(|mark| fields.contains_key(*mark))
        || fields.contains_key("allow_any")
        || fields.contains_key("block_all")
}

/// Compares an expectation, whose kind its shape shows, with what we would say.
fn compare(key: &str, want: &Value, seen: &Seen, report: &mut Report) {
    let found = match want {
        Value::Array(list) if list.is_empty() && !key.is_empty() => return,
        Value::Array(list) if list.is_empty() => Some(seen.clusters.is_empty()),
        Value::Array(list) => list_agrees(key, list, seen),
        Value::Object(fields) if fields.contains_key("m") && fields.contains_key("names") => {
            let matches = normal(&want["m"]);
            Some(seen.virtual_hosts().any(|virtual_host| {
                let routes = virtual_host["routes"].as_array().unwrap();
                let of_routes: Value = routes.iter().map(|it| it["match"].clone()).collect();
                let names: Value = routes.iter().map(|it| it["name"].clone()).collect();
                of_routes == matches && names == want["names"]
            }))
        }
        Value::Object(fields) if fields.contains_key("retry_on") => {
            let want = normal(want);
            Some(retry_policies(seen).any(|policy| policy == want))
        }
        Value::Object(fields) if fields.contains_key("routes") => {
            let want = normal(want);
            Some(
                seen.virtual_hosts()
                    .any(|virtual_host| *virtual_host == want),
            )
        }
        Value::Object(fields) if fields.contains_key("match") => {
            let want = normal(want);
            Some(seen.routes().any(|route| unnamed(route) == unnamed(&want)))
        }
        Value::Object(fields) if fields.contains_key("path_redirect") => {
            let mut tables = seen.tables.iter().filter(|(name, _)| *name == key);
            Some(tables.any(|(_, table)| {
                let virtual_hosts = table["virtual_hosts"].as_array().unwrap().iter();
                let mut routes = virtual_hosts.flat_map(|it| it["routes"].as_array().unwrap());
                routes.any(|route| route["redirect"] == *want)
            }))
        }
        Value::Object(fields) if key == "rc" => Some(fields.iter().all(|(name, want)| {
            let table = seen.tables.get(name);
            table.is_some_and(|table| table_agrees(table, want))
        })),
        Value::Object(fields) if !fields.is_empty() && fields.values().all(is_domains) => {
            let named: Vec<_> = seen
                .tables
                .iter()
                .filter(|(name, _)| *name == key)
                .collect();
            let want = normal(want);
            let agrees = |table: &Value| domains(table) == want;
            Some(match named.is_empty() {
                true => seen.tables.values().any(agrees),
                false => named.iter().all(|(_, table)| agrees(table)),
            })
        }
        Value::Object(fields) if fields.keys().all(|path| path.starts_with('/')) => Some(
            fields
                .iter()
                .all(|(path, want)| hash_agrees(key, path, want, seen)),
        ),
        Value::String(text) if text == "STD" => {
            Some(retry_policies(seen).any(|policy| policy == standard()))
        }
        Value::String(_) | Value::Null if !key.is_empty() => None,
        Value::String(host) if !host.contains('.') => None,
        Value::String(host) => Some(
            seen.routes()
                .any(|route| route["route"]["host_rewrite_literal"] == host.as_str()),
        ),
        Value::Null => Some(seen.routes().any(|route| {
            let to = &route["route"];
            to.get("cluster")
                .is_some_and(|it| it != "PassthroughCluster")
                && to.get("retry_policy").is_none()
        })),
        _ => None,
    };
    let Some(agrees) = found else { return };
    report.checked += 1;
    if !agrees {
        let shown: Value = seen
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table["virtual_hosts"].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let (chains, clusters) = (&seen.chains, &seen.clusters);
        report.differences.push(format!(
            "{key}: want {want}\n    have {shown} {chains:?} {clusters:?}"
        ));
    }
}

pub(super) fn list_agrees(key: &str, list: &[Value], seen: &Seen) -> Option<bool> {
    let first = list.first()?;
    let text = first.as_str();
    if text.is_some_and(|text| text.contains(" | ")) {
        let want: Option<Value> = list.iter().map(|it| parse_short(it.as_str()?)).collect();
        return Some(seen.virtual_hosts().any(|virtual_host| {
            is_named(virtual_host, key) && want.as_ref() == Some(&shorts(virtual_host))
        }));
    }
    if text.is_some_and(|text| text.contains(" -> tcp ")) {
        let strip = |it: &Value| {
            let text = it.as_str().unwrap();
            let end = text.find(" idle=").unwrap_or(text.len());
            text[..end].to_owned()
        };
        let want: Vec<_> = list.iter().map(strip).collect();
        let mut chains = seen.chains.iter();
        return Some(
            chains.any(|(name, chains)| (key.is_empty() || name == key) && *chains == want),
        );
    }
    if text.is_some_and(|text| text.starts_with("outbound|")) {
        let all = list.iter().map(|it| it.as_str().unwrap().to_owned());
        if all.clone().any(|name| !name.contains("||")) {
            // Subsets are not of routes.
            return None;
        }
        return Some(all.collect::<Vec<_>>() == seen.clusters);
    }
    let fields = first.as_object()?;
    if fields.contains_key("match") && !fields.contains_key("tls") {
        let want = normal(&list.to_vec().into());
        return Some(
            seen.virtual_hosts()
                .any(|virtual_host| virtual_host["routes"] == want),
        );
    }
    if fields.contains_key("m") {
        return Some(list.iter().all(|it| {
            seen.routes().any(|route| {
                path_of(route) == Some(it["m"].as_str().unwrap()) && route["redirect"] == it["r"]
            })
        }));
    }
    if fields.contains_key("max_grpc_timeout") {
        let want: Vec<_> = list.iter().map(|it| &it["timeout"]).collect();
        return Some(seen.virtual_hosts().any(|virtual_host| {
            let routes = virtual_host["routes"].as_array().unwrap().iter();
            let none = Value::from("0s");
            let have: Vec<_> = routes
                .map(|it| it["route"].get("timeout").unwrap_or(&none).clone())
                .collect();
            have.iter().eq(want.iter().copied())
        }));
    }
    if fields.contains_key("runtime_fraction") {
        // The case is about a flag that we do not have.
        return None;
    }
    let is_by_path = |it: &Value| {
        it.as_object()
            .is_some_and(|it| it.len() == 1 && it.keys().all(|key| key.starts_with('/')))
    };
    if list.iter().all(is_by_path) {
        return Some(list.iter().all(|it| {
            let (path, want) = it.as_object().unwrap().iter().next().unwrap();
            let want = normal(want);
            seen.routes()
                .filter(|route| path_of(route) == Some(path))
                .any(|route| {
                    let mirrors = &route["route"]["request_mirror_policies"];
                    let mut filters = route["typed_per_filter_config"]
                        .as_object()
                        .into_iter()
                        .flatten();
                    *mirrors == want || filters.any(|(_, filter)| *filter == want)
                })
        }));
    }
    None
}

fn table_agrees(table: &Value, want: &Value) -> bool {
    let virtual_hosts = table["virtual_hosts"].as_array().unwrap();
    let want = want.as_object().unwrap();
    virtual_hosts.len() == want.len()
        && virtual_hosts.iter().all(|virtual_host| {
            let want = &want[virtual_host["name"].as_str().unwrap()];
            let routes = want[1].as_array().unwrap().iter();
            let routes: Option<Value> = routes.map(|it| parse_short(it.as_str()?)).collect();
            virtual_host["domains"] == want[0] && routes == Some(shorts(virtual_host))
        })
}

fn shorts(virtual_host: &Value) -> Value {
    virtual_host["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(short)
        .collect()
}

/// Whether a key, such as `a` or `b.srv`, may mean this virtual host.
fn is_named(virtual_host: &Value, key: &str) -> bool {
    let name = virtual_host["name"].as_str().unwrap();
    let by_port = key.len() > 1 && key.is_char_boundary(1) && key[1..].parse::<u16>().is_ok();
    if by_port {
        return name.ends_with(&format!(":{}", &key[1..]));
    }
    key.is_empty()
        || name.starts_with(&format!("{key}:"))
        || name.starts_with(&format!("{key}.srv."))
        || key.len() > 8
}

fn is_domains(value: &Value) -> bool {
    let mut list = value.as_array().into_iter().flatten();
    value.is_array()
        && list.all(|it| {
            it.as_str()
                .is_some_and(|it| !it.contains(' ') && !it.contains('|'))
        })
}

fn hash_agrees(port: &str, path: &str, want: &Value, seen: &Seen) -> bool {
    let Some(table) = seen.tables.get(port) else {
        return false;
    };
    let virtual_hosts = table["virtual_hosts"].as_array().unwrap().iter();
    let mut routes = virtual_hosts.flat_map(|it| it["routes"].as_array().unwrap());
    routes.any(|route| {
        path_of(route) == Some(path)
            && route["route"]["hash_policy"][0]["header"]["header_name"] == *want
    })
}

fn path_of(route: &Value) -> Option<&str> {
    let matches = &route["match"];
    let path = matches.get("path").or_else(|| matches.get("prefix"))?;
    path.as_str()
}

/// A route without its name.
fn unnamed(route: &Value) -> Value {
    let mut route = route.clone();
    route.as_object_mut().unwrap().remove("name");
    route
}

fn retry_policies(seen: &Seen) -> impl Iterator<Item = Value> {
    let policies = seen
        .routes()
        .filter_map(|route| route["route"].get("retry_policy"));
    policies.map(|policy| match policy.as_str() {
        Some(_) => standard(),
        None => policy.clone(),
    })
}
