//! The order in which the gate applies its rules.

use http::request::Parts;
use http::uri::Authority;
use http::{Method, Version};

use super::admit::admit;
use super::{Gate, Refusal, headers, host, path};
use crate::context::Exchange;

/// Judges a request. In front of every router it also rewrites the target and the host.
pub(super) fn judge(
    gate: Gate,
    head: &mut Parts,
    exchange: &Exchange,
    in_front: bool,
) -> Result<(), Refusal> {
    check_method(&head.method)?;
    let is_about_server = is_about_server(head);
    if !is_about_server && !head.uri.path().starts_with('/') {
        return Err(Refusal::NotAbsolute);
    }
    check_length(head, exchange)?;
    headers::check(gate, &mut head.headers)?;
    if head.version < Version::HTTP_11 && !gate.accepts_http_10 {
        return Err(Refusal::Http10);
    }
    host::check(gate, head)?;
    if is_about_server {
        return if in_front {
            host::unite(head)
        } else {
            host::refuse_other(head)
        };
    }
    let sent = exchange.path_of(head).unwrap_or_else(|| head.uri.path());
    path::check(gate, sent)?;
    admit(gate.normalization, head, exchange, in_front).map(drop)
}

/// Rules B-01 and B-06. The type of methods has let only tokens through.
fn check_method(method: &Method) -> Result<(), Refusal> {
    if *method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let mut bytes = method.as_str().bytes();
    match bytes.any(|byte| byte.is_ascii_lowercase()) {
        true => Err(Refusal::Method),
        false => Ok(()),
    }
}

/// Rule B-15. A router may have shortened the target of the request itself.
fn check_length(head: &Parts, exchange: &Exchange) -> Result<(), Refusal> {
    let sent = exchange.path().unwrap_or_default();
    let target = [head.uri.path(), sent].map(str::len).into_iter().max();
    let query = head.uri.query().map_or(0, |query| query.len() + 1);
    let authority = head.uri.authority().map(Authority::as_str);
    let length = target.unwrap_or_default() + query + authority.map_or(0, str::len);
    match length > LONGEST {
        true => Err(Refusal::TargetTooLong),
        false => Ok(()),
    }
}

/// `OPTIONS *`, which has no path.
fn is_about_server(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.uri.path() == "*"
}

/// The most bytes that a target may have.
const LONGEST: usize = 8 * 1024;
