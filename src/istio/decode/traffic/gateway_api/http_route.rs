//! Decodes HTTPRoute.

use std::time::Duration;

use super::super::name;
use super::super::value::{duration_or_none, field, regex, text};
use super::backends::backends;
use super::filter::filters;
use super::reference::parents;
use crate::istio::decode::value::required;
use crate::istio::traffic::gateway_api::{
    HttpRoute, HttpRouteFilter, HttpRouteMatch, HttpRouteRule, PathMatch, PathModifier, RouteRetry,
    ValueMatch,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Meta, Text};

pub(super) const SPEC: &[&str] = &["parentRefs", "useDefaultGateways", "hostnames", "rules"];
const RULE: &[&str] = &[
    "name",
    "matches",
    "filters",
    "backendRefs",
    "timeouts",
    "retry",
    "sessionPersistence",
];
const METHODS: &[(&str, ())] = &[
    ("GET", ()),
    ("HEAD", ()),
    ("POST", ()),
    ("PUT", ()),
    ("DELETE", ()),
    ("CONNECT", ()),
    ("OPTIONS", ()),
    ("TRACE", ()),
    ("PATCH", ()),
];

/// `HTTPRoute`, `spec`.
pub(in crate::istio) fn http_route(meta: Meta, spec: &Cursor<'_, '_>) -> Option<HttpRoute> {
    let fields = spec.fields(SPEC)?;
    Some(HttpRoute {
        parents: parents(fields),
        hostnames: hostnames(fields),
        rules: rules(fields),
        meta,
    })
}

/// `hostnames[]`.
pub(super) fn hostnames(fields: Fields<'_, '_>) -> Vec<Text> {
    fields.texts("hostnames", name::domain)
}

/// Without any, the schema writes one that takes everything.
fn rules(fields: Fields<'_, '_>) -> Vec<HttpRouteRule> {
    if fields.get("rules").is_none() {
        return vec![HttpRouteRule {
            at: fields.whole().at(),
            ..HttpRouteRule::default()
        }];
    }
    fields.each("rules", rule)
}

fn rule(at: &Cursor<'_, '_>) -> Option<HttpRouteRule> {
    let fields = at.fields(RULE)?;
    refuse_sessions(fields);
    let filters = filters(fields, false);
    let is_redirect =
        |filter: &HttpRouteFilter| matches!(filter, HttpRouteFilter::RequestRedirect(_));
    if filters.iter().any(is_redirect)
        && let Some(backends) = fields.listed("backendRefs")
    {
        backends.wrong("cannot be combined with a RequestRedirect; keep one");
    }
    let matches = fields.each("matches", route_match);
    if replaces_prefix(&filters) && !matches.iter().all(has_prefix) {
        at.wrong("replacePrefixMatch replaces a prefix; write path: {type: PathPrefix} in all its matches");
    }
    let timeouts = fields.get("timeouts");
    let timeouts = timeouts
        .as_ref()
        .and_then(|at| at.fields(&["request", "backendRequest"]));
    let timeout = |name| field(timeouts?, name, timeout);
    let (request, backend_request) = (timeout("request"), timeout("backendRequest"));
    if let (Some(request), Some(backend)) = (request, backend_request)
        && !request.is_zero()
        && backend > request
    {
        at.wrong("timeouts: backendRequest is longer than request; make it shorter");
    }
    Some(HttpRouteRule {
        name: text(fields, "name"),
        backends: backends(fields, false),
        request_timeout: request,
        backend_request_timeout: backend_request,
        retry: field(fields, "retry", retry),
        matches,
        filters,
        at: at.at(),
    })
}

/// Zero is none.
fn timeout(at: &Cursor<'_, '_>) -> Option<Duration> {
    duration_or_none(at)
}

pub(super) fn refuse_sessions(fields: Fields<'_, '_>) {
    if let Some(sessions) = fields.get("sessionPersistence") {
        sessions.wrong("is not supported; write consistentHash in a DestinationRule");
    }
}

