//! Reads the answer.

use bytes::Bytes;
use http::header::{HOST, LOCATION, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::patterns::HeaderPatterns;
use crate::external::mutations::is_framing;
use crate::external::{Authorization, AuthorizerError, Changes, Denial};

/// The headers of an answer that requests and replies take on.
#[derive(Clone, Debug, Default)]
pub(super) struct TakenHeaders {
    pub(super) upstream_on_allow: HeaderPatterns,
    pub(super) downstream_on_allow: HeaderPatterns,
    /// Empty: all.
    pub(super) downstream_on_deny: HeaderPatterns,
}

/// What the status of an answer says.
pub(super) enum Said {
    Allow,
    Deny,
}

/// Exactly 200 allows. Any other status below 500 denies.
///
/// # Errors
///
/// The provider has failed.
pub(super) fn said(status: StatusCode) -> Result<Said, AuthorizerError> {
    match status.as_u16() {
        200 => Ok(Said::Allow),
        201..500 => Ok(Said::Deny),
        code => {
            let message = format!("it answered with the status {code}");
            Err(AuthorizerError::new(message))
        }
    }
}

impl TakenHeaders {
    /// The request goes on with the listed headers of the answer.
    ///
    /// # Errors
    ///
    /// The answer names headers to remove that are no names.
    pub(super) fn allowed(&self, head: &Parts) -> Result<Authorization, AuthorizerError> {
        let mut changes = Changes::new();
        for name in head.headers.keys().filter(|name| !is_answers_own(name)) {
            // As in Envoy, the last of several lines counts.
            let last = head.headers.get_all(name).iter().next_back();
            if self.upstream_on_allow.matches(name.as_str())
                && let Some(last) = last
            {
                changes = changes.set_header(name.clone(), last.clone());
            }
            if self.downstream_on_allow.matches(name.as_str()) {
                for value in head.headers.get_all(name) {
                    changes = changes.add_response_header(name.clone(), value.clone());
                }
            }
        }
        for name in removed(&head.headers) {
            changes = changes.remove_header(name?);
        }
        Ok(changes.into())
    }

    /// The caller gets the status, the body and the listed headers of the answer.
    pub(super) fn denied(&self, head: &Parts, body: Bytes) -> Authorization {
        let mut denial = Denial::new(head.status).body(body);
        for (name, value) in &head.headers {
            if self.is_shown(name) {
                denial = denial.header(name.clone(), value.clone());
            }
        }
        denial.into()
    }

    fn is_shown(&self, name: &HeaderName) -> bool {
        let is_listed = || {
            self.downstream_on_deny.is_empty()
                || *name == LOCATION
                || *name == WWW_AUTHENTICATE
                || self.downstream_on_deny.matches(name.as_str())
        };
        *name != HOST && !is_answers_own(name) && is_listed()
    }
}

/// The names in `x-envoy-auth-headers-to-remove`. As in Envoy, pseudo headers are ignored.
fn removed(headers: &HeaderMap) -> impl Iterator<Item = Result<HeaderName, AuthorizerError>> {
    let lines = headers.get_all(TO_REMOVE).iter().map(HeaderValue::as_bytes);
    let names = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !name.is_empty() && !name.starts_with(b":"));
    names.map(|name| {
        HeaderName::from_bytes(name).map_err(|_| {
            AuthorizerError::from_static(
                "its x-envoy-auth-headers-to-remove holds what is no name of a header",
            )
        })
    })
}

/// Whether a header is about the answer itself: its framing, what it says to this crate, and what
/// a proxy in front of the provider adds to each of its answers.
fn is_answers_own(name: &HeaderName) -> bool {
    is_framing(name.as_str()) || *name == TO_REMOVE || OF_PROXIES.contains(&name.as_str())
}

const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

const OF_PROXIES: [&str; 4] = [
    "x-envoy-decorator-operation",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "x-envoy-upstream-service-time",
];

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::external::HeaderChange;

    fn head(status: u16, lines: &[(&str, &str)]) -> Parts {
        let response = lines
            .iter()
            .fold(Response::builder(), |response, (name, value)| {
                response.header(*name, *value)
            });
        response.status(status).body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_200_allows_and_servers_errors_are_errors() {
        for (status, expected) in [
            (200, Some(true)),
            (201, Some(false)),
            (204, Some(false)),
            (302, Some(false)),
            (401, Some(false)),
            (404, Some(false)),
            (499, Some(false)),
            (500, None),
            (503, None),
            (599, None),
            (101, None),
        ] {
            let said = said(StatusCode::from_u16(status).unwrap());
            let said = said.ok().map(|said| matches!(said, Said::Allow));
            assert_eq!(said, expected, "{status}");
        }
    }

    #[test]
    fn an_allowed_request_takes_on_the_listed_headers() {
        let taken = TakenHeaders {
            upstream_on_allow: HeaderPatterns::new(["x-*", "content-length"]),
            downstream_on_allow: HeaderPatterns::new(["set-cookie"]),
            ..TakenHeaders::default()
        };
        let head = head(
            200,
            &[
                ("x-user", "alice"),
                ("x-role", "a"),
                ("x-role", "b"),
                ("other", "o"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("content-length", "3"),
                ("x-envoy-upstream-service-time", "4"),
                (
                    "x-envoy-auth-headers-to-remove",
                    "cookie, X-Old,,:path, host",
                ),
            ],
        );
        let Ok(Authorization::Allowed(changes)) = taken.allowed(&head) else {
            panic!("denied");
        };
        let shown = changes.header_changes().iter().map(|change| match change {
            HeaderChange::Set(name, value) => format!("{name}={}", value.to_str().unwrap()),
            HeaderChange::Append(name, value) => format!("{name}+{}", value.to_str().unwrap()),
            HeaderChange::AppendIfPresent(name, _) => format!("{name}?"),
            HeaderChange::Remove(name) => format!("-{name}"),
        });
        let shown: Vec<_> = shown.collect();
        let expected = ["x-user=alice", "x-role=b", "-cookie", "-x-old", "-host"];
        assert_eq!(shown, expected);
        assert_eq!(changes.response_headers().len(), 2);
    }

    #[test]
    fn what_is_to_be_removed_is_a_name() {
        let head = head(200, &[("x-envoy-auth-headers-to-remove", "a b")]);
        assert!(TakenHeaders::default().allowed(&head).is_err());
    }

    #[test]
    fn a_refusal_has_all_headers_or_the_listed_ones() {
        let lines = [
            ("location", "/login"),
            ("www-authenticate", "Basic"),
            ("set-cookie", "a=1"),
            ("x-why", "b"),
            ("host", "c"),
            ("content-length", "2"),
            ("transfer-encoding", "chunked"),
        ];
        let all: &[_] = &["location", "www-authenticate", "set-cookie", "x-why"];
        for (patterns, expected) in [
            (&[][..], all),
            (&["x-*"], &["location", "www-authenticate", "x-why"]),
            (&["host"], &["location", "www-authenticate"]),
        ] {
            let taken = TakenHeaders {
                downstream_on_deny: HeaderPatterns::new(patterns),
                ..TakenHeaders::default()
            };
            let body = Bytes::from_static(b"no");
            let Authorization::Denied(denial) = taken.denied(&head(302, &lines), body) else {
                panic!("allowed");
            };
            let names: Vec<_> = denial
                .headers()
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            assert_eq!(names, expected, "{patterns:?}");
            assert_eq!(
                (denial.status().as_u16(), &**denial.body_bytes()),
                (302, &b"no"[..])
            );
        }
    }
}
