//! W3C Baggage: carried as it came, within bounds. Envoy neither reads nor writes it.

use http::HeaderValue;
use http::header::GetAll;

use super::w3c::trim;

/// Joins `baggage` headers: members that do not parse are skipped, and whole members are dropped
/// from the right to stay in bounds.
pub(in crate::propagation) fn join(values: &GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut members: Vec<&[u8]> = Vec::new();
    let mut length = 0;
    for value in values {
        for member in value.as_bytes().split(|byte| *byte == b',').map(trim) {
            let longer = length + member.len() + usize::from(!members.is_empty());
            if is_member(member) && longer <= MAX_BYTES && members.len() < MAX_MEMBERS {
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

/// What the standard asks for, and not more: H-15.
pub(super) const MAX_BYTES: usize = 8192;
pub(super) const MAX_MEMBERS: usize = 180;
