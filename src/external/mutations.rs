//! What a provider may change about a request, and how the changes are applied.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{AuthorizerError, Changes, HeaderChange, QueryChange};
pub(super) use crate::matcher::mutation::{is_forbidden, is_framing};
use crate::matcher::{header, query};

/// Checks that a provider changes only what it may.
///
/// It may never change what the rules behind it judge as the request's target or its caller: the
/// host, the method and the pseudo headers, the headers that name the caller, those of one
/// message or connection, and `x-envoy-*`. Nor may it change `written`, the headers that the token
/// guard sets. Removing `host` or a pseudo header is no fault, because it is
/// ignored, as in Envoy.
///
/// # Errors
///
/// The first change that a provider may not make, or too many of them.
///
/// # Differences from Envoy/Istio
///
/// Envoy lets a provider set `host`, `:path` and all others; the service then chooses what the
/// policies behind it see.
pub(crate) fn check(changes: &Changes, written: &[HeaderName]) -> Result<(), AuthorizerError> {
    let mut size = Size::default();
    for change in changes.header_changes() {
        let (name, value) = match change {
            HeaderChange::Remove(name) if *name == http::header::HOST => continue,
            HeaderChange::Remove(name) => (name, None),
            HeaderChange::Set(name, value)
            | HeaderChange::Append(name, value)
            | HeaderChange::AppendIfPresent(name, value) => (name, Some(value)),
        };
        size.add(name.as_str().len() + value.map_or(0, HeaderValue::len))?;
        let is_written = || {
            let mut written = written.iter();
            written.any(|written| header::is_same_name(written.as_str(), name.as_str()))
        };
        if is_forbidden(name.as_str()) || is_written() {
            let message = format!("it changes the request header {name}, which it may not");
            return Err(AuthorizerError::new(message));
        }
    }
    for (name, value, _) in changes.response_headers() {
        size.add(name.as_str().len() + value.len())?;
        if is_forbidden(name.as_str()) {
            let message = format!("it adds the response header {name}, which it may not");
            return Err(AuthorizerError::new(message));
        }
    }
    for change in changes.query_changes() {
        size.add(match change {
            QueryChange::Set(name, value) => name.len() + value.len(),
            QueryChange::Remove(name) => name.len(),
        })?;
    }
    Ok(())
}

/// Counts what a provider changes.
#[derive(Default)]
struct Size {
    items: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, bytes: usize) -> Result<(), AuthorizerError> {
        self.items += 1;
        self.bytes += bytes;
        if self.items > MOST_CHANGES || self.bytes > MOST_BYTES {
            return Err(AuthorizerError::from_static(
                "it changes too much: at most 128 headers and parameters of 64 KiB together",
            ));
        }
        Ok(())
    }
}

/// Applies changes that were [checked](check) to a request. The caller keeps the response headers
/// and the facts.
///
/// # Errors
///
/// The target is no longer one with the changed query; the request is then unchanged.
pub(crate) fn apply(changes: &Changes, head: &mut Parts) -> Result<(), AuthorizerError> {
    if !changes.query_changes().is_empty() {
        head.uri = with_query(&head.uri, changes.query_changes()).ok_or_else(|| {
            AuthorizerError::from_static("it changes the query to one that is not valid")
        })?;
    }
    for change in changes.header_changes() {
        change_header(&mut head.headers, change);
    }
    Ok(())
}

fn change_header(headers: &mut HeaderMap, change: &HeaderChange) {
    match change {
        HeaderChange::Set(name, value) => {
            headers.insert(name.clone(), value.clone());
        }
        HeaderChange::Append(name, value) => {
            headers.append(name.clone(), value.clone());
        }
        HeaderChange::AppendIfPresent(name, value) => append_if_present(headers, name, value),
        HeaderChange::Remove(name) => {
            if *name != http::header::HOST {
                headers.remove(name);
            }
        }
    }
}

/// Envoy adds to the first line, behind a comma.
fn append_if_present(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let Some(line) = headers.get_mut(name) else {
        return;
    };
    let joined = header::joined([line.as_bytes(), value.as_bytes()]).unwrap_or_default();
    // INVARIANT: two values and a comma are a value.
    if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
        joined.set_sensitive(line.is_sensitive() || value.is_sensitive());
        *line = joined;
    }
}

/// The target with a changed query. The other parameters stay as they were written, in their order.
fn with_query(uri: &Uri, changes: &[QueryChange]) -> Option<Uri> {
    let path = uri.path();
    let mut pairs: Vec<Cow<'_, str>> = match uri.query() {
        Some(query) => query.split('&').map(Cow::Borrowed).collect(),
        None => Vec::new(),
    };
    for change in changes {
        match change {
            QueryChange::Remove(name) => pairs.retain(|pair| !is_of(pair, name)),
            QueryChange::Set(name, value) => set(&mut pairs, name, value),
        }
    }
    let target = match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    };
    let target: PathAndQuery = target.parse().ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).ok()
}

