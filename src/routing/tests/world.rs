//! A small mesh in YAML.

use crate::identity::Workload;
use crate::istio::{MeshConfig, Problems, parse, parse_mesh_config};
use crate::routing::route::{Action, Call, PathMatch, Route};
use crate::routing::{HashLookup, Routing, RoutingOptions};

/// Services `a`, `b` and `c` of the namespace `srv`, with the ports 80 and 81.
const SERVICES: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: srv}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: http-b, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: srv}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}, {name: http-b, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: c, namespace: srv}
spec: {clusterIP: 10.96.0.3, ports: [{name: http, port: 80}]}
";

/// What a workload of `namespace` with the label `app: client` routes by.
pub(super) fn routing(namespace: &str, yaml: &str) -> Routing {
    try_routing(namespace, yaml, "").unwrap()
}

pub(super) fn try_routing(namespace: &str, yaml: &str, mesh: &str) -> Result<Routing, Problems> {
    routing_with(namespace, yaml, mesh, &(), &RoutingOptions::default())
}

pub(super) fn routing_with(
    namespace: &str,
    yaml: &str,
    mesh: &str,
    hashes: &dyn HashLookup,
    options: &RoutingOptions,
) -> Result<Routing, Problems> {
    let workload = Workload::new(namespace, "client").label("app", "client");
    let resources = parse("in.yaml", &format!("{SERVICES}---\n{yaml}"), namespace)?;
    let mesh = match mesh {
        "" => MeshConfig::default(),
        text => parse_mesh_config("mesh.yaml", text)?,
    };
    Routing::new(&workload, &mesh, &resources.traffic, hashes, options)
}

/// A VirtualService of `a`, unless it says otherwise.
pub(super) fn virtual_service(name: &str, spec: &str) -> String {
    let hosts = match spec.contains("hosts:") {
        true => "",
        false => "hosts: [a.srv.svc.cluster.local], ",
    };
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}, namespace: srv}}\nspec: {{{hosts}{spec}}}\n"
    )
}

/// The routes of calls to a URI, by `NAME PATH -> CLUSTER`.
pub(super) fn routes(routing: &Routing, uri: &str) -> Vec<String> {
    let virtual_host = routing.table(port(uri)).unwrap();
    let call = Call::get(uri);
    let authority = crate::routing::route::CallHead::authority(&call);
    let virtual_host = virtual_host.virtual_host(authority).unwrap();
    virtual_host.routes.iter().map(shown).collect()
}

/// The port that a URI names, else 80.
pub(super) fn port(uri: &str) -> u16 {
    let authority = uri.trim_start_matches("http://");
    let authority = authority.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    port.and_then(|port| port.parse().ok()).unwrap_or(80)
}

fn shown(route: &Route) -> String {
    let name = route.name.as_deref().unwrap_or("-");
    let path = match &route.matches.path {
        PathMatch::Exact { path, .. } => format!("={path}"),
        PathMatch::Prefix { prefix, .. } => prefix.clone(),
        PathMatch::Segments { prefix, .. } => format!("{prefix}/"),
        PathMatch::Regex { regex, .. } => format!("~{}", regex.as_str()),
    };
    let to = match &route.action {
        Action::Forward(forward) => {
            let clusters = forward.split.clusters().map(ToString::to_string);
            clusters.collect::<Vec<_>>().join(" ")
        }
        Action::Redirect(redirect) => redirect.status.to_string(),
        Action::Respond(respond) => respond.status.to_string(),
    };
    let to = to.replace(".srv.svc.cluster.local", "");
    format!("{name} {path} -> {to}")
}
