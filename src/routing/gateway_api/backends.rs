//! Backends of rules.

use super::filters;
use super::reference::{Referrer, destination};
use crate::istio::traffic::HttpRouteDestination;
use crate::istio::traffic::gateway_api::HttpBackendRef;

/// The backends with a weight; `None` where a filter is not known.
pub(super) fn destinations(
    backends: &[HttpBackendRef],
    referrer: &Referrer<'_>,
) -> Option<Vec<HttpRouteDestination>> {
    let with_weight = backends.iter().filter(|backend| backend.weight > 0);
    with_weight
        .map(|backend| {
            Some(HttpRouteDestination {
                destination: destination(&backend.backend, referrer),
                weight: backend.weight,
                headers: filters::of_rule(&backend.filters, None, referrer)?.headers,
                at: backend.backend.at.clone(),
            })
        })
        .collect()
}
