//! `mesh.tower/v1` RateLimit.

use std::time::Duration;

use crate::istio::{Meta, Position, Selector, Text};

/// `RateLimit`: how many requests a workload takes. This kind is tower-mesh's own; its descriptors
/// have Envoy's shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Name, namespace, position.
    pub meta: Meta,
    /// Which workloads it touches.
    pub selector: Selector,
    /// `reportOnly`: it counts and refuses nothing.
    pub report_only: bool,
    /// `local`: what the process counts.
    pub local: Option<LocalRateLimit>,
    /// `service`: who counts for all processes.
    pub service: Option<RateLimitService>,
    /// `rateLimits[]`: what is counted.
    pub rate_limits: Vec<RateLimitDescriptor>,
    /// `rateLimitedStatus`; `None`: 429.
    pub rate_limited_status: Option<u16>,
    /// `rateLimitedAsResourceExhausted`.
    pub rate_limited_as_resource_exhausted: bool,
    /// `enableXRatelimitHeaders: DRAFT_VERSION_03`.
    pub enable_x_ratelimit_headers: bool,
    /// `responseHeadersToAdd[]`.
    pub response_headers_to_add: Vec<HeaderToAdd>,
    /// `requestHeadersToAddWhenNotEnforced[]`.
    pub request_headers_to_add_when_not_enforced: Vec<HeaderToAdd>,
}

/// A header that a [`RateLimit`] adds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderToAdd {
    /// Its name.
    pub name: Text,
    /// Its value.
    pub value: Text,
}

impl HeaderToAdd {
    /// A header.
    pub(in crate::istio) fn new(name: Text, value: Text) -> Self {
        Self { name, value }
    }
}

/// `tokenBucket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitBucket {
    /// `maxTokens`, at least 1.
    pub max_tokens: u32,
    /// `tokensPerFill`, at least 1.
    pub tokens_per_fill: u32,
    /// `fillInterval`, at least 50 ms.
    pub fill_interval: Duration,
}

/// `local`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalRateLimit {
    /// `tokenBucket`: the default bucket.
    pub token_bucket: Option<RateLimitBucket>,
    /// `perConnection`.
    pub per_connection: bool,
    /// `maxKeys`; `None`: 10,000.
    pub max_keys: Option<u32>,
    /// `alwaysConsumeDefaultTokenBucket`; `None`: true.
    pub always_consume_default_token_bucket: Option<bool>,
    /// `descriptors[]`.
    pub descriptors: Vec<LocalRateLimitDescriptor>,
}

/// One of `local.descriptors`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalRateLimitDescriptor {
    /// `entries[]`: keys and values, in order. An empty value stands for any.
    pub entries: Vec<(Text, Text)>,
    /// `tokenBucket`.
    pub token_bucket: RateLimitBucket,
    /// Where it was written.
    pub at: Position,
}

/// `service`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitService {
    /// `host`.
    pub host: Text,
    /// `port`.
    pub port: u16,
    /// `domain`.
    pub domain: Text,
    /// `timeout`; zero means none, and `None` 20 ms.
    pub timeout: Option<Duration>,
    /// `failureModeDeny`.
    pub failure_mode_deny: bool,
    /// `statusOnError`; `None`: 500.
    pub status_on_error: Option<u16>,
    /// `disableXEnvoyRatelimitedHeader`.
    pub disable_x_envoy_ratelimited_header: bool,
}

/// One of `rateLimits`: the actions make one descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitDescriptor {
    /// `actions[]`.
    pub actions: Vec<RateLimitAction>,
    /// Where it was written.
    pub at: Position,
}

