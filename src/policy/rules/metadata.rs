use std::borrow::Cow;

use serde_json::{Map, Value};

use super::attributes::Attributes;
use super::ir::{MetadataMatcher, ValueMatcher};

/// The filter whose metadata are a verified token's claims, under the key `payload`.
pub(in crate::policy) const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
/// The filter of Istio 1.0 to 1.5 that left its facts for the legacy rules. They are worked out
/// from the claims when a rule asks: `request.auth.principal` (`iss/sub`), `request.auth.audiences`
/// (the first), `request.auth.presenter` (`azp`) and `request.auth.claims` (every claim a list of
/// words).
pub(in crate::policy) const LEGACY_FILTER: &str = "istio_authn";

/// Whether the matcher accepts the metadata of a request.
pub(in crate::policy) fn matches(matcher: &MetadataMatcher, request: &dyn Attributes) -> bool {
    let found = fact(matcher, request).is_some_and(|fact| fact_matches(&matcher.value, &fact));
    found != matcher.invert
}

/// The value at the matcher's path.
pub(in crate::policy) fn fact<'a>(
    matcher: &MetadataMatcher,
    request: &'a dyn Attributes,
) -> Option<Fact<'a>> {
    let (first, rest) = matcher.path.split_first()?;
    match matcher.filter.as_str() {
        JWT_FILTER => {
            let claims = request.claims()?;
            if first != "payload" {
                return None;
            }
            walk(claims, rest)
        }
        LEGACY_FILTER => legacy_fact(request.claims()?, first, rest),
        filter => walk(request.metadata(filter)?, &matcher.path),
    }
}

/// A piece of metadata.
pub(in crate::policy) enum Fact<'a> {
    /// A JSON value, unchanged.
    Json(&'a Value),
    /// A whole JSON object.
    Object,
    /// A text.
    Text(Cow<'a, str>),
    /// A list of texts: the words of this one.
    Words(&'a str),
}

impl Fact<'_> {
    /// The JSON type of a claim; facts that are worked out have none.
    pub(in crate::policy) fn json_type(&self) -> Option<&'static str> {
        match self {
            Self::Json(value) => Some(json_type(value)),
            Self::Object => Some("object"),
            Self::Text(_) | Self::Words(_) => None,
        }
    }
}

/// What a JSON value is called.
pub(in crate::policy) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn walk<'a>(mut object: &'a Map<String, Value>, path: &[String]) -> Option<Fact<'a>> {
    let Some((last, inner)) = path.split_last() else {
        return Some(Fact::Object);
    };
    for key in inner {
        object = object.get(key)?.as_object()?;
    }
    object.get(last).map(Fact::Json)
}

/// What Istio's own authentication filter left behind.
fn legacy_fact<'a>(
    claims: &'a Map<String, Value>,
    first: &str,
    rest: &[String],
) -> Option<Fact<'a>> {
    let word = |name: &str| first_word(claims.get(name)?);
    match (first, rest) {
        ("request.auth.principal", []) => {
            let (issuer, subject) = (word("iss")?, word("sub")?);
            Some(Fact::Text(format!("{issuer}/{subject}").into()))
        }
        ("request.auth.audiences", []) => Some(Fact::Text(word("aud")?.into())),
        ("request.auth.presenter", []) => Some(Fact::Text(word("azp")?.into())),
        ("request.auth.claims", [name]) => match claims.get(name)? {
            Value::String(words) => Some(Fact::Words(words)),
            list @ Value::Array(items) if items.iter().all(Value::is_string) => {
                Some(Fact::Json(list))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The first word of a text, or of a list's first text.
fn first_word(value: &Value) -> Option<&str> {
    let text = match value {
        Value::String(text) => text,
        Value::Array(items) => items.first()?.as_str()?,
        _ => return None,
    };
    words(text).next()
}

/// The words between single spaces.
pub(in crate::policy) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// Whether the test accepts a fact.
pub(in crate::policy) fn fact_matches(test: &ValueMatcher, fact: &Fact<'_>) -> bool {
    match (fact, test) {
        (Fact::Json(value), test) => value_matches(test, value),
        (_, ValueMatcher::Or(tests)) => tests.iter().any(|test| fact_matches(test, fact)),
        (_, ValueMatcher::Present(present)) => *present,
        (Fact::Text(text), ValueMatcher::String(matcher)) => matcher.matches(text.as_bytes()),
        (Fact::Words(text), ValueMatcher::ListOneOf(test)) => {
            words(text).any(|word| fact_matches(test, &Fact::Text(word.into())))
        }
        (Fact::Object | Fact::Text(_) | Fact::Words(_), _) => false,
    }
}

fn value_matches(test: &ValueMatcher, value: &Value) -> bool {
    match (test, value) {
        (ValueMatcher::Null, value) => value.is_null(),
        (ValueMatcher::Bool(expected), Value::Bool(found)) => expected == found,
        (ValueMatcher::DoubleExact(expected), Value::Number(found)) => {
            found.as_f64() == Some(*expected)
        }
        (ValueMatcher::DoubleRange { start, end }, Value::Number(found)) => found
            .as_f64()
            .is_some_and(|found| (*start..*end).contains(&found)),
        (ValueMatcher::String(matcher), Value::String(text)) => matcher.matches(text.as_bytes()),
        (ValueMatcher::Present(present), _) => *present,
        (ValueMatcher::ListOneOf(test), Value::Array(items)) => {
            items.iter().any(|item| value_matches(test, item))
        }
        (ValueMatcher::Or(tests), value) => tests.iter().any(|test| value_matches(test, value)),
        _ => false,
    }
}
