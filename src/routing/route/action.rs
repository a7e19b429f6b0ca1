//! A route, and what it does.

use std::time::Duration;

use super::cluster::Split;
use super::headers::HeaderChanges;
use super::matches::RouteMatch;
use super::policies::{Cors, Fault, Mirror};
use super::redirect::Redirect;
use super::retry::RetryPolicy;
use super::rewrite::PathRewrite;
use crate::istio::Position;
use crate::istio::traffic::HashKey;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name; `None` where nothing names it.
    pub name: Option<String>,
    /// What it matches.
    pub matches: RouteMatch,
    /// What it does.
    pub action: Action,
    /// Changes of the request's headers.
    pub request_headers: HeaderChanges,
    /// Changes of the response's headers.
    pub response_headers: HeaderChanges,
    /// Delays and aborts.
    pub fault: Option<Fault>,
    /// Answers to preflights of browsers.
    pub cors: Option<Cors>,
    /// A further prefix of its metrics.
    pub stat_prefix: Option<String>,
    /// Where it was written; the default where nothing wrote it.
    pub at: Position,
}

/// What a route does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Sends it on.
    Forward(Box<Forward>),
    /// Answers where to go instead.
    Redirect(Redirect),
    /// Answers.
    Respond(Respond),
}

/// How a call is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to.
    pub split: Split,
    /// The time for the whole call; `None`: no limit.
    pub timeout: Option<Duration>,
    /// When it is tried again; `None`: never.
    pub retry: Option<RetryPolicy>,
    /// What picks its endpoint, where that is by hash; in order.
    pub hash: Vec<HashKey>,
    /// The path to send.
    pub path_rewrite: Option<PathRewrite>,
    /// The host to name.
    pub host_rewrite: Option<String>,
    /// Who gets copies.
    pub mirrors: Vec<Mirror>,
    /// The status when there is no such cluster.
    pub cluster_not_found: u16,
}

impl Forward {
    /// Sends calls on to these clusters, and nothing more.
    #[must_use]
    pub fn to(split: Split) -> Self {
        Self {
            split,
            timeout: None,
            retry: None,
            hash: Vec::new(),
            path_rewrite: None,
            host_rewrite: None,
            mirrors: Vec::new(),
            cluster_not_found: 503,
        }
    }
}

/// An answer that comes from the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The status, from 200 to 599.
    pub status: u16,
    /// The body; may be empty.
    pub body: Vec<u8>,
}
