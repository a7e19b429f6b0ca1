//! Rules of a GRPCRoute.

use super::backends::destinations;
use super::filters;
use super::http::named;
use super::reference::Referrer;
use super::rule;
use crate::istio::Text;
use crate::istio::traffic::gateway_api::{GrpcRoute, GrpcRouteMatch, GrpcRouteRule};
use crate::istio::traffic::{DirectResponse, HttpMatch, HttpRoute, StringMatch, TrafficResources};

/// Each match of each rule as a route of its own; `None` where a filter is not known.
pub(super) fn rules(
    route: &GrpcRoute,
    resources: &TrafficResources,
    domain: &str,
) -> Option<Vec<HttpRoute>> {
    let referrer = Referrer {
        kind: "GRPCRoute",
        namespace: &route.meta.namespace,
        grants: &resources.reference_grants,
        domain,
    };
    let mut converted = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        let name = rule::name(&route.meta, index, rule.name.as_ref(), &rule.at);
        let routes = rule::per_match(&rule.matches, |of_match| {
            one(rule, of_match, name.clone(), &referrer)
        });
        converted.extend(routes?);
    }
    Some(converted)
}

fn one(
    rule: &GrpcRouteRule,
    of_match: Option<&GrpcRouteMatch>,
    name: Text,
    referrer: &Referrer<'_>,
) -> Option<HttpRoute> {
    let filters = filters::of_rule(&rule.filters, None, referrer)?;
    let destinations = destinations(&rule.backends, referrer)?;
    Some(HttpRoute {
        name: Some(name),
        matches: of_match.into_iter().map(http_match).collect(),
        direct_response: destinations.is_empty().then(|| DirectResponse {
            status: 500,
            ..DirectResponse::default()
        }),
        route: destinations,
        mirrors: filters.mirrors,
        headers: filters.headers,
        at: rule.at.clone(),
        ..HttpRoute::default()
    })
}

/// The method of gRPC is the path `/SERVICE/METHOD`.
fn http_match(of_match: &GrpcRouteMatch) -> HttpMatch {
    let open = "[^/]+";
    let service = of_match.service.as_deref();
    let method = of_match.method.as_deref();
    let at = || of_match.at.clone();
    let uri = match (service, method, of_match.is_regex) {
        (None, None, _) => None,
        (Some(service), Some(method), false) => {
            let path = format!("/{service}/{method}");
            Some(StringMatch::Exact(Text::new(path, at())))
        }
        (Some(service), None, false) => {
            Some(StringMatch::Prefix(Text::new(format!("/{service}"), at())))
        }
        (service, method, _) => {
            let (service, method) = (service.unwrap_or(open), method.unwrap_or(open));
            let regex = format!("/{service}/{method}");
            Some(StringMatch::Regex(Text::new(regex, at())))
        }
    };
    HttpMatch {
        uri,
        headers: named(&of_match.headers),
        at: at(),
        ..HttpMatch::default()
    }
}
