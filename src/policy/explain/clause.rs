//! Clauses in Istio's words.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::istio::Position;
use crate::matcher::{Cidr, StringMatcher, StringPattern};
use crate::policy::ir::view::{Leaf, Node, Nodes, Shape, only_port};
use crate::policy::ir::{HeaderMatcher, HeaderTest, MetadataMatcher, ValueMatcher};
use crate::policy::rules::metadata;
use crate::policy::{Attributes, eval};

/// A clause of a rule that did not hold for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedClause {
    /// The field as Istio's resources name it (`to.operation.paths`, `when request.headers[x]`).
    pub field: String,
    /// Whether the values were forbidden (`notPaths`) rather than asked for.
    pub negated: bool,
    /// The values, as Istio writes them where they have such a form.
    pub values: Vec<String>,
    /// How each value is read where that is not plain to see: the issuer and the subject that a
    /// request principal is cut into, at its last `/`. Empty, or one for each of `values`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_as: Vec<String>,
    /// What the request had; `None` when it had nothing.
    pub saw: Option<String>,
    /// The JSON type of a claim that the request had: `string`, `number`, `boolean`, `null`, `list`
    /// or `object`. Patterns match strings, and lists that hold one; no other type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saw_type: Option<&'static str>,
    /// Issuer and subject of the token, for a request principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saw_as: Option<String>,
    /// Where this clause's list was written; `None` in legacy resources and in rules without a
    /// known source.
    #[serde(skip)]
    pub at: Option<Position>,
}

impl fmt::Display for FailedClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            return write!(f, "{} never holds", self.field);
        }
        let verb = if self.negated {
            "is one of"
        } else {
            "is none of"
        };
        let shown = self.values.iter().enumerate().take(MOST_SHOWN);
        let shown = shown.map(|(index, value)| match self.read_as.get(index) {
            Some(read_as) => format!("{value} ({read_as})"),
            None => value.clone(),
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        write!(f, "{} {verb} [{shown}", self.field)?;
        if let Some(more) = self.values.len().checked_sub(MOST_SHOWN + 1) {
            write!(f, ", and {} more", more + 1)?;
        }
        match (&self.saw, self.saw_type) {
            (None, _) => f.write_str("]: saw nothing"),
            // Quotes are for texts: `"true"` is another claim than `true`.
            (Some(saw), Some(kind)) if kind != "string" => write!(f, "]: saw the {kind} {saw}"),
            (Some(saw), _) => write!(f, "]: saw {saw:?}"),
        }?;
        match &self.saw_as {
            Some(saw_as) => write!(f, " ({saw_as})"),
            None => Ok(()),
        }
    }
}

/// The words for a permission or a principal that does not hold.
pub(crate) fn node_clause(node: Node<'_>, request: &dyn Attributes) -> FailedClause {
    let mut clause = FailedClause::default();
    describe(node, request, &mut clause);
    clause.named("rule")
}

impl FailedClause {
    /// What it asks for, without what was seen instead.
    #[cfg(feature = "coverage")]
    pub(crate) fn wanted(&self) -> String {
        let not = if self.negated { "not " } else { "" };
        format!("{} {not}[{}]", self.field, self.values.join(", "))
    }

    fn named(mut self, otherwise: &str) -> Self {
        if self.field.is_empty() {
            otherwise.clone_into(&mut self.field);
        }
        self
    }

    /// Adds a value; the first one says the field and what the request had there.
    fn add(&mut self, field: impl Into<String>, value: impl Into<String>, saw: Option<String>) {
        self.values.push(value.into());
        if self.field.is_empty() {
            self.field = field.into();
            self.saw = saw;
        }
    }
}

fn describe(node: Node<'_>, request: &dyn Attributes, clause: &mut FailedClause) {
    match node.shape() {
        Shape::Any => {}
        Shape::And(pair) if is_request_principal(node) => {
            describe_request_principal(pair, request, clause);
        }
        Shape::And(nodes) | Shape::Or(nodes) => {
            let nodes = nodes.iter();
            nodes.for_each(|node| describe(node, request, clause));
        }
        Shape::Not(inner) => {
            clause.negated = !clause.negated;
            describe(inner, request, clause);
        }
        Shape::Leaf(leaf) => {
            let of_permission = matches!(node, Node::Permission(_));
            describe_leaf(leaf, of_permission, request, clause);
        }
    }
}