/// One of `actions`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Envoy's own, name for name")]
#[non_exhaustive]
pub enum RateLimitAction {
    /// `sourceCluster`.
    SourceCluster,
    /// `destinationCluster`.
    DestinationCluster,
    /// `requestHeaders`.
    RequestHeaders {
        header_name: Text,
        descriptor_key: Text,
        absent: WhenAbsent,
    },
    /// `queryParameters`.
    QueryParameters {
        query_parameter_name: Text,
        descriptor_key: Text,
        absent: WhenAbsent,
    },
    /// `queryParameterValueMatch`.
    QueryParameterValueMatch {
        descriptor_key: Option<Text>,
        descriptor_value: Text,
        expect_match: bool,
        query_parameters: Vec<QueryParameterMatch>,
    },
    /// `remoteAddress`.
    RemoteAddress,
    /// `maskedRemoteAddress`.
    MaskedRemoteAddress {
        v4_prefix_mask_len: u8,
        v6_prefix_mask_len: u8,
    },
    /// `genericKey`.
    GenericKey {
        descriptor_key: Option<Text>,
        descriptor_value: Text,
    },
    /// `headerValueMatch`.
    HeaderValueMatch {
        descriptor_key: Option<Text>,
        descriptor_value: Text,
        expect_match: bool,
        headers: Vec<HeaderMatch>,
    },
    /// `metadata`.
    Metadata {
        descriptor_key: Text,
        filter: Text,
        path: Vec<Text>,
        absent: WhenAbsent,
    },
    /// `method`, of this crate.
    Method,
    /// `host`, of this crate.
    Host,
    /// `path`, of this crate.
    Path { templates: Vec<Text> },
    /// `principal`, of this crate.
    Principal { absent: WhenAbsent },
    /// `requestPrincipal`, of this crate.
    RequestPrincipal { absent: WhenAbsent },
    /// `claim`, of this crate.
    Claim {
        path: Vec<Text>,
        descriptor_key: Option<Text>,
        absent: WhenAbsent,
    },
}

/// What an action does without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAbsent {
    /// The descriptor is dropped.
    #[default]
    Drop,
    /// `skipIfAbsent`.
    Skip,
    /// `defaultValue`.
    Value(Text),
}

/// One of `headerValueMatch.headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderMatch {
    /// `name`.
    pub name: Text,
    /// The one test that is written.
    pub test: HeaderMatchTest,
    /// `invertMatch`.
    pub invert_match: bool,
    /// `treatMissingHeaderAsEmpty`.
    pub treat_missing_header_as_empty: bool,
}

impl HeaderMatch {
    /// A test of this header, as written without options.
    pub(in crate::istio) fn new(name: Text, test: HeaderMatchTest) -> Self {
        Self {
            name,
            test,
            invert_match: false,
            treat_missing_header_as_empty: false,
        }
    }
}

/// The test of a [`HeaderMatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Envoy's own, name for name")]
#[non_exhaustive]
pub enum HeaderMatchTest {
    /// `stringMatch`.
    String(TextMatch),
    /// `rangeMatch`: `start <= value < end`.
    Range { start: i64, end: i64 },
    /// `presentMatch`.
    Present(bool),
}

/// One of `queryParameterValueMatch.queryParameters`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryParameterMatch {
    /// `name`.
    pub name: Text,
    /// `stringMatch`; `None`: `presentMatch`.
    pub test: Option<TextMatch>,
}

impl QueryParameterMatch {
    /// A test of this parameter.
    pub(in crate::istio) fn new(name: Text, test: Option<TextMatch>) -> Self {
        Self { name, test }
    }
}

/// `stringMatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextMatch {
    /// How the text is compared.
    pub kind: TextMatchKind,
    /// The text, or the regex.
    pub text: Text,
    /// `ignoreCase`.
    pub ignore_case: bool,
}

impl TextMatch {
    /// A test of this kind.
    pub(in crate::istio) fn new(kind: TextMatchKind, text: Text, ignore_case: bool) -> Self {
        Self {
            kind,
            text,
            ignore_case,
        }
    }
}

/// How a [`TextMatch`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextMatchKind {
    /// `exact`.
    Exact,
    /// `prefix`.
    Prefix,
    /// `suffix`.
    Suffix,
    /// `contains`.
    Contains,
    /// `safeRegex`.
    Regex,
}
