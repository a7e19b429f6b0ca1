//! The value of an operator.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;

use super::details;
use super::escape::write_number;
use super::facts::Facts;
use super::grpc;
use super::operator::{
    CommonDuration, End, Operator, RequestPart, ResponsePart, Shown, Simple, TimePoint,
};
use super::time;
use crate::context::Peer;
use crate::message::EndKind;

/// What an operator stands for in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Unset,
    Number(u64),
    /// Not escaped yet.
    Text(&'a [u8]),
    /// A text that was written to the scratch.
    Written,
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Unset, |text| Value::Text(text.as_bytes()))
    }

    fn header(value: Option<&'a HeaderValue>) -> Self {
        value.map_or(Self::Unset, |value| Value::Text(value.as_bytes()))
    }

    fn millis(duration: Option<Duration>) -> Self {
        match duration {
            Some(duration) => Value::Number(millis(duration)),
            None => Self::Unset,
        }
    }
}

/// The value of this operator. `scratch` is empty, and gets the texts that must be made.
pub(super) fn of<'a>(operator: &'a Operator, facts: Facts<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    if facts.kept.connection.is_some() && operator.is_of_http() {
        return Value::Unset;
    }
    match operator {
        Operator::StartTime(None) => {
            time::write(scratch, facts.kept.began);
            Value::Written
        }
        Operator::StartTime(Some(format)) => {
            format.write(scratch, facts.kept.began);
            Value::Written
        }
        Operator::EmitTime(format) => {
            match format {
                Some(format) => format.write(scratch, facts.ended()),
                None => time::write(scratch, facts.ended()),
            }
            Value::Written
        }
        Operator::Request(first, other) => match (request(first, facts, scratch), other) {
            (Value::Unset, Some(other)) => request(other, facts, scratch),
            (value, _) => value,
        },
        Operator::WithoutQuery(first, other) => {
            match (without_query(first, facts, scratch), other) {
                (Value::Unset, Some(other)) => without_query(other, facts, scratch),
                (value, _) => value,
            }
        }
        Operator::Trailer(first, other) => {
            let or_other = || facts.trailer(other.as_ref()?);
            Value::header(facts.trailer(first).or_else(or_other))
        }
        Operator::Fixed(text) => Value::Text(text),
        Operator::Response(first, other) => match (response(first, facts, scratch), other) {
            (Value::Unset, Some(other)) => response(other, facts, scratch),
            (value, _) => value,
        },
        Operator::GrpcStatus(form) => match facts.grpc_status() {
            Some(status) => match grpc::name(status, *form) {
                Some(name) => Value::text(Some(name)),
                None => Value::Number(status.code().into()),
            },
            None => Value::Unset,
        },
        Operator::CommonDuration(common) => match common_duration(*common, facts) {
            Some(count) => Value::Number(count),
            None => Value::Unset,
        },
        Operator::Simple(simple) => self::simple(*simple, facts, scratch),
    }
}

/// `None` if one of the times is not known, or the end is before the start.
fn common_duration(common: CommonDuration, facts: Facts<'_>) -> Option<u64> {
    let is_whole = facts.report.end.kind == EndKind::Complete;
    let whole = || is_whole.then_some(facts.report.duration);
    let at = |point| match point {
        TimePoint::DownstreamRxBegin => Some(Duration::ZERO),
        TimePoint::DownstreamRxEnd => facts.until_received(),
        TimePoint::UpstreamRxBegin | TimePoint::UpstreamRxEnd if facts.is_local() => None,
        TimePoint::UpstreamRxBegin | TimePoint::DownstreamTxBegin => facts.until_answered(),
        TimePoint::UpstreamRxEnd | TimePoint::DownstreamTxEnd => {
            facts.until_answered().and_then(|_| whole())
        }
    };
    let between = at(common.end)?.checked_sub(at(common.start)?)?;
    u64::try_from(between.as_nanos().checked_div(common.unit)?).ok()
}

fn request<'a>(part: &RequestPart, facts: Facts<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    match part {
        _ if facts.kept.is_unreadable => Value::Unset,
        RequestPart::Method => Value::text(Some(facts.report.method.as_str())),
        RequestPart::Path => path(facts, facts.has_query(), scratch),
        RequestPart::Authority => match facts.authority() {
            Some(authority) => Value::Text(authority),
            None => Value::Unset,
        },
        RequestPart::Scheme => Value::text(Some(facts.scheme())),
        RequestPart::RequestId => Value::header(facts.request_id()),
        RequestPart::Header(name) => {
            let value = facts.request_header(name);
            match name.as_str() {
                "referer" => url(value.map(HeaderValue::as_bytes), facts, scratch),
                _ => Value::header(value),
            }
        }
        RequestPart::OfProxy => Value::Unset,
    }
}

