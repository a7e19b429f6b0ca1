//! W3C Baggage: carried as it came, within bounds. Envoy neither reads nor writes it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use http::HeaderValue;
use http::header::GetAll;

use super::w3c::trim;
use crate::context::TraceContext;
use crate::matcher::query::percent_decode;

/// How much baggage a request carries.
#[derive(Clone, Copy, Debug)]
pub(in crate::propagation) struct Limits {
    pub(in crate::propagation) members: usize,
    pub(in crate::propagation) bytes: usize,
}

impl Limits {
    /// What the standard asks for, and not more: H-15.
    pub(in crate::propagation) const USUAL: Self = Self {
        members: 180,
        bytes: 8192,
    };
}

/// An entry of a trace's [baggage](TraceContext::baggage_entries).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaggageEntry<'a> {
    key: &'a str,
    value: Cow<'a, str>,
    properties: &'a str,
}

impl<'a> BaggageEntry<'a> {
    /// The key, as it was sent: keys are case-sensitive, and are not encoded.
    #[must_use]
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The value, decoded. Bytes that are no UTF-8 are U+FFFD.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The properties, each with its decoded value if it has one.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        let properties = self.properties.split(';').map(str::trim);
        let properties = properties.filter(|property| !property.is_empty());
        properties.map(|property| match property.split_once('=') {
            None => (property, None),
            Some((key, value)) => (key.trim_end(), Some(decoded(value.trim_start()))),
        })
    }
}

impl TraceContext {
    /// The entries of the [baggage](Self::baggage), decoded as the standard (W3C Baggage) says, in
    /// the order in which they came.
    ///
    /// A caller outside the mesh has none here. What a caller inside says is still only its word.
    pub fn baggage_entries(&self) -> impl Iterator<Item = BaggageEntry<'_>> {
        let text = self.baggage().and_then(|value| value.to_str().ok());
        let members = text.into_iter().flat_map(|text| text.split(','));
        members.filter_map(|member| {
            let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
            let (key, value) = pair.split_once('=')?;
            Some(BaggageEntry {
                key: key.trim(),
                value: decoded(value.trim()),
                properties,
            })
        })
    }

    /// Sets an entry of the baggage, in place of those of the same key. The value may be any text; it
    /// is encoded. Returns `false`, and changes nothing, if the key is no token of HTTP or if the
    /// baggage would be larger than 8,192 bytes or have more than 180 entries.
    ///
    /// The trace of the request stays as it is: this is for a clone, which a handler puts into the
    /// extensions of the calls that shall carry the entry.
    ///
    /// ```
    /// use http::Request;
    /// use tower_mesh::TraceContext;
    ///
    /// fn call(trace: &TraceContext) -> Request<()> {
    ///     let mut trace = trace.clone();
    ///     trace.set_baggage("ward", "Süd");
    ///     let mut call = Request::new(());
    ///     call.extensions_mut().insert(trace);
    ///     call
    /// }
    /// ```
    pub fn set_baggage(&mut self, key: &str, value: &str) -> bool {
        let text = self.baggage().and_then(|value| value.to_str().ok());
        let others = text.into_iter().flat_map(|text| text.split(','));
        let is_other = |member: &&str| {
            let known = member.split_once('=').map_or("", |(known, _)| known);
            known.trim() != key
        };
        let mut members: Vec<Cow<'_, str>> = others.filter(is_other).map(Cow::Borrowed).collect();
        members.push(Cow::Owned(format!("{key}={}", encoded(value))));
        let joined = members.join(",");
        let Limits {
            members: most,
            bytes,
        } = Limits::USUAL;
        if !is_token(key.as_bytes()) || joined.len() > bytes || members.len() > most {
            return false;
        }
        let Ok(baggage) = HeaderValue::try_from(joined) else {
            return false;
        };
        let carried = self.carried.get_or_insert_default();
        Arc::make_mut(carried).baggage = Some(baggage);
        true
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    match percent_decode(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'%' => text.push_str("%25"),
            byte if is_octet(byte) => text.push(char::from(byte)),
            // Writing to a `String` does not fail.
            byte => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

/// Joins `baggage` headers: members that do not parse are skipped, and whole members are dropped
/// from the right to stay in bounds.
pub(in crate::propagation) fn join(
    values: &GetAll<'_, HeaderValue>,
    limits: Limits,
) -> Option<HeaderValue> {
    let mut members: Vec<&[u8]> = Vec::new();
    let mut length = 0;
    for value in values {
        for member in value.as_bytes().split(|byte| *byte == b',').map(trim) {
            let longer = length + member.len() + usize::from(!members.is_empty());
            if is_member(member) && longer <= limits.bytes && members.len() < limits.members {
                length = longer;
                members.push(member);
            }
        }
    }
    let mut lone = values.iter();
    match (lone.next(), lone.next()) {
        // A lone header that is kept whole is handed on without a copy.
        (Some(only), None) if length == only.len() && length > 0 => Some(only.clone()),
        _ if members.is_empty() => None,
        _ => HeaderValue::from_bytes(&members.join(&b","[..])).ok(),
    }
}

/// `key=value` and `;`-separated properties, each a key with or without a value.
fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';').map(trim);
    let is_pair = |part: &[u8]| match part.iter().position(|byte| *byte == b'=') {
        Some(at) => part.split_at_checked(at).is_some_and(|(key, value)| {
            is_token(trim(key))
                && trim(value.strip_prefix(b"=").unwrap_or(value))
                    .iter()
                    .all(|byte| is_octet(*byte))
        }),
        None => false,
    };
    parts.next().is_some_and(is_pair) && parts.all(|part| is_token(part) || is_pair(part))
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_octet(byte: u8) -> bool {
    matches!(
        byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}
