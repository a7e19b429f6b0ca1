//! Makes the question from a request.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use http_body_util::Full;

use super::patterns::HeaderPatterns;
use crate::external::check_headers::{PARTIAL_BODY, is_of_one_message, stored, text};
use crate::external::{AuthorizationRequest, AuthorizerError};

/// What a question is made of, besides the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// `http://host:port`.
    pub(super) origin: Uri,
    /// Before the path of the request.
    pub(super) path_prefix: String,
    /// The headers of the request that are shown.
    pub(super) shown: HeaderPatterns,
    /// Headers that replace those of the request.
    pub(super) added: Vec<(HeaderName, HeaderValue)>,
}

impl Question {
    /// The question about a request: its method and host, its path behind the prefix, its
    /// `authorization`, and the headers that are shown.
    ///
    /// # Errors
    ///
    /// The prefix and the path are no target together.
    pub(super) fn about(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<Request<Full<Bytes>>, AuthorizerError> {
        let body = request.body().cloned().unwrap_or_default();
        let mut question = Request::new(Full::new(Bytes::new()));
        *question.method_mut() = request.method().clone();
        *question.version_mut() = Version::HTTP_11;
        *question.uri_mut() = self.target(request.path())?;
        let headers = question.headers_mut();
        self.show(request, headers);
        if let Some(host) = request.host() {
            let host = HeaderValue::from_str(host);
            let host = host.map_err(|_| AuthorizerError::from_static("the host is not valid"))?;
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_LENGTH, body.len().into());
        if request.body().is_some() {
            let is_partial = match request.has_partial_body() {
                true => HeaderValue::from_static("true"),
                false => HeaderValue::from_static("false"),
            };
            headers.insert(PARTIAL_BODY, is_partial);
        }
        for (name, value) in &self.added {
            headers.insert(name.clone(), value.clone());
        }
        *question.body_mut() = Full::new(body);
        Ok(question)
    }

    fn target(&self, path: &str) -> Result<Uri, AuthorizerError> {
        let target = format!("{}{path}", self.path_prefix);
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = target.parse().ok();
        let uri = parts
            .path_and_query
            .is_some()
            .then(|| Uri::from_parts(parts).ok());
        uri.flatten().ok_or_else(|| {
            AuthorizerError::from_static(
                "its path prefix and the path of the request are no target together",
            )
        })
    }

    fn show(&self, request: &AuthorizationRequest, headers: &mut HeaderMap) {
        if self.shown.matches(PROTO.as_str()) {
            headers.insert(PROTO, HeaderValue::from_static(request.scheme()));
        }
        for name in request.headers().keys() {
            let is_shown = *name == AUTHORIZATION || self.shown.matches(name.as_str());
            if !is_shown || is_of_one_message(name) {
                continue;
            }
            // Envoy joins cookies with a comma, which few servers can read.
            let separator: &[u8] = if *name == COOKIE { b"; " } else { b"," };
            let value = stored(request, name, separator).map(|value| text(&value));
            if let Some(mut value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                value.set_sensitive(*name == AUTHORIZATION || *name == COOKIE);
                headers.insert(name.clone(), value);
            }
        }
    }
}

/// Envoy sets it for every request.
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use http_body::Body;

    use super::*;
    use crate::Peer;

    fn request() -> http::request::Builder {
        Request::post("/a?b=1")
            .header("host", "app.default")
            .header("authorization", "Bearer t")
            .header("content-length", "5")
            .header("content-type", "text/plain")
            .header("x-a", "1")
            .header("x-a", "2")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("connection", "close")
    }

    fn asked(question: &Question, body: Option<(&'static str, bool)>) -> Request<Full<Bytes>> {
        let [remote, local] = ["10.0.0.1:1", "10.0.0.2:2"].map(|text| text.parse().unwrap());
        let peer = Peer::plaintext(remote, local);
        let mut request = AuthorizationRequest::new(&peer, request().body(()).unwrap());
        request = match body {
            None => request,
            Some((bytes, false)) => request.with_body(bytes),
            Some((bytes, true)) => request.with_partial_body(bytes),
        };
        question.about(&request).unwrap()
    }

    fn lines(request: &Request<Full<Bytes>>) -> Vec<String> {
        let lines = request.headers().iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines
    }

    fn question(shown: &[&str]) -> Question {
        Question {
            origin: Uri::from_static("http://authz.default:9000"),
            shown: HeaderPatterns::new(shown),
            ..Question::default()
        }
    }

    #[test]
    fn it_has_method_target_host_and_authorization_and_nothing_else_by_itself() {
        let asked = asked(&question(&[]), None);
        assert_eq!(asked.method(), "POST");
        assert_eq!(asked.uri(), "http://authz.default:9000/a?b=1");
        let expected = [
            "authorization: Bearer t",
            "content-length: 0",
            "host: app.default",
        ];
        assert_eq!(lines(&asked), expected);
        assert!(asked.body().is_end_stream());
    }

    #[test]
    fn it_shows_listed_headers_and_adds_others() {
        let question = Question {
            path_prefix: "/check".into(),
            added: vec![
                (
                    HeaderName::from_static("x-from"),
                    HeaderValue::from_static("app"),
                ),
                (
                    HeaderName::from_static("x-a"),
                    HeaderValue::from_static("3"),
                ),
            ],
            ..question(&["x-*", "COOKIE", "content-*", "connection", "host"])
        };
        let first = asked(&question, None);
        assert_eq!(first.uri(), "http://authz.default:9000/check/a?b=1");
        let expected = [
            "authorization: Bearer t",
            "content-length: 0",
            "content-type: text/plain",
            "cookie: a=1; b=2",
            "host: app.default",
            "x-a: 3",
            "x-forwarded-proto: http",
            "x-from: app",
        ];
        assert_eq!(lines(&first), expected);
    }

    #[test]
    fn it_has_the_body_if_one_is_given() {
        for (is_partial, header) in [
            (false, "x-envoy-auth-partial-body: false"),
            (true, "x-envoy-auth-partial-body: true"),
        ] {
            let asked = asked(&question(&[]), Some(("abc", is_partial)));
            assert_eq!(asked.body().size_hint().exact(), Some(3));
            let lines = lines(&asked);
            assert!(lines.contains(&"content-length: 3".to_owned()), "{lines:?}");
            assert!(lines.contains(&header.to_owned()), "{lines:?}");
        }
    }
}
