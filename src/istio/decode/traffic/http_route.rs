//! Decodes the HTTP routes of a VirtualService.

use super::actions::{cors, direct_response, fault, mirror_policy, redirect, retries, rewrite};
use super::headers::{headers, is_authority};
use super::name;
use super::value::{
    MAX_INT32, Named, destination, duration, field, filled_match, named_matches, percentage, port,
    string_match, text, whole_percent,
};
use crate::istio::decode::value::{checked, required};
use crate::istio::traffic::{
    Delegate, HttpMatch, HttpRoute, HttpRouteDestination, MirrorPolicy, StringMatch,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

const ROUTE: &[&str] = &[
    "name",
    "match",
    "route",
    "redirect",
    "directResponse",
    "delegate",
    "rewrite",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirrorPercent",
    "mirrorPercentage",
    "corsPolicy",
    "headers",
];
const MATCH: &[&str] = &[
    "name",
    "uri",
    "scheme",
    "method",
    "authority",
    "headers",
    "port",
    "sourceLabels",
    "gateways",
    "queryParams",
    "ignoreUriCase",
    "withoutHeaders",
    "sourceNamespace",
    "statPrefix",
];

/// What the VirtualService of a route is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// It has no hosts.
    pub(super) is_delegate: bool,
    /// It is bound to gateways, and not to the mesh.
    pub(super) is_for_gateways: bool,
}

/// One of `http`.
pub(super) fn http_route(at: &Cursor<'_, '_>, owner: Owner) -> Option<HttpRoute> {
    let fields = at.fields(ROUTE)?;
    conflicts(fields, owner);
    let matches = fields.each("match", |at| http_match(at, owner));
    let route = HttpRoute {
        name: text(fields, "name"),
        route: fields.each("route", route_destination),
        redirect: field(fields, "redirect", redirect),
        direct_response: field(fields, "directResponse", direct_response),
        delegate: field(fields, "delegate", delegate),
        rewrite: field(fields, "rewrite", rewrite),
        timeout: field(fields, "timeout", duration),
        retries: field(fields, "retries", retries),
        fault: field(fields, "fault", fault),
        cors_policy: field(fields, "corsPolicy", cors),
        headers: field(fields, "headers", headers),
        mirrors: Vec::new(),
        mirror_percentage: None,
        matches,
        at: at.at(),
    };
    check_weights(fields, route.route.iter().map(|to| to.weight));
    authority_once(at, &route);
    prefix_redirect(at, &route);
    Some(mirrored(fields, route))
}

/// Actions that exclude each other.
fn conflicts(fields: Fields<'_, '_>, owner: Owner) {
    let written = |name: &'static str| fields.listed(name);
    if let Some(delegate) = written("delegate") {
        if owner.is_delegate {
            delegate.wrong("a delegate does not delegate; write the route here");
        }
        for name in ["route", "redirect"] {
            if let Some(other) = written(name) {
                other.wrong(
                    "cannot be combined with delegate, whose routes take its place; keep one",
                );
            }
        }
        return;
    }
    const EXCLUDED: [(&str, &[&str]); 2] = [
        ("redirect", &["route", "fault", "rewrite", "directResponse"]),
        ("directResponse", &["route", "fault", "rewrite"]),
    ];
    for (action, excluded) in EXCLUDED {
        if written(action).is_none() {
            continue;
        }
        for name in excluded {
            if let Some(other) = written(name) {
                other.wrong(format!("cannot be combined with {action}; keep one"));
            }
        }
        return;
    }
    if written("route").is_none() {
        let message = "is missing; write destinations, or redirect, directResponse or delegate";
        fields.whole().missing("route", message);
    }
}

/// Of several destinations, one must have a weight.
pub(super) fn check_weights(fields: Fields<'_, '_>, weights: impl ExactSizeIterator<Item = u32>) {
    if weights.len() > 1
        && weights.into_iter().all(|weight| weight == 0)
        && let Some(route) = fields.get("route")
    {
        route
            .wrong("has several destinations and no weight; write how many of 100 calls each gets");
    }
}

/// The weight of a destination.
pub(super) fn weight(fields: Fields<'_, '_>) -> u32 {
    let weight = fields.get("weight");
    weight
        .and_then(|at| at.number(0..=MAX_INT32))
        .unwrap_or_default()
}

