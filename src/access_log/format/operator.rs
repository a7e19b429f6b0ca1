//! Envoy's command operators that have a meaning in a process.

use std::env;
use std::fs;

use http::HeaderName;

use super::names::{SIMPLE, unknown};
pub(super) use super::simple::{CommonDuration, End, Shown, Simple, TimePoint};
use super::time::TimeFormat;
use crate::matcher::header::holds_secret;

/// What a piece of a line is made from.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    /// With a format of its own, or Envoy's.
    StartTime(Option<Box<TimeFormat>>),
    /// When the line is written.
    EmitTime(Option<Box<TimeFormat>>),
    /// A header of the request, or else the other one.
    Request(RequestPart, Option<RequestPart>),
    /// The same up to its question mark.
    WithoutQuery(RequestPart, Option<RequestPart>),
    /// A header of the response, or else the other one.
    Response(ResponsePart, Option<ResponsePart>),
    /// A trailer of the response, or else the other one.
    Trailer(HeaderName, Option<HeaderName>),
    GrpcStatus(GrpcForm),
    CommonDuration(CommonDuration),
    /// What was read when the format was.
    Fixed(Box<[u8]>),
    Simple(Simple),
}

/// What `%REQ(..)%` can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestPart {
    Method,
    Path,
    Authority,
    Scheme,
    RequestId,
    Header(HeaderName),
    /// A header that only a proxy sets, and that a caller must not.
    OfProxy,
}

/// What `%RESP(..)%` can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResponsePart {
    Status,
    ServiceTime,
    Header(HeaderName),
}

/// How `%GRPC_STATUS%` writes the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

impl Operator {
    /// The operator with this name and argument.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        if let Some((_, simple)) = SIMPLE.iter().find(|(known, _)| *known == name) {
            return match argument {
                None => Ok(Self::Simple(*simple)),
                Some(_) => Err(format!("%{name}% takes no argument")),
            };
        }
        match (name, argument) {
            ("START_TIME", argument) => time(name, argument).map(Self::StartTime),
            ("EMIT_TIME", argument) => time(name, argument).map(Self::EmitTime),
            ("REQ" | "REQUEST_HEADER", Some(argument)) => {
                let (first, other) = two(argument, request_part)?;
                Ok(Self::Request(first, other))
            }
            ("RESP" | "RESPONSE_HEADER", Some(argument)) => {
                let (first, other) = two(argument, response_part)?;
                Ok(Self::Response(first, other))
            }
            ("REQ_WITHOUT_QUERY", Some(argument)) => {
                let (first, other) = two(argument, request_part)?;
                Ok(Self::WithoutQuery(first, other))
            }
            ("PATH", argument) => path(argument),
            ("TRAILER" | "RESPONSE_TRAILER", Some(argument)) => {
                let (first, other) = two(argument, header)?;
                Ok(Self::Trailer(first, other))
            }
            (
                "REQ" | "REQUEST_HEADER" | "REQ_WITHOUT_QUERY" | "RESP" | "RESPONSE_HEADER"
                | "TRAILER" | "RESPONSE_TRAILER",
                None,
            ) => Err(format!("%{name}% needs a header: %{name}(NAME)%")),
            ("COMMON_DURATION", argument) => {
                CommonDuration::parse(argument.unwrap_or_default()).map(Self::CommonDuration)
            }
            ("HOSTNAME", None) => Ok(Self::Fixed(hostname().into())),
            ("ENVIRONMENT", Some(variable)) if is_variable(variable) => {
                // As Envoy, which writes no null here.
                let value = env::var_os(variable);
                let value = value.map_or_else(|| "-".into(), |value| value.into_encoded_bytes());
                Ok(Self::Fixed(value.into()))
            }
            ("ENVIRONMENT", _) => Err(format!(
                "%{name}% needs the name of a variable: %{name}(NAME)%"
            )),
            ("GRPC_STATUS", None | Some("CAMEL_STRING")) => Ok(Self::GrpcStatus(GrpcForm::Camel)),
            ("GRPC_STATUS", Some("SNAKE_STRING")) => Ok(Self::GrpcStatus(GrpcForm::Snake)),
            ("GRPC_STATUS", Some("NUMBER")) | ("GRPC_STATUS_NUMBER", None) => {
                Ok(Self::GrpcStatus(GrpcForm::Number))
            }
            ("GRPC_STATUS", Some(_)) => {
                Err("%GRPC_STATUS(..)% is CAMEL_STRING, SNAKE_STRING or NUMBER".to_owned())
            }
            ("GRPC_STATUS_NUMBER" | "HOSTNAME", Some(_)) => {
                Err(format!("%{name}% takes no argument"))
            }
            _ => Err(unknown(name)),
        }
    }

    /// Whether it has no value for a connection that carries no HTTP.
    pub(super) fn is_of_http(&self) -> bool {
        match self {
            Self::Request(..)
            | Self::WithoutQuery(..)
            | Self::Response(..)
            | Self::Trailer(..)
            | Self::CommonDuration(_)
            | Self::GrpcStatus(_) => true,
            Self::StartTime(_) | Self::EmitTime(_) | Self::Fixed(_) => false,
            Self::Simple(simple) => matches!(
                simple,
                Simple::Protocol
                    | Simple::StreamId
                    | Simple::UpstreamProtocol
                    | Simple::ResponseCodeDetails
                    | Simple::RouteName
                    | Simple::RequestDuration
                    | Simple::UpstreamRequestAttemptCount
            ),
        }
    }

    /// The headers of the request that it reads.
    pub(super) fn request_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let parts = match self {
            Self::Request(first, other) | Self::WithoutQuery(first, other) => {
                [Some(first), other.as_ref()]
            }
            _ => [None, None],
        };
        parts.into_iter().flatten().filter_map(|part| match part {
            RequestPart::Header(name) => Some(name),
            _ => None,
        })
    }

    /// The headers of the response that it reads.
    pub(super) fn response_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let parts = match self {
            Self::Response(first, other) => [Some(first), other.as_ref()],
            _ => [None, None],
        };
        parts.into_iter().flatten().filter_map(|part| match part {
            ResponsePart::Header(name) => Some(name),
            _ => None,
        })
    }

    /// The trailers of the response that it reads.
    pub(super) fn trailers(&self) -> impl Iterator<Item = &HeaderName> {
        let names = match self {
            Self::Trailer(first, other) => [Some(first), other.as_ref()],
            _ => [None, None],
        };
        names.into_iter().flatten()
    }
}

