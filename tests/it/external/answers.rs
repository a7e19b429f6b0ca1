//! The answers of a provider over gRPC.

use crate::messages::{
    Allowed, CheckResponse, Denied, Header, HeaderOption, Http, HttpStatus, Pair, Status,
};

/// Allowed, with these changes.
pub(crate) fn ok(allowed: Allowed) -> CheckResponse {
    answer(0, Some(Http::Ok(allowed)))
}

/// Denied with this status of HTTP, these headers, and this body.
pub(crate) fn denied(status: i32, headers: &[(&str, &str)], body: &str) -> CheckResponse {
    answer(7, Some(Http::Denied(reply(status, headers, body))))
}

pub(crate) fn reply(status: i32, headers: &[(&str, &str)], body: &str) -> Denied {
    Denied {
        status: Some(HttpStatus { code: status }),
        headers: options(headers),
        body: body.to_owned(),
    }
}

pub(crate) fn answer(code: i32, http: Option<Http>) -> CheckResponse {
    let message = String::new();
    CheckResponse {
        status: Some(Status { code, message }),
        http,
        dynamic_metadata: None,
    }
}

pub(crate) fn options(headers: &[(&str, &str)]) -> Vec<HeaderOption> {
    let headers = headers.iter();
    headers.map(|(key, value)| option(key, value)).collect()
}

/// A header that is appended.
pub(crate) fn append(key: &str, value: &str) -> HeaderOption {
    HeaderOption {
        append: Some(true),
        ..option(key, value)
    }
}

fn option(key: &str, value: &str) -> HeaderOption {
    let (key, value) = (key.to_owned(), value.to_owned());
    HeaderOption {
        header: Some(Header {
            key,
            value,
            ..Header::default()
        }),
        ..HeaderOption::default()
    }
}

/// A parameter of the query.
pub(crate) fn pair(key: &str, value: &str) -> Pair {
    let (key, value) = (key.to_owned(), value.to_owned());
    Pair { key, value }
}
