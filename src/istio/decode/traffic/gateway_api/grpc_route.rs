//! Decodes GRPCRoute.

use super::super::value::{regex, text};
use super::backends::backends;
use super::filter::filters;
use super::http_route::{SPEC, header_matches, hostnames, is_regex, refuse_sessions};
use super::reference::parents;
use crate::istio::Meta;
use crate::istio::decode::value::checked;
use crate::istio::traffic::gateway_api::{GrpcRoute, GrpcRouteMatch, GrpcRouteRule};
use crate::istio::yaml::cursor::Cursor;

const RULE: &[&str] = &[
    "name",
    "matches",
    "filters",
    "backendRefs",
    "sessionPersistence",
];

/// `GRPCRoute`, `spec`.
pub(in crate::istio) fn grpc_route(meta: Meta, spec: &Cursor<'_, '_>) -> Option<GrpcRoute> {
    let fields = spec.fields(SPEC)?;
    Some(GrpcRoute {
        parents: parents(fields),
        hostnames: hostnames(fields),
        rules: fields.each("rules", rule),
        meta,
    })
}

fn rule(at: &Cursor<'_, '_>) -> Option<GrpcRouteRule> {
    let fields = at.fields(RULE)?;
    refuse_sessions(fields);
    Some(GrpcRouteRule {
        name: text(fields, "name"),
        matches: fields.each("matches", route_match),
        filters: filters(fields, true),
        backends: backends(fields, true),
        at: at.at(),
    })
}

fn route_match(at: &Cursor<'_, '_>) -> Option<GrpcRouteMatch> {
    let fields = at.fields(&["method", "headers"])?;
    let headers = header_matches(fields);
    let mut matched = GrpcRouteMatch {
        headers,
        at: at.at(),
        ..GrpcRouteMatch::default()
    };
    let Some(method) = fields.get("method") else {
        return Some(matched);
    };
    let fields = method.fields(&["type", "service", "method"])?;
    matched.is_regex = is_regex(fields)?;
    let check: fn(&Cursor<'_, '_>, &str) = if matched.is_regex { regex } else { plain };
    matched.service = checked(fields, "service", check);
    matched.method = checked(fields, "method", check);
    if matched.service.is_none() && matched.method.is_none() {
        method.wrong("matches every call; write service, method or both, or leave it out");
    }
    Some(matched)
}

/// The name of a service or a method.
fn plain(at: &Cursor<'_, '_>, text: &str) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
    if !text.bytes().all(good) {
        at.wrong(format!(
            "`{text}` is no name of a service or a method; write for example clinic.Patients"
        ));
    }
}
