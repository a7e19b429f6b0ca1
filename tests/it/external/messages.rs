//! The messages of `envoy.service.auth.v3` as a provider declares them.

use std::collections::HashMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attributes {
    #[prost(message, optional, tag = "1")]
    pub(crate) source: Option<Peer>,
    #[prost(message, optional, tag = "2")]
    pub(crate) destination: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    pub(crate) request: Option<Request>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Peer {
    #[prost(string, tag = "4")]
    pub(crate) principal: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(message, optional, tag = "2")]
    pub(crate) http: Option<Http>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Http {
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    pub(crate) path: String,
    #[prost(string, tag = "5")]
    pub(crate) host: String,
    #[prost(int64, tag = "9")]
    pub(crate) size: i64,
    #[prost(string, tag = "10")]
    pub(crate) protocol: String,
    #[prost(string, tag = "11")]
    pub(crate) body: String,
    #[prost(bytes = "vec", tag = "12")]
    pub(crate) raw_body: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
    #[prost(oneof = "Answer", tags = "2, 3, 5")]
    pub(crate) answer: Option<Answer>,
    #[prost(message, optional, tag = "4")]
    pub(crate) metadata: Option<Struct>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Answer {
    #[prost(message, tag = "2")]
    Denied(Denied),
    #[prost(message, tag = "3")]
    Ok(Allowed),
    #[prost(message, tag = "5")]
    Error(Denied),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Denied {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    pub(crate) body: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Allowed {
    #[prost(message, repeated, tag = "2")]
    pub(crate) headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) response: Vec<HeaderOption>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) query: Vec<Header>,
    #[prost(string, repeated, tag = "8")]
    pub(crate) remove_query: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<Header>,
    #[prost(message, optional, tag = "2")]
    pub(crate) append: Option<Flag>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Flag {
    #[prost(bool, tag = "1")]
    pub(crate) value: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Struct {
    #[prost(map = "string, message", tag = "1")]
    pub(crate) fields: HashMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, optional, tag = "3")]
    pub(crate) text: Option<String>,
}

/// Allowed, with these changes.
pub(crate) fn ok(allowed: Allowed) -> CheckResponse {
    answer(0, Some(Answer::Ok(allowed)))
}

/// Denied with this status of HTTP, these headers, and this body.
pub(crate) fn denied(status: i32, headers: &[(&str, &str)], body: &str) -> CheckResponse {
    answer(7, Some(Answer::Denied(reply(status, headers, body))))
}

pub(crate) fn reply(status: i32, headers: &[(&str, &str)], body: &str) -> Denied {
    Denied {
        status: Some(Status { code: status }),
        headers: options(headers),
        body: body.to_owned(),
    }
}

pub(crate) fn answer(code: i32, answer: Option<Answer>) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code }),
        answer,
        metadata: None,
    }
}

pub(crate) fn options(headers: &[(&str, &str)]) -> Vec<HeaderOption> {
    let headers = headers.iter();
    headers
        .map(|(key, value)| HeaderOption {
            header: Some(header(key, value)),
            append: None,
        })
        .collect()
}

/// A header that is appended.
pub(crate) fn append(key: &str, value: &str) -> HeaderOption {
    HeaderOption {
        header: Some(header(key, value)),
        append: Some(Flag { value: true }),
    }
}

pub(crate) fn header(key: &str, value: &str) -> Header {
    Header {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}
