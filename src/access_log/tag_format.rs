//! Texts with operators as the values of tags of spans.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;

use super::format::{Call, Facts, Format, FormatError, Kept};
use crate::matcher::path_redaction::PathRedaction;
use crate::message::Report;
use crate::propagation::{Destination, TagFormat, TagText, TextBeginning, shown_header};

/// A text of a span's tag: a format of access logs, which shows no more than a log does, and no
/// header that has the form of a signed token.
#[derive(Clone)]
pub(crate) struct OperatorText(Arc<Text>);

struct Text {
    format: Format,
    redaction: PathRedaction,
    own: Option<Arc<str>>,
}

impl OperatorText {
    /// # Errors
    /// As [`AccessLog::format`](super::AccessLog::format).
    pub(crate) fn new(
        text: &str,
        redaction: PathRedaction,
        own: Option<Arc<str>>,
    ) -> Result<Self, FormatError> {
        let format = Format::text(text)?;
        Ok(Self(Arc::new(Text {
            format,
            redaction,
            own,
        })))
    }
}

impl TagFormat for OperatorText {
    fn begin(&self, beginning: TextBeginning<'_>) -> Box<dyn TagText> {
        let names = &self.0.format.request_headers;
        let mut kept = Kept::new(beginning.request, beginning.began, names);
        kept.showing(shown_header);
        if let Some((trace, destination)) = beginning.call {
            kept.trace = Some(Box::new(trace.clone()));
            kept.call = Call {
                cluster: destination.map(|to| to.cluster().into()),
                route: destination.map(Destination::route),
            };
        }
        Box::new(Begun {
            text: Arc::clone(&self.0),
            kept,
        })
    }
}

struct Begun {
    text: Arc<Text>,
    kept: Kept,
}

impl TagText for Begun {
    fn answered(&mut self, headers: &HeaderMap) {
        let names = &self.text.format.response_headers;
        self.kept.answered(headers, names, Instant::now());
        self.kept.showing(shown_header);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.kept.trailed(trailers, &self.text.format.trailers);
        self.kept.showing(shown_header);
    }

    fn end(&self, report: &Report<'_>) -> String {
        let facts = Facts {
            report,
            kept: &self.kept,
            redaction: &self.text.redaction,
            own: self.text.own.as_deref(),
        };
        let text = self.text.format.plain(facts);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl fmt::Debug for OperatorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorText").finish_non_exhaustive()
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").finish_non_exhaustive()
    }
}
