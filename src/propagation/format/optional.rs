//! The formats that are read and written only where the application asks for them. Elsewhere their
//! headers go along untouched.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::baggage::Limits;
use super::headers::Incoming;
use super::{cloud_trace, jaeger, open_census};
use crate::context::{Formats, TraceContext};

impl<'a> Incoming<'a> {
    /// Takes the headers of these formats out of those that go along untouched, and adds the baggage
    /// of a trusted caller to them, within its limits.
    #[cold]
    pub(in crate::propagation) fn take(
        &mut self,
        formats: Formats,
        headers: &'a HeaderMap,
        baggage: Option<Limits>,
    ) {
        let optional = &mut self.optional;
        self.verbatim.retain(|(name, value)| {
            let slot = match name.as_str() {
                "uber-trace-id" if formats.has(Formats::JAEGER) => &mut optional.jaeger,
                "grpc-trace-bin" if formats.has(Formats::OPEN_CENSUS) => &mut optional.open_census,
                "x-cloud-trace-context" if formats.has(Formats::CLOUD_TRACE) => {
                    &mut optional.cloud_trace
                }
                _ => return true,
            };
            // The first of several with one name counts.
            slot.get_or_insert(*value);
            false
        });
        if let Some(limits) = baggage.filter(|_| formats.has(Formats::JAEGER)) {
            self.verbatim.extend(jaeger::baggage(headers, limits));
        }
    }
}

type Write = fn(&TraceContext) -> Option<HeaderValue>;

impl TraceContext {
    /// Writes the ids in those of these formats that are configured, and removes the headers of the
    /// others that are.
    #[cold]
    pub(super) fn write_optional(&self, headers: &mut HeaderMap, formats: Formats) {
        let all: [(Formats, HeaderName, Write); 3] = [
            (Formats::JAEGER, UBER_TRACE_ID, jaeger::write),
            (Formats::OPEN_CENSUS, GRPC_TRACE_BIN, open_census::write),
            (
                Formats::CLOUD_TRACE,
                X_CLOUD_TRACE_CONTEXT,
                cloud_trace::write,
            ),
        ];
        let configured = all
            .into_iter()
            .filter(|(format, ..)| self.marks.formats.has(*format));
        for (format, name, write) in configured {
            match write(self).filter(|_| formats.has(format)) {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
    }
}

const UBER_TRACE_ID: HeaderName = HeaderName::from_static("uber-trace-id");
const GRPC_TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");
const X_CLOUD_TRACE_CONTEXT: HeaderName = HeaderName::from_static("x-cloud-trace-context");