/// The same up to its question mark.
fn without_query<'a>(part: &RequestPart, facts: Facts<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    match part {
        RequestPart::Path if !facts.kept.is_unreadable => path(facts, false, scratch),
        RequestPart::Header(name) => {
            let value = facts.request_header(name);
            let value = value.and_then(|value| value.as_bytes().split(|byte| *byte == b'?').next());
            match name.as_str() {
                "referer" => url(value, facts, scratch),
                _ => value.map_or(Value::Unset, Value::Text),
            }
        }
        part => request(part, facts, scratch),
    }
}

fn path<'a>(facts: Facts<'a>, has_query: bool, scratch: &mut Vec<u8>) -> Value<'a> {
    let path = facts.path();
    if !has_query && facts.redaction.is_empty() && !path.is_empty() {
        return Value::Text(path.as_bytes());
    }
    facts.redaction.write_path(scratch, path);
    if has_query {
        let query = facts.query().unwrap_or_default();
        facts.redaction.write_query(scratch, query);
    }
    match scratch.is_empty() {
        true => Value::Unset,
        false => Value::Written,
    }
}

fn response<'a>(part: &ResponsePart, facts: Facts<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    match part {
        ResponsePart::Status => match facts.status() {
            0 => Value::Unset,
            // A header, so a text in JSON, too, as the next.
            status => {
                write_number(scratch, status.into());
                Value::Written
            }
        },
        ResponsePart::ServiceTime => match facts.until_answered().filter(|_| !facts.is_local()) {
            Some(duration) => {
                write_number(scratch, millis(duration));
                Value::Written
            }
            None => Value::Unset,
        },
        ResponsePart::Header(name) => {
            let value = facts.response_header(name);
            match name.as_str() {
                "location" | "content-location" => {
                    url(value.map(HeaderValue::as_bytes), facts, scratch)
                }
                _ => Value::header(value),
            }
        }
    }
}

/// A header with a URL, which may have a query and parameters as a path has.
fn url<'a>(value: Option<&'a [u8]>, facts: Facts<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    let Some(value) = value else {
        return Value::Unset;
    };
    match str::from_utf8(value) {
        Ok(url) => facts.redaction.write_url(scratch, url),
        Err(_) => scratch.extend_from_slice("…".as_bytes()),
    }
    Value::Written
}

fn simple<'a>(simple: Simple, facts: Facts<'a>, scratch: &mut Vec<u8>) -> Value<'a> {
    let report = facts.report;
    let tls = || facts.downstream().and_then(Peer::tls_facts);
    let called = || facts.upstream().and_then(Peer::tls_facts);
    match simple {
        Simple::Protocol => Value::text(Some(facts.protocol())),
        Simple::ResponseCode => Value::Number(facts.status().into()),
        Simple::ResponseCodeDetails => without_blanks(Some(details::of(facts)), scratch),
        Simple::ConnectionTerminationDetails => without_blanks(facts.termination(), scratch),
        Simple::ResponseFlags => {
            if report.flags.is_empty() {
                return Value::Text(b"-");
            }
            for (index, (short, _)) in report.flags.names().enumerate() {
                push(scratch, index, short);
            }
            Value::Written
        }
        Simple::ResponseFlagsLong => {
            if report.flags.is_empty() {
                return Value::Text(b"-");
            }
            for (index, (_, long)) in report.flags.names().enumerate() {
                push(scratch, index, long);
            }
            Value::Written
        }
        Simple::UpstreamTransportFailureReason => {
            without_blanks(facts.transport_failure(), scratch)
        }
        Simple::BytesReceived => Value::Number(report.request_bytes),
        Simple::BytesSent => Value::Number(report.response_bytes()),
        Simple::Duration => Value::millis(Some(report.duration)),
        Simple::ResponseDuration => Value::millis(facts.until_answered()),
        Simple::ResponseTxDuration => Value::millis(facts.since_answered()),
        Simple::UpstreamCluster | Simple::RouteName if facts.kept.is_unreadable => Value::Unset,
        Simple::UpstreamCluster => match facts.is_inbound() {
            true => match facts.downstream() {
                Some(peer) => {
                    scratch.extend_from_slice(b"inbound|");
                    write_number(scratch, peer.local_addr().port().into());
                    scratch.extend_from_slice(b"||");
                    Value::Written
                }
                None => Value::Unset,
            },
            false => Value::text(facts.kept.call.cluster.as_deref()),
        },
        Simple::RequestedServerName => Value::text(tls().and_then(|tls| tls.sni.as_deref())),
        Simple::RouteName => match facts.is_inbound() {
            true => Value::text(Some("default")),
            false => Value::text(facts.kept.call.route),
        },
        Simple::DownstreamPeerUriSan => uri_san(facts.downstream()),
        Simple::UpstreamPeerUriSan => uri_san(facts.upstream()),
        Simple::DownstreamPeerDnsSan => dns_sans(facts.downstream(), scratch),
        Simple::UpstreamPeerDnsSan => dns_sans(facts.upstream(), scratch),
        Simple::StreamId => Value::header(facts.request_id()),
        Simple::AccessLogType => match facts.kept.connection.is_some() {
            true => Value::Text(b"TcpConnectionEnd"),
            false => Value::Text(b"DownstreamEnd"),
        },
        Simple::DownstreamPeerSubject => subject(facts.downstream()),
        Simple::UpstreamPeerSubject => subject(facts.upstream()),
        Simple::DownstreamPeerFingerprint => {
            match tls().and_then(|tls| tls.certificate_sha256.as_ref()) {
                Some(hash) => {
                    scratch.extend(hash.iter().flat_map(|byte| hex(*byte)));
                    Value::Written
                }
                None => Value::Unset,
            }
        }
        Simple::DownstreamLocalUriSan => Value::text(facts.own.filter(|_| tls().is_some())),
        Simple::UpstreamLocalUriSan => Value::text(facts.own.filter(|_| called().is_some())),
        Simple::UpstreamTlsVersion => Value::text(called().and_then(|tls| tls.version)),
        Simple::UpstreamTlsCipher => Value::text(called().and_then(|tls| tls.cipher_suite)),
        Simple::UpstreamProtocol => Value::text(facts.upstream_protocol()),
        Simple::UpstreamRequestAttemptCount => Value::Number(facts.attempts().into()),
        Simple::RequestDuration => Value::millis(facts.until_received()),
        Simple::DownstreamTlsVersion => Value::text(tls().and_then(|tls| tls.version)),
        Simple::DownstreamTlsCipher => Value::text(tls().and_then(|tls| tls.cipher_suite)),
        Simple::TraceId => match facts.trace() {
            Some(trace) => {
                scratch.extend(trace.trace_id.to_string().bytes());
                Value::Written
            }
            None => Value::Unset,
        },
        Simple::SpanId => match facts.trace() {
            Some(trace) => {
                scratch.extend(trace.span_id.to_string().bytes());
                Value::Written
            }
            None => Value::Unset,
        },
        Simple::Address(end, shown) => {
            let found = match end {
                End::Upstream => facts.upstream_address(),
                End::UpstreamLocal => facts.upstream_local_address(),
                End::DownstreamLocal => facts.downstream().map(Peer::local_addr),
                End::DownstreamRemote => facts.client_address(),
                End::DownstreamDirect => facts.downstream().map(Peer::remote_addr),
            };
            found.map_or(Value::Unset, |found| address(found, shown, scratch))
        }
    }
}

