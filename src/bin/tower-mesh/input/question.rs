//! Requests to judge, one JSON object per line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};
use tower_mesh::identity::{PeerCertificate, SpiffeId};
use tower_mesh::policy::{ProviderAnswer, Request};

use super::lines::{MAX_LINE, is_cut};
use super::options::ServiceName;
use super::providers::Answers;

/// A request or a connection to judge.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// Echoed with the answer.
    #[serde(default)]
    id: Value,
    #[serde(default)]
    protocol: Protocol,
    method: Option<String>,
    path: Option<String>,
    authority: Option<String>,
    headers: Option<BTreeMap<String, Lines>>,
    source: Option<Source>,
    destination: Option<Destination>,
    sni: Option<String>,
    claims: Option<Map<String, Value>>,
    /// The id of a JWT-SVID.
    jwt_svid: Option<String>,
    /// What external providers answer, by name.
    providers: Option<BTreeMap<String, Said>>,
}

/// What a provider answers: a word, or a status.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an answer is allow, deny, error or a status")]
enum Said {
    Word(String),
    Status(u16),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    #[default]
    Http,
    Tcp,
}

/// The lines of one header.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a header is a text, or a list of texts")]
enum Lines {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    principal: Option<String>,
    uri_sans: Option<Vec<String>>,
    dns_sans: Option<Vec<String>>,
    subject: Option<String>,
    ip: Option<IpAddr>,
    remote_ip: Option<IpAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Destination {
    ip: Option<IpAddr>,
    port: Option<u16>,
    services: Option<Vec<String>>,
}

impl Question {
    /// Reads a line.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        if is_cut(line) {
            return Err(format!("longer than {} MiB", MAX_LINE >> 20));
        }
        // The line break at its end is not where an object breaks off.
        let line = line.trim_ascii_end();
        match line.trim_ascii_start().first() {
            // A list with the right values in the right places would read as a request, too.
            Some(b'{') => serde_json::from_slice(line).map_err(|error| in_line(&error)),
            _ => Err("no JSON object".to_owned()),
        }
    }

    /// A question about one HTTP request.
    pub(crate) fn http(
        method: String,
        path: String,
        principal: Option<String>,
        claims: Option<Map<String, Value>>,
        jwt_svid: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Self {
        let mut lines: BTreeMap<String, Lines> = BTreeMap::new();
        for (name, value) in headers {
            let lines = lines.entry(name);
            match lines.or_insert_with(|| Lines::Several(Vec::new())) {
                Lines::Several(values) => values.push(value),
                Lines::One(_) => {}
            }
        }
        Self {
            method: Some(method),
            path: Some(path),
            headers: Some(lines),
            source: Some(Source {
                principal,
                ..Source::default()
            }),
            claims,
            jwt_svid,
            ..Self::default()
        }
    }

    /// What is echoed with the answer.
    pub(crate) fn take_id(&mut self) -> Value {
        self.id.take()
    }

    /// The services that the request says it is for.
    pub(crate) fn services(&self) -> Result<Option<Vec<ServiceName>>, String> {
        let destination = self.destination.as_ref();
        let services = destination.and_then(|destination| destination.services.as_ref());
        let parse = |name: &String| ServiceName::parse(name);
        let parsed = services.map(|services| services.iter().map(parse).collect());
        let parsed: Result<Option<Vec<_>>, String> = parsed.transpose();
        parsed.map_err(|message| format!("destination.services: {message}"))
    }

    /// What external providers answer to it.
    pub(crate) fn answers(&self) -> Result<Answers, String> {
        let said = self.providers.iter().flatten();
        let answers = said.map(|(name, said)| {
            let answer: Result<ProviderAnswer, _> = match said {
                Said::Word(word) => word.parse(),
                Said::Status(status) => status.to_string().parse(),
            };
            let answer = answer.map_err(|message| format!("providers: {name:?}: {message}"))?;
            Ok((name.clone(), answer))
        });
        answers.collect()
    }

    /// The port it goes to.
    pub(crate) fn port(&self, default: u16) -> u16 {
        let destination = self.destination.as_ref();
        let port = destination.and_then(|destination| destination.port);
        port.unwrap_or(default)
    }

    /// The request in the engine's words; `port` is where it goes unless it says so itself.
    pub(crate) fn into_request(self, port: u16) -> Result<Request, String> {
        let destination_port = self.port(port);
        let mut request = match self.protocol {
            Protocol::Tcp => Request::tcp(),
            Protocol::Http => {
                let method = self.method.ok_or("the key `method` is missing")?;
                let path = self.path.ok_or("the key `path` is missing")?;
                if method.is_empty() || !method.bytes().all(is_token_byte) {
                    return Err(format!("method: {method:?} is no HTTP method"));
                }
                Request::new().method(method, path)
            }
        };
        if self.protocol == Protocol::Http {
            for (name, lines) in self.headers.into_iter().flatten() {
                if name.is_empty() || !name.bytes().all(is_token_byte) {
                    return Err(format!("headers: {name:?} is no header name"));
                }
                let mut values = lines.into_values();
                // A codec makes one host of several lines.
                if name.eq_ignore_ascii_case("host") && values.len() > 1 {
                    values = vec![values.join(",")];
                }
                for value in values {
                    if value.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
                        return Err(format!("headers: {name}: no value may hold a line break"));
                    }
                    request = request.header(&name, value);
                }
            }
            if let Some(authority) = self.authority {
                request = request.authority(authority.trim());
            }
            if let Some(claims) = self.claims {
                request = request.claims(claims);
            }
            if let Some(id) = self.jwt_svid {
                let checked = SpiffeId::new(&id);
                checked.map_err(|error| format!("jwt_svid: {id:?}: {error}"))?;
                request = request.jwt_svid(&id);
            }
        }
        let source = self.source.unwrap_or_default();
        if let Some(ip) = source.ip {
            request = request.source_ip(ip);
        }
        if let Some(ip) = source.remote_ip {
            request = request.remote_ip(ip);
        }
        if let Some(certificate) = source.certificate() {
            request = request.certificate(certificate);
        }
        if let Some(ip) = self.destination.and_then(|destination| destination.ip) {
            request = request.destination_ip(ip);
        }
        if let Some(sni) = self.sni {
            request = request.sni(&sni);
        }
        Ok(request.port(destination_port))
    }
}

impl Lines {
    fn into_values(self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value],
            Self::Several(values) => values,
        }
    }
}

impl Source {
    /// What the peer's certificate says; `None` on plaintext.
    fn certificate(self) -> Option<PeerCertificate> {
        let mut uri_sans = self.uri_sans.unwrap_or_default();
        if let Some(principal) = self.principal.filter(|principal| !principal.is_empty()) {
            let principal = principal.strip_prefix("spiffe://").unwrap_or(&principal);
            let uri = format!("spiffe://{principal}");
            if !uri_sans.contains(&uri) {
                uri_sans.insert(0, uri);
            }
        }
        let dns_sans = self.dns_sans.unwrap_or_default();
        let subject = self.subject.unwrap_or_default();
        if uri_sans.is_empty() && dns_sans.is_empty() && subject.is_empty() {
            return None;
        }
        Some(PeerCertificate::from_names(uri_sans, dns_sans, subject))
    }
}

/// What is wrong in one line, as the first line: a parser sees no other.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => format!("{message} (column {})", error.column()),
        None => text,
    }
}

/// RFC 9110's `tchar`, of which methods and header names are made.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
