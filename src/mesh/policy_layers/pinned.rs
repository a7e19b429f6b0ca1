//! Keeps one generation of configuration for a request, across the layers of its guards.

use std::sync::{Arc, OnceLock};

use http::Extensions;

use super::parts::Parts;
use crate::live::Snapshot;
use crate::mesh::config::live::CompiledInbound;

/// The generation that judges a request: the current one when the request met the first layer of
/// its guards. Without it, a reload between two layers would combine the token rules of one
/// configuration with the policies of another.
#[derive(Clone)]
struct Pinned {
    guards: Arc<Parts>,
    config: Snapshot<CompiledInbound>,
    /// Set once the request has met the token rules.
    has_met_tokens: OnceLock<()>,
    /// The entry of other guards, further out.
    outer: Option<Arc<Self>>,
}

/// The generation that judges this request, for the layers of these guards.
pub(super) fn pinned(
    guards: &Arc<Parts>,
    extensions: &mut Extensions,
) -> Snapshot<CompiledInbound> {
    if let Some(pinned) = find(guards, extensions) {
        return pinned.config.clone();
    }
    let config = guards.config.snapshot();
    let outer = extensions.remove::<Pinned>().map(Arc::new);
    // The extensions box it: one allocation per request.
    extensions.insert(Pinned {
        guards: Arc::clone(guards),
        config: config.clone(),
        has_met_tokens: OnceLock::new(),
        outer,
    });
    config
}

/// Notes that a request meets the token rules of these guards.
pub(super) fn meet_tokens(guards: &Arc<Parts>, extensions: &Extensions) {
    if let Some(pinned) = find(guards, extensions) {
        let _ = pinned.has_met_tokens.set(());
    }
}

/// Whether a request has met the token rules of these guards.
pub(super) fn has_met_tokens(guards: &Arc<Parts>, extensions: &Extensions) -> bool {
    find(guards, extensions).is_some_and(|pinned| pinned.has_met_tokens.get().is_some())
}

fn find<'e>(guards: &Arc<Parts>, extensions: &'e Extensions) -> Option<&'e Pinned> {
    let mut known = extensions.get::<Pinned>();
    while let Some(pinned) = known
        && !Arc::ptr_eq(&pinned.guards, guards)
    {
        known = pinned.outer.as_deref();
    }
    known
}
