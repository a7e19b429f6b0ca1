//! A format that is ready to write lines.

use std::collections::BTreeMap;

use http::HeaderName;

use super::error::FormatError;
use super::escape::{Place, write, write_number};
use super::facts::Facts;
use super::operator::Operator;
use super::parse::{Piece, pieces};
use super::value::{self, Value};

/// A text, or an object of JSON.
#[derive(Clone, Debug)]
pub(in crate::access_log) struct Format {
    shape: Shape,
    pub(in crate::access_log) request_headers: Vec<HeaderName>,
    pub(in crate::access_log) response_headers: Vec<HeaderName>,
    pub(in crate::access_log) trailers: Vec<HeaderName>,
}

#[derive(Clone, Debug)]
enum Shape {
    Text(Vec<Piece>),
    Json(Vec<Label>),
}

#[derive(Clone, Debug)]
struct Label {
    /// Quoted, with the colon.
    key: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Format {
    /// Istio's default text.
    pub(in crate::access_log) fn default_text() -> Self {
        // The tests read it, so it has no mistake.
        let pieces = pieces(TEXT).unwrap_or_default();
        Self::new(Shape::Text(pieces))
    }

    /// Istio's default JSON.
    pub(in crate::access_log) fn default_json() -> Self {
        // The tests read them, so they have no mistake.
        Self::labels(LABELS).unwrap_or_else(|_| Self::new(Shape::Json(Vec::new())))
    }

    /// A format of its own. A line break at its end is not needed.
    pub(in crate::access_log) fn text(text: &str) -> Result<Self, FormatError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Self::new(Shape::Text(pieces(text)?)))
    }

    /// An object with these keys, each with a format as its value. As in Envoy, the keys are in the
    /// order of their bytes.
    pub(in crate::access_log) fn labels<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, FormatError> {
        let mut read = BTreeMap::new();
        for (key, value) in labels {
            let label = Label::new(key, value).map_err(|error| error.of_label(key))?;
            if read.insert(key, label).is_some() {
                return Err(FormatError::new(0, "the key is there twice").of_label(key));
            }
            if read.len() > MOST_LABELS {
                let problem = format!("an object has at most {MOST_LABELS} labels");
                return Err(FormatError::new(0, problem).of_label(key));
            }
        }
        Ok(Self::new(Shape::Json(read.into_values().collect())))
    }

    fn new(shape: Shape) -> Self {
        let mut format = Self {
            shape,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            trailers: Vec::new(),
        };
        let operators = match &format.shape {
            Shape::Text(pieces) => operators(pieces).collect::<Vec<_>>(),
            Shape::Json(labels) => {
                let pieces = labels.iter().flat_map(|label| operators(&label.pieces));
                pieces.collect()
            }
        };
        let mut request_headers: Vec<_> = operators
            .iter()
            .flat_map(|operator| operator.request_headers().cloned())
            .collect();
        let mut response_headers: Vec<_> = operators
            .iter()
            .flat_map(|operator| operator.response_headers().cloned())
            .collect();
        let mut trailers: Vec<_> = operators
            .iter()
            .flat_map(|operator| operator.trailers().cloned())
            .collect();
        for names in [&mut request_headers, &mut response_headers, &mut trailers] {
            names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            names.dedup();
        }
        format.request_headers = request_headers;
        format.response_headers = response_headers;
        format.trailers = trailers;
        format
    }

    /// Appends one line with its line break. `omits` leaves out what has no value.
    pub(in crate::access_log) fn write(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        facts: Facts<'_>,
        omits: bool,
    ) {
        let unset = if omits { "" } else { "-" };
        match &self.shape {
            Shape::Text(pieces) => {
                let start = out.len();
                for piece in pieces {
                    write_piece(out, scratch, facts, piece, None, (start, unset));
                }
            }
            Shape::Json(labels) => write_object(out, scratch, facts, labels, omits),
        }
        out.push(b'\n');
    }
}

impl Format {
    /// The text of an exchange for a place in which nothing must be escaped. What has no value is
    /// left out.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::access_log) fn plain(&self, facts: Facts<'_>) -> Vec<u8> {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let Shape::Text(pieces) = &self.shape else {
            return out;
        };
        for piece in pieces {
            let (operator, most) = match piece {
                Piece::Literal(literal) => {
                    out.extend_from_slice(literal);
                    continue;
                }
                Piece::Value { operator, most, .. } => (operator, *most),
            };
            scratch.clear();
            let text = match value::of(operator, facts, &mut scratch) {
                Value::Unset => continue,
                Value::Number(number) => {
                    write_number(&mut out, number);
                    continue;
                }
                Value::Text(text) => text,
                Value::Written => scratch.as_slice(),
            };
            let room = room(&out, 0);
            out.extend_from_slice(cut(cut(text, most), room));
        }
        out
    }
}

