//! Decodes what refers to other resources.

use super::super::name;
use super::super::value::{field, port, text};
use crate::istio::Meta;
use crate::istio::decode::value::required;
use crate::istio::traffic::gateway_api::{
    BackendRef, GrantFrom, GrantTo, ParentRef, ReferenceGrant,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

const PARENT: &[&str] = &["group", "kind", "namespace", "name", "sectionName", "port"];
const BACKEND: &[&str] = &["group", "kind", "namespace", "name", "port"];

/// A text, or what stands for it where it is not written. An empty one is written.
fn text_or(fields: Fields<'_, '_>, name: &'static str, default: &str) -> String {
    match fields.get(name) {
        Some(at) => at.str().unwrap_or_default().to_owned(),
        None => default.to_owned(),
    }
}

fn filled(fields: Fields<'_, '_>, name: &'static str) -> Option<String> {
    required(fields, name, |_, _| {}).map(String::from)
}

fn namespace(fields: Fields<'_, '_>) -> Option<crate::istio::Text> {
    crate::istio::decode::value::checked(fields, "namespace", name::namespace)
}

/// `parentRefs[]`.
pub(super) fn parents(fields: Fields<'_, '_>) -> Vec<ParentRef> {
    fields.each("parentRefs", |at| {
        let fields = at.fields(PARENT)?;
        Some(ParentRef {
            group: text_or(fields, "group", "gateway.networking.k8s.io"),
            kind: text_or(fields, "kind", "Gateway"),
            namespace: namespace(fields),
            section_name: text(fields, "sectionName"),
            port: field(fields, "port", |at| at.port()),
            name: required(fields, "name", |_, _| {})?,
            at: at.at(),
        })
    })
}

/// `backendRef`.
pub(super) fn backend(at: &Cursor<'_, '_>) -> Option<BackendRef> {
    backend_fields(at.fields(BACKEND)?)
}

/// The fields of a reference to a backend, among others.
pub(super) fn backend_fields(fields: Fields<'_, '_>) -> Option<BackendRef> {
    let backend = BackendRef {
        group: text_or(fields, "group", ""),
        kind: text_or(fields, "kind", "Service"),
        namespace: namespace(fields),
        port: port(fields, "port"),
        name: required(fields, "name", |_, _| {})?,
        at: fields.whole().at(),
    };
    if backend.group.is_empty() && backend.kind == "Service" && backend.port.is_none() {
        let message = "is missing; write the number of the Service's port";
        fields.whole().missing("port", message);
    }
    Some(backend)
}

/// `ReferenceGrant`, `spec`.
pub(in crate::istio) fn reference_grant(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<ReferenceGrant> {
    let fields = spec.fields(&["from", "to"])?;
    for name in ["from", "to"] {
        if fields.listed(name).is_none() {
            spec.missing(name, "is missing; write at least one entry");
        }
    }
    Some(ReferenceGrant {
        from: fields.each("from", |at| {
            let fields = at.fields(&["group", "kind", "namespace"])?;
            Some(GrantFrom {
                group: text_or(fields, "group", ""),
                kind: filled(fields, "kind")?,
                namespace: filled(fields, "namespace")?,
            })
        }),
        to: fields.each("to", |at| {
            let fields = at.fields(&["group", "kind", "name"])?;
            Some(GrantTo {
                group: text_or(fields, "group", ""),
                kind: filled(fields, "kind")?,
                name: text(fields, "name").map(String::from),
            })
        }),
        meta,
    })
}
