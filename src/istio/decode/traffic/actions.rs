//! Decodes what the HTTP routes of a VirtualService do.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::value::{
    MAX_INT32, choice, destination, duration, field, percentage, port, regex, string_match, text,
};
use crate::istio::Text;
use crate::istio::decode::value::{checked, header_name};
use crate::istio::traffic::{
    CorsPolicy, DirectResponse, FaultAbort, FaultDelay, FaultInjection, FaultStatus,
    FractionalPercent, HttpRedirect, HttpRetry, HttpRewrite, MirrorPolicy, RedirectPort,
    RegexRewrite, StringMatch, UnmatchedPreflights,
};
use crate::istio::yaml::cursor::{Cursor, digits};
use crate::istio::yaml::fields::Fields;

const REDIRECT: &[&str] = &[
    "uri",
    "prefixRewrite",
    "authority",
    "port",
    "derivePort",
    "scheme",
    "redirectCode",
];
const RETRY: &[&str] = &[
    "attempts",
    "perTryTimeout",
    "retryOn",
    "retryRemoteLocalities",
    "retryIgnorePreviousHosts",
    "backoff",
];
const CORS: &[&str] = &[
    "allowOrigin",
    "allowOrigins",
    "allowMethods",
    "allowHeaders",
    "exposeHeaders",
    "maxAge",
    "allowCredentials",
    "unmatchedPreflights",
];

/// `redirect`.
pub(super) fn redirect(at: &Cursor<'_, '_>) -> Option<HttpRedirect> {
    let fields = at.fields(REDIRECT)?;
    let (uri, prefix_rewrite) = (text(fields, "uri"), text(fields, "prefixRewrite"));
    if uri.is_some() && prefix_rewrite.is_some() {
        at.wrong("has uri and prefixRewrite; keep one of them");
    }
    let authority = text(fields, "authority");
    let scheme = checked(fields, "scheme", |at, scheme| {
        if !["http", "https"].contains(&scheme) {
            at.wrong(format!(
                "`{scheme}` is no scheme of a redirect; write http or https"
            ));
        }
    });
    let redirect_port = redirect_port(fields);
    let is_empty = uri.is_none() && prefix_rewrite.is_none() && authority.is_none();
    if is_empty && scheme.is_none() && redirect_port.is_none() {
        at.wrong(
            "changes nothing; write uri, prefixRewrite, authority, scheme, port or derivePort",
        );
    }
    Some(HttpRedirect {
        uri,
        prefix_rewrite,
        authority,
        scheme,
        port: redirect_port,
        redirect_code: field(fields, "redirectCode", redirect_code),
        at: at.at(),
    })
}

fn redirect_port(fields: Fields<'_, '_>) -> Option<RedirectPort> {
    const DERIVED: &[(&str, RedirectPort)] = &[
        ("FROM_PROTOCOL_DEFAULT", RedirectPort::FromProtocolDefault),
        ("FROM_REQUEST_PORT", RedirectPort::FromRequestPort),
    ];
    let derived = fields.get("derivePort");
    if let Some(derived) = &derived
        && fields.get("port").is_some()
    {
        derived.wrong("cannot be combined with port; keep one");
    }
    let number = port(fields, "port").map(RedirectPort::Number);
    number.or_else(|| derived?.word(DERIVED))
}

/// Any other code would make Envoy refuse the whole table of routes.
fn redirect_code(at: &Cursor<'_, '_>) -> Option<u16> {
    const CODES: [u32; 5] = [301, 302, 303, 307, 308];
    let code = at.number(0..=u32::from(u16::MAX))?;
    if code == 0 {
        return None;
    }
    if !CODES.contains(&code) {
        at.wrong(format!(
            "{code} is no code of a redirect; write 301, 302, 303, 307 or 308"
        ));
        return None;
    }
    u16::try_from(code).ok()
}

