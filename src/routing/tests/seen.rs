//! What one sidecar would be told by us.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::normal::normal;
use crate::routing::envoy::route_configuration;
use crate::routing::route::{Cluster, Split};
use crate::routing::{L4Route, L4Routes, Routing, SniHosts};

pub(super) struct Seen {
    /// Tables by name.
    pub(super) tables: BTreeMap<String, Value>,
    /// Chains by address and port.
    pub(super) chains: BTreeMap<String, Vec<String>>,
    /// The names of all clusters of services.
    pub(super) clusters: Vec<String>,
}

impl Seen {
    pub(super) fn new(routing: &Routing) -> Self {
        let tables = routing.tables().map(|(_, table)| table);
        let tables = tables.chain(routing.tables_by_address());
        let mut chains = BTreeMap::new();
        let mut clusters = Vec::new();
        for scope in routing.scope().listeners() {
            for service in scope.services() {
                for port in &service.ports {
                    clusters.push(format!("outbound|{}||{}", port.number, service.host));
                    if let Some(routes) = routing.connections(&service.host, port.number) {
                        let address = service.addresses.first();
                        let address =
                            address.map_or_else(|| "0.0.0.0".to_owned(), ToString::to_string);
                        chains.insert(format!("{address}_{}", port.number), printed(routes));
                    }
                }
            }
        }
        clusters.sort();
        clusters.dedup();
        Self {
            tables: tables
                .map(|table| (table.name.clone(), normal(&route_configuration(table))))
                .collect(),
            chains,
            clusters,
        }
    }

    /// All virtual hosts.
    pub(super) fn virtual_hosts(&self) -> impl Iterator<Item = &Value> {
        let tables = self.tables.values();
        tables.flat_map(|table| table["virtual_hosts"].as_array().unwrap())
    }

    /// All routes.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Value> {
        self.virtual_hosts()
            .flat_map(|virtual_host| virtual_host["routes"].as_array().unwrap())
    }
}

/// Domains by virtual host.
pub(super) fn domains(table: &Value) -> Value {
    let all = table["virtual_hosts"].as_array().unwrap().iter();
    all.map(|it| {
        (
            it["name"].as_str().unwrap().to_owned(),
            it["domains"].clone(),
        )
    })
    .collect::<serde_json::Map<_, _>>()
    .into()
}

fn printed(routes: &L4Routes) -> Vec<String> {
    let chain = |route: &L4Route| {
        let mut fields = json!({});
        let subnets = route.subnets.iter().map(|range| {
            json!({"address_prefix": range.address().to_string(), "prefix_len": range.prefix()})
        });
        let subnets: Vec<_> = subnets.collect();
        if !subnets.is_empty() {
            fields["prefix_ranges"] = subnets.into();
        }
        if let SniHosts::Of(hosts) = &route.sni {
            fields["server_names"] = json!(hosts);
        }
        format!("{} -> tcp {}", spaced(&fields), split(&route.split))
    };
    let mut chains: Vec<_> = routes.tls.iter().map(chain).collect();
    chains.extend(routes.tcp.iter().map(chain));
    if routes
        .tcp
        .last()
        .is_none_or(|last| !last.subnets.is_empty())
    {
        let otherwise: &Cluster = &routes.otherwise;
        chains.push(format!("{{}} -> tcp {otherwise}"));
    }
    chains
}

/// As Python writes it.
fn spaced(value: &Value) -> String {
    value
        .to_string()
        .replace("\":", "\": ")
        .replace(",\"", ", \"")
}

fn split(split: &Split) -> String {
    match split {
        Split::One(cluster) => cluster.to_string(),
        Split::Weighted(all) => {
            let all = all
                .iter()
                .map(|each| format!("{}={}", each.cluster, each.weight));
            all.collect::<Vec<_>>().join(" ")
        }
    }
}
