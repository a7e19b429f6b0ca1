//! The names of the attributes in a rule.

use std::fmt;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use crate::cel::attribute::{Attribute, Text};

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

const ROOTS: &[&str] = &[
    "request",
    "source",
    "remote",
    "destination",
    "connection",
    "auth",
];

/// Whether a name is the first word of attributes, so that a macro's variable may not have it.
pub(in crate::cel) fn is_root(name: &str) -> bool {
    ROOTS.contains(&name)
}

/// What an expression names.
pub(in crate::cel) enum Named {
    /// No name of an attribute: another expression.
    Other,
    /// The map of all headers, which has no value of its own here.
    Headers,
    Attribute(Attribute),
    /// The start of a name, or a name that no attribute has. The text says what to write.
    Wrong(String),
}

/// What an expression names, if it is a name from an attribute's root.
pub(in crate::cel) fn named(expr: &IdedExpr) -> Named {
    match segments(expr) {
        Some(segments) => find(&segments),
        None => Named::Other,
    }
}

/// What `has(operand.field)` or `'field' in operand` asks for.
pub(in crate::cel) fn named_member(operand: &IdedExpr, field: &str) -> Named {
    match segments(operand) {
        Some(mut segments) => {
            segments.push(field);
            find(&segments)
        }
        None => Named::Other,
    }
}

/// The words of a name, if the first is a root: fields, and literal texts in brackets.
fn segments(expr: &IdedExpr) -> Option<Vec<&str>> {
    let mut segments = Vec::new();
    let mut next = expr;
    loop {
        match &next.expr {
            Expr::Ident(name) if is_root(name) => {
                segments.push(name.as_str());
                segments.reverse();
                return Some(segments);
            }
            Expr::Select(select) if !select.test => {
                segments.push(&select.field);
                next = &select.operand;
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                let [operand, index] = call.args.as_slice() else {
                    return None;
                };
                let Expr::Literal(LiteralValue::String(key)) = &index.expr else {
                    return None;
                };
                segments.push(key.inner());
                next = operand;
            }
            _ => return None,
        }
    }
}

fn find(segments: &[&str]) -> Named {
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
fn named_header(name: &str) -> Named {
    let name = name.to_ascii_lowercase();
    let text = match name.as_str() {
        ":method" => Text::Method,
        ":path" => Text::Path,
        ":scheme" => Text::Scheme,
        ":authority" | "host" => Text::Host,
        _ => {
            let is_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            return if !name.is_empty() && name.bytes().all(is_token) {
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
    let names: Vec<_> = NAMES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.split('.').next() == Some(root))
        .collect();
    let names = names.join(", ");
    match segments {
        [_] => format!("`{root}` has no value of its own; name one of {names}"),
        _ => format!("no such attribute; `{root}` has {names}"),
    }
}

/// The message for a name that starts with no root.
pub(in crate::cel) fn unknown_root(name: &str) -> String {
    let roots: Vec<_> = ROOTS.iter().map(|root| format!("`{root}.`")).collect();
    format!(
        "`{name}` is no attribute; attributes start with {}",
        roots.join(", ")
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
