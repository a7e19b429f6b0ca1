//! What the routes of a VirtualService do.

use std::time::Duration;

use super::{Destination, FractionalPercent, StringMatch};
use crate::istio::{Position, Text};

/// `redirect`. It has at least one of uri, prefix rewrite, authority, scheme and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRedirect {
    /// `uri`: the new path, which may have a query of its own.
    pub uri: Option<Text>,
    /// `prefixRewrite`: takes the place of the prefix that was matched.
    pub prefix_rewrite: Option<Text>,
    /// `authority`: takes the place of host and port.
    pub authority: Option<Text>,
    /// `scheme`, `http` or `https`.
    pub scheme: Option<Text>,
    /// `port` or `derivePort`.
    pub port: Option<RedirectPort>,
    /// `redirectCode`: 301, 302, 303, 307 or 308. `None`: 301.
    pub redirect_code: Option<u16>,
    /// Where it was written.
    pub at: Position,
}

/// The port that an [`HttpRedirect`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectPort {
    /// `port`.
    Number(u16),
    /// `derivePort: FROM_PROTOCOL_DEFAULT`.
    FromProtocolDefault,
    /// `derivePort: FROM_REQUEST_PORT`.
    FromRequestPort,
}

/// `directResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectResponse {
    /// `status`, from 200 to 599.
    pub status: u16,
    /// `body.string`, or `body.bytes` after its base64 was taken off; at most 1 MiB. Empty: none.
    pub body: Vec<u8>,
    /// Where it was written.
    pub at: Position,
}

/// `rewrite`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRewrite {
    /// `uri`: takes the place of the prefix that was matched, else of the path. Never with a regex.
    pub uri: Option<Text>,
    /// `uriRegexRewrite`.
    pub uri_regex_rewrite: Option<RegexRewrite>,
    /// `authority`.
    pub authority: Option<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `uriRegexRewrite`: every match in the path is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegexRewrite {
    /// `match`: RE2.
    pub pattern: Text,
    /// `rewrite`: the new text, in which `\1` is the first group.
    pub rewrite: Text,
}

/// `headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Headers {
    /// `request`.
    pub request: HeaderOperations,
    /// `response`.
    pub response: HeaderOperations,
}

/// `headers.request` and `headers.response`, in the order they are written. `remove` comes first,
/// then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderOperations {
    /// `set`: names and values.
    pub set: Vec<(Text, Text)>,
    /// `add`: names and values.
    pub add: Vec<(Text, Text)>,
    /// `remove[]`: names.
    pub remove: Vec<Text>,
}

/// `retries`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRetry {
    /// `attempts` beside the first. With 0, nothing else is set.
    pub attempts: u32,
    /// `perTryTimeout`, at least 1 ms.
    pub per_try_timeout: Option<Duration>,
    /// `retryOn`, split at its commas: conditions and status codes, as written. Empty: the built-in
    /// ones.
    pub retry_on: Vec<Text>,
    /// `retryRemoteLocalities`.
    pub retry_remote_localities: Option<bool>,
    /// `retryIgnorePreviousHosts`.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// `backoff`: its base, at least 1 ms.
    pub backoff: Option<Duration>,
    /// Where it was written.
    pub at: Position,
}

/// `mirror`, or one of `mirrors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorPolicy {
    /// `destination`.
    pub destination: Destination,
    /// `percentage`, or `mirrorPercentage` of the route. `None`: all.
    pub percentage: Option<FractionalPercent>,
    /// Where it was written.
    pub at: Position,
}

/// `fault`, with one of the two at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultInjection {
    /// `delay`.
    pub delay: Option<FaultDelay>,
    /// `abort`.
    pub abort: Option<FaultAbort>,
    /// Where it was written.
    pub at: Position,
}

/// `fault.delay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultDelay {
    /// `fixedDelay`, at least 1 ms.
    pub fixed_delay: Duration,
    /// `percentage`, else the older `percent`, else none.
    pub percentage: FractionalPercent,
}

/// `fault.abort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultAbort {
    /// `httpStatus` or `grpcStatus`.
    pub status: FaultStatus,
    /// `percentage`, else none.
    pub percentage: FractionalPercent,
}

/// What a [`FaultAbort`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultStatus {
    /// `httpStatus`, from 200 to 599.
    Http(u16),
    /// `grpcStatus`: the number of the code that is named.
    Grpc(u8),
}

/// `corsPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorsPolicy {
    /// `allowOrigins[]`, else the older `allowOrigin[]` as exact texts. The exact text `*` is any
    /// origin.
    pub allow_origins: Vec<StringMatch>,
    /// `allowMethods[]`.
    pub allow_methods: Vec<Text>,
    /// `allowHeaders[]`.
    pub allow_headers: Vec<Text>,
    /// `exposeHeaders[]`.
    pub expose_headers: Vec<Text>,
    /// `maxAge`, in whole seconds.
    pub max_age: Option<Duration>,
    /// `allowCredentials`.
    pub allow_credentials: Option<bool>,
    /// `unmatchedPreflights`.
    pub unmatched_preflights: UnmatchedPreflights,
    /// Where it was written.
    pub at: Position,
}

/// What becomes of a preflight of an origin that is not allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnmatchedPreflights {
    /// `UNSPECIFIED` or `FORWARD`: it is passed on.
    #[default]
    Forward,
    /// `IGNORE`: it is answered, without the origin.
    Ignore,
}
