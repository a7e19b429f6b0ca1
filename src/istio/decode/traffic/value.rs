//! Values that the resources of traffic share.

use std::time::Duration;

use super::name;
use crate::istio::Text;
use crate::istio::decode::value::header_name;
use crate::istio::traffic::{Destination, FractionalPercent, NamedMatch, StringMatch};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

/// A duration of whole milliseconds, at least one.
pub(in crate::istio::decode) fn duration(at: &Cursor<'_, '_>) -> Option<Duration> {
    let duration = at.duration()?;
    if duration < Duration::from_millis(1) {
        at.wrong("is less than a millisecond; write for example 1s, or leave the field out");
    } else {
        whole_millis(at, duration);
    }
    Some(duration)
}

/// The same, or zero for none.
pub(super) fn duration_or_none(at: &Cursor<'_, '_>) -> Option<Duration> {
    let duration = at.duration()?;
    whole_millis(at, duration);
    Some(duration)
}

fn whole_millis(at: &Cursor<'_, '_>, duration: Duration) {
    if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        at.wrong("is no whole number of milliseconds; write for example 250ms");
    }
}

/// What `decode` makes of a field.
pub(in crate::istio::decode) fn field<T>(
    fields: Fields<'_, '_>,
    name: &'static str,
    decode: impl FnOnce(&Cursor<'_, '_>) -> Option<T>,
) -> Option<T> {
    decode(&fields.get(name)?)
}

/// A text that is there and not empty.
pub(super) fn text(fields: Fields<'_, '_>, name: &'static str) -> Option<Text> {
    fields.text(name).filter(|text| !text.is_empty())
}

/// A boolean that says something in either way.
pub(in crate::istio::decode) fn choice(fields: Fields<'_, '_>, name: &'static str) -> Option<bool> {
    fields.get(name)?.boolean()
}

/// A port that counts as not written where it is 0.
pub(super) fn port(fields: Fields<'_, '_>, name: &'static str) -> Option<u16> {
    let at = fields.get(name)?;
    if at.node().scalar().is_some_and(|scalar| scalar.text == "0") {
        return None;
    }
    at.port()
}

/// A number that counts as not written where it is 0.
pub(super) fn count(fields: Fields<'_, '_>, name: &'static str) -> Option<u32> {
    let number = fields.get(name)?.number(0..=MAX_INT32)?;
    (number > 0).then_some(number)
}

/// The largest number of a signed field.
pub(super) const MAX_INT32: u32 = 0x7fff_ffff;

/// A decimal number without sign, such as `12.5`.
pub(super) fn decimal(at: &Cursor<'_, '_>) -> Option<f64> {
    let text = &at.node().scalar()?.text;
    let is_plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    let starts = text.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if !starts || !text.bytes().all(is_plain) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A number from 0 to 100, in steps of 0.0001; what is finer is cut off, as Istio does it.
pub(super) fn percent(at: &Cursor<'_, '_>) -> Option<FractionalPercent> {
    let Some(number) = decimal(at).filter(|number| *number <= 100.0) else {
        at.wrong("is no percentage; write a number from 0 to 100, such as 12.5");
        return None;
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1,000,000"
    )]
    let millionths = (number * 10_000.0) as u32;
    if millionths == 0 && number > 0.0 {
        at.wrong("is less than 0.0001, the least percentage; write 0 for none");
    }
    Some(FractionalPercent::from_millionths(millionths))
}

/// A whole number of percent.
pub(super) fn whole_percent(at: &Cursor<'_, '_>) -> Option<FractionalPercent> {
    let number = at.number(0..=100)?;
    Some(FractionalPercent::from_millionths(number * 10_000))
}

/// `{value: 12.5}`; without a value it is 0.
pub(super) fn percentage(at: &Cursor<'_, '_>) -> Option<FractionalPercent> {
    let fields = at.fields(&["value"])?;
    match fields.get("value") {
        Some(value) => percent(&value),
        None => Some(FractionalPercent::default()),
    }
}