fn describe_leaf(
    leaf: Leaf<'_>,
    of_permission: bool,
    request: &dyn Attributes,
    clause: &mut FailedClause,
) {
    let path_field = match of_permission {
        true => "to.operation.paths",
        false => "path",
    };
    let path = || eval::url_path(request).map(str::to_owned);
    let ip = |field, range: Cidr, ip: Option<IpAddr>| {
        let saw = ip.map(|ip| ip.to_string());
        (field, range.to_string(), saw)
    };
    let (field, value, saw) = match leaf {
        Leaf::Header(matcher) => {
            let field = match matcher.name.as_str() {
                ":method" if of_permission => "to.operation.methods".to_owned(),
                ":authority" if of_permission => "to.operation.hosts".to_owned(),
                ":path" if of_permission => "paths (with the query)".to_owned(),
                name => format!("when request.headers[{name}]"),
            };
            let saw = header_seen(matcher, request);
            return clause.add(field, header_value(matcher), saw);
        }
        Leaf::Metadata(matcher) => return describe_metadata(matcher, request, clause),
        Leaf::Path(matcher) => (path_field, pattern(matcher), path()),
        Leaf::Template(template) => (path_field, template.as_str().to_owned(), path()),
        Leaf::Ports { start, end } => {
            let value = match only_port(start, end) {
                Some(port) => port.to_string(),
                None => format!("{start}..{end}"),
            };
            let saw = request.destination_port().map(|port| port.to_string());
            ("to.operation.ports", value, saw)
        }
        Leaf::ServerName(matcher) => {
            let saw = Some(request.sni().to_owned());
            ("when connection.sni", pattern(matcher), saw)
        }
        Leaf::Peer(None) => ("from.source", "any TLS connection".to_owned(), None),
        Leaf::Peer(Some(matcher)) => {
            let (field, value) = peer_words(matcher);
            (field, value, peer_seen(request))
        }
        Leaf::DestinationIp(range) => ip("when destination.ip", range, request.destination_ip()),
        Leaf::DirectIp(range) => ip("from.source.ipBlocks", range, request.direct_remote_ip()),
        Leaf::RemoteIp(range) => ip("from.source.remoteIpBlocks", range, request.remote_ip()),
    };
    clause.add(field, value, saw);
}

fn describe_request_principal(
    pair: Nodes<'_>,
    request: &dyn Attributes,
    clause: &mut FailedClause,
) {
    let parts = pair.iter().filter_map(metadata_of);
    let parts: Vec<_> = parts
        .map(|matcher| value_words(&matcher.value).join("|"))
        .collect();
    let claims = request.claims();
    let text = |name| claims.and_then(|claims| claims.get(name)?.as_str());
    let [issuer, subject] = ["iss", "sub"].map(|name| text(name).unwrap_or_default());
    let saw = claims.map(|_| format!("{issuer}/{subject}"));
    clause.add("from.source.requestPrincipals", parts.join("/"), saw);
    if let [issuer, subject] = parts.as_slice() {
        let read_as = format!("iss {}, sub {}", wanted_part(issuer), wanted_part(subject));
        clause.read_as.push(read_as);
    }
    clause.saw_as = claims.map(|claims| {
        let [issuer, subject] = ["iss", "sub"].map(|name| seen(claims.get(name)));
        format!("iss {issuer}, sub {subject}")
    });
}

/// `requestPrincipals` is one clause although it tests two claims.
pub(super) fn is_request_principal(node: Node<'_>) -> bool {
    let (Node::Principal(_), Shape::And(pair)) = (node, node.shape()) else {
        return false;
    };
    let claims = pair.iter().map(|node| {
        let matcher = metadata_of(node)?;
        matcher.path.get(1).map(String::as_str)
    });
    claims.eq([Some("iss"), Some("sub")])
}

fn metadata_of(node: Node<'_>) -> Option<&MetadataMatcher> {
    match node.shape() {
        Shape::Leaf(Leaf::Metadata(matcher)) => Some(matcher),
        _ => None,
    }
}

fn describe_metadata(
    matcher: &MetadataMatcher,
    request: &dyn Attributes,
    clause: &mut FailedClause,
) {
    let names: Vec<&str> = matcher.path.iter().map(String::as_str).collect();
    let field = match (matcher.filter.as_str(), names.as_slice()) {
        (metadata::JWT_FILTER, ["payload", "aud"]) => "when request.auth.audiences".to_owned(),
        (metadata::JWT_FILTER, ["payload", "azp"]) => "when request.auth.presenter".to_owned(),
        (metadata::JWT_FILTER, ["payload", claims @ ..]) => {
            format!("when request.auth.claims[{}]", claims.join("]["))
        }
        (metadata::LEGACY_FILTER, ["request.auth.claims", claim]) => {
            format!("request.auth.claims[{claim}]")
        }
        (metadata::LEGACY_FILTER, [name]) => (*name).to_owned(),
        (filter, names) => format!("when experimental.{filter}[{}]", names.join("][")),
    };
    let fact = metadata::fact(matcher, request);
    let saw = fact.as_ref().map(metadata::Fact::to_string);
    if clause.field.is_empty() {
        clause.saw_type = fact.as_ref().and_then(metadata::Fact::json_type);
    }
    for value in value_words(&matcher.value) {
        clause.add(field.as_str(), value, saw.clone());
    }
}

/// What one half of a request principal asks for.
fn wanted_part(pattern: &str) -> &str {
    match pattern {
        "" => "empty",
        "*" => "any",
        pattern => pattern,
    }
}

