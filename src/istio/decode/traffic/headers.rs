//! Decodes the operations on headers.

use crate::istio::Text;
use crate::istio::traffic::{HeaderOperations, Headers};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

const OPERATIONS: &[&str] = &["set", "add", "remove"];

/// `headers`.
pub(super) fn headers(at: &Cursor<'_, '_>) -> Option<Headers> {
    let fields = at.fields(&["request", "response"])?;
    let read = |name: &'static str, is_request: bool| {
        let at = fields.get(name);
        at.and_then(|at| operations(&at, is_request))
            .unwrap_or_default()
    };
    Some(Headers {
        request: read("request", true),
        response: read("response", false),
    })
}

fn operations(at: &Cursor<'_, '_>, is_request: bool) -> Option<HeaderOperations> {
    let fields = at.fields(OPERATIONS)?;
    Some(HeaderOperations {
        set: values(fields, "set", is_request),
        add: values(fields, "add", is_request),
        remove: fields.texts("remove", |at, name| written_name(at, name, false)),
    })
}

fn values(fields: Fields<'_, '_>, name: &'static str, is_request: bool) -> Vec<(Text, Text)> {
    let Some(values) = fields.get(name) else {
        return Vec::new();
    };
    values
        .pairs()
        .filter_map(|(name, value)| {
            written_name(&value, name, is_request);
            let text = value.text()?;
            if let Err(why) = check_value(&text) {
                value.wrong(why);
            }
            Some((Text::new(name, value.at()), text))
        })
        .collect()
}

/// The name of a header that is set, added or removed. Of a request, the authority may be set.
fn written_name(at: &Cursor<'_, '_>, name: &str, may_be_authority: bool) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if is_authority(name) && may_be_authority {
        return;
    }
    if name.eq_ignore_ascii_case("host") {
        at.wrong("the header `host` is only set in requests; write rewrite.authority");
    } else if name.starts_with(':') {
        at.wrong(format!(
            "`{name}` is a part of the request's head, which routes do not write; write rewrite, or redirect"
        ));
    } else if name.is_empty() || !name.bytes().all(good) {
        at.wrong(format!(
            "`{name}` is no header name; write letters, digits and hyphens"
        ));
    }
}

pub(super) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// A value: characters that a header may have, and `%` only in pairs around Envoy's commands or
/// doubled.
fn check_value(value: &str) -> Result<(), &'static str> {
    if value
        .bytes()
        .any(|byte| byte == 0x7f || (byte < 0x20 && byte != b'\t'))
    {
        return Err("holds a character that no header may have; take it out");
    }
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(after) = after.strip_prefix('%') {
            rest = after;
            continue;
        }
        let end = command_end(after).ok_or("has a single %; write %% for a percent sign")?;
        rest = after.get(end..).unwrap_or_default();
    }
    Ok(())
}

/// Where a command such as `REQ(x):4%` ends, behind its second `%`.
fn command_end(text: &str) -> Option<usize> {
    let name_end = text.find(['%', '('])?;
    let after_name = text.get(name_end..)?;
    if after_name.starts_with('%') {
        return Some(name_end + 1);
    }
    // Its arguments may hold a % of their own.
    let close = after_name.find(')')?;
    let tail = after_name.get(close + 1..)?;
    let end = tail.find('%')?;
    tail.get(..end)?
        .bytes()
        .all(|byte| byte == b' ')
        .then_some(name_end + close + 1 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_doubled_or_around_a_command() {
        for good in [
            "",
            "a b",
            "%HOSTNAME%",
            "100%%",
            "a %DOWNSTREAM_REMOTE_ADDRESS% b",
            "%REQ(x-a)%",
            "%REQ(%)%",
            "%PER_REQUEST_STATE(a)%%%",
            "é\t",
        ] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in [
            "abc%123",
            "%START_TIME%%",
            "%",
            "%REQ(x%",
            "%REQ(x)",
            "a\nb",
            "a\u{7f}",
        ] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
    }
}