fn replaces_prefix(filters: &[HttpRouteFilter]) -> bool {
    filters.iter().any(|filter| {
        let path = match filter {
            HttpRouteFilter::RequestRedirect(redirect) => redirect.path.as_ref(),
            HttpRouteFilter::UrlRewrite(rewrite) => rewrite.path.as_ref(),
            _ => None,
        };
        matches!(path, Some(PathModifier::ReplacePrefixMatch(_)))
    })
}

fn has_prefix(matched: &HttpRouteMatch) -> bool {
    matches!(matched.path, None | Some(PathMatch::PathPrefix(_)))
}

fn route_match(at: &Cursor<'_, '_>) -> Option<HttpRouteMatch> {
    let fields = at.fields(&["path", "headers", "queryParams", "method"])?;
    let method = fields.get("method").and_then(|at| {
        at.word(METHODS)?;
        at.text()
    });
    Some(HttpRouteMatch {
        path: field(fields, "path", path),
        headers: header_matches(fields),
        query_params: value_matches(fields, "queryParams", |_, _| {}),
        method,
        at: at.at(),
    })
}

fn path(at: &Cursor<'_, '_>) -> Option<PathMatch> {
    const EXACT: &str = "Exact";
    const PREFIX: &str = "PathPrefix";
    const REGEX: &str = "RegularExpression";
    let fields = at.fields(&["type", "value"])?;
    let kind = match fields.get("type") {
        Some(at) => at.word(&[(EXACT, EXACT), (PREFIX, PREFIX), (REGEX, REGEX)])?,
        None => PREFIX,
    };
    let value = fields.get("value");
    let text = match &value {
        Some(at) => at.text()?,
        None => Text::new("/", at.at()),
    };
    let value = value.as_ref().unwrap_or(at);
    match kind {
        REGEX => regex(value, &text),
        _ => check_path(value, &text),
    }
    Some(match kind {
        EXACT => PathMatch::Exact(text),
        REGEX => PathMatch::RegularExpression(text),
        _ => PathMatch::PathPrefix(text),
    })
}

fn check_path(at: &Cursor<'_, '_>, path: &str) {
    const ODD: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "#"];
    let is_odd = ODD.iter().any(|odd| path.contains(odd));
    if !path.starts_with('/') || is_odd || path.ends_with("/..") || path.ends_with("/.") {
        at.wrong(format!(
            "`{path}` is no path; write one that starts with / and has no empty or dot segments, %2F or #"
        ));
    }
}

/// `headers[]` of a match.
pub(super) fn header_matches(fields: Fields<'_, '_>) -> Vec<ValueMatch> {
    value_matches(fields, "headers", crate::istio::decode::value::header_name)
}

fn value_matches(
    fields: Fields<'_, '_>,
    name: &'static str,
    check_name: fn(&Cursor<'_, '_>, &str),
) -> Vec<ValueMatch> {
    fields.each(name, |at| {
        let fields = at.fields(&["type", "name", "value"])?;
        let is_regex = is_regex(fields)?;
        let value = fields.demand("value", "is missing; write a value")?;
        let text = value.filled()?;
        if is_regex {
            regex(&value, &text);
        }
        Some(ValueMatch {
            name: required(fields, "name", check_name)?,
            value: text,
            is_regex,
        })
    })
}

/// `type` of a match that is exact where nothing is written.
pub(super) fn is_regex(fields: Fields<'_, '_>) -> Option<bool> {
    let Some(kind) = fields.get("type") else {
        return Some(false);
    };
    kind.word(&[("Exact", false), ("RegularExpression", true)])
}

fn retry(at: &Cursor<'_, '_>) -> Option<RouteRetry> {
    let fields = at.fields(&["codes", "attempts", "backoff"])?;
    let code = |at: &Cursor<'_, '_>| {
        let code = at.number(400..=599)?;
        u16::try_from(code).ok()
    };
    Some(RouteRetry {
        codes: fields.each("codes", code),
        attempts: field(fields, "attempts", |at| {
            at.number(0..=super::super::value::MAX_INT32)
        }),
        backoff: field(fields, "backoff", duration_or_none),
    })
}
