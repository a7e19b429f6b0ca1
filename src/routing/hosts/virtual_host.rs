//! One virtual host, as data.

use std::sync::Arc;

use crate::routing::route::Route;

/// The routes of some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    /// `HOST:PORT`, or what is done with unknown hosts.
    pub name: String,
    /// The names that calls have for it: exact, `*.suffix`, `prefix.*` or `*`, without ports.
    pub domains: Vec<String>,
    /// The routes, the first of which that matches is taken.
    pub routes: Arc<[Route]>,
}