/// Replaces all values of a parameter, at the place of the first.
fn set(pairs: &mut Vec<Cow<'_, str>>, name: &str, value: &str) {
    let pair = format!("{}={}", escaped(name, true), escaped(value, false));
    let place = pairs.iter().position(|pair| is_of(pair, name));
    pairs.retain(|pair| !is_of(pair, name));
    match place {
        Some(place) => pairs.insert(place.min(pairs.len()), pair.into()),
        None => pairs.push(pair.into()),
    }
}

fn is_of(pair: &str, name: &str) -> bool {
    let key = pair.split('=').next().unwrap_or_default();
    query::is_name(key.as_bytes(), name)
}

/// A text as part of a query. What may be in a query stays as it is, escapes too.
fn escaped(text: &str, is_key: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'=' if is_key => escaped.push_str("%3D"),
            b'&' | b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

const MOST_CHANGES: usize = 128;
const MOST_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn name(text: &'static str) -> HeaderName {
        HeaderName::from_static(text)
    }

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn a_provider_changes_nothing_that_rules_judge_as_target_or_caller() {
        for (header, allowed) in [
            ("x-user", true),
            ("authorization", true),
            ("cookie", true),
            ("x-envoyage", true),
            ("host", false),
            ("x-forwarded-client-cert", false),
            ("x_forwarded_client_cert", false),
            ("x-forwarded-for", false),
            ("x-envoy-peer-metadata", false),
            ("x-envoy-original-path", false),
            ("x_envoy_internal", false),
            ("x-http-method-override", false),
            ("connection", false),
            ("transfer-encoding", false),
            ("content-length", false),
            ("te", false),
            ("upgrade", false),
            ("expect", false),
            ("proxy-authorization", false),
            ("x-subject", false),
            ("x_subject", false),
        ] {
            let check = |changes: &Changes| check(changes, &[name("x-subject")]);
            let set = Changes::new().set_header(name(header), value("v"));
            assert_eq!(check(&set).is_ok(), allowed, "set {header}");
            let appended = Changes::new().append_header(name(header), value("v"));
            assert_eq!(check(&appended).is_ok(), allowed, "append {header}");
            let added = Changes::new().add_response_header(name(header), value("v"));
            let is_of_tokens = header.ends_with("subject");
            assert_eq!(
                check(&added).is_ok(),
                allowed || is_of_tokens,
                "add {header}"
            );
            let removed = Changes::new().remove_header(name(header));
            let is_ignored = header == "host";
            assert_eq!(
                check(&removed).is_ok(),
                allowed || is_ignored,
                "remove {header}"
            );
        }
    }

    #[test]
    fn what_a_provider_changes_is_bounded() {
        let check = |changes: &Changes| check(changes, &[]);
        let many = |count: usize| {
            (0..count).fold(Changes::new(), |changes, _| {
                changes.append_header(name("x-a"), value("v"))
            })
        };
        assert!(check(&many(128)).is_ok());
        assert!(check(&many(129)).is_err());
        let long = |bytes: usize| Changes::new().set_query("a", "v".repeat(bytes));
        assert!(check(&long(64 * 1024 - 1)).is_ok());
        assert!(check(&long(64 * 1024)).is_err());
    }

    fn changed(target: &str, changes: &Changes) -> (String, Vec<String>) {
        let request = Request::get(target)
            .header("host", "app")
            .header("x-a", "1");
        let request = request.header("x-a", "2").header("cookie", "c=1").body(());
        let (mut head, ()) = request.unwrap().into_parts();
        apply(changes, &mut head).unwrap();
        let lines = head.headers.iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        (head.uri.to_string(), lines.collect())
    }

    #[test]
    fn headers_are_set_appended_and_removed() {
        let changes = Changes::new()
            .set_header(name("x-user"), value("alice"))
            .change_header(HeaderChange::AppendIfPresent(name("x-a"), value("3")))
            .change_header(HeaderChange::AppendIfPresent(name("x-none"), value("3")))
            .append_header(name("x-b"), value("4"))
            .remove_header(name("cookie"))
            .remove_header(name("host"));
        let (_, mut lines) = changed("/", &changes);
        lines.sort();
        let expected = ["host: app", "x-a: 1,3", "x-a: 2", "x-b: 4", "x-user: alice"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_query_changes_and_the_path_stays() {
        for (target, changes, expected) in [
            ("/a", Changes::new().set_query("b", "1"), "/a?b=1"),
            (
                "/a?b=1&c=2&b=3",
                Changes::new().set_query("b", "x"),
                "/a?b=x&c=2",
            ),
            ("/a?b=1&c=2", Changes::new().remove_query("b"), "/a?c=2"),
            ("/a?b=1&%62=2", Changes::new().remove_query("b"), "/a"),
            (
                "/a?flag&c",
                Changes::new().set_query("d", ""),
                "/a?flag&c&d=",
            ),
            (
                "/a",
                Changes::new().set_query("b", "1&c=2#x y%20\u{e9}"),
                "/a?b=1%26c=2%23x%20y%20%C3%A9",
            ),
            (
                "http://app/a?b",
                Changes::new().set_query("b", "?/"),
                "http://app/a?b=?/",
            ),
        ] {
            assert_eq!(changed(target, &changes).0, expected, "{target}");
        }
    }
}