/// Reports a regular expression that RE2 or the engine here does not take, or that the two read
/// differently.
pub(super) fn regex(at: &Cursor<'_, '_>, text: &str) {
    if text.len() > 1024 {
        return at.wrong("a regex has at most 1024 bytes; write several matches");
    }
    if let Some(what) = foreign_to_re2(text) {
        return at.wrong(format!(
            "{what} is not RE2; escape it with a backslash, or write it another way"
        ));
    }
    let built = regex::bytes::RegexBuilder::new(&format!(r"\A(?:{text})\z"))
        .unicode(false)
        .build();
    match built {
        Ok(_) => {}
        Err(regex::Error::CompiledTooBig(_)) => {
            at.wrong("takes too much memory; write smaller repetitions");
        }
        Err(_) => at.wrong(format!(
            "`{text}` is no RE2 expression; correct it, or write exact or prefix"
        )),
    }
}

/// What the engine here reads and RE2 does not, or reads as something else.
fn foreign_to_re2(text: &str) -> Option<&'static str> {
    let mut in_class = false;
    let mut rest = text;
    let mut first = false;
    while let Some(c) = rest.chars().next() {
        let tail = rest.get(c.len_utf8()..).unwrap_or_default();
        let mut next = tail;
        let was_first = std::mem::take(&mut first);
        match c {
            '\\' => {
                let escaped = tail.chars().next();
                next = tail
                    .get(escaped.map_or(0, char::len_utf8)..)
                    .unwrap_or_default();
            }
            '[' if in_class && !tail.starts_with(':') => return Some("a bracket in a class"),
            '[' if in_class => {
                // A named class such as `[:alpha:]`.
                let end = tail.find(":]").map_or(tail.len(), |end| end + 2);
                next = tail.get(end..).unwrap_or_default();
            }
            '[' => {
                in_class = true;
                first = true;
                next = tail.strip_prefix('^').unwrap_or(tail);
            }
            ']' if in_class && !was_first => in_class = false,
            '&' | '~' if in_class && tail.starts_with(c) => {
                return Some("a set operation in a class");
            }
            '-' if in_class && !was_first && tail.starts_with('-') => {
                return Some("a set operation in a class");
            }
            '(' if !in_class && tail.starts_with('?') => {
                let flags = tail.get(1..).unwrap_or_default();
                let flags = flags
                    .split([':', ')', '<', '=', '!'])
                    .next()
                    .unwrap_or_default();
                if flags.contains(['x', 'R', 'u']) && !flags.starts_with('P') {
                    return Some("the flag x, R or u");
                }
            }
            _ => {}
        }
        rest = next;
    }
    None
}

/// `exact`, `prefix` or `regex`. An empty match is `None` inside, and what cannot be read is `None`
/// outside.
pub(super) fn string_match(at: &Cursor<'_, '_>) -> Option<Option<StringMatch>> {
    const KINDS: &[&str] = &["exact", "prefix", "regex"];
    let fields = at.fields(KINDS)?;
    let mut written = KINDS
        .iter()
        .filter_map(|kind| Some((*kind, fields.get(kind)?)));
    let Some((kind, value)) = written.next() else {
        return Some(None);
    };
    if let Some((_, second)) = written.next() {
        second.wrong("is a second test of one text; keep one of exact, prefix and regex");
        return None;
    }
    Some(Some(match kind {
        "exact" => StringMatch::Exact(value.text()?),
        "prefix" => StringMatch::Prefix(value.text()?),
        _ => {
            let text = value.filled()?;
            regex(&value, &text);
            StringMatch::Regex(text)
        }
    }))
}

/// The same, where a prefix may not be empty.
pub(super) fn filled_match(at: &Cursor<'_, '_>) -> Option<Option<StringMatch>> {
    let test = string_match(at)?;
    if let Some(StringMatch::Prefix(prefix)) = &test
        && prefix.is_empty()
    {
        at.wrong("has an empty prefix, which every text has; leave the match out");
    }
    Some(test)
}

/// What [`named_matches`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Headers,
    WithoutHeaders,
    QueryParams,
}