fn write_object(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    facts: Facts<'_>,
    labels: &[Label],
    omits: bool,
) {
    let start = out.len();
    out.push(b'{');
    for label in labels {
        let before = out.len();
        if before > start + 1 {
            out.push(b',');
        }
        out.extend_from_slice(&label.key);
        let [Piece::Value { operator, most, .. }] = label.pieces.as_slice() else {
            out.push(b'"');
            let unset = if omits { "" } else { "-" };
            for piece in &label.pieces {
                write_piece(
                    out,
                    scratch,
                    facts,
                    piece,
                    Some(Place::Json),
                    (start, unset),
                );
            }
            out.push(b'"');
            continue;
        };
        scratch.clear();
        let text = match value::of(operator, facts, scratch) {
            Value::Unset if omits => {
                out.truncate(before);
                continue;
            }
            Value::Unset => {
                out.extend_from_slice(b"null");
                continue;
            }
            Value::Number(number) => {
                write_number(out, number);
                continue;
            }
            Value::Text(text) => text,
            Value::Written => scratch.as_slice(),
        };
        out.push(b'"');
        let room = room(out, start);
        write(out, cut(text, *most), Place::Json, room);
        out.push(b'"');
    }
    out.push(b'}');
}

/// Writes a piece of a text; of a string of JSON, if that place is given.
fn write_piece(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    facts: Facts<'_>,
    piece: &Piece,
    place: Option<Place>,
    (start, unset): (usize, &str),
) {
    let (operator, most, is_quoted) = match piece {
        Piece::Literal(literal) => {
            match place {
                Some(place) => write(out, literal, place, usize::MAX),
                None => out.extend_from_slice(literal),
            }
            return;
        }
        Piece::Value {
            operator,
            most,
            is_quoted,
        } => (operator, *most, *is_quoted),
    };
    scratch.clear();
    let text = match value::of(operator, facts, scratch) {
        Value::Unset => unset.as_bytes(),
        Value::Number(number) => return write_number(out, number),
        // An empty column would make the next one take its place.
        Value::Text(b"") if !is_quoted && place.is_none() => unset.as_bytes(),
        Value::Text(text) => text,
        Value::Written => scratch.as_slice(),
    };
    let is_own = matches!(operator, Operator::StartTime(_) | Operator::EmitTime(_));
    let of_text = if is_quoted || is_own {
        Place::Quoted
    } else {
        Place::Bare
    };
    let room = room(out, start);
    write(out, cut(text, most), place.unwrap_or(of_text), room);
}

/// So much may a value still take. Literals are always written, so that the line keeps its form.
fn room(out: &[u8], start: usize) -> usize {
    let written = out.len().saturating_sub(start);
    MOST_OF_LINE.saturating_sub(written).min(MOST_WRITTEN)
}

fn cut(text: &[u8], most: usize) -> &[u8] {
    text.get(..most).unwrap_or(text)
}

impl Label {
    fn new(key: &str, value: &str) -> Result<Self, FormatError> {
        let mut quoted = vec![b'"'];
        write(&mut quoted, key.as_bytes(), Place::Json, usize::MAX);
        quoted.extend_from_slice(b"\":");
        Ok(Self {
            key: quoted,
            pieces: pieces(value)?,
        })
    }
}

fn operators(pieces: &[Piece]) -> impl Iterator<Item = &Operator> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Value { operator, .. } => Some(operator),
        Piece::Literal(_) => None,
    })
}

/// The most bytes that one value takes.
const MOST_WRITTEN: usize = 8 * 1024;
/// The most bytes of values in a line.
const MOST_OF_LINE: usize = 48 * 1024;
/// The most keys of an object.
const MOST_LABELS: usize = 128;

/// Istio's default for text (`EnvoyTextLogFormat` of its proxy's configuration).
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
%PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
%CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" \
%UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% \
%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%";

/// Istio's default for JSON (`EnvoyJSONLogFormatIstio`).
const LABELS: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
];

#[cfg(test)]
mod tests;
