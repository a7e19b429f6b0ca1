//! Decodes RateLimit.

use std::time::Duration;

use super::meta::{dry_run, selector};
use super::rate_limit_actions::descriptor;
use super::value::{self, MAX_ENTRIES, anything, bounded, required};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    HeaderToAdd, LocalRateLimit, LocalRateLimitDescriptor, Meta, RateLimit, RateLimitBucket,
    RateLimitService, Text,
};

const SPEC: &[&str] = &[
    "selector",
    "reportOnly",
    "local",
    "service",
    "rateLimits",
    "rateLimitedStatus",
    "rateLimitedAsResourceExhausted",
    "enableXRatelimitHeaders",
    "responseHeadersToAdd",
    "requestHeadersToAddWhenNotEnforced",
];
const LOCAL: &[&str] = &[
    "tokenBucket",
    "perConnection",
    "maxKeys",
    "alwaysConsumeDefaultTokenBucket",
    "descriptors",
];
const SERVICE: &[&str] = &[
    "host",
    "port",
    "domain",
    "timeout",
    "failureModeDeny",
    "statusOnError",
    "disableXEnvoyRatelimitedHeader",
];

/// `RateLimit`, `spec`.
pub(in crate::istio) fn rate_limit(meta: Meta, spec: &Cursor<'_, '_>) -> Option<RateLimit> {
    let why = "a RateLimit is tried out with spec.reportOnly; leave the annotation out";
    dry_run(&meta, spec, Err(why));
    let fields = spec.fields(SPEC)?;
    if fields.get("local").is_none() && fields.get("service").is_none() {
        spec.missing(
            "local",
            "is missing, and so is service; write at least one of them",
        );
    }
    let rate_limits = bounded(fields, "rateLimits", MAX_RATE_LIMITS, descriptor);
    let local = fields.get("local").and_then(|at| local(&at));
    let service = fields.get("service").and_then(|at| service(&at));
    if fields.listed("rateLimits").is_none() {
        if fields.get("service").is_some() {
            let message = "is missing; a service counts only the descriptors that it makes";
            spec.missing("rateLimits", message);
        } else if local.as_ref().is_some_and(|at| !at.descriptors.is_empty()) {
            let message = "is missing; local.descriptors match only what it makes";
            spec.missing("rateLimits", message);
        }
    }
    let headers = |name| bounded(fields, name, MAX_HEADERS, header_to_add);
    Some(RateLimit {
        selector: selector(fields),
        report_only: fields.boolean("reportOnly"),
        local,
        service,
        rate_limits,
        rate_limited_status: status(fields),
        rate_limited_as_resource_exhausted: fields.boolean("rateLimitedAsResourceExhausted"),
        enable_x_ratelimit_headers: fields.word("enableXRatelimitHeaders", X_RATELIMIT),
        response_headers_to_add: headers("responseHeadersToAdd"),
        request_headers_to_add_when_not_enforced: headers("requestHeadersToAddWhenNotEnforced"),
        meta,
    })
}

const X_RATELIMIT: &[(&str, bool)] = &[("OFF", false), ("DRAFT_VERSION_03", true)];

/// `rateLimitedStatus`. Envoy takes 429 for one below 400.
fn status(fields: Fields<'_, '_>) -> Option<u16> {
    let at = fields.get("rateLimitedStatus")?;
    let status = http_status(&at)?;
    if status < 400 {
        at.note("is below 400, so that 429 is sent, as Envoy does; write the status that is meant");
    }
    Some(status)
}

fn http_status(at: &Cursor<'_, '_>) -> Option<u16> {
    at.number(200..=599)
        .and_then(|status| u16::try_from(status).ok())
}

fn local(at: &Cursor<'_, '_>) -> Option<LocalRateLimit> {
    let fields = at.fields(LOCAL)?;
    let bucket = fields.get("tokenBucket");
    if bucket.is_none() && fields.listed("descriptors").is_none() {
        let message = "is missing, and so is descriptors; write at least one of them";
        at.missing("tokenBucket", message);
    }
    let max_keys = fields.get("maxKeys");
    let consumes = fields.get("alwaysConsumeDefaultTokenBucket");
    Some(LocalRateLimit {
        token_bucket: bucket.and_then(|at| token_bucket(&at)),
        per_connection: fields.boolean("perConnection"),
        max_keys: max_keys.and_then(|at| at.number(1..=MAX_KEYS)),
        always_consume_default_token_bucket: consumes.and_then(|at| at.boolean()),
        descriptors: bounded(fields, "descriptors", MAX_DESCRIPTORS, local_descriptor),
    })
}

