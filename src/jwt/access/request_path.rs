//! The path of a request, which a token guard may know before it is normalized.

use std::borrow::Cow;

use http::request::Parts;

use crate::context::Exchange;
use crate::matcher::path::{self, Normalization};

/// The path by which a guard decides whether a request needs a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestPath<'p> {
    /// The path as an earlier guard has normalized it; `None` if it is the URI's own path.
    Normalized(Option<&'p str>),
    /// The path that was sent. How the configuration would normalize it, and what an earlier router
    /// took it for, is not known here.
    AsSent,
}

impl<'p> RequestPath<'p> {
    /// Whether this may be true of the path that policy judges: of any form of it, or if the path
    /// is not known.
    pub(crate) fn may_be(
        self,
        head: &Parts,
        exchange: &Exchange,
        is: impl Fn(&str) -> bool,
    ) -> bool {
        let Some(path) = self.known(head, exchange) else {
            return true;
        };
        let is_normalized = matches!(self, Self::Normalized(_));
        is(path) || !is_normalized && readings(path).any(|path| path.is_none_or(|path| is(&path)))
    }

    /// The path, if it is as it was sent and no normalization changes it, so that nobody can read
    /// another path in it. A router that chose by the path that was sent would else have chosen by
    /// another one.
    pub(crate) fn unmistakable<'a>(self, head: &'a Parts, exchange: &'a Exchange) -> Option<&'a str>
    where
        'p: 'a,
    {
        let path = self.known(head, exchange)?;
        let is_as_sent = exchange.path_of(head) == Some(path);
        (is_as_sent && is_normal(path)).then_some(path)
    }

    fn known<'a>(self, head: &'a Parts, exchange: &'a Exchange) -> Option<&'a str>
    where
        'p: 'a,
    {
        match self {
            Self::Normalized(path) => Some(path.unwrap_or_else(|| head.uri.path())),
            Self::AsSent => exchange.path_of(head),
        }
    }
}

/// Whether a path stays as it is, however far it is normalized.
pub(super) fn is_normal(path: &str) -> bool {
    // Envoy leaves `//` alone where it is the whole path.
    !path.contains("//") && readings(path).all(|reading| reading.as_deref() == Some(path))
}

/// Each form that normalization may give a path; `None` where it is refused.
fn readings(path: &str) -> impl Iterator<Item = Option<Cow<'_, str>>> {
    // The least and the most that normalization changes in a path.
    [
        Normalization::Base,
        Normalization::MergeSlashes,
        Normalization::DecodeAndMergeSlashes,
    ]
    .into_iter()
    .map(|how| path::normalize(path, how).ok())
}
