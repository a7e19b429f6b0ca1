//! What `http[]` does with a call.

use super::context::Context;
use super::destination::cluster;
use super::policies;
use super::resolved::{Resolved, Semantics};
use crate::istio::Problem;
use crate::istio::traffic::{
    DirectResponse, FractionalPercent, HashKey, Headers, HttpRedirect, HttpRewrite, HttpRoute,
    HttpRouteDestination, RedirectPort,
};
use crate::routing::route::{
    Forward, HeaderChanges, Mirror, PathRewrite, Redirect, RedirectPath, RegexSubstitution,
    Respond, RetryPolicy, Split, WeightedCluster,
};

/// How the calls of a route are sent on. A single destination adds its changes of headers to the
/// route's.
pub(super) fn forward(
    service: &Resolved,
    http: &HttpRoute,
    request_headers: &mut HeaderChanges,
    response_headers: &mut HeaderChanges,
    context: &Context<'_>,
) -> Result<Forward, Problem> {
    let hash = hashes(&http.route, context);
    let is_by_hash = http.route.len() == 1 && !hash.is_empty();
    let retry = match http.retries.as_ref().or(context.default_retry) {
        Some(written) => policies::retry(written, !is_by_hash),
        None => Some(RetryPolicy {
            avoid_previous_hosts: !is_by_hash,
            ..RetryPolicy::standard()
        }),
    };
    let rewrite = http.rewrite.as_ref();
    let rewritten_host = rewrite.and_then(|rewrite| rewrite.authority.as_deref());
    // `headers.request.set` of the host counts as a rewrite of the authority.
    let set_host = http.headers.as_ref().and_then(policies::host_of);
    let mut host_rewrite = rewritten_host.or(set_host).map(str::to_owned);
    let split = match http.route.as_slice() {
        [only] => {
            let (request, response) = of_destination(only.headers.as_ref());
            request_headers.extend(request);
            response_headers.extend(response);
            let of_destination = only.headers.as_ref().and_then(policies::host_of);
            host_rewrite = host_rewrite.or_else(|| of_destination.map(str::to_owned));
            Split::One(cluster(&only.destination, context))
        }
        several => Split::Weighted(weighted(several, context)),
    };
    Ok(Forward {
        split,
        timeout: http.timeout,
        retry,
        hash,
        path_rewrite: rewrite.map(path_rewrite).transpose()?.flatten(),
        host_rewrite,
        mirrors: mirrors(http, context),
        cluster_not_found: match service.semantics {
            Semantics::Istio => 503,
            Semantics::GatewayApi => 500,
        },
    })
}

/// All destinations with a share.
fn weighted(all: &[HttpRouteDestination], context: &Context<'_>) -> Vec<WeightedCluster> {
    let with_share = all.iter().filter(|to| to.weight > 0);
    with_share
        .map(|to| {
            let (request_headers, response_headers) = of_destination(to.headers.as_ref());
            let host = to.headers.as_ref().and_then(policies::host_of);
            WeightedCluster {
                cluster: cluster(&to.destination, context),
                weight: to.weight,
                request_headers,
                response_headers,
                host_rewrite: host.map(str::to_owned),
            }
        })
        .collect()
}

fn of_destination(headers: Option<&Headers>) -> (HeaderChanges, HeaderChanges) {
    let Some(headers) = headers else {
        return Default::default();
    };
    let request = policies::header_changes(&headers.request);
    (request, policies::header_changes(&headers.response))
}

/// What picks the endpoint, of all destinations in order.
fn hashes(all: &[HttpRouteDestination], context: &Context<'_>) -> Vec<HashKey> {
    let takes_calls = |to: &&HttpRouteDestination| all.len() == 1 || to.weight > 0;
    let keys = all.iter().filter(takes_calls).filter_map(|to| {
        let to = &to.destination;
        let subset = to.subset.as_deref().unwrap_or_default();
        let port = to.port.unwrap_or(context.port);
        let hash = context
            .hashes
            .hash(&to.host, subset, port, to.port.is_some());
        hash.map(|hash| hash.key)
    });
    keys.collect()
}

fn path_rewrite(rewrite: &HttpRewrite) -> Result<Option<PathRewrite>, Problem> {
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        let substitution = RegexSubstitution::new(&regex.pattern, &regex.rewrite);
        let problem = |error: crate::routing::route::RewriteError| {
            Problem::new(regex.pattern.at().clone(), "", error.to_string())
        };
        return substitution
            .map(PathRewrite::Regex)
            .map(Some)
            .map_err(problem);
    }
    let uri = rewrite.uri.as_ref();
    Ok(uri.map(|uri| PathRewrite::Matched(uri.as_str().to_owned())))
}

/// Who gets copies: a share of nothing is no mirror.
fn mirrors(http: &HttpRoute, context: &Context<'_>) -> Vec<Mirror> {
    let mirrors = http.mirrors.iter().map(|mirror| Mirror {
        cluster: cluster(&mirror.destination, context),
        share: mirror.percentage.unwrap_or(FractionalPercent::ALL),
    });
    let with_share = mirrors.filter(|mirror| mirror.share.millionths() > 0);
    with_share.collect()
}

/// A redirect. The default port of its scheme is not written, so that with the call's own host the
/// call's port stays.
pub(super) fn redirect(written: &HttpRedirect, context: &Context<'_>) -> Result<Redirect, Problem> {
    let status = written.redirect_code.unwrap_or(301);
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        let message = "redirectCode is 301, 302, 303, 307 or 308; Envoy refuses any other";
        return Err(Problem::new(written.at.clone(), "", message));
    }
    let port = match written.port {
        Some(RedirectPort::Number(port)) => Some(port),
        Some(RedirectPort::FromRequestPort) => Some(context.port),
        Some(RedirectPort::FromProtocolDefault) | None => None,
    };
    let scheme = written.scheme.as_deref();
    let is_default = |port: &u16| {
        matches!(
            (*port, scheme.unwrap_or("http")),
            (80, "http") | (443, "https")
        )
    };
    let whole = written.uri.as_deref();
    let prefix = written.prefix_rewrite.as_deref();
    let path = match (whole, prefix) {
        (Some(whole), _) => Some(RedirectPath::Whole(whole.to_owned())),
        (None, Some(to)) => Some(RedirectPath::Rewritten(PathRewrite::Matched(to.to_owned()))),
        (None, None) => None,
    };
    Ok(Redirect {
        scheme: scheme.map(str::to_owned),
        host: written.authority.as_deref().map(str::to_owned),
        port: port.filter(|port| *port != 0 && !is_default(port)),
        path,
        status,
    })
}

/// A direct response.
pub(super) fn respond(written: &DirectResponse) -> Result<Respond, Problem> {
    if !(200..600).contains(&written.status) {
        let message = "status is from 200 to 599; Envoy refuses any other";
        return Err(Problem::new(written.at.clone(), "", message));
    }
    Ok(Respond {
        status: written.status,
        body: written.body.clone(),
    })
}
