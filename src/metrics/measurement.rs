use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, Version, header, request, response};

use super::peer::metadata::is_metadata;
use super::plan::MetricsPlan;
use super::registry::Registry;
use super::store::exemplars::SpanIds;
use super::store::histogram::Observed;
use super::store::labels::{OutcomeLabels, Protocol};
use super::store::series::{BaseId, Messages};
use super::store::table::SeriesTable;
use super::store::tags::TagValues;
use crate::message::{ByteCount, End, Report, ResponseFlags, is_grpc};

/// What the records of both directions have in common: clock, sizes and outcome.
#[derive(Debug)]
pub(super) struct Measurement {
    start: Instant,
    protocol: Protocol,
    request_head: u64,
    request_body: ByteCount,
    status: Option<StatusCode>,
    response_head: u64,
    flags: ResponseFlags,
    /// Whether the flags are those of a report, which has all.
    is_reported: bool,
    /// The gRPC messages that have been reported, and when.
    reported: Messages,
    reported_at: Instant,
    /// Values of labels with an expression.
    tags: Option<Box<TagValues>>,
}

impl Measurement {
    /// `fields` are those of the request.
    pub(super) fn new(
        request: &request::Parts,
        fields: &Fields,
        request_body: ByteCount,
        now: Instant,
    ) -> Self {
        Self {
            start: now,
            protocol: if fields.has_content_type && is_grpc(&request.headers) {
                Protocol::Grpc
            } else {
                Protocol::Http
            },
            request_head: request_head(request, fields),
            request_body,
            status: None,
            response_head: 0,
            flags: ResponseFlags::none(),
            is_reported: false,
            reported: Messages::default(),
            reported_at: now,
            tags: None,
        }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    /// The values of this exchange for labels with an expression.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(super) fn tag(&mut self, tags: TagValues) {
        self.tags = Some(Box::new(tags));
    }

    /// The bytes of the heads of request and response, and what is written of the labels.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(super) fn measured<'r>(
        &self,
        registry: &'r Registry,
        base: Option<BaseId>,
    ) -> (u64, u64, Option<&'r str>) {
        let base = base.and_then(|base| registry.table().get(base));
        let labels = base.map(|base| &*base.labels);
        (self.request_head, self.response_head, labels)
    }

    /// When the call began.
    pub(super) const fn start(&self) -> Instant {
        self.start
    }

    /// The response head is known. Returns its fields.
    pub(super) fn answered(&mut self, response: &response::Parts) -> Fields {
        self.status = Some(response.status);
        let fields = Fields::read(&response.headers, response.version);
        self.response_head = fields.bytes + STATUS_LINE;
        if let Some(flags) = response.extensions.get::<ResponseFlags>() {
            self.flags = *flags;
        }
        fields
    }

    /// A report knows at least as much.
    pub(super) fn reported(&mut self, report: &Report<'_>) {
        self.status = report.counted_status;
        self.flags = report.flags;
        self.is_reported = true;
    }

    /// Reports the gRPC messages since the last report, when that is long enough ago: as long as
    /// `planned`, else as the registry says.
    pub(super) fn progressed(
        &mut self,
        registry: &Registry,
        base: BaseId,
        response: u64,
        now: Instant,
        planned: impl FnOnce(&MetricsPlan) -> Option<Duration>,
    ) {
        let interval = registry.reporting_interval(planned);
        if now.saturating_duration_since(self.reported_at) >= interval {
            self.reported_at = now;
            self.report_messages(registry.table(), base, response);
        }
    }

    fn report_messages(&mut self, table: &SeriesTable, base: BaseId, response: u64) {
        if self.protocol != Protocol::Grpc {
            return;
        }
        let messages = Messages {
            request: self.request_body.messages(),
            response,
        };
        let reported = std::mem::replace(&mut self.reported, messages);
        let since = Messages {
            request: messages.request.saturating_sub(reported.request),
            response: messages.response.saturating_sub(reported.response),
        };
        table.add_messages(base, since);
    }

    pub(super) fn add_to(
        &mut self,
        registry: &Registry,
        (base, overflow): (BaseId, BaseId),
        end: End,
        now: Instant,
        span: Option<SpanIds>,
    ) {
        let table = registry.table();
        let span = span.filter(|_| registry.options().exemplars);
        let flags = match self.is_reported {
            true => self.flags,
            false => end.flags(self.flags),
        };
        let outcome = OutcomeLabels::new(self.protocol, self.status, end.grpc_status, flags);
        self.report_messages(table, base, end.messages);
        let elapsed = now.saturating_duration_since(self.start);
        let observed = Observed {
            milliseconds: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            request_bytes: self.request_head.saturating_add(self.request_body.bytes()),
            response_bytes: self.response_head.saturating_add(end.bytes),
        };
        let tags = self.tags.as_deref();
        table.add_request(base, overflow, outcome, tags, observed, span);
    }
}

/// The size of a request's head: its method, target and fields. They are framed as HTTP/1 frames
/// them, or named as HTTP/2 names its pseudo-headers, uncompressed.
fn request_head(request: &request::Parts, fields: &Fields) -> u64 {
    let uri = &request.uri;
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let authority = match request.version {
        Version::HTTP_2 | Version::HTTP_3 => uri.authority().map_or(0, |a| a.as_str().len()),
        _ => 0,
    };
    let line = request.method.as_str().len() + target + authority;
    line as u64 + REQUEST_LINE + fields.bytes
}

/// The result of one pass over the fields of a head. The fields are often not in the cache, so they
/// are read once and not for each question.
#[derive(Debug)]
pub(super) struct Fields {
    /// Names and values, with HTTP/1's `: ` and line end for each and the empty line after them.
    bytes: u64,
    has_content_type: bool,
    pub(super) has_metadata: bool,
}

impl Fields {
    pub(super) fn read(headers: &HeaderMap, version: Version) -> Self {
        let framing = match version {
            Version::HTTP_2 | Version::HTTP_3 => 0,
            _ => 4,
        };
        let mut fields = Self {
            bytes: framing / 2,
            has_content_type: false,
            has_metadata: false,
        };
        for (name, value) in headers {
            let length = name.as_str().len();
            fields.bytes += (length + value.len()) as u64 + framing;
            // The length rules most names out before their bytes are compared.
            match length {
                12 => fields.has_content_type |= *name == header::CONTENT_TYPE,
                21 | 24 => fields.has_metadata |= is_metadata(name),
                _ => {}
            }
        }
        fields
    }
}

/// The blank before the target, ` HTTP/1.1` and the line end.
const REQUEST_LINE: u64 = 12;
/// `HTTP/1.1 200 OK` and the line end.
const STATUS_LINE: u64 = 17;

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    #[test]
    fn a_head_is_as_long_as_http_1_writes_it() {
        let request = Request::get("/a/b?c=d")
            .header("host", "x")
            .header("accept", "*/*")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let written = "GET /a/b?c=d HTTP/1.1\r\nhost: x\r\naccept: */*\r\n\r\n";
        let fields = Fields::read(&request.headers, request.version);
        assert_eq!(request_head(&request, &fields), written.len() as u64);

        let response = Response::builder().header("a", "b").body(());
        let response = response.unwrap().into_parts().0;
        let mut record = Measurement::new(&request, &fields, ByteCount::default(), Instant::now());
        record.answered(&response);
        let written = "HTTP/1.1 200 OK\r\na: b\r\n\r\n";
        assert_eq!(record.response_head, written.len() as u64);
    }
}
