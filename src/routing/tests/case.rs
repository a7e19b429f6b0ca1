//! One recorded case: a configuration, and what istiod made of it.

use std::path::Path;

use serde_json::Value;

use crate::identity::Workload;
use crate::istio::traffic::{ConsistentHash, DestinationRule, TrafficPolicy, TrafficResources};
use crate::istio::{MeshConfig, Problems, parse, parse_mesh_config};
use crate::routing::cluster::{ClusterOptions, Clusters};
use crate::routing::services::{Registry, SidecarScope};
use crate::routing::{HashLookup, Routing, RoutingOptions, Unknown, resolve_host};

pub(super) struct Case {
    pub(super) name: String,
    pub(super) want: Value,
    nodes: Value,
    input: String,
    mesh: Option<Value>,
}

impl Case {
    /// All cases of the folder that `TOWER_MESH_TRAFFIC_CASES` names.
    pub(super) fn all() -> Vec<Self> {
        let Some(folder) = std::env::var_os("TOWER_MESH_TRAFFIC_CASES") else {
            panic!("TOWER_MESH_TRAFFIC_CASES is not set");
        };
        let entries = std::fs::read_dir(folder).unwrap();
        let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders
            .iter()
            .filter_map(|folder| Self::read(folder))
            .collect()
    }

    fn read(folder: &Path) -> Option<Self> {
        let want = std::fs::read_to_string(folder.join("want.json")).ok()?;
        let input = std::fs::read_to_string(folder.join("in.yaml")).ok()?;
        let record: Value = serde_json::from_str(&want).unwrap();
        Some(Self {
            name: folder.file_name()?.to_str()?.to_owned(),
            want: record
                .get("want_master")
                .or_else(|| record.get("want"))?
                .clone(),
            nodes: record["nodes"].clone(),
            mesh: record.get("mesh").cloned(),
            // istiod reads YAML 1.1, in which the keys `y` and `n` are booleans.
            input: input
                .replace("{y: {exact", "{\"true\": {exact")
                .replace("{n: null}", "{\"false\": null}"),
        })
    }

    /// The names of the sidecars that were asked.
    pub(super) fn sidecars(&self) -> Vec<&str> {
        let nodes = self.nodes.as_object().unwrap().iter();
        let sidecars = nodes.filter(|(_, node)| node["type"] == "sidecar");
        sidecars.map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn is_node(&self, name: &str) -> bool {
        self.nodes.get(name).is_some()
    }

    /// The routing of a workload in the namespace `srv`, with what is routed at the gateway `g`
    /// routed for the Service `a` in place of it.
    pub(super) fn routing_as_mesh(&self) -> Result<Routing, Problems> {
        let at_gateway = "parentRefs: [{name: g, namespace: istio-system}]";
        let of_service = "parentRefs: [{group: \"\", kind: Service, name: a, namespace: srv}]";
        let input = self.input.replace(at_gateway, of_service);
        self.routing_of(&Workload::new("srv", "client"), &input)
    }

    /// The routing of one sidecar.
    pub(super) fn routing(&self, node: &str) -> Result<Routing, Problems> {
        let node = &self.nodes[node];
        let labels = node["labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
        let workload = Workload::new(
            node["ns"].as_str().unwrap(),
            node["sa"].as_str().unwrap_or("default"),
        )
        .with_labels(labels);
        self.routing_of(&workload, &self.input)
    }

    fn routing_of(&self, workload: &Workload, input: &str) -> Result<Routing, Problems> {
        let resources = parse("in.yaml", input, "default")?.traffic;
        let mesh = match &self.mesh {
            Some(mesh) => parse_mesh_config("mesh.yaml", &mesh.to_string())?,
            None => MeshConfig::default(),
        };
        let hashes = Rules(&resources);
        let options = RoutingOptions::default();
        Routing::new(workload, &mesh, &resources, &hashes, &options)
    }
}

impl Case {
    /// The clusters of one sidecar, and what it does with unknown hosts.
    pub(super) fn clusters(&self, node: &str) -> Result<(Clusters, Unknown), Problems> {
        let resources = parse("in.yaml", &self.input, "default")?;
        let mesh = match &self.mesh {
            Some(mesh) => parse_mesh_config("mesh.yaml", &mesh.to_string())?,
            None => MeshConfig::default(),
        };
        let node = &self.nodes[node];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = node["labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.clone(), text(value)));
        let place = &node["loc"];
        let account = node["sa"].as_str().unwrap_or("default");
        let workload = Workload::new(text(&node["ns"]), account)
            .with_labels(labels)
            .locality(text(&place[0]), text(&place[1]));
        let mut options = ClusterOptions::default();
        options.subzone = text(&place[2]);
        let traffic = &resources.traffic;
        let registry = Registry::new(
            traffic,
            &mesh.traffic.default_service_export_to,
            &options.domain,
        );
        let scope = SidecarScope::new(
            &workload,
            &mesh.root_namespace,
            &traffic.sidecars,
            &registry,
        );
        let unknown = Unknown::new(
            scope.outbound_traffic_policy(),
            mesh.traffic.outbound_mode,
            workload.namespace(),
            &options.domain,
        );
        let clusters = Clusters::new(&workload, &mesh, &resources, &scope, &options);
        Ok((clusters, unknown))
    }
}

/// The hashes of DestinationRules, as far as the cases here need them: the first of the host.
struct Rules<'r>(&'r TrafficResources);

impl HashLookup for Rules<'_> {
    fn hash(&self, host: &str, subset: &str, port: u16, named: bool) -> Option<ConsistentHash> {
        let full = |rule: &DestinationRule| {
            resolve_host(&rule.host, &rule.meta.namespace, "cluster.local").into_owned()
        };
        let mut rules = self.0.destination_rules.iter();
        let rule = rules.find(|rule| full(rule) == host)?;
        let mut subsets = rule.subsets.iter();
        let of_subset = subsets.find(|it| it.name.as_str() == subset);
        let policies = [
            of_subset.and_then(|it| it.traffic_policy.as_ref()),
            rule.traffic_policy.as_ref(),
        ];
        let of_policy = |policy: &TrafficPolicy| {
            let mut ports = policy.port_level_settings.iter();
            let of_port = ports.find(|it| named && it.port == port);
            let of_port = of_port.and_then(|it| it.load_balancer.as_ref());
            let lb = of_port.or(policy.load_balancer.as_ref())?;
            lb.consistent_hash.clone()
        };
        policies.into_iter().flatten().find_map(of_policy)
    }
}
