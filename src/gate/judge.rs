//! The order in which the gate applies its rules.

use http::request::Parts;
use http::{Method, Uri, Version};

use super::headers::Scan;
#[cfg(all(feature = "server", feature = "client"))]
use super::settled::{settle_scanned, shows_client_cert};
#[cfg(all(feature = "server", feature = "client"))]
use super::strip;
#[cfg(all(feature = "server", feature = "client"))]
use super::trust::wishes;
use super::{Gate, Refusal, admit, headers, host, one_hop, path, target};
use crate::context::Exchange;
use crate::matcher;

/// Where a request reached the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Whether no router has chosen a route yet, so that the target may be rewritten.
    pub(crate) in_front: bool,
    /// Whether the request must name a host. A request that a program makes for its own service
    /// need not.
    pub(crate) wants_host: bool,
    /// Whether `connection` cannot remove `x-forwarded-client-cert`.
    pub(crate) keeps_client_cert: bool,
}

/// Judges a request, and returns the path that policy must judge, where it differs from the
/// request's. In front of every router it also rewrites the target and the host.
pub(super) fn judge(
    gate: Gate,
    head: &mut Parts,
    exchange: &Exchange,
    arrival: Arrival,
) -> Result<Option<String>, Refusal> {
    judge_scanned(gate, Scan::of(&head.headers), head, exchange, arrival)
}

/// As [`judge`], and brings the headers into the form in which policy sees them, without what no
/// caller may say. What a peer of the mesh asks for in headers that go is noted in the exchange.
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) fn judge_and_settle(
    gate: Gate,
    head: &mut Parts,
    exchange: &Exchange,
    arrival: Arrival,
) -> Result<Option<String>, Refusal> {
    let scan = Scan::of(&head.headers);
    let path = judge_scanned(gate, scan, head, exchange, arrival)?;
    if scan.may_be_envoys {
        wishes::note(&head.headers, exchange);
    }
    settle_scanned(head, scan, shows_client_cert(exchange));
    if scan.may_be_envoys {
        strip::from_mesh(&mut head.headers);
    }
    Ok(path)
}

fn judge_scanned(
    gate: Gate,
    scan: Scan,
    head: &mut Parts,
    exchange: &Exchange,
    arrival: Arrival,
) -> Result<Option<String>, Refusal> {
    check_method(&head.method)?;
    let is_about_server = is_about_server(head);
    if !is_about_server && !head.uri.path().starts_with('/') {
        return Err(Refusal::NotAbsolute);
    }
    headers::check(gate, scan, pseudo_headers(head), &mut head.headers)?;
    if scan.has_connection {
        one_hop::take_off_named(&mut head.headers, arrival.keeps_client_cert)?;
    }
    if head.version < Version::HTTP_11 && !gate.accepts_http_10 {
        return Err(Refusal::Http10);
    }
    if arrival.wants_host && !scan.names_host() && head.uri.authority().is_none() {
        return Err(Refusal::NoHost);
    }
    // The usual case, which the scan has settled.
    let is_host_one = scan.names_plain_host() && head.uri.authority().is_none();
    if gate.judges_bare_hosts {
        exchange.set_judges_bare_host();
    }
    if gate.is_strict() && !is_host_one {
        host::check_strictly(head)?;
    }
    // A route or a shortened path shows that a router is in front, even if the layer is configured
    // otherwise.
    let in_front = arrival.in_front && !Exchange::is_routed(head);
    if is_about_server {
        return match in_front {
            true => host::unite(head),
            false => host::refuse_other(head),
        }
        .map(|()| None);
    }
    let sent = exchange.path_of(head).ok_or(Refusal::OtherSegments)?;
    check_length(&head.uri, sent)?;
    let is_whole = sent == head.uri.path();
    let is_settled = is_whole && matcher::path::is_settled(target::text(&head.uri), gate.how());
    if !is_settled {
        path::check(gate, sent)?;
    } else if in_front && is_host_one && exchange.path() == Some(sent) {
        return Ok(None);
    }
    match in_front && is_whole {
        true => admit::rewrite(gate.how(), head, exchange, is_host_one).map(|()| None),
        false => admit::refuse_other(gate.how(), head, exchange, is_host_one),
    }
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

/// Rule B-15. A router may have shortened the target of the request itself: `sent` is the whole
/// path.
fn check_length(target: &Uri, sent: &str) -> Result<(), Refusal> {
    let authority = target.authority().map_or(0, |named| named.as_str().len());
    let left = target::text(target).len();
    let length = authority + left + sent.len().saturating_sub(target.path().len());
    match length > LONGEST {
        true => Err(Refusal::TargetTooLong),
        false => Ok(()),
    }
}

/// How many pseudo-headers HTTP/2 has sent, which Envoy counts as headers (rule B-15).
fn pseudo_headers(head: &Parts) -> usize {
    match head.version < Version::HTTP_2 {
        true => 0,
        false => 3 + usize::from(head.uri.authority().is_some()),
    }
}

/// `OPTIONS *`, which has no path.
fn is_about_server(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.uri.path() == "*"
}

/// The most bytes that a target may have.
const LONGEST: usize = 8 * 1024;
