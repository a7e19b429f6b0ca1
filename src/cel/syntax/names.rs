//! The names of the attributes in a rule.

use std::fmt;

use cel::common::ast::IdedExpr;

use super::vocabulary::{self, Named, Vocabulary};
use crate::cel::attribute::{Attribute, Text, Type};

/// What a name stands for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text(Text),
    /// A header by another name.
    Header(&'static str),
    Headers,
    DestinationPort,
    Mtls,
    Audiences,
    Claims,
}

/// Every attribute. The first name of an attribute is the one in errors.
const NAMES: &[(&str, Kind)] = &[
    ("request.method", Kind::Text(Text::Method)),
    ("request.path", Kind::Text(Text::Path)),
    ("request.url_path", Kind::Text(Text::UrlPath)),
    ("request.query", Kind::Text(Text::Query)),
    ("request.host", Kind::Text(Text::Host)),
    ("request.scheme", Kind::Text(Text::Scheme)),
    ("request.headers", Kind::Headers),
    ("request.referer", Kind::Header("referer")),
    ("request.useragent", Kind::Header("user-agent")),
    ("request.id", Kind::Header("x-request-id")),
    ("source.ip", Kind::Text(Text::SourceIp)),
    ("source.principal", Kind::Text(Text::SourcePrincipal)),
    ("source.namespace", Kind::Text(Text::SourceNamespace)),
    (
        "source.service_account",
        Kind::Text(Text::SourceServiceAccount),
    ),
    ("source.trust_domain", Kind::Text(Text::SourceTrustDomain)),
    ("remote.ip", Kind::Text(Text::RemoteIp)),
    ("destination.ip", Kind::Text(Text::DestinationIp)),
    ("destination.port", Kind::DestinationPort),
    ("destination.address", Kind::Text(Text::DestinationAddress)),
    ("connection.mtls", Kind::Mtls),
    ("connection.requested_server_name", Kind::Text(Text::Sni)),
    ("connection.sni", Kind::Text(Text::Sni)),
    (
        "connection.uri_san_peer_certificate",
        Kind::Text(Text::UriSan),
    ),
    (
        "connection.dns_san_peer_certificate",
        Kind::Text(Text::DnsSan),
    ),
    (
        "connection.subject_peer_certificate",
        Kind::Text(Text::Subject),
    ),
    ("auth.principal", Kind::Text(Text::RequestPrincipal)),
    ("auth.presenter", Kind::Text(Text::Presenter)),
    ("auth.audiences", Kind::Audiences),
    ("auth.claims", Kind::Claims),
    ("request.auth.principal", Kind::Text(Text::RequestPrincipal)),
    ("request.auth.presenter", Kind::Text(Text::Presenter)),
    ("request.auth.audiences", Kind::Audiences),
    ("request.auth.claims", Kind::Claims),
];

/// The attributes of rules that judge requests.
#[derive(Debug)]
pub(in crate::cel) struct Rules;

impl Vocabulary for Rules {
    type Attribute = Attribute;

    const ROOTS: &'static [&'static str] = &[
        "request",
        "source",
        "remote",
        "destination",
        "connection",
        "auth",
    ];
    const HAS_TIMES: bool = false;

    fn find(segments: &[&str]) -> Named<Attribute> {
        find(segments)
    }

    fn value_type(attribute: &Attribute) -> Type {
        attribute.value_type()
    }
}

/// What an expression names, if it is a name from an attribute's root.
pub(in crate::cel) fn named(expr: &IdedExpr) -> Named<Attribute> {
    Rules::named(expr)
}

/// What `has(operand.field)` or `'field' in operand` asks for.
pub(in crate::cel) fn named_member(operand: &IdedExpr, field: &str) -> Named<Attribute> {
    Rules::named_member(operand, field)
}

fn find(segments: &[&str]) -> Named<Attribute> {
    let is_start = |name: &str| {
        let words = name.split('.').count();
        segments.len() >= words && name.split('.').eq(segments.iter().take(words).copied())
    };
    let Some((name, kind)) = NAMES.iter().find(|(name, _)| is_start(name)) else {
        return Named::Wrong(unknown(segments));
    };
    let rest = segments.get(name.split('.').count()..).unwrap_or_default();
    let attribute = match (*kind, rest) {
        (Kind::Headers, []) => return Named::Headers,
        (Kind::Headers, [header]) => return named_header(header),
        (Kind::Claims, path) => {
            Attribute::Claims(path.iter().map(|name| Box::from(*name)).collect())
        }
        (Kind::Headers, _) => {
            return Named::Wrong("the value of a header is a text and has no fields".to_owned());
        }
        (_, [field, ..]) => {
            return Named::Wrong(format!("`{name}` has no field `{field}`"));
        }
        (Kind::Text(text), []) => Attribute::Text(text),
        (Kind::Header(header), []) => Attribute::Header(header.into()),
        (Kind::DestinationPort, []) => Attribute::DestinationPort,
        (Kind::Mtls, []) => Attribute::Mtls,
        (Kind::Audiences, []) => Attribute::Audiences,
    };
    Named::Attribute(attribute)
}

/// A header by its name in any case. Envoy keeps the method, the target and the host among the
/// headers.
fn named_header(name: &str) -> Named<Attribute> {
    let name = name.to_ascii_lowercase();
    let text = match name.as_str() {
        ":method" => Text::Method,
        ":path" => Text::Path,
        ":scheme" => Text::Scheme,
        ":authority" | "host" => Text::Host,
        _ => {
            return if vocabulary::is_token(&name) {
                Named::Attribute(Attribute::Header(name.into()))
            } else {
                Named::Wrong("no header can have this name".to_owned())
            };
        }
    };
    Named::Attribute(Attribute::Text(text))
}

fn unknown(segments: &[&str]) -> String {
    let root = segments.first().copied().unwrap_or_default();
    let names = NAMES.iter().map(|(name, _)| *name);
    vocabulary::unknown(
        segments,
        names.filter(|name| name.split('.').next() == Some(root)),
    )
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Text(text) => Kind::Text(*text),
            Self::Header(name) => return write!(f, "request.headers['{name}']"),
            Self::DestinationPort => Kind::DestinationPort,
            Self::Mtls => Kind::Mtls,
            Self::Audiences => Kind::Audiences,
            Self::Claims(path) => {
                f.write_str("auth.claims")?;
                return path.iter().try_for_each(|name| write!(f, "[{name:?}]"));
            }
        };
        let found = NAMES.iter().find(|(_, each)| *each == kind);
        f.write_str(found.map_or("attribute", |(name, _)| name))
    }
}
