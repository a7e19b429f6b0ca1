//! Reads one row of a table in YAML.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use serde_json::{Map, Value as Json};

use super::{By, Expectation};
use crate::istio::{Cursor, Fields, Node, Plain, Value};
use crate::policy::{ProviderAnswer, Request};

const ROW: &[&str] = &[
    "name",
    "as",
    "user",
    "request",
    "expect",
    "by",
    "host",
    "headers",
    "claims",
    "port",
    "ip",
    "remoteIp",
    "destinationIp",
    "sni",
    "providers",
];

/// Callers and users by the names that rows use.
pub(super) struct Names {
    pub(super) callers: BTreeMap<String, String>,
    pub(super) users: BTreeMap<String, Map<String, Json>>,
    /// Where a service listens when the row does not say so.
    pub(super) port: u16,
    /// Some external provider has an answer, so that any status can come.
    pub(super) has_providers: bool,
}

/// A row: its name, what is asked, what is expected.
pub(super) fn row(
    at: &Cursor<'_, '_>,
    names: &Names,
    known: &mut HashSet<String>,
) -> Option<(String, Request, Expectation)> {
    let fields = at.fields(ROW)?;
    let (request, expectation) = (request(fields, names), expectation(fields, names));
    let name = name(fields);
    if !known.insert(name.clone()) {
        at.wrong(format!(
            "`{name}` is a row already; give this one another `name`, or take it out"
        ));
    }
    Some((name, request?, expectation?))
}

/// The row's name, else what it says.
fn name(fields: Fields<'_, '_>) -> String {
    if let Some(name) = fields.filled("name") {
        return name.into();
    }
    let word = |field| {
        let at = fields.get(field)?;
        let scalar = at.node().scalar()?;
        Some(scalar.text.clone().into_owned())
    };
    let who: Vec<_> = [word("as"), word("user")].into_iter().flatten().collect();
    let who = match who.as_slice() {
        [] => "anyone".to_owned(),
        who => who.join(", "),
    };
    let [request, expect] = ["request", "expect"].map(|field| word(field).unwrap_or_default());
    format!("{who}: {request} is {expect}")
}

fn expectation(fields: Fields<'_, '_>, names: &Names) -> Option<Expectation> {
    let expect = fields.demand("expect", "write allowed, denied or a status")?;
    // A status looks better without quotes.
    let Some(scalar) = expect.node().scalar() else {
        expect.wrong("write allowed, denied or a status");
        return None;
    };
    let providers = fields.get("providers");
    let status = scalar.text.parse().ok();
    let status = status.filter(|status| (200..600).contains(status));
    let mut expectation = match status {
        Some(status) if providers.is_some() || names.has_providers => Expectation::answered(status),
        _ => or_report(&expect, Expectation::parse(&scalar.text))?,
    };
    if let Some(at) = providers {
        for (provider, answer) in answers(&at) {
            expectation = expectation.when_provider(provider, answer);
        }
    }
    match fields.get("by") {
        None => Some(expectation),
        Some(by) => {
            let rule = or_report(&by, By::parse(by.filled()?.as_str()))?;
            Some(expectation.by(rule))
        }
    }
}

fn request(fields: Fields<'_, '_>, names: &Names) -> Option<Request> {
    let message = "write a method and a path, as in GET /patients/7, or TCP";
    let line = fields.demand("request", message)?;
    let text = line.filled()?;
    let is_tcp = text.as_str() == "TCP";
    let mut request = if is_tcp {
        Request::tcp()
    } else {
        match text.split_once(' ') {
            Some((method, target)) if is_method(method) && !target.trim().is_empty() => {
                Request::new().method(method, target.trim())
            }
            _ => {
                let text = text.as_str();
                line.wrong(format!(
                    "`{text}` is no request; write a method and a path, as in GET /patients/7, or TCP"
                ));
                return None;
            }
        }
    };
    if let Some(caller) = fields.get("as") {
        request = request.from(principal(&caller, names)?);
    }
    for field in ["user", "claims", "headers", "host"] {
        if let (true, Some(at)) = (is_tcp, fields.get(field)) {
            at.wrong("a raw TCP connection has none");
        }
    }
    request = with_token(request, fields, names)?;
    request = with_headers(request, fields);
    let port = fields.get("port");
    request = request.port(port.map_or(Some(names.port), |at| at.port())?);
    if let Some(ip) = address(fields, "ip") {
        request = request.source_ip(ip);
    }
    if let Some(ip) = address(fields, "remoteIp") {
        request = request.remote_ip(ip);
    }
    if let Some(ip) = address(fields, "destinationIp") {
        request = request.destination_ip(ip);
    }
    if let Some(sni) = fields.text("sni") {
        request = request.sni(&sni);
    }
    Some(request)
}

