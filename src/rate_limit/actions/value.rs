//! What actions read of a request. Each function gives a value to its visitor, or returns `false`
//! if the request has none.

use serde_json::{Map, Value};

use super::buffer::Buffer;
use crate::matcher::{Cidr, authority, query};
use crate::policy::Attributes;
use crate::policy::eval;
use crate::policy::limit::QueryMatcher;

/// Takes the value of an entry.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&[u8]);

fn give(value: Option<&str>, visit: Visit<'_>) -> bool {
    match value {
        Some(value) if !value.is_empty() => {
            visit(value.as_bytes());
            true
        }
        _ => false,
    }
}

/// Whether there was a value.
fn give_buffer(buffer: &Buffer, visit: Visit<'_>) -> bool {
    visit(buffer.as_bytes());
    true
}

pub(super) fn destination_cluster(request: &dyn Attributes, visit: Visit<'_>) -> bool {
    let port = request.destination_port();
    port.is_some_and(|port| give_buffer(&Buffer::of(format_args!("inbound|{port}||")), visit))
}

/// The first value of a header, as a real Envoy takes it.
pub(super) fn header(request: &dyn Attributes, name: &str, visit: Visit<'_>) -> bool {
    eval::any_value(request, name, &mut |value| {
        visit(value);
        true
    })
}

pub(super) fn query_parameter(request: &dyn Attributes, name: &str, visit: Visit<'_>) -> bool {
    let Some(value) = first_parameter(request, name) else {
        return false;
    };
    visit(&query::percent_decode(value));
    true
}

/// Whether all matchers agree.
pub(super) fn query_matches(request: &dyn Attributes, matchers: &[QueryMatcher]) -> bool {
    matchers.iter().all(|matcher| {
        let value = first_parameter(request, &matcher.name);
        value.is_some_and(|value| {
            let test = matcher.test.as_ref();
            test.is_none_or(|test| test.matches(&query::percent_decode(value)))
        })
    })
}

fn first_parameter<'r>(request: &'r dyn Attributes, name: &str) -> Option<&'r [u8]> {
    let (_, query) = request.path()?.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let mut named = query::parameters(query).filter(|(key, _)| query::is_name(key, name));
    named.next().map(|(_, value)| value)
}

pub(super) fn remote_address(request: &dyn Attributes, visit: Visit<'_>) -> bool {
    let address = request.remote_ip().map(|address| address.to_canonical());
    address.is_some_and(|address| give_buffer(&Buffer::of(address), visit))
}

pub(super) fn masked_remote_address(
    request: &dyn Attributes,
    (v4, v6): (u8, u8),
    visit: Visit<'_>,
) -> bool {
    let Some(address) = request.remote_ip().map(|address| address.to_canonical()) else {
        return false;
    };
    let bits = if address.is_ipv4() { v4 } else { v6 };
    let network = Cidr::new(address, bits);
    network.is_ok_and(|network| give_buffer(&Buffer::of(network), visit))
}

pub(super) fn method(request: &dyn Attributes, visit: Visit<'_>) -> bool {
    give(request.method(), visit)
}

pub(super) fn host(request: &dyn Attributes, visit: Visit<'_>) -> bool {
    let Some(host) = request.authority() else {
        return false;
    };
    let name = authority::split_port(host).map_or(host, |(name, _)| name);
    let mut buffer = Buffer::of(name.trim_end_matches('.'));
    buffer.make_lower_case();
    give_buffer(&buffer, visit)
}

/// The first URI name of the peer's certificate, else its first DNS name, else its subject.
pub(super) fn principal(request: &dyn Attributes, visit: Visit<'_>) -> bool {
    let certificate = request.certificate().filter(|_| request.is_tls());
    let Some(certificate) = certificate else {
        return false;
    };
    let mut names = certificate.uri_sans.iter().chain(&certificate.dns_sans);
    let name = names.next().unwrap_or(&certificate.subject);
    let name = name.strip_prefix("spiffe://").unwrap_or(name);
    give(Some(name), visit)
}

pub(super) fn request_principal(request: &dyn Attributes, visit: Visit<'_>) -> bool {
    let (issuer, subject) = (request.text_claim("iss"), request.text_claim("sub"));
    let (Some(issuer), Some(subject)) = (issuer, subject) else {
        return false;
    };
    give_buffer(&Buffer::of(format_args!("{issuer}/{subject}")), visit)
}

pub(super) fn claim(request: &dyn Attributes, path: &[String], visit: Visit<'_>) -> bool {
    let value = request.claims().and_then(|claims| walk(claims, path));
    match value {
        Some(Value::String(text)) => give(Some(text), visit),
        Some(Value::Number(number)) => give_buffer(&Buffer::of(number), visit),
        Some(Value::Bool(boolean)) => give_buffer(&Buffer::of(boolean), visit),
        Some(Value::Array(elements)) => {
            let mut joined = Buffer::default();
            for (index, text) in elements.iter().filter_map(Value::as_str).enumerate() {
                joined.push_element(text.as_bytes(), index == 0);
            }
            !joined.as_bytes().is_empty() && give_buffer(&joined, visit)
        }
        Some(Value::Null | Value::Object(_)) | None => false,
    }
}

/// A text of another filter's metadata.
pub(super) fn metadata(
    request: &dyn Attributes,
    filter: &str,
    path: &[String],
    visit: Visit<'_>,
) -> bool {
    let value = match (filter, path.split_first()) {
        (JWT_FILTER, Some((first, rest))) if first == "payload" => {
            request.claims().and_then(|claims| walk(claims, rest))
        }
        _ => request.metadata(filter).and_then(|map| walk(map, path)),
    };
    give(value.and_then(Value::as_str), visit)
}

fn walk<'v>(mut object: &'v Map<String, Value>, path: &[String]) -> Option<&'v Value> {
    let (last, inner) = path.split_last()?;
    for key in inner {
        object = object.get(key)?.as_object()?;
    }
    object.get(last)
}

/// The filter whose metadata are the claims of a verified token.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
