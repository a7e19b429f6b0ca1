//! What the rules of both kinds of routes share.

use crate::istio::traffic::HttpRoute;
use crate::istio::{Meta, Position, Text};

/// The name of the routes of a rule: its own, or where it stands in its resource.
pub(super) fn name(meta: &Meta, index: usize, own: Option<&Text>, at: &Position) -> Text {
    own.cloned().unwrap_or_else(|| {
        let name = format!("{}.{}.{index}", meta.namespace, meta.name);
        Text::new(name, at.clone())
    })
}

/// Each match as a route of its own; one route for all calls where there is none.
pub(super) fn per_match<M>(
    matches: &[M],
    one: impl Fn(Option<&M>) -> Option<HttpRoute>,
) -> Option<Vec<HttpRoute>> {
    match matches {
        [] => Some(vec![one(None)?]),
        matches => matches.iter().map(|of_match| one(Some(of_match))).collect(),
    }
}