/// `directResponse`.
pub(super) fn direct_response(at: &Cursor<'_, '_>) -> Option<DirectResponse> {
    let fields = at.fields(&["status", "body"])?;
    let status = fields.demand("status", "is missing; write a status from 200 to 599");
    let body = fields.get("body");
    Some(DirectResponse {
        body: body.and_then(|at| body_bytes(&at)).unwrap_or_default(),
        status: status.and_then(|at| http_status(&at))?,
        at: at.at(),
    })
}

fn body_bytes(at: &Cursor<'_, '_>) -> Option<Vec<u8>> {
    let fields = at.fields(&["string", "bytes"])?;
    let text = fields.get("string");
    let bytes = fields.get("bytes");
    if let (Some(_), Some(second)) = (&text, &bytes) {
        second.wrong("cannot be combined with string; keep one");
    }
    let body = match (text, bytes) {
        (Some(text), _) => text.str()?.as_bytes().to_vec(),
        (None, Some(bytes)) => match STANDARD.decode(bytes.str()?) {
            Ok(body) => body,
            Err(_) => {
                bytes.wrong("is no base64; write the bytes of the body in base64, or string");
                return None;
            }
        },
        (None, None) => Vec::new(),
    };
    if body.len() > MAX_BODY {
        at.wrong("is larger than 1 MiB; serve it from a service");
    }
    Some(body)
}

const MAX_BODY: usize = 1 << 20;

fn http_status(at: &Cursor<'_, '_>) -> Option<u16> {
    at.number(200..=599)
        .and_then(|status| u16::try_from(status).ok())
}

/// `rewrite`.
pub(super) fn rewrite(at: &Cursor<'_, '_>) -> Option<HttpRewrite> {
    let fields = at.fields(&["uri", "authority", "uriRegexRewrite"])?;
    let uri = text(fields, "uri");
    let regex = fields.get("uriRegexRewrite");
    if let Some(second) = &regex
        && uri.is_some()
    {
        second.wrong("cannot be combined with uri; keep one");
    }
    let authority = text(fields, "authority");
    if uri.is_none() && regex.is_none() && authority.is_none() {
        at.wrong("changes nothing; write uri, uriRegexRewrite or authority");
    }
    Some(HttpRewrite {
        uri,
        uri_regex_rewrite: regex.and_then(|at| regex_rewrite(&at)),
        authority,
        at: at.at(),
    })
}

fn regex_rewrite(at: &Cursor<'_, '_>) -> Option<RegexRewrite> {
    let fields = at.fields(&["match", "rewrite"])?;
    let pattern = fields.demand("match", "is missing; write a regex");
    let rewrite = fields.demand("rewrite", "is missing; write the new text");
    let pattern = pattern.and_then(|at| {
        let pattern = at.filled()?;
        regex(&at, &pattern);
        Some(pattern)
    });
    Some(RegexRewrite {
        rewrite: rewrite.and_then(|at| at.filled())?,
        pattern: pattern?,
    })
}

/// `retries`, also of MeshConfig.
pub(in crate::istio::decode) fn retries(at: &Cursor<'_, '_>) -> Option<HttpRetry> {
    let fields = at.fields(RETRY)?;
    let attempts = fields.get("attempts");
    let attempts = attempts.map_or(Some(0), |at| at.number(0..=MAX_INT32));
    let retry = HttpRetry {
        attempts: attempts.unwrap_or_default(),
        per_try_timeout: field(fields, "perTryTimeout", duration),
        retry_on: field(fields, "retryOn", retry_on).unwrap_or_default(),
        retry_remote_localities: choice(fields, "retryRemoteLocalities"),
        retry_ignore_previous_hosts: choice(fields, "retryIgnorePreviousHosts"),
        backoff: field(fields, "backoff", duration),
        at: at.at(),
    };
    if attempts == Some(0)
        && let Some(moot) = ["perTryTimeout", "retryOn", "retryRemoteLocalities"]
            .into_iter()
            .find_map(|name| fields.get(name).filter(|at| !is_blank(at)))
    {
        moot.wrong(
            "says how to retry, and attempts is 0 or missing; write attempts, or leave this out",
        );
    }
    Some(retry)
}

