//! The tags of one span whose text is made at its end.

use std::borrow::Cow;

use http::HeaderMap;

use super::formatted::{TagText, TextBeginning};
use super::tag::CustomTag;
use crate::matcher::query;
use crate::message::Report;
use crate::propagation::span::notes::{Tag, shorten_value};

/// The texts of one span's tags.
#[derive(Debug)]
pub(in crate::propagation) struct TagTexts(Vec<(Cow<'static, str>, Box<dyn TagText>)>);

impl TagTexts {
    pub(in crate::propagation) fn begin(tags: &[CustomTag], beginning: TextBeginning<'_>) -> Self {
        let formats = tags.iter().filter_map(|tag| Some((tag, tag.format()?)));
        let texts = formats.map(|(tag, format)| {
            let name = Cow::Owned(tag.name().to_owned());
            (name, format.begin(beginning))
        });
        Self(texts.collect())
    }

    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::propagation) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::propagation) fn answered(&mut self, headers: &HeaderMap) {
        for (_, text) in &mut self.0 {
            text.answered(headers);
        }
    }

    pub(in crate::propagation) fn trailers(&mut self, trailers: &HeaderMap) {
        for (_, text) in &mut self.0 {
            text.trailers(trailers);
        }
    }

    /// The tags, but for those whose text is empty or has the form of a signed token.
    pub(in crate::propagation) fn end(self, report: &Report<'_>) -> Vec<Tag> {
        let tags = self.0.into_iter().filter_map(|(name, text)| {
            let text = text.end(report);
            let is_shown = !text.is_empty() && !query::is_token(b"", text.as_bytes());
            is_shown.then(|| (name, shorten_value(text.into())))
        });
        tags.collect()
    }
}
