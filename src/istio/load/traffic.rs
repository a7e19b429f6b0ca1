//! Decodes a resource that routes and balances calls, by its kind.

use std::sync::Arc;

use super::kind::TrafficKind;
use crate::istio::Meta;
use crate::istio::decode::traffic as decode;
use crate::istio::traffic::TrafficResources;
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

/// Keeps what is decoded; without a name, which was reported, it is decoded for its other problems
/// only.
pub(super) fn traffic(
    kind: TrafficKind,
    meta: Option<Meta>,
    document: Fields<'_, '_>,
    spec: &Cursor<'_, '_>,
    into: &mut TrafficResources,
) {
    let is_named = meta.is_some();
    let meta = meta.unwrap_or_default();
    match kind {
        TrafficKind::DestinationRule => {
            let rule = decode::destination_rule(meta, spec);
            push(&mut into.destination_rules, is_named, rule);
        }
        TrafficKind::GrpcRoute => {
            let route = decode::grpc_route(meta, spec);
            push(&mut into.grpc_routes, is_named, route);
        }
        TrafficKind::HttpRoute => {
            let route = decode::http_route(meta, spec);
            push(&mut into.http_routes, is_named, route);
        }
        TrafficKind::ReferenceGrant => {
            let grant = decode::reference_grant(meta, spec);
            push(&mut into.reference_grants, is_named, grant);
        }
        TrafficKind::ServiceEntry => {
            let entry = decode::service_entry(meta, spec);
            push(&mut into.service_entries, is_named, entry);
        }
        TrafficKind::Sidecar => {
            let sidecar = decode::sidecar(meta, spec);
            push(&mut into.sidecars, is_named, sidecar);
        }
        TrafficKind::VirtualService => {
            let service = decode::virtual_service(meta, spec);
            push(&mut into.virtual_services, is_named, service);
        }
        TrafficKind::WorkloadEntry => {
            let labels = decode::metadata_labels(document);
            let entry = decode::workload_entry(meta, labels, spec);
            push(&mut into.workload_entries, is_named, entry);
        }
        TrafficKind::WorkloadGroup => {
            let group = decode::workload_group(meta, spec);
            push(&mut into.workload_groups, is_named, group);
        }
    }
}

fn push<T>(list: &mut Vec<Arc<T>>, is_named: bool, resource: Option<T>) {
    list.extend(resource.filter(|_| is_named).map(Arc::new));
}