/// The form of a time; `None` is Envoy's.
fn time(name: &str, argument: Option<&str>) -> Result<Option<Box<TimeFormat>>, String> {
    let read = argument.map(TimeFormat::parse).transpose();
    read.map(|format| format.map(Box::new)).map_err(|wrong| {
        format!(
            "%{name}(..)% does not know {wrong}: it knows \
             %Y %m %d %H %M %S %F %T %s %z %Z %f and %1f to %9f"
        )
    })
}

/// Envoy's `PATH(WQ:ORIG_OR_PATH)`: with a query or without, and which one.
fn path(argument: Option<&str>) -> Result<Operator, String> {
    let argument = argument.unwrap_or("WQ");
    let (query, which) = argument
        .split_once(':')
        .unwrap_or((argument, "ORIG_OR_PATH"));
    let part = match which {
        "ORIG_OR_PATH" | "PATH" => RequestPart::Path,
        "ORIG" => RequestPart::OfProxy,
        _ => return Err(PATH.to_owned()),
    };
    match query {
        "WQ" => Ok(Operator::Request(part, None)),
        "NQ" => Ok(Operator::WithoutQuery(part, None)),
        _ => Err(PATH.to_owned()),
    }
}

/// The name of the host, which is that of the pod; `-` if there is none.
fn hostname() -> Vec<u8> {
    let of_kernel = fs::read("/proc/sys/kernel/hostname").ok();
    let of_environment = || Some(env::var_os("HOSTNAME")?.into_encoded_bytes());
    let name = of_kernel.or_else(of_environment).unwrap_or_default();
    match name.trim_ascii() {
        b"" => b"-".to_vec(),
        name => name.to_vec(),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains('=')
}

/// The parts of `A?B`.
fn two<P>(argument: &str, part: fn(&str) -> Result<P, String>) -> Result<(P, Option<P>), String> {
    match argument.split_once('?') {
        None => Ok((part(argument)?, None)),
        Some((first, other)) => Ok((part(first)?, Some(part(other)?))),
    }
}

fn request_part(name: &str) -> Result<RequestPart, String> {
    match name.to_ascii_lowercase().as_str() {
        ":method" => Ok(RequestPart::Method),
        ":path" => Ok(RequestPart::Path),
        ":authority" | "host" => Ok(RequestPart::Authority),
        ":scheme" => Ok(RequestPart::Scheme),
        "x-request-id" => Ok(RequestPart::RequestId),
        "x-envoy-original-path" => Ok(RequestPart::OfProxy),
        _ => header(name).map(RequestPart::Header),
    }
}

fn response_part(name: &str) -> Result<ResponsePart, String> {
    match name.to_ascii_lowercase().as_str() {
        ":status" => Ok(ResponsePart::Status),
        "x-envoy-upstream-service-time" => Ok(ResponsePart::ServiceTime),
        _ => header(name).map(ResponsePart::Header),
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    let lower = name.to_ascii_lowercase();
    if holds_secret(&lower) {
        return Err(format!(
            "the header {name} holds a secret, and is not logged"
        ));
    }
    HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("{name:?} is no name of a header"))
}

const PATH: &str = "%PATH(..)% is WQ or NQ, and ORIG, PATH or ORIG_OR_PATH behind a colon";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_is_told_with_the_nearest_one() {
        for (name, argument, expected) in [
            (
                "RESPONSE_COD",
                None,
                "%RESPONSE_COD% is no operator here: did you mean %RESPONSE_CODE%?",
            ),
            (
                "UPSTREAM_HOTS",
                None,
                "%UPSTREAM_HOTS% is no operator here: did you mean %UPSTREAM_HOST%?",
            ),
            (
                "VIRTUAL_CLUSTER_NAME",
                None,
                "%VIRTUAL_CLUSTER_NAME% is no operator here: it names a part of a proxy's configuration, which a process does not have",
            ),
            (
                "FILTER_STATE",
                Some("x"),
                "%FILTER_STATE% is no operator here: it holds what a proxy's filters leave for one another, and there are none here",
            ),
            ("NONESUCH", None, "%NONESUCH% is no operator here"),
            (
                "COMMON_DURATION",
                Some("DS_RX_BEG:US_CX_BEG:ms"),
                "%COMMON_DURATION(START:END:PRECISION)% knows the times DS_RX_BEG, DS_RX_END, US_RX_BEG, US_RX_END, DS_TX_BEG and DS_TX_END, and the precisions ms, us and ns",
            ),
            ("REQ", None, "%REQ% needs a header: %REQ(NAME)%"),
            ("REQ", Some("a b"), "\"a b\" is no name of a header"),
            (
                "REQ",
                Some("x?Cookie"),
                "the header Cookie holds a secret, and is not logged",
            ),
            ("PROTOCOL", Some("x"), "%PROTOCOL% takes no argument"),
            ("HOSTNAME", Some("x"), "%HOSTNAME% takes no argument"),
            (
                "TRAILER",
                Some("x?Set-Cookie"),
                "the header Set-Cookie holds a secret, and is not logged",
            ),
            (
                "REQ_WITHOUT_QUERY",
                Some("authorization"),
                "the header authorization holds a secret, and is not logged",
            ),
            (
                "ENVIRONMENT",
                None,
                "%ENVIRONMENT% needs the name of a variable: %ENVIRONMENT(NAME)%",
            ),
            (
                "PATH",
                Some("WQ:x"),
                "%PATH(..)% is WQ or NQ, and ORIG, PATH or ORIG_OR_PATH behind a colon",
            ),
            (
                "GRPC_STATUS",
                Some("x"),
                "%GRPC_STATUS(..)% is CAMEL_STRING, SNAKE_STRING or NUMBER",
            ),
            (
                "START_TIME",
                Some("%j"),
                "%START_TIME(..)% does not know %j: it knows %Y %m %d %H %M %S %F %T %s %z %Z %f and %1f to %9f",
            ),
        ] {
            assert_eq!(Operator::parse(name, argument).unwrap_err(), expected);
        }
    }
}