fn route_destination(at: &Cursor<'_, '_>) -> Option<HttpRouteDestination> {
    let fields = at.fields(&["destination", "weight", "headers"])?;
    let to = fields.demand("destination", "is missing; write where the calls go");
    Some(HttpRouteDestination {
        weight: weight(fields),
        headers: field(fields, "headers", headers),
        destination: to.and_then(|at| destination(&at))?,
        at: at.at(),
    })
}

fn delegate(at: &Cursor<'_, '_>) -> Option<Delegate> {
    let fields = at.fields(&["name", "namespace"])?;
    Some(Delegate {
        namespace: checked(fields, "namespace", name::namespace),
        name: required(fields, "name", |_, _| {})?,
        at: at.at(),
    })
}

/// `mirror` and `mirrors` as one list.
fn mirrored(fields: Fields<'_, '_>, mut route: HttpRoute) -> HttpRoute {
    route.mirrors = fields.each("mirrors", mirror_policy);
    let percent = fields.get("mirrorPercent");
    if let Some(percent) = &percent {
        percent.note("is deprecated; write mirrorPercentage: {value: ...}");
    }
    let older = percent.and_then(|at| whole_percent(&at));
    let share = match fields.get("mirrorPercentage") {
        Some(at) => percentage(&at),
        None => older,
    };
    let Some(at) = fields.get("mirror") else {
        route.mirror_percentage = share;
        return route;
    };
    if fields.listed("mirrors").is_some() {
        at.wrong("cannot be combined with mirrors; write it as one of them");
        return route;
    }
    if let Some(destination) = destination(&at) {
        route.mirrors.push(MirrorPolicy {
            destination,
            percentage: share,
            at: at.at(),
        });
    }
    route
}

/// That the authority is written once, by `rewrite` or by `headers`.
fn authority_once(at: &Cursor<'_, '_>, route: &HttpRoute) {
    let rewritten = route
        .rewrite
        .iter()
        .filter_map(|rewrite| rewrite.authority.as_ref());
    let operations = route.headers.iter().map(|headers| &headers.request);
    let set = operations
        .flat_map(|request| request.set.iter().chain(&request.add))
        .filter(|(name, _)| is_authority(name))
        .map(|(_, value)| value);
    if let Some(second) = rewritten.chain(set).nth(1) {
        at.wrong(format!(
            "writes the authority twice, `{second}` being the second; keep rewrite.authority"
        ));
    }
}

/// A prefix is only replaced where one was matched.
fn prefix_redirect(at: &Cursor<'_, '_>, route: &HttpRoute) {
    let replaces =
        |redirect: &crate::istio::traffic::HttpRedirect| redirect.prefix_rewrite.is_some();
    let other = |matched: &HttpMatch| {
        let uri = matched.uri.as_ref();
        uri.is_some_and(|uri| !matches!(uri, StringMatch::Prefix(_)))
    };
    if route.redirect.as_ref().is_some_and(replaces) && route.matches.iter().any(other) {
        at.wrong(
            "redirect.prefixRewrite replaces a prefix; write uri: {prefix: ...} in all its matches",
        );
    }
}

fn http_match(at: &Cursor<'_, '_>, owner: Owner) -> Option<HttpMatch> {
    let fields = at.fields(MATCH)?;
    let named = |name, kind| named_matches(fields, name, kind, owner.is_for_gateways);
    let test = |name| field(fields, name, filled_match).flatten();
    Some(HttpMatch {
        name: text(fields, "name"),
        uri: field(fields, "uri", string_match).flatten(),
        scheme: test("scheme"),
        method: test("method"),
        authority: test("authority"),
        headers: named("headers", Named::Headers),
        without_headers: named("withoutHeaders", Named::WithoutHeaders),
        query_params: named("queryParams", Named::QueryParams),
        ignore_uri_case: fields.boolean("ignoreUriCase"),
        port: port(fields, "port"),
        source_labels: name::labels(fields, "sourceLabels"),
        source_namespace: checked(fields, "sourceNamespace", name::namespace),
        gateways: fields.texts("gateways", name::gateway),
        stat_prefix: text(fields, "statPrefix"),
        at: at.at(),
    })
}
