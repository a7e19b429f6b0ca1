use std::sync::Arc;

use http::Extensions;

use super::Guards;
use crate::live::Snapshot;
use crate::mesh::cells::Config;

/// The generation that a request is judged by: the one that was current when it met the first layer
/// of its guards. Without it, a reload between two layers would combine the token rules of one
/// configuration with the policies of another.
#[derive(Clone)]
struct Pinned {
    guards: Guards,
    config: Snapshot<Config>,
    /// That of other guards, further out.
    outer: Option<Arc<Self>>,
}

/// The generation of a request, for the layers of these guards.
pub(super) fn pinned(guards: &Guards, extensions: &mut Extensions) -> Snapshot<Config> {
    let mut known = extensions.get::<Pinned>();
    while let Some(pinned) = known {
        if pinned.guards.is_same(guards) {
            return pinned.config.clone();
        }
        known = pinned.outer.as_deref();
    }
    let config = guards.snapshot();
    let outer = extensions.remove::<Pinned>().map(Arc::new);
    // One allocation per request, by the extensions.
    extensions.insert(Pinned {
        guards: guards.clone(),
        config: config.clone(),
        outer,
    });
    config
}
