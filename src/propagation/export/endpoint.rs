use std::error::Error;
use std::fmt;

use http::Uri;
use http::uri::{Parts, PathAndQuery};

/// The URL of a collector cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError(String);

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for EndpointError {}

#[cfg(feature = "otlp")]
impl EndpointError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Reads the URL of a collector. One without a path gets `path`.
pub(crate) fn read(url: &str, path: &'static str) -> Result<Uri, EndpointError> {
    let wrong = |what: &str| EndpointError(format!("not a collector's URL: {what}"));
    let uri: Uri = url.trim().parse().map_err(|_| wrong("it is no URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(wrong(
                "`https` is not supported: send to an agent on this host, with `http`",
            ));
        }
        _ => return Err(wrong("it must begin with `http://`")),
    }
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    // It would be in the log.
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(wrong("it must hold no user or password"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Ok(uri);
    }
    let mut parts: Parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(path));
    Uri::from_parts(parts).map_err(|_| wrong("it is no URL"))
}

/// The URL as the log has it: a query may hold a key.
pub(crate) fn shown(uri: &Uri) -> String {
    let mut text = uri.to_string();
    if let Some(query) = text.find('?') {
        text.truncate(query);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_no_query_of_a_url() {
        for (url, expected) in [
            ("http://a:1/v1?key=secret", "http://a:1/v1"),
            ("http://a:1/?key=secret", "http://a:1/"),
            ("http://a:1", "http://a:1/v1"),
        ] {
            assert_eq!(shown(&read(url, "/v1").unwrap()), expected);
        }
    }
}
