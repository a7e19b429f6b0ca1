//! What was chosen for a call.

use super::virtual_host::VirtualHost;
use crate::routing::route::{
    Action, CallHead, Cluster, Forward, HeaderEdit, Route, Summary, WeightedCluster,
};

/// The route of a call. Changes of the call are made on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'t> {
    /// The virtual host.
    pub virtual_host: &'t VirtualHost,
    /// The route.
    pub route: &'t Route,
}

impl<'t> Choice<'t> {
    /// What the route does.
    #[must_use]
    pub fn action(self) -> &'t Action {
        &self.route.action
    }

    /// How specific the match was.
    #[must_use]
    pub fn summary(self) -> Summary {
        self.route.matches.summary()
    }

    /// How the call is sent on, if it is.
    #[must_use]
    pub fn forward(self) -> Option<&'t Forward> {
        match self.action() {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }

    /// Where the caller is sent instead, as the value of `location`, if the route redirects.
    #[must_use]
    pub fn location(self, call: &dyn CallHead) -> Option<String> {
        match self.action() {
            Action::Redirect(redirect) => Some(redirect.location(&self.route.matches.path, call)),
            _ => None,
        }
    }

    /// Draws the cluster by a random number, once for all tries of a call. `None` if the call is
    /// not sent on, or no cluster has a share.
    #[must_use]
    pub fn draw(self, random: u64) -> Option<Drawn<'t>> {
        let forward = self.forward()?;
        let (cluster, weighted) = forward.split.draw(random)?;
        Some(Drawn {
            route: self.route,
            forward,
            cluster,
            weighted,
        })
    }
}

/// A call that is sent on to a cluster. What it changes is changed in this order: headers, host,
/// path. Envoy tells the upstream the old ones as `x-envoy-original-host` and
/// `x-envoy-original-path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn<'t> {
    route: &'t Route,
    forward: &'t Forward,
    weighted: Option<&'t WeightedCluster>,
    /// The cluster.
    pub cluster: &'t Cluster,
}

impl<'t> Drawn<'t> {
    /// The host to name in place of the call's: the route's, else the destination's.
    #[must_use]
    pub fn host(self) -> Option<&'t str> {
        let of_destination = self.weighted.and_then(|it| it.host_rewrite.as_deref());
        self.forward.host_rewrite.as_deref().or(of_destination)
    }

    /// The path and query to send in place of the call's; `None`: they stay.
    #[must_use]
    pub fn target(self, call: &dyn CallHead) -> Option<String> {
        let rewrite = self.forward.path_rewrite.as_ref()?;
        let mut target = rewrite.apply(&self.route.matches.path, call.path());
        if let Some(query) = call.query() {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }

    /// Changes the headers of the request: those of the destination first, then those of the route.
    pub fn change_request(self, headers: &mut dyn HeaderEdit) {
        if let Some(weighted) = self.weighted {
            weighted.request_headers.apply(headers);
        }
        self.route.request_headers.apply(headers);
    }

    /// Changes the headers of the response, likewise.
    pub fn change_response(self, headers: &mut dyn HeaderEdit) {
        if let Some(weighted) = self.weighted {
            weighted.response_headers.apply(headers);
        }
        self.route.response_headers.apply(headers);
    }
}
