//! One fact about a request, and how to put it into a request.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::witness::{Peer, Witness};

/// One thing that a request can say, and that rules ask about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    Method,
    Target,
    Peer,
    /// Whether there is a token at all.
    Token,
    /// A claim, by the path to it.
    Claim(Vec<String>),
    Header(String),
    Authority,
    Port,
    SourceIp,
    RemoteIp,
    DestinationIp,
    ServerName,
}

/// What a request says of a dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    Method(String),
    Target(String),
    Peer(Option<Peer>),
    Token(Option<Map<String, Value>>),
    Claim(Vec<String>, Option<Value>),
    Header(String, Vec<String>),
    Authority(Option<String>),
    Port(u16),
    SourceIp(Option<IpAddr>),
    RemoteIp(Option<IpAddr>),
    DestinationIp(Option<IpAddr>),
    ServerName(String),
}

impl Fact {
    /// The request with this fact in place of its own.
    pub(super) fn in_place(&self, witness: &Witness) -> Witness {
        let mut changed = witness.clone();
        match self.clone() {
            // A connection has neither.
            Self::Method(_) | Self::Target(_) if witness.method.is_none() => {}
            Self::Method(method) => changed.method = Some(method),
            Self::Target(target) => changed.target = target,
            Self::Peer(peer) => {
                if peer.is_none() {
                    changed.sni.clear();
                }
                changed.peer = peer;
            }
            Self::Token(claims) => changed.claims = claims,
            Self::Claim(path, value) => put(&mut changed.claims, &path, value),
            Self::Header(name, lines) => {
                changed.headers.insert(name, lines);
            }
            Self::Authority(authority) => changed.authority = authority,
            Self::Port(port) => changed.port = port,
            Self::SourceIp(ip) => changed.source_ip = ip,
            Self::RemoteIp(ip) => changed.remote_ip = ip,
            Self::DestinationIp(ip) => changed.destination_ip = ip,
            Self::ServerName(name) => changed.sni = name,
        }
        changed
    }
}

/// Puts a claim at a path, through objects, or takes it away.
fn put(claims: &mut Option<Map<String, Value>>, path: &[String], value: Option<Value>) {
    let Some((last, inner)) = path.split_last() else {
        return;
    };
    if value.is_none() && claims.is_none() {
        return;
    }
    let mut object = claims.get_or_insert_default();
    for key in inner {
        let next = object.entry(key.clone()).or_insert(Value::Null);
        if !next.is_object() {
            *next = Value::Object(Map::new());
        }
        let Some(next) = next.as_object_mut() else {
            return;
        };
        object = next;
    }
    match value {
        Some(value) => object.insert(last.clone(), value),
        None => object.remove(last),
    };
}

/// What a witness says of its path, its caller, its host, of each header and each claim.
pub(super) fn texts(witness: &Witness) -> Vec<Fact> {
    let mut facts = vec![
        Fact::Target(witness.target.clone()),
        Fact::Peer(witness.peer.clone()),
        Fact::Authority(witness.authority.clone()),
    ];
    let headers = witness.headers.iter();
    facts.extend(headers.map(|(name, lines)| Fact::Header(name.clone(), lines.clone())));
    let claims = witness.claims.iter().flatten();
    facts.extend(claims.map(|(name, value)| Fact::Claim(vec![name.clone()], Some(value.clone()))));
    facts
}

impl Fact {
    /// Nothing, or next to nothing, in the same place.
    pub(super) fn blank(&self) -> Option<Self> {
        Some(match self {
            Self::Target(_) => Self::Target("/".to_owned()),
            Self::Peer(_) => Self::Peer(None),
            Self::Authority(_) => Self::Authority(None),
            Self::Header(name, _) => Self::Header(name.clone(), Vec::new()),
            Self::Claim(path, _) => Self::Claim(path.clone(), None),
            Self::Method(_)
            | Self::Token(_)
            | Self::Port(_)
            | Self::SourceIp(_)
            | Self::RemoteIp(_)
            | Self::DestinationIp(_)
            | Self::ServerName(_) => return None,
        })
    }
}

/// Every way in which `plain` says less than the witness.
pub(super) fn simpler(witness: &Witness, plain: &Witness) -> Vec<Fact> {
    let mut facts = vec![
        Fact::Token(None),
        Fact::Peer(None),
        Fact::SourceIp(None),
        Fact::RemoteIp(None),
        Fact::DestinationIp(None),
        Fact::Authority(None),
        Fact::ServerName(String::new()),
        Fact::Port(plain.port),
        Fact::Target(plain.target.clone()),
    ];
    if let Some((path, _)) = witness.target.split_once('?') {
        facts.push(Fact::Target(path.to_owned()));
    }
    facts.extend(plain.method.clone().map(Fact::Method));
    let headers = witness.headers.keys();
    facts.extend(headers.map(|name| Fact::Header(name.clone(), Vec::new())));
    let claims = witness.claims.iter().flat_map(Map::keys);
    facts.extend(claims.map(|name| Fact::Claim(vec![name.clone()], None)));
    facts
}
