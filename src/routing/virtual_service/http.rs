//! `http[]`.

use super::actions::{forward, redirect, respond};
use super::context::Context;
use super::matches::{holds_for, route_match};
use super::policies;
use super::resolved::Resolved;
use crate::istio::traffic::{HttpMatch, HttpRoute};
use crate::istio::{Position, Problem};
use crate::routing::route::{
    Action, Cluster, Forward, HeaderChanges, RetryPolicy, Route, RouteMatch, Split,
};

/// The routes of a VirtualService for calls to one port, in order. What cannot match is left out:
/// routes whose static part does not hold, and those after one that matches everything.
pub(in crate::routing) fn routes(
    service: &Resolved,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for http in &service.http {
        let all = match http.matches.as_slice() {
            [] => &[None][..],
            matches => &matches.iter().map(Some).collect::<Vec<_>>(),
        };
        for of_match in all {
            if of_match.is_some_and(|of_match| !holds_for(of_match, context)) {
                continue;
            }
            match route(service, http, *of_match, context) {
                Ok(route) => {
                    let is_catch_all = route.matches.is_catch_all();
                    routes.push(route);
                    if is_catch_all {
                        return routes;
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
    }
    routes
}

fn route(
    service: &Resolved,
    http: &HttpRoute,
    of_match: Option<&HttpMatch>,
    context: &Context<'_>,
) -> Result<Route, Problem> {
    let matches = match of_match {
        Some(of_match) => route_match(of_match, service.semantics)?,
        None => RouteMatch::all(),
    };
    let mut request_headers = HeaderChanges::default();
    let mut response_headers = HeaderChanges::default();
    if let Some(headers) = &http.headers {
        request_headers = policies::header_changes(&headers.request);
        response_headers = policies::header_changes(&headers.response);
    }
    let action = if let Some(written) = &http.redirect {
        Action::Redirect(redirect(written, context)?)
    } else if let Some(written) = &http.direct_response {
        Action::Respond(respond(written)?)
    } else {
        let (request, response) = (&mut request_headers, &mut response_headers);
        Action::Forward(Box::new(forward(
            service, http, request, response, context,
        )?))
    };
    Ok(Route {
        name: name(http, of_match),
        matches,
        action,
        request_headers,
        response_headers,
        fault: http.fault.as_ref().map(policies::fault).transpose()?,
        cors: http.cors_policy.as_ref().map(policies::cors).transpose()?,
        stat_prefix: of_match
            .and_then(|it| it.stat_prefix.as_ref())
            .map(|prefix| prefix.as_str().to_owned()),
        at: http.at.clone(),
    })
}

/// `ROUTE.MATCH`, of which the match's name is only written where it has one.
fn name(http: &HttpRoute, of_match: Option<&HttpMatch>) -> Option<String> {
    let route = http.name.as_deref();
    match of_match.and_then(|of_match| of_match.name.as_deref()) {
        Some(of_match) => Some(format!("{}.{of_match}", route.unwrap_or_default())),
        None => route.map(str::to_owned),
    }
}

/// The only route of a service that no VirtualService routes.
pub(in crate::routing) fn default_route(
    cluster: Cluster,
    hash: Option<crate::istio::traffic::HashKey>,
    context: &Context<'_>,
) -> Route {
    let retry = match context.default_retry {
        Some(of_mesh) => policies::retry(of_mesh, true),
        None => Some(RetryPolicy::standard()),
    };
    Route {
        name: Some("default".to_owned()),
        matches: RouteMatch::all(),
        action: Action::Forward(Box::new(Forward {
            retry,
            hash: hash.into_iter().collect(),
            ..Forward::to(Split::One(cluster))
        })),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        fault: None,
        cors: None,
        stat_prefix: None,
        at: Position::default(),
    }
}
