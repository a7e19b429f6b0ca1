//! Rules of an HTTPRoute.

use super::backends::destinations;
use super::filters::{self, Filters};
use super::reference::Referrer;
use super::rule;
use crate::istio::Text;
use crate::istio::traffic::gateway_api::{
    HttpRoute as GatewayRoute, HttpRouteMatch, HttpRouteRule, PathMatch, RouteRetry, ValueMatch,
};
use crate::istio::traffic::{
    DirectResponse, HttpMatch, HttpRetry, HttpRoute, NamedMatch, StringMatch, TrafficResources,
};

/// Each match of each rule as a route of its own; `None` where a filter is not known, which rejects
/// the whole resource.
pub(super) fn rules(
    route: &GatewayRoute,
    resources: &TrafficResources,
    domain: &str,
) -> Option<Vec<HttpRoute>> {
    let referrer = Referrer {
        kind: "HTTPRoute",
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
    rule: &HttpRouteRule,
    of_match: Option<&HttpRouteMatch>,
    name: Text,
    referrer: &Referrer<'_>,
) -> Option<HttpRoute> {
    let prefix = of_match.and_then(|of_match| match &of_match.path {
        Some(PathMatch::PathPrefix(prefix)) => Some(prefix),
        _ => None,
    });
    let Filters {
        headers,
        redirect,
        rewrite,
        mirrors,
        cors,
    } = filters::of_rule(&rule.filters, prefix, referrer)?;
    let destinations = match redirect.is_some() {
        true => Vec::new(),
        false => destinations(&rule.backends, referrer)?,
    };
    // Who may be called by no weight fails every call.
    let nobody = destinations.is_empty() && redirect.is_none();
    let backend_timeout = rule.backend_request_timeout.filter(|it| !it.is_zero());
    let request_timeout = rule.request_timeout.filter(|it| !it.is_zero());
    let (timeout, per_try_timeout) = match &rule.retry {
        Some(_) => (request_timeout, backend_timeout),
        None => (backend_timeout.or(request_timeout), None),
    };
    Some(HttpRoute {
        name: Some(name),
        matches: of_match.into_iter().map(http_match).collect(),
        direct_response: nobody.then(|| DirectResponse {
            status: 500,
            ..DirectResponse::default()
        }),
        route: destinations,
        redirect,
        rewrite,
        timeout,
        retries: rule.retry.as_ref().map(|retry| HttpRetry {
            per_try_timeout,
            ..retries(retry, rule)
        }),
        mirrors,
        cors_policy: cors,
        headers,
        at: rule.at.clone(),
        ..HttpRoute::default()
    })
}

/// Failures to connect are retried, and the codes.
fn retries(retry: &RouteRetry, rule: &HttpRouteRule) -> HttpRetry {
    let conditions = [
        "connect-failure",
        "refused-stream",
        "unavailable",
        "cancelled",
    ];
    let conditions = conditions.into_iter().map(str::to_owned);
    let codes = retry.codes.iter().map(u16::to_string);
    let all = conditions.chain(codes);
    HttpRetry {
        attempts: retry.attempts.unwrap_or(2),
        retry_on: all.map(|word| Text::new(word, rule.at.clone())).collect(),
        backoff: retry.backoff,
        at: rule.at.clone(),
        ..HttpRetry::default()
    }
}

fn http_match(of_match: &HttpRouteMatch) -> HttpMatch {
    HttpMatch {
        uri: of_match.path.as_ref().map(|path| match path {
            PathMatch::Exact(path) => StringMatch::Exact(path.clone()),
            PathMatch::PathPrefix(prefix) => StringMatch::Prefix(prefix.clone()),
            PathMatch::RegularExpression(regex) => StringMatch::Regex(regex.clone()),
        }),
        method: of_match.method.clone().map(StringMatch::Exact),
        headers: named(&of_match.headers),
        query_params: named(&of_match.query_params),
        at: of_match.at.clone(),
        ..HttpMatch::default()
    }
}

pub(super) fn named(tests: &[ValueMatch]) -> Vec<NamedMatch> {
    let named = tests.iter().map(|test| NamedMatch {
        name: test.name.clone(),
        test: Some(match test.is_regex {
            true => StringMatch::Regex(test.value.clone()),
            false => StringMatch::Exact(test.value.clone()),
        }),
        claim: Vec::new(),
    });
    named.collect()
}