/// The principal of a caller, by its name or written out.
fn principal<'n>(at: &Cursor<'_, 'n>, names: &'n Names) -> Option<&'n str> {
    let text: &'n str = at.str()?;
    match names.callers.get(text) {
        Some(principal) => Some(principal),
        None if text.contains('/') => Some(text),
        None => {
            let known = list(names.callers.keys());
            at.wrong(format!(
                "`callers` has no `{text}` ({known}); write a name from there, or a principal such as cluster.local/ns/default/sa/web"
            ));
            None
        }
    }
}

/// The claims of the user, and those of the row over them.
fn with_token(request: Request, fields: Fields<'_, '_>, names: &Names) -> Option<Request> {
    let mut token: Option<Map<String, Json>> = None;
    if let Some(at) = fields.get("user") {
        if at.node().entries().is_some() {
            token = Some(claims(&at));
        } else {
            let text = at.str()?;
            let known = names.users.get(text).cloned();
            let written = || {
                let (issuer, subject) = text.rsplit_once('/')?;
                let claim = |name: &str, value: &str| (name.to_owned(), Json::from(value));
                Some(Map::from_iter([
                    claim("iss", issuer),
                    claim("sub", subject),
                ]))
            };
            token = known.or_else(written);
            if token.is_none() {
                let known = list(names.users.keys());
                at.wrong(format!(
                    "`users` has no `{text}` ({known}); write a name from there, or ISSUER/SUBJECT"
                ));
                return None;
            }
        }
    }
    if let Some(at) = fields.get("claims") {
        token.get_or_insert_default().extend(claims(&at));
    }
    Some(match token {
        Some(claims) => request.claims(claims),
        None => request,
    })
}

fn with_headers(mut request: Request, fields: Fields<'_, '_>) -> Request {
    if let Some(host) = fields.text("host") {
        request = request.authority(host.as_str());
    }
    let Some(headers) = fields.get("headers") else {
        return request;
    };
    for (name, at) in headers.pairs() {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            at.wrong(format!("{name:?} is no header name"));
        }
        let lines: Vec<_> = match at.node().scalar() {
            Some(_) => at.str().map(str::to_owned).into_iter().collect(),
            None => {
                let items = at.items();
                let lines = items.filter_map(|item| item.str().map(str::to_owned));
                lines.collect()
            }
        };
        for line in lines {
            request = request.header(name, line);
        }
    }
    request
}

fn address(fields: Fields<'_, '_>, name: &'static str) -> Option<IpAddr> {
    let at = fields.get(name)?;
    let address = at.str()?.parse().ok();
    if address.is_none() {
        at.wrong("is no IP address");
    }
    address
}

fn or_report<T>(at: &Cursor<'_, '_>, outcome: Result<T, String>) -> Option<T> {
    outcome.map_err(|message| at.wrong(message)).ok()
}

fn list<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    match names.as_slice() {
        [] => "it is empty".to_owned(),
        names => format!("known: {}", names.join(", ")),
    }
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// RFC 9110's `tchar`, of which methods and header names are made.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What external providers answer, by name.
pub(super) fn answers(at: &Cursor<'_, '_>) -> Vec<(String, ProviderAnswer)> {
    let answer = |(name, at): (&str, Cursor<'_, '_>)| {
        // A status looks better without quotes.
        let answer = match at.node().scalar() {
            Some(scalar) => scalar.text.parse(),
            None => Err("write allow, deny, error or a status".to_owned()),
        };
        Some((name.to_owned(), or_report(&at, answer)?))
    };
    at.pairs().filter_map(answer).collect()
}

/// The claims of a token, of any type.
pub(super) fn claims(at: &Cursor<'_, '_>) -> Map<String, Json> {
    at.pairs()
        .map(|(name, value)| (name.to_owned(), json(value.node())))
        .collect()
}

fn json(node: &Node<'_>) -> Json {
    match &node.value {
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter();
            let pairs = entries.map(|entry| (entry.key.clone().into_owned(), json(&entry.value)));
            Json::Object(pairs.collect())
        }
        Value::Scalar(scalar) => match scalar.meaning() {
            Plain::Null => Json::Null,
            Plain::Boolean(value) => Json::Bool(value),
            // A number that JSON cannot write stays the text that it is.
            Plain::Number => {
                serde_json::from_str(&scalar.text).unwrap_or_else(|_| Json::from(&*scalar.text))
            }
            Plain::Text => Json::from(&*scalar.text),
        },
    }
}
