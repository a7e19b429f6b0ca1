//! Parses values as Istio writes them.

use std::fmt::Write as _;

use super::super::compiler::Compiler;
use crate::matcher::{Cidr, StringMatcher};

/// A string pattern: `*` anything but the empty text, `*x` suffix, `x*` prefix, else exact. Nothing
/// else is special.
pub(in crate::policy::compile) fn pattern(value: &str) -> StringMatcher {
    StringMatcher::of_value(value)
}

/// The four shapes of a value, in the order Istio checks them.
#[derive(Clone, Copy)]
pub(in crate::policy::compile) enum Pattern<'v> {
    /// `*`.
    Present,
    /// `*x`, without its star.
    Suffix(&'v str),
    /// `x*`, without its star.
    Prefix(&'v str),
    /// Anything else.
    Exact(&'v str),
}

impl<'v> Pattern<'v> {
    pub(in crate::policy::compile) fn new(value: &'v str) -> Self {
        if value == "*" {
            Self::Present
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix)
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix)
        } else {
            Self::Exact(value)
        }
    }

    /// Whether a text that is known at load matches.
    pub(in crate::policy::compile) fn matches(self, text: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Exact(exact) => text == exact,
        }
    }
}

/// A whole-text regex, compiled once per text.
pub(in crate::policy::compile) fn regex(
    compiler: &mut Compiler<'_>,
    text: &str,
) -> Result<StringMatcher, String> {
    if let Some(known) = compiler.regexes.get(text) {
        return Ok(known.clone());
    }
    let matcher =
        StringMatcher::regex(text).map_err(|error| format!("does not make a regex: {error}"))?;
    compiler.regexes.insert(text.to_owned(), matcher.clone());
    Ok(matcher)
}

/// Writes `text` so that a regex takes it literally, with the very escapes of Go's
/// `regexp.QuoteMeta`: the text is shown to Envoy.
pub(super) fn quote_into(regex: &mut String, text: &str) {
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            regex.push('\\');
        }
        regex.push(character);
    }
}

/// Puts the quoted `parts` between the pieces of a template.
pub(super) fn quoted<const N: usize>(template: [&str; N], parts: &[&str]) -> String {
    let mut regex = String::with_capacity(64);
    let mut parts = parts.iter();
    for piece in template {
        let _ = regex.write_str(piece);
        if let Some(part) = parts.next() {
            quote_into(&mut regex, part);
        }
    }
    regex
}

/// An address or a CIDR range.
pub(in crate::policy::compile) fn cidr(value: &str) -> Result<Cidr, String> {
    Cidr::parse(value).map_err(|_| {
        format!(
            "{value:?} is neither an IP address nor a CIDR range; write one like 10.0.0.0/8 or ::1"
        )
    })
}

/// A port, `0` to `65535` in decimal digits.
pub(in crate::policy::compile) fn port(value: &str) -> Result<u16, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| value.parse().ok()).flatten();
    port.ok_or_else(|| format!("{value:?} is not a port; write a number from 0 to 65535"))
}

/// `name` of `prefix[name]`.
pub(in crate::policy::compile) fn bracketed<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    key.strip_prefix(prefix)?
        .strip_prefix('[')?
        .strip_suffix(']')
}