fn local_descriptor(at: &Cursor<'_, '_>) -> Option<LocalRateLimitDescriptor> {
    let fields = at.fields(&["entries", "tokenBucket"])?;
    let entries = bounded(fields, "entries", MAX_ENTRIES, |at| {
        let fields = at.fields(&["key", "value"])?;
        let key = required(fields, "key", anything)?;
        let value = fields.get("value").map(|value| value.text());
        Some((key, value.unwrap_or_else(|| Some(Text::default()))?))
    });
    if fields.listed("entries").is_none() {
        at.missing(
            "entries",
            "is missing; write the keys and values of a descriptor",
        );
    }
    let bucket = fields.demand(
        "tokenBucket",
        "is missing; write maxTokens and fillInterval",
    )?;
    Some(LocalRateLimitDescriptor {
        entries,
        token_bucket: token_bucket(&bucket)?,
        at: at.at(),
    })
}

fn token_bucket(at: &Cursor<'_, '_>) -> Option<RateLimitBucket> {
    let fields = at.fields(&["maxTokens", "tokensPerFill", "fillInterval"])?;
    let max_tokens = fields.demand("maxTokens", "is missing; write how many tokens it holds");
    let interval = fields.demand("fillInterval", "is missing; write for example 1s");
    let tokens_per_fill = match fields.get("tokensPerFill") {
        Some(tokens) => tokens.number(1..=u32::MAX),
        None => Some(1),
    };
    let bucket = RateLimitBucket {
        max_tokens: max_tokens?.number(1..=u32::MAX)?,
        tokens_per_fill: tokens_per_fill?,
        fill_interval: interval.and_then(|at| fill_interval(&at))?,
    };
    let fills = f64::from(bucket.max_tokens) / f64::from(bucket.tokens_per_fill);
    if fills * bucket.fill_interval.as_secs_f64() > LONGEST_FILL.as_secs_f64() {
        at.wrong("takes more than ten years to fill; write more tokensPerFill or fewer maxTokens");
    }
    Some(bucket)
}

fn fill_interval(at: &Cursor<'_, '_>) -> Option<Duration> {
    let interval = at.duration()?;
    if interval < SHORTEST_FILL {
        at.wrong("must be at least 50ms, as in Envoy; write fewer tokensPerFill instead");
    }
    Some(interval)
}

fn service(at: &Cursor<'_, '_>) -> Option<RateLimitService> {
    let fields = at.fields(SERVICE)?;
    let host = required(fields, "host", host);
    let message = "is missing; write the number of the service's port";
    let port = fields.demand("port", message).and_then(|at| at.port());
    let domain = required(fields, "domain", anything);
    let status = fields.get("statusOnError");
    Some(RateLimitService {
        host: host?,
        port: port?,
        domain: domain?,
        timeout: fields.get("timeout").and_then(|at| at.duration()),
        failure_mode_deny: fields.boolean("failureModeDeny"),
        status_on_error: status.and_then(|at| http_status(&at)),
        disable_x_envoy_ratelimited_header: fields.boolean("disableXEnvoyRatelimitedHeader"),
    })
}

/// A host as an application would call it: no scheme, no port, no path.
fn host(at: &Cursor<'_, '_>, text: &str) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !text.bytes().all(good) {
        at.wrong(format!(
            "`{text}` is no host; write its name only, for example ratelimit.platform"
        ));
    }
}

fn header_to_add(at: &Cursor<'_, '_>) -> Option<HeaderToAdd> {
    let fields = at.fields(&["name", "value"])?;
    let name = required(fields, "name", header_to_add_name);
    let value = required(fields, "value", header_value);
    Some(HeaderToAdd::new(name?, value?))
}

fn header_to_add_name(at: &Cursor<'_, '_>, text: &str) {
    value::header_name(at, text);
    if OF_ONE_HOP
        .iter()
        .any(|name| text.eq_ignore_ascii_case(name))
    {
        at.wrong(format!(
            "`{text}` belongs to the connection and to the message; it cannot be added"
        ));
    }
}

fn header_value(at: &Cursor<'_, '_>, text: &str) {
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        at.wrong("is no header value; write printable ASCII characters");
    }
}

/// Headers that nothing but the server itself writes.
const OF_ONE_HOP: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The shortest `fillInterval` of Envoy.
const SHORTEST_FILL: Duration = Duration::from_millis(50);
/// The longest time in which an empty bucket fills.
const LONGEST_FILL: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Bounds of lists: a request runs all actions, and a call to the service carries all descriptors.
const MAX_RATE_LIMITS: usize = 32;
const MAX_DESCRIPTORS: usize = 1_000;
const MAX_HEADERS: usize = 16;
const MAX_KEYS: u32 = 1 << 22;
