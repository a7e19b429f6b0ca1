//! An access log: a format, filters, and where its lines go.

use std::cell::RefCell;
use std::sync::Arc;

use super::filter::Filter;
use super::format::{Facts, Format, FormatError};
use super::sink::Sink;
use crate::matcher::path_redaction::{PathRedaction, TemplateError};

/// An access log: what its lines say, which exchanges get one, and where they go. Cheap to clone.
///
/// A mesh gets it with [`access_log`](crate::mesh::TelemetryOptions::access_log), a service without
/// a mesh with [`AccessLogs`](super::AccessLogs). Lines go to standard output unless [`to`](Self::to)
/// names another sink, and only requests that this workload serves get one unless
/// [`side`](Self::side) says otherwise.
///
/// # Example
/// ```
/// use tower_mesh::access_log::{AccessLog, Sink};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("access.log");
/// let log = AccessLog::format("%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%")?
///     .redact_path("/patients/{id}")?
///     .to(Sink::file(path)?);
/// # drop(log);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a log does nothing until a mesh or a layer has it"]
pub struct AccessLog {
    format: Arc<Format>,
    omits: bool,
    redaction: Arc<PathRedaction>,
    filter: Option<Filter>,
    side: Side,
    /// `None` is standard output.
    sink: Option<Sink>,
}

/// Which exchanges an access log is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Side {
    /// The requests that this workload serves.
    #[default]
    Server,
    /// The calls that it makes.
    Client,
    /// Both.
    Both,
}

impl AccessLog {
    /// Istio's default text, one line for each exchange.
    pub fn text() -> Self {
        Self::new(Format::default_text())
    }

    /// Istio's default JSON, one object in a line for each exchange.
    pub fn json() -> Self {
        Self::new(Format::default_json())
    }

    /// Lines in a format of Envoy's operators: see [the list](super#operators). A line break at the
    /// end is not needed.
    ///
    /// # Errors
    /// An operator that is unknown or has no meaning in a process, a header that holds a secret, a
    /// line break or control character, or more than 16 KiB or 256 parts.
    pub fn format(text: &str) -> Result<Self, FormatError> {
        Format::text(text).map(Self::new)
    }

    /// Objects of JSON with these keys; each value is a format. As in Envoy, the keys are written in
    /// the order of their bytes, whatever their order here. One operator alone is a number where the
    /// operator is one, and `null` where it has no value.
    ///
    /// # Errors
    /// As [`format`](Self::format); also a key that is there twice, and more than 128 labels.
    pub fn labels<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, FormatError> {
        Format::labels(labels).map(Self::new)
    }

    fn new(format: Format) -> Self {
        Self {
            format: Arc::new(format),
            omits: false,
            redaction: Arc::default(),
            filter: None,
            side: Side::Server,
            sink: None,
        }
    }

    /// Sends the lines to this sink. Several logs can share one.
    pub fn to(mut self, sink: Sink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Writes a line only for exchanges that pass this filter, and all filters before.
    pub fn only(mut self, filter: Filter) -> Self {
        self.filter = Some(match self.filter {
            Some(before) => before.and(filter),
            None => filter,
        });
        self
    }

    /// Leaves out what has no value: a text has nothing in place of `-`, and an object of JSON has
    /// no key for it.
    pub fn omit_empty_values(mut self) -> Self {
        self.omits = true;
        self
    }

    /// Writes queries whole. Without this a query is `?…`, because queries often hold tokens and
    /// names. Parameters that a token guard has found a token in stay left out.
    pub fn full_queries(mut self) -> Self {
        Arc::make_mut(&mut self.redaction).full_queries = true;
        self
    }

    /// Leaves parameters out of paths: with `/patients/{id}`, `/patients/7/notes` is written as
    /// `/patients/{id}/notes`. Each call adds a template.
    ///
    /// The segments are looked for anywhere in the path, so that a prefix, as of a nested router, is
    /// no way around the template. Case, escapes, doubled slashes and parameters after `;` do not
    /// matter. A path with `..`, which the gate refuses or resolves, is written as `/…`. The paths
    /// in `referer` and `location` are treated alike. Other headers are written as they are, so
    /// keep those that may hold personal data out of the format.
    ///
    /// # Errors
    /// The template does not begin with `/`, has no parameter, an empty segment, a wildcard, or a
    /// parameter that is not a whole segment.
    pub fn redact_path(mut self, template: &str) -> Result<Self, TemplateError> {
        Arc::make_mut(&mut self.redaction).add(template)?;
        Ok(self)
    }

    /// Chooses requests, calls or both; requests are the default.
    pub fn side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    pub(super) fn serves(&self, is_inbound: bool) -> bool {
        match self.side {
            Side::Server => is_inbound,
            Side::Client => !is_inbound,
            Side::Both => true,
        }
    }

    /// Fixes the sink, so that standard output is opened now and not by the first request.
    pub(super) fn opened(mut self) -> Self {
        self.sink.get_or_insert_with(Sink::stdout);
        self
    }

    pub(crate) fn sink(&self) -> Option<&Sink> {
        self.sink.as_ref()
    }

    pub(super) fn headers(&self) -> &Format {
        &self.format
    }

    /// Leaves these parameters out, too.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn redact(&mut self, redaction: &PathRedaction) {
        Arc::make_mut(&mut self.redaction).merge(redaction);
    }

    /// Whether every request has an event of this log.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(super) fn has_every_event(&self) -> bool {
        self.filter.is_none() && self.sink.as_ref().is_some_and(Sink::is_events)
    }

    pub(super) fn redaction(&self) -> &PathRedaction {
        &self.redaction
    }

    /// Writes the line of an exchange that has ended.
    pub(super) fn write(&self, facts: Facts<'_>) {
        let passes = self
            .filter
            .as_ref()
            .is_none_or(|filter| filter.passes(facts));
        let Some(sink) = self.sink.as_ref().filter(|sink| passes && sink.wants()) else {
            return;
        };
        let write = |buffers: &mut (Vec<u8>, Vec<u8>)| {
            let (line, scratch) = buffers;
            line.clear();
            self.format.write(line, scratch, facts, self.omits);
            sink.send(line, facts);
        };
        // The thread may be ending, or the sink may be about a request of its own.
        let written = BUFFERS.try_with(|buffers| match buffers.try_borrow_mut() {
            Ok(mut buffers) => write(&mut buffers),
            Err(_) => write(&mut Default::default()),
        });
        if written.is_err() {
            write(&mut Default::default());
        }
    }
}

thread_local! {
    /// The line, and the value that is being made.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}