fn is_blank(at: &Cursor<'_, '_>) -> bool {
    at.node()
        .scalar()
        .is_some_and(|scalar| scalar.text.is_empty())
}

fn retry_on(at: &Cursor<'_, '_>) -> Option<Vec<Text>> {
    // A single code is a number, without quotes.
    let text: &str = match at.node().scalar() {
        Some(scalar) if digits(&scalar.text).is_some() => &scalar.text,
        _ => at.str()?,
    };
    if text.is_empty() {
        return None;
    }
    let word = |word: &str| {
        let code = digits(word).filter(|code| NAMED_STATUSES.contains(code));
        if code.is_none() && !CONDITIONS.contains(&word) {
            let remedy = match word.trim() {
                trimmed if trimmed.len() < word.len() => "leave out the blank".to_owned(),
                _ => format!(
                    "known are codes of HTTP, such as 503, and {}",
                    CONDITIONS.join(", ")
                ),
            };
            at.wrong(format!("`{word}` is no condition of a retry; {remedy}"));
        }
        Text::new(word, at.at())
    };
    Some(text.split(',').map(word).collect())
}

/// Envoy's conditions, of HTTP and of gRPC.
const CONDITIONS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// The codes that Go's `net/http` has a text for: Istio takes no others.
const NAMED_STATUSES: [u32; 62] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304,
    305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415,
    416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505,
    506, 507, 508, 510, 511,
];

/// One of `mirrors`.
pub(super) fn mirror_policy(at: &Cursor<'_, '_>) -> Option<MirrorPolicy> {
    let fields = at.fields(&["destination", "percentage"])?;
    let message = "is missing; write where the copies go";
    let to = fields.demand("destination", message);
    Some(MirrorPolicy {
        percentage: field(fields, "percentage", percentage),
        destination: to.and_then(|at| destination(&at))?,
        at: at.at(),
    })
}

/// `fault`.
pub(super) fn fault(at: &Cursor<'_, '_>) -> Option<FaultInjection> {
    let fields = at.fields(&["delay", "abort"])?;
    let (delay, abort) = (fields.get("delay"), fields.get("abort"));
    if delay.is_none() && abort.is_none() {
        at.wrong("injects nothing; write delay or abort");
    }
    Some(FaultInjection {
        delay: delay.and_then(|at| fault_delay(&at)),
        abort: abort.and_then(|at| fault_abort(&at)),
        at: at.at(),
    })
}

/// A share, and a note where there is none: the fault is then never injected.
fn share(at: &Cursor<'_, '_>, fields: Fields<'_, '_>) -> FractionalPercent {
    if fields.get("percentage").is_none() && fields.get("percent").is_none() {
        at.note(
            "has no percentage, and so never happens; write percentage: {value: 100} for always",
        );
    }
    field(fields, "percentage", percentage).unwrap_or_default()
}

fn fault_delay(at: &Cursor<'_, '_>) -> Option<FaultDelay> {
    let fields = at.fields(&["fixedDelay", "exponentialDelay", "percentage", "percent"])?;
    if let Some(exponential) = fields.get("exponentialDelay") {
        exponential.wrong("is not supported, in Istio either; write fixedDelay");
        return None;
    }
    let percent = fields.get("percent");
    let percent = percent.and_then(|at| super::value::whole_percent(&at));
    let share = share(at, fields);
    let Some(delay) = fields.get("fixedDelay") else {
        at.note("delays nothing; write fixedDelay, or leave it out");
        return None;
    };
    Some(FaultDelay {
        fixed_delay: duration(&delay)?,
        percentage: match fields.get("percentage") {
            Some(_) => share,
            None => percent.unwrap_or_default(),
        },
    })
}

