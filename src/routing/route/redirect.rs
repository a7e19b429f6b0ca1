//! Redirects.

use super::call::CallHead;
use super::matches::PathMatch;
use super::rewrite::PathRewrite;

/// Where a caller is sent instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// The scheme; `None`: the call's.
    pub scheme: Option<String>,
    /// The host, with a port or without; `None`: the call's, with its port.
    pub host: Option<String>,
    /// The port; `None`: as `host` says, or the call's.
    pub port: Option<u16>,
    /// The path; `None`: the call's.
    pub path: Option<RedirectPath>,
    /// The status: 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The path of a [`Redirect`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectPath {
    /// This, whole. The call's query follows unless it has one of its own.
    Whole(String),
    /// The call's, with the matched part replaced.
    Rewritten(PathRewrite),
}

impl Redirect {
    /// The value of `location` for a call that `matches` has matched.
    ///
    /// The port of the call goes where this names a host or a port, and where it is the default of
    /// the call's scheme and the scheme changes. Otherwise it stays, even where it does not fit.
    #[must_use]
    pub fn location(&self, matches: &PathMatch, call: &dyn CallHead) -> String {
        let scheme = self.scheme.as_deref().unwrap_or_else(|| call.scheme());
        let host = match &self.host {
            Some(host) => host,
            None => self.call_host(scheme, call),
        };
        let mut location = format!("{scheme}://{host}");
        if let Some(port) = self.port {
            location.push(':');
            location.push_str(&port.to_string());
        }
        match &self.path {
            Some(RedirectPath::Whole(path)) => location.push_str(path),
            Some(RedirectPath::Rewritten(rewrite)) => {
                location.push_str(&rewrite.apply(matches, call.path()));
            }
            None => location.push_str(call.path()),
        }
        let has_query = matches!(&self.path, Some(RedirectPath::Whole(path)) if path.contains('?'));
        if let Some(query) = call.query().filter(|_| !has_query) {
            location.push('?');
            location.push_str(query);
        }
        location
    }

    fn call_host<'c>(&self, scheme: &str, call: &'c dyn CallHead) -> &'c str {
        let authority = call.authority();
        let start = match authority.strip_prefix('[') {
            Some(_) => authority.rfind("]:").map(|at| at + 1),
            None => authority.rfind(':'),
        };
        let parts = start.and_then(|start| authority.split_at_checked(start));
        let Some((host, port)) = parts else {
            return authority;
        };
        let is_default = matches!((call.scheme(), port), ("https", ":443") | ("http", ":80"));
        match self.port.is_some() || (scheme != call.scheme() && is_default) {
            true => host,
            false => authority,
        }
    }
}
