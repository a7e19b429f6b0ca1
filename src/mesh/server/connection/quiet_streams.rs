//! Which gRPC streams a client may leave silent for longer than other request bodies.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, Version, header};
use http_body::Body;

use super::served_body::ServedBody;
use crate::context::Peer;
use crate::message::is_grpc;

/// Decides which request bodies may be silent without a bound: those of gRPC calls, whose streams
/// are often quiet. The default lists every method.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct QuietStreams(Option<Arc<[Box<str>]>>);

impl QuietStreams {
    /// Lists only these methods: `/package.Service/Method`, or `/package.Service/` for all methods
    /// of a service.
    ///
    /// # Errors
    /// One mistake of the option for each path of another shape.
    pub(in crate::mesh) fn only<P: AsRef<str>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, Vec<String>> {
        let mut good: Vec<Box<str>> = Vec::new();
        let mut mistakes = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let parts: Vec<_> = path.split('/').collect();
            match *parts {
                ["", service, _] if !service.is_empty() => good.push(path.into()),
                _ => mistakes.push(format!(
                    "quiet_grpc: {path:?} is neither /package.Service/Method nor /package.Service/"
                )),
            }
        }
        match mistakes.is_empty() {
            true => Ok(Self(Some(good.into()))),
            false => Err(mistakes),
        }
    }

    /// Bounds the body of a request: it ends in an error when the client sends nothing for `idle`,
    /// unless it may be silent.
    pub(in crate::mesh) fn bound<B: Body>(
        &self,
        head: &Parts,
        body: B,
        peer: &Peer,
        idle: Duration,
    ) -> ServedBody<B> {
        if body.is_end_stream() {
            return ServedBody::unbounded(body);
        }
        let place = self.has(head).then(|| peer.quiet_place(MOST)).flatten();
        match place {
            Some(place) => ServedBody::quiet(body, place),
            None => ServedBody::bounded(body, idle),
        }
    }

    /// Whether a request is gRPC in every respect, as a client can send any one of them by mistake,
    /// and its method is listed.
    fn has(&self, head: &Parts) -> bool {
        head.version == Version::HTTP_2
            && head.method == Method::POST
            && is_grpc(&head.headers)
            && has_one(&head.headers, header::CONTENT_TYPE)
            && has_one(&head.headers, header::TE)
            && head
                .headers
                .get(header::TE)
                .is_some_and(|te| te == "trailers")
            && self.lists(head.uri.path())
    }

    fn lists(&self, path: &str) -> bool {
        let Some(paths) = &self.0 else {
            return true;
        };
        paths
            .iter()
            .any(|listed| match path.strip_prefix(&**listed) {
                Some("") => !listed.ends_with('/'),
                // The service is listed, and what follows is a plain method name, which no server
                // reads as another path.
                Some(method) => listed.ends_with('/') && method.bytes().all(is_of_name),
                None => false,
            })
    }
}

fn has_one(headers: &HeaderMap, name: header::HeaderName) -> bool {
    headers.get_all(name).iter().count() == 1
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The most silent streams of one connection.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_listed_by_itself_or_with_its_service() {
        let quiet = QuietStreams::only(["/a.B/Watch", "/a.C/"]).unwrap();
        for (path, expected) in [
            ("/a.B/Watch", true),
            ("/a.B/WatchAll", false),
            ("/a.B/watch", false),
            ("/a.B/", false),
            ("/a.C/Any_1", true),
            ("/a.C/", false),
            ("/a.C/../a.B/Other", false),
            ("/a.C/..%2fa.B", false),
            ("/a.C/Any/More", false),
            ("/a.C/Any;a", false),
            ("//a.B/Watch", false),
            ("/a.CD/Any", false),
        ] {
            assert_eq!(quiet.lists(path), expected, "{path}");
            assert!(QuietStreams::default().lists(path), "{path}");
        }
        assert!(!QuietStreams::only([""; 0]).unwrap().lists("/a.B/Watch"));
    }

    #[test]
    fn what_is_no_method_is_a_mistake() {
        for path in ["", "/", "a.B/Watch", "/a.B", "//Watch", "/a/b/c", "*"] {
            let mistake = QuietStreams::only([path]).unwrap_err();
            assert!(mistake[0].contains(&format!("{path:?}")), "{mistake:?}");
        }
    }
}