fn fault_abort(at: &Cursor<'_, '_>) -> Option<FaultAbort> {
    let fields = at.fields(&["httpStatus", "grpcStatus", "http2Error", "percentage"])?;
    let percentage = share(at, fields);
    if let Some(error) = fields.get("http2Error") {
        error.wrong("is not supported, in Istio either; write httpStatus or grpcStatus");
        return None;
    }
    let (http, grpc) = (fields.get("httpStatus"), fields.get("grpcStatus"));
    if let (Some(_), Some(second)) = (&http, &grpc) {
        second.wrong("cannot be combined with httpStatus; keep one");
        return None;
    }
    let status = match (http, grpc) {
        (Some(http), _) => FaultStatus::Http(http_status(&http)?),
        (None, Some(grpc)) => FaultStatus::Grpc(grpc_status(&grpc)?),
        (None, None) => {
            at.note("aborts nothing; write httpStatus or grpcStatus, or leave it out");
            return None;
        }
    };
    Some(FaultAbort { status, percentage })
}

fn grpc_status(at: &Cursor<'_, '_>) -> Option<u8> {
    let text = at.node().scalar().map(|scalar| &*scalar.text);
    if text.is_some_and(|text| digits(text).is_some()) {
        at.wrong("is a number; write the name of the code, for example UNAVAILABLE");
        return None;
    }
    at.word(GRPC_STATUSES)
}

const GRPC_STATUSES: &[(&str, u8)] = &[
    ("OK", 0),
    ("CANCELLED", 1),
    ("UNKNOWN", 2),
    ("INVALID_ARGUMENT", 3),
    ("DEADLINE_EXCEEDED", 4),
    ("NOT_FOUND", 5),
    ("ALREADY_EXISTS", 6),
    ("PERMISSION_DENIED", 7),
    ("RESOURCE_EXHAUSTED", 8),
    ("FAILED_PRECONDITION", 9),
    ("ABORTED", 10),
    ("OUT_OF_RANGE", 11),
    ("UNIMPLEMENTED", 12),
    ("INTERNAL", 13),
    ("UNAVAILABLE", 14),
    ("DATA_LOSS", 15),
    ("UNAUTHENTICATED", 16),
];

const PREFLIGHTS: &[(&str, UnmatchedPreflights)] = &[
    ("UNSPECIFIED", UnmatchedPreflights::Forward),
    ("FORWARD", UnmatchedPreflights::Forward),
    ("IGNORE", UnmatchedPreflights::Ignore),
];

/// `corsPolicy`.
pub(super) fn cors(at: &Cursor<'_, '_>) -> Option<CorsPolicy> {
    let fields = at.fields(CORS)?;
    let mut allow_origins = fields.each("allowOrigins", |at| {
        let origin = string_match(at)?;
        if origin
            .as_ref()
            .is_none_or(|origin| origin.text().is_empty())
        {
            at.wrong("matches no origin; write exact, prefix or regex");
            return None;
        }
        origin
    });
    let older = fields.texts("allowOrigin", |_, _| {});
    if allow_origins.is_empty() {
        allow_origins = older.into_iter().map(StringMatch::Exact).collect();
    }
    let header = |at: &Cursor<'_, '_>, name: &str| {
        if name != "*" {
            header_name(at, name);
        }
    };
    Some(CorsPolicy {
        allow_origins,
        allow_methods: fields.texts("allowMethods", cors_method),
        allow_headers: fields.texts("allowHeaders", header),
        expose_headers: fields.texts("exposeHeaders", header),
        max_age: field(fields, "maxAge", max_age),
        allow_credentials: choice(fields, "allowCredentials"),
        unmatched_preflights: fields.word("unmatchedPreflights", PREFLIGHTS),
        at: at.at(),
    })
}

fn cors_method(at: &Cursor<'_, '_>, method: &str) {
    const METHODS: [&str; 10] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
    ];
    if !METHODS.contains(&method) {
        at.wrong(format!(
            "`{method}` is no method of HTTP; write one in capitals, such as GET"
        ));
    }
}

fn max_age(at: &Cursor<'_, '_>) -> Option<Duration> {
    let age = duration(at)?;
    if age.subsec_nanos() > 0 {
        at.wrong("is no whole number of seconds; write for example 24h");
    }
    Some(age)
}
