//! Tags whose text is made when an exchange has ended, by a room that knows how.

use std::fmt;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, request};

use crate::context::TraceContext;
use crate::matcher::query;
use crate::message::Report;
use crate::propagation::destination::Destination;

/// The text of a tag with operators of access logs: `formatter` of Istio's `customTags`.
pub(crate) trait TagFormat: fmt::Debug + Send + Sync {
    /// An exchange that is recorded has begun.
    fn begin(&self, beginning: TextBeginning<'_>) -> Box<dyn TagText>;
}

/// The text for one exchange.
pub(crate) trait TagText: fmt::Debug + Send + Sync {
    fn answered(&mut self, headers: &HeaderMap);

    fn trailers(&mut self, trailers: &HeaderMap);

    /// What has no value is left out; an empty text is no tag.
    fn end(&self, report: &Report<'_>) -> String;
}

/// What a text begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextBeginning<'a> {
    pub(crate) request: &'a request::Parts,
    pub(crate) began: SystemTime,
    /// Of a call: its own place in its trace, and where it goes.
    pub(crate) call: Option<(&'a TraceContext, Option<&'a Destination>)>,
}

/// The header as a tag may show it: none that is marked as sensitive or has the form of a signed
/// token, and of a URL no parameter that may hold one.
pub(crate) fn shown_header(value: &HeaderValue) -> Option<HeaderValue> {
    if value.is_sensitive() || query::is_token(b"", value.as_bytes()) {
        return None;
    }
    // Bytes that are no text hold no URL.
    let text = value.to_str().ok();
    match text.and_then(|text| query::without(text, query::is_token)) {
        Some(without) => HeaderValue::try_from(without).ok(),
        None => Some(value.clone()),
    }
}
