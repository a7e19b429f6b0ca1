//! The target that guards judge.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

/// The path and query that guards judge: the request's own, or another path with the request's
/// query.
pub(crate) fn judged_target<'p>(path: Option<&'p str>, uri: &'p Uri) -> Cow<'p, str> {
    match (path, uri.query()) {
        (None, _) => Cow::Borrowed(uri.path_and_query().map_or("/", PathAndQuery::as_str)),
        (Some(path), None) => Cow::Borrowed(path),
        (Some(path), Some(query)) => Cow::Owned(format!("{path}?{query}")),
    }
}
