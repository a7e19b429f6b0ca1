//! Decodes `backendRefs`.

use super::filter::filters;
use super::reference::backend_fields;
use crate::istio::traffic::gateway_api::HttpBackendRef;
use crate::istio::yaml::fields::Fields;

const WEIGHTED: &[&str] = &[
    "group",
    "kind",
    "namespace",
    "name",
    "port",
    "weight",
    "filters",
];

/// `backendRefs[]`.
pub(super) fn backends(fields: Fields<'_, '_>, is_grpc: bool) -> Vec<HttpBackendRef> {
    fields.each("backendRefs", |at| {
        let fields = at.fields(WEIGHTED)?;
        let weight = fields.get("weight");
        let weight = weight.map_or(Some(1), |at| at.number(0..=1_000_000));
        Some(HttpBackendRef {
            filters: filters(fields, is_grpc),
            weight: weight.unwrap_or_default(),
            backend: backend_fields(fields)?,
        })
    })
}