fn uri_san(peer: Option<&Peer>) -> Value<'_> {
    Value::text(peer.and_then(Peer::spiffe_id).map(|id| id.as_str()))
}

/// All of them, as Envoy joins them.
fn dns_sans<'a>(peer: Option<&Peer>, scratch: &mut Vec<u8>) -> Value<'a> {
    let names = peer.and_then(Peer::certificate);
    let names = names.map_or(&[][..], |certificate| &certificate.dns_sans[..]);
    for (index, name) in names.iter().enumerate() {
        push(scratch, index, name);
    }
    match names.is_empty() {
        true => Value::Unset,
        false => Value::Written,
    }
}

fn subject(peer: Option<&Peer>) -> Value<'_> {
    let subject = peer.and_then(Peer::certificate);
    let subject = subject.map(|certificate| certificate.subject.as_str());
    Value::text(subject.filter(|subject| !subject.is_empty()))
}

/// The two digits of a byte.
fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    };
    [digit(byte >> 4), digit(byte & 15)]
}

fn push(scratch: &mut Vec<u8>, index: usize, name: &str) {
    if index > 0 {
        scratch.push(b',');
    }
    scratch.extend_from_slice(name.as_bytes());
}

/// Envoy writes blanks in reasons as `_`, in every form of a line.
fn without_blanks<'a>(text: Option<&'a str>, scratch: &mut Vec<u8>) -> Value<'a> {
    match text {
        None => Value::Unset,
        Some(text) if text.contains(' ') => {
            let plain = text.bytes();
            scratch.extend(plain.map(|byte| if byte == b' ' { b'_' } else { byte }));
            Value::Written
        }
        Some(text) => Value::Text(text.as_bytes()),
    }
}

fn address<'a>(address: SocketAddr, shown: Shown, scratch: &mut Vec<u8>) -> Value<'a> {
    let port = address.port();
    if shown == Shown::Port {
        return Value::Number(port.into());
    }
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    scratch.push(b'.');
                }
                write_number(scratch, octet.into());
            }
        }
        IpAddr::V6(ip) if shown == Shown::Whole => scratch.extend(format!("[{ip}]").bytes()),
        IpAddr::V6(ip) => scratch.extend(ip.to_string().bytes()),
    }
    if shown == Shown::Whole {
        scratch.push(b':');
        write_number(scratch, port.into());
    }
    Value::Written
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
