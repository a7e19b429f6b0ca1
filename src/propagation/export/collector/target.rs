//! Where a collector is, and the headers that it gets.

use http::Uri;
#[cfg(any(feature = "access-log", feature = "audit"))]
use http::{HeaderMap, HeaderName, HeaderValue};

#[cfg(any(feature = "access-log", feature = "audit"))]
use crate::matcher::query::percent_decode;
use crate::propagation::export::endpoint::{self, EndpointError, read};

/// Where and how a signal is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Grpc(Uri),
    Http(Uri),
}

impl Target {
    pub(in crate::propagation::export) fn grpc(url: &str) -> Result<Self, EndpointError> {
        read(url, "/").map(Self::Grpc)
    }

    /// A URL without a path gets this one.
    pub(in crate::propagation::export) fn http(
        url: &str,
        path: &'static str,
    ) -> Result<Self, EndpointError> {
        read(url, path).map(Self::Http)
    }

    /// By the port that OpenTelemetry gives each protocol, and by the path that only HTTP has. Over
    /// HTTP, a URL without a path gets this one.
    pub(crate) fn guess(url: &str, path: &'static str) -> Result<Self, EndpointError> {
        let uri = read(url, "/")?;
        match uri.port_u16() == Some(4318) || uri.path() != "/" {
            true => Self::http(url, path),
            false => Self::grpc(url),
        }
    }

    /// Where to, for the log.
    pub(crate) fn place(&self) -> String {
        let (Self::Grpc(url) | Self::Http(url)) = self;
        endpoint::shown(url)
    }

    /// By OpenTelemetry's "OpenTelemetry Protocol Exporter" and "Environment Variable
    /// Specification"; `None` when they switch the export off.
    pub(in crate::propagation::export) fn from_env(
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, EndpointError> {
        let env = |name| env(name).filter(|value| !value.trim().is_empty());
        let is = |name, value: &str| env(name).is_some_and(|it| it.trim() == value);
        let is_disabled = env("OTEL_SDK_DISABLED")
            .is_some_and(|disabled| disabled.trim().eq_ignore_ascii_case("true"));
        if is_disabled || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let protocol = env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| env("OTEL_EXPORTER_OTLP_PROTOCOL"));
        let own = env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let all = env("OTEL_EXPORTER_OTLP_ENDPOINT");
        match protocol.as_deref().map(str::trim) {
            Some("grpc") => {
                let url = own.or(all);
                Self::grpc(url.as_deref().unwrap_or("http://localhost:4317")).map(Some)
            }
            Some("http/protobuf") | None => {
                let below = |all: String| format!("{}/v1/traces", all.trim().trim_end_matches('/'));
                let url = own.or_else(|| all.map(below));
                let url = url.as_deref().unwrap_or("http://localhost:4318");
                Self::http(url, TRACES).map(Some)
            }
            Some(other) => Err(EndpointError::new(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL: {other:?} is not supported: take `grpc` or \
                 `http/protobuf`"
            ))),
        }
    }
}

/// The headers for the collector of a signal, `METRICS` or `LOGS`: `KEY=VALUE,KEY=VALUE`,
/// percent-encoded, by OpenTelemetry's "Specifying headers via environment variables". What cannot be
/// a header is left out. (The exporter of spans reads its own.)
#[cfg(any(feature = "access-log", feature = "audit"))]
pub(crate) fn headers(signal: &str) -> HeaderMap {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS");
    let names = [&own, "OTEL_EXPORTER_OTLP_HEADERS"];
    let mut set = names
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    headers_of(&set.find(|text| !text.trim().is_empty()).unwrap_or_default())
}

#[cfg(any(feature = "access-log", feature = "audit"))]
fn headers_of(text: &str) -> HeaderMap {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let header = |(name, value): (&str, &str)| {
        let name = HeaderName::try_from(name.trim()).ok()?;
        let value = percent_decode(value.trim().as_bytes());
        let mut value = HeaderValue::from_bytes(&value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    pairs.filter_map(header).collect()
}

/// OTLP's path for spans.
pub(in crate::propagation::export) const TRACES: &str = "/v1/traces";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_for_collectors_are_percent_encoded() {
        let headers = headers_of("authorization=Basic%20YWJj, x-tenant = a,bad name=x,empty");
        assert_eq!(headers["authorization"], "Basic abc".replace("abc", "YWJj"));
        assert_eq!(headers["x-tenant"], "a");
        assert_eq!(headers.len(), 2);
    }

    fn target(env: &[(&str, &str)]) -> Result<Option<String>, EndpointError> {
        let found = |name: &str| {
            let mut all = env.iter().filter(|(key, _)| *key == name);
            all.next().map(|(_, value)| (*value).to_owned())
        };
        let shown = |target| match target {
            Target::Grpc(url) => format!("grpc {url}"),
            Target::Http(url) => format!("http {url}"),
        };
        Target::from_env(found).map(|target| target.map(shown))
    }

    #[test]
    fn the_port_and_the_path_say_how() {
        for (url, expected) in [
            (
                "http://c:4317",
                Ok("http://c:4317/".parse().map(Target::Grpc).unwrap()),
            ),
            (
                "http://c",
                Ok("http://c/".parse().map(Target::Grpc).unwrap()),
            ),
            (
                "http://c:4318",
                Ok("http://c:4318/v1/traces".parse().map(Target::Http).unwrap()),
            ),
            (
                "http://c/api",
                Ok("http://c/api".parse().map(Target::Http).unwrap()),
            ),
        ] {
            assert_eq!(Target::guess(url, TRACES), expected, "{url}");
        }
        for wrong in [
            "",
            "c:4317",
            "/v1/traces",
            "https://c",
            "ftp://c",
            "http://u:p@c",
            "http://",
        ] {
            assert!(Target::guess(wrong, TRACES).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_environment_says_where_to() {
        let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
        let rows: &[(&[(&str, &str)], &str)] = &[
            (&[], "http http://localhost:4318/v1/traces"),
            (&[(protocol, "grpc")], "grpc http://localhost:4317/"),
            (&[(all, "http://c:1")], "http http://c:1/v1/traces"),
            (
                &[(all, "http://c:1/otel/")],
                "http http://c:1/otel/v1/traces",
            ),
            (
                &[(own, "http://c:1/t"), (all, "http://d:1")],
                "http http://c:1/t",
            ),
            (
                &[(all, "http://c:1"), (protocol, "grpc")],
                "grpc http://c:1/",
            ),
            (
                &[(all, " "), (protocol, "")],
                "http http://localhost:4318/v1/traces",
            ),
            (
                &[
                    (protocol, "http/json"),
                    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
                ],
                "grpc http://localhost:4317/",
            ),
        ];
        for (env, expected) in rows {
            assert_eq!(target(env), Ok(Some((*expected).to_owned())), "{env:?}");
        }
        assert_eq!(target(&[("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(target(&[("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        for wrong in [(protocol, "http/json"), (all, "c:4317"), (all, "https://c")] {
            assert!(target(&[wrong]).is_err(), "{wrong:?}");
        }
    }
}
