//! HTTPRoutes and GRPCRoutes for calls of the mesh.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::{grpc, http};
use crate::istio::traffic::gateway_api::ParentRef;
use crate::istio::traffic::{HttpMatch, HttpRoute, StringMatch, TrafficResources};
use crate::istio::{Meta, Text};
use crate::routing::host::resolve_host;
use crate::routing::services::Exports;
use crate::routing::virtual_service::{MESH, Resolved, Semantics};

/// One for each service and each namespace of routes to it. Routes of the service's own namespace
/// are for everybody, those of another for callers of that namespace only.
///
/// Rules are sorted as the Gateway API demands; among equal ones the older route comes first, then
/// that of the lesser namespace and name.
pub(in crate::routing) fn mesh_routes(resources: &TrafficResources, domain: &str) -> Vec<Resolved> {
    let mut all: BTreeMap<(String, String), Resolved> = BTreeMap::new();
    let of_http = resources.http_routes.iter();
    let of_http = of_http.map(|route| {
        (
            &route.meta,
            &route.parents,
            http::rules(route, resources, domain),
        )
    });
    let of_grpc = resources.grpc_routes.iter();
    let of_grpc = of_grpc.map(|route| {
        (
            &route.meta,
            &route.parents,
            grpc::rules(route, resources, domain),
        )
    });
    let mut routes: Vec<_> = of_http.chain(of_grpc).collect();
    routes.sort_by_key(|(meta, ..)| (&meta.created, &meta.namespace, &meta.name));
    for (meta, parents, rules) in routes {
        let Some(rules) = rules else { continue };
        for parent in parents.iter().filter(|parent| parent.is_service()) {
            let namespace = parent.namespace.as_deref().unwrap_or(&meta.namespace);
            let host = resolve_host(&parent.name, namespace, domain).into_owned();
            let key = (host.clone(), meta.namespace.clone());
            let merged = all
                .entry(key)
                .or_insert_with(|| empty(meta, namespace, Text::new(host, parent.at.clone())));
            merged
                .http
                .extend(rules.iter().map(|rule| on_port(rule, parent)));
        }
    }
    let mut all: Vec<_> = all.into_values().collect();
    for merged in &mut all {
        merged.http.sort_by_key(rank);
    }
    all
}

fn empty(meta: &Meta, namespace: &str, host: Text) -> Resolved {
    let exports = match meta.namespace == namespace {
        true => Exports::Everybody,
        false => Exports::Namespaces(BTreeSet::from([meta.namespace.clone()])),
    };
    Resolved {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        created: meta.created.clone(),
        hosts: vec![host],
        gateways: vec![MESH.to_owned()],
        exports,
        semantics: Semantics::GatewayApi,
        http: Vec::new(),
        tls: Vec::new(),
        tcp: Vec::new(),
    }
}

/// The rule, for calls to the parent's port only if the parent names one.
fn on_port(rule: &HttpRoute, parent: &ParentRef) -> HttpRoute {
    let mut rule = rule.clone();
    if parent.port.is_some() {
        if rule.matches.is_empty() {
            rule.matches.push(HttpMatch::default());
        }
        for of_match in &mut rule.matches {
            of_match.port = parent.port;
        }
    }
    rule
}

/// The place of a rule, which has one match or none, among others: the least comes first.
fn rank(rule: &HttpRoute) -> impl Ord + use<> {
    use std::cmp::Reverse;
    let Some(of_match) = rule.matches.first() else {
        return (true, Reverse((0, 0)), false, Reverse(0), Reverse(0));
    };
    let path = match &of_match.uri {
        Some(StringMatch::Exact(path)) => (3, path.len()),
        Some(StringMatch::Prefix(prefix)) => (2, prefix.len()),
        Some(StringMatch::Regex(regex)) => (1, regex.len()),
        // Every path, as the prefix `/`.
        None => (2, 1),
    };
    (
        false,
        Reverse(path),
        of_match.method.is_none(),
        Reverse(of_match.headers.len()),
        Reverse(of_match.query_params.len()),
    )
}
