use serde_json::{Map, Value, json};

use super::action::{forward, redirect, respond};
use super::matches::route_match;
use super::policies::{cors, fault, header_fields};
use crate::routing::hosts::{RouteTable, VirtualHost};
use crate::routing::route::{Action, Route};

/// The `RouteConfiguration` of a table.
#[must_use]
pub fn route_configuration(table: &RouteTable) -> Value {
    let virtual_hosts = table.virtual_hosts.iter().map(virtual_host);
    json!({
        "name": table.name,
        "virtual_hosts": virtual_hosts.collect::<Vec<_>>(),
        "validate_clusters": false,
        "max_direct_response_body_size_bytes": 1_048_576,
        "ignore_port_in_host_matching": true,
    })
}

fn virtual_host(virtual_host: &VirtualHost) -> Value {
    let routes = virtual_host.routes.iter().map(route);
    json!({
        "name": virtual_host.name,
        "domains": virtual_host.domains,
        "routes": routes.collect::<Vec<_>>(),
        "include_request_attempt_count": true,
    })
}

/// A `Route`.
#[must_use]
pub fn route(route: &Route) -> Value {
    let (field, action) = match &route.action {
        Action::Forward(to) => ("route", forward(to)),
        Action::Redirect(to) => ("redirect", redirect(to)),
        Action::Respond(with) => ("direct_response", respond(with)),
    };
    let mut filters = Map::new();
    if let Some(of_route) = &route.cors {
        filters.insert("envoy.filters.http.cors".to_owned(), cors(of_route));
    }
    if let Some(of_route) = &route.fault {
        filters.insert("envoy.filters.http.fault".to_owned(), fault(of_route));
    }
    let mut printed = json!({"match": route_match(&route.matches), field: action});
    if let Some(fields) = printed.as_object_mut() {
        if let Some(name) = &route.name {
            fields.insert("name".to_owned(), json!(name));
        }
        if !filters.is_empty() {
            fields.insert("typed_per_filter_config".to_owned(), filters.into());
        }
        if let Some(prefix) = &route.stat_prefix {
            fields.insert("stat_prefix".to_owned(), json!(prefix));
        }
    }
    header_fields(&mut printed, "request", &route.request_headers);
    header_fields(&mut printed, "response", &route.response_headers);
    printed
}