/// A claim as the token has it.
fn seen(claim: Option<&Value>) -> String {
    match claim {
        None => "missing".to_owned(),
        Some(Value::String(text)) => format!("{text:?}"),
        Some(value) => format!("the {} {value}", metadata::json_type(value)),
    }
}

/// What a test of a value asks for; a claim's list and string forms are one.
fn value_words(test: &ValueMatcher) -> Vec<String> {
    let mut words = match test {
        ValueMatcher::Null => vec!["null".to_owned()],
        ValueMatcher::Bool(value) => vec![value.to_string()],
        ValueMatcher::DoubleExact(value) => vec![value.to_string()],
        ValueMatcher::DoubleRange { start, end } => vec![format!("{start}..{end}")],
        ValueMatcher::String(matcher) => vec![pattern(matcher)],
        ValueMatcher::Present(_) => vec!["*".to_owned()],
        ValueMatcher::ListOneOf(element) => value_words(element),
        ValueMatcher::Or(any) => any.iter().flat_map(value_words).collect(),
    };
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// A pattern as Istio writes it.
fn pattern(matcher: &StringMatcher) -> String {
    match &matcher.pattern {
        StringPattern::Exact(text) => text.clone(),
        StringPattern::Prefix(text) => format!("{text}*"),
        StringPattern::Suffix(text) => format!("*{text}"),
        StringPattern::Contains(text) => format!("a text with {text} in it"),
        StringPattern::Regex(regex) if matches!(regex.as_str(), ".+" | ".*") => "*".to_owned(),
        StringPattern::Regex(regex) => format!("regex {}", regex.as_str()),
    }
}

fn header_value(matcher: &HeaderMatcher) -> String {
    let value = match &matcher.test {
        HeaderTest::String(test) => pattern(test),
        HeaderTest::Range { start, end } => format!("{start}..{end}"),
        HeaderTest::Present(true) => "*".to_owned(),
        HeaderTest::Present(false) => "absent".to_owned(),
    };
    if matcher.invert {
        format!("not {value}")
    } else {
        value
    }
}

fn header_seen(matcher: &HeaderMatcher, request: &dyn Attributes) -> Option<String> {
    let mut values = Vec::new();
    eval::any_value(request, &matcher.name, &mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
        false
    });
    (!values.is_empty()).then(|| values.join(" | "))
}

fn peer_words(matcher: &StringMatcher) -> (&'static str, String) {
    let plain = |text: &str| text.strip_prefix("spiffe://").unwrap_or(text).to_owned();
    match &matcher.pattern {
        StringPattern::Exact(text) => (PRINCIPALS, plain(text)),
        StringPattern::Prefix(text) => (PRINCIPALS, format!("{}*", plain(text))),
        StringPattern::Regex(regex) => {
            regex_words(regex.as_str()).unwrap_or_else(|| (PRINCIPALS, pattern(matcher)))
        }
        StringPattern::Suffix(_) | StringPattern::Contains(_) => (PRINCIPALS, pattern(matcher)),
    }
}

/// The list whose values the compiler turns into regexes of this form, and the value.
fn regex_words(regex: &str) -> Option<(&'static str, String)> {
    let between = |start, end| regex.strip_prefix(start)?.strip_suffix(end);
    if let Some(namespace) = between(".*/ns/", "/.*") {
        let namespace = unquoted(&namespace.replace(".*", "*"));
        return Some(("from.source.namespaces", namespace));
    }
    let account = between("spiffe://.+/ns/", "(/.+)?");
    if let Some((namespace, account)) = account.and_then(|rest| rest.split_once("/(.+/|)sa/")) {
        let account = unquoted(&format!("{namespace}/{account}"));
        return Some(("from.source.serviceAccounts", account));
    }
    let suffix = regex.strip_prefix("spiffe://.*")?;
    Some((PRINCIPALS, format!("*{}", unquoted(suffix))))
}

fn unquoted(regex: &str) -> String {
    regex.replace('\\', "")
}

fn peer_seen(request: &dyn Attributes) -> Option<String> {
    let mut names = Vec::new();
    eval::any_peer_name(request, &mut |name| {
        if !name.is_empty() {
            names.push(name.strip_prefix("spiffe://").unwrap_or(name).to_owned());
        }
        false
    });
    let seen = (!names.is_empty()).then(|| names.join(" | "));
    match request.via() {
        Some(proxy) => Some(format!("{} via {proxy}", seen.as_deref().unwrap_or("none"))),
        None => seen,
    }
}

impl fmt::Display for metadata::Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(Value::String(text)) => f.write_str(text),
            Self::Json(value) => value.fmt(f),
            Self::Object => f.write_str("an object"),
            Self::Text(text) => f.write_str(text),
            Self::Words(words) => f.write_str(words),
        }
    }
}

const PRINCIPALS: &str = "from.source.principals";
const MOST_SHOWN: usize = 8;