/// `headers`, `withoutHeaders` and `queryParams`. Claims of tokens are taken for routes of gateways
/// only.
pub(super) fn named_matches(
    fields: Fields<'_, '_>,
    name: &'static str,
    named: Named,
    is_for_gateways: bool,
) -> Vec<NamedMatch> {
    let Some(matches) = fields.get(name) else {
        return Vec::new();
    };
    let decode = |(key, value): (&str, Cursor<'_, '_>)| {
        let claim = match named {
            Named::QueryParams => Vec::new(),
            Named::Headers | Named::WithoutHeaders => claim(key),
        };
        if !claim.is_empty() && !is_for_gateways {
            value.wrong(format!(
                "`{key}`: claims of tokens route at gateways only; name the gateways, and not mesh"
            ));
        } else if claim.is_empty() && named != Named::QueryParams {
            match_header_name(&value, key);
        }
        let test = match is_star(&value) {
            // Istio takes it as the absence of the header, and nowhere else.
            true if named == Named::WithoutHeaders => None,
            _ if value.node().is_null() => None,
            _ => filled_match(&value)?,
        };
        Some(NamedMatch {
            name: Text::new(key, value.at()),
            test,
            claim,
        })
    };
    matches.pairs().filter_map(decode).collect()
}

/// Whether it is the regex `*`.
fn is_star(at: &Cursor<'_, '_>) -> bool {
    at.node().text("regex") == Some("*")
        && at
            .node()
            .entries()
            .is_some_and(|entries| entries.len() == 1)
}

/// The way to a claim that a header's name stands for; empty: it is a header.
fn claim(name: &str) -> Vec<String> {
    const CLAIM: &str = "@request.auth.claims";
    let start = name.get(..CLAIM.len()).unwrap_or_default();
    if !start.eq_ignore_ascii_case(CLAIM) {
        return Vec::new();
    }
    let rest = name.get(CLAIM.len()..).unwrap_or_default();
    let bracketed = rest
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let parts: Vec<&str> = match (rest.strip_prefix('.'), bracketed) {
        (Some(path), _) if !path.is_empty() => path.split('.').collect(),
        (_, Some(path)) if !path.is_empty() => path.split("][").collect(),
        _ => Vec::new(),
    };
    parts.into_iter().map(str::to_owned).collect()
}

/// The name of a header that is matched, pseudo-headers included.
fn match_header_name(at: &Cursor<'_, '_>, name: &str) {
    const PSEUDO: [&str; 5] = [":authority", ":method", ":path", ":scheme", ":status"];
    if name.is_empty() {
        at.wrong("a header's name must not be empty");
    } else if !PSEUDO.contains(&name) {
        header_name(at, name);
    }
}

const DESTINATION: &[&str] = &["host", "subset", "port"];

/// `destination`.
pub(super) fn destination(at: &Cursor<'_, '_>) -> Option<Destination> {
    let fields = at.fields(DESTINATION)?;
    let host = fields.demand("host", "is missing; write the host of a service")?;
    let text = host.filled()?;
    if &*text == "*" {
        host.wrong("`*` is no destination; write the host of a service");
    } else {
        name::domain(&host, &text);
    }
    let subset = fields.get("subset");
    let subset = subset.and_then(|at| {
        let text = at.text().filter(|text| !text.is_empty())?;
        name::dns_label(&at, &text, "subset");
        Some(text)
    });
    Some(Destination {
        host: text,
        subset,
        port: field(fields, "port", port_selector),
        at: at.at(),
    })
}

/// `{number: 80}`.
pub(super) fn port_selector(at: &Cursor<'_, '_>) -> Option<u16> {
    let fields = at.fields(&["number"])?;
    let message = "is missing; write the number of the service's port";
    fields.demand("number", message)?.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2_reads_otherwise_is_found() {
        for good in [
            "",
            "a+",
            "[a-z]",
            "[]a]",
            "[^]a]",
            r"[a\[b]",
            "[[:alpha:]x]",
            "(?i)a",
            "(?P<x>a)",
            "(?:a)",
            r"\[\&&",
            "a&&b",
            "[a-]",
            "[-a]",
            "[--a]",
        ] {
            assert_eq!(foreign_to_re2(good), None, "{good}");
        }
        for bad in [
            "[a[b]]", "[a&&b]", "[a--b]", "[a~~b]", "(?x)a", "(?ix:a)", "(?R)a", "(?u)a",
        ] {
            assert!(foreign_to_re2(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_claim_is_written_with_dots_or_brackets() {
        assert_eq!(claim("@request.auth.claims.a.b"), ["a", "b"]);
        assert_eq!(claim("@Request.Auth.claims[a.c][b]"), ["a.c", "b"]);
        for header in [
            "x",
            "@request.auth.claims",
            "@request.auth.claims.",
            "@request.auth.claims[]",
            "é",
        ] {
            assert!(claim(header).is_empty(), "{header}");
        }
    }
}
