//! The whole path of a request that routers have shortened.

use http::Extensions;
use http::request::Parts;

use super::Exchange;

impl Exchange {
    /// Whether a router has chosen a route by the path that the request has, with the feature
    /// `axum`. It leaves no sign if it has taken the request for its fallback.
    #[cfg_attr(not(feature = "gate"), allow(dead_code, reason = "only the gate asks"))]
    pub(crate) fn is_routed(head: &Parts) -> bool {
        // The exchange is one; more are there behind a router.
        head.extensions.len() > 1 && has_matched(&head.extensions)
    }

    /// The whole path of a request inside routers, found in this order:
    ///
    /// - The [`path`](Self::path) that a layer has kept, if the request's path is what routers
    ///   leave of it.
    /// - With the feature `axum`, the path in axum's `OriginalUri`, if no layer has kept a path or
    ///   if code outside axum's routers has since rewritten the target.
    /// - The path of the request's URI, if it is not a remainder of these. The request was then
    ///   given another target.
    ///
    /// `None` if the whole path is unknown. Either a router has removed one slash too many with its
    /// prefix, as axum's routers do with `/api//admin`, so it shows other segments than were sent.
    /// Or code has rewritten the target of a request that is inside a nested router.
    #[must_use]
    pub fn path_of<'a>(&'a self, head: &'a Parts) -> Option<&'a str> {
        let sent = Self::sent_uri(head);
        let is_first = head.extensions.len() <= 1 && std::ptr::eq(sent, &raw const head.uri);
        let (left, sent) = (head.uri.path(), sent.path());
        // No router has left facts of its own: the usual case, in front of all routers.
        if is_first && self.path().is_none_or(|kept| kept == left) {
            return Some(left);
        }
        let kept = self.path().unwrap_or(sent);
        let whole = match Taken::off(kept, sent) {
            Taken::Prefix(_) => kept,
            Taken::Slash => return None,
            Taken::Unknown => sent,
        };
        if left == sent {
            return Some(whole);
        }
        match (Taken::off(sent, left), nested_path(&head.extensions)) {
            (Taken::Prefix(_), None) => Some(whole),
            (Taken::Prefix(prefix), Some(nested)) => is_of(prefix, nested).then_some(whole),
            (Taken::Unknown, None) => Some(left),
            (Taken::Slash, _) | (Taken::Unknown, Some(_)) => None,
        }
    }
}

/// What routers have removed from a path.
enum Taken<'p> {
    /// Whole segments at the start, or nothing.
    Prefix(&'p str),
    /// Whole segments, and the first of several slashes after them.
    Slash,
    /// Unknown: the remaining path is not the end of the whole path.
    Unknown,
}

impl<'p> Taken<'p> {
    fn off(whole: &'p str, left: &str) -> Self {
        let prefix = match left {
            _ if whole == left => Some(""),
            // A router that removes the whole path leaves `/`.
            "/" => Some(whole.strip_suffix('/').unwrap_or(whole)),
            _ if left.starts_with('/') => whole.strip_suffix(left),
            _ => None,
        };
        match prefix {
            Some(prefix) if prefix.ends_with('/') => Self::Slash,
            Some(prefix) => Self::Prefix(prefix),
            None => Self::Unknown,
        }
    }
}

/// Whether a router nested at `nested` removes this prefix. `{name}` matches any segment.
fn is_of(prefix: &str, nested: &str) -> bool {
    let nested = nested.trim_end_matches('/').split('/');
    prefix.split('/').count() == nested.clone().count()
        && prefix
            .split('/')
            .zip(nested)
            .all(|(segment, pattern)| segment == pattern || pattern.starts_with('{'))
}

/// The path at which axum's routers have nested the service that the request has reached.
#[cfg(feature = "axum")]
fn nested_path(extensions: &Extensions) -> Option<&str> {
    let nested = extensions.get::<axum::extract::NestedPath>()?;
    Some(nested.as_str())
}

#[cfg(not(feature = "axum"))]
fn nested_path(_: &Extensions) -> Option<&str> {
    None
}

#[cfg(feature = "axum")]
fn has_matched(extensions: &Extensions) -> bool {
    extensions.get::<axum::extract::MatchedPath>().is_some()
}

#[cfg(not(feature = "axum"))]
fn has_matched(_: &Extensions) -> bool {
    false
}
