//! Decodes the descriptors of a RateLimit: `rateLimits[]` and its actions, in Envoy's shape
//! (`config.route.v3.RateLimit`).

use super::value::{self, MAX_ENTRIES, anything, bounded, checked, required};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    HeaderMatch, HeaderMatchTest, QueryParameterMatch, RateLimitAction, RateLimitDescriptor, Text,
    TextMatch, TextMatchKind, WhenAbsent,
};

/// `rateLimits[]`.
pub(super) fn descriptor(at: &Cursor<'_, '_>) -> Option<RateLimitDescriptor> {
    let fields = at.fields(&["actions"])?;
    if fields.listed("actions").is_none() {
        at.missing(
            "actions",
            "is missing; write for example `actions: [{method: {}}]`",
        );
    }
    Some(RateLimitDescriptor {
        actions: bounded(fields, "actions", MAX_ENTRIES, action),
        at: at.at(),
    })
}

type Read = fn(Fields<'_, '_>) -> Option<RateLimitAction>;

/// Declares the actions: the name, the fields that it has, and how they are read.
macro_rules! actions {
    ($($name:literal $fields:expr => $read:expr,)*) => {
        const NAMES: &[&str] = &[$($name),*];
        const ACTIONS: &[(&str, &[&str], Read)] = &[$(($name, &$fields, $read)),*];
    };
}

actions! {
    "sourceCluster" [] => |_| Some(RateLimitAction::SourceCluster),
    "destinationCluster" [] => |_| Some(RateLimitAction::DestinationCluster),
    "requestHeaders" ["headerName", "descriptorKey", "skipIfAbsent"] => request_headers,
    "queryParameters" ["queryParameterName", "descriptorKey", "skipIfAbsent"] => query_parameters,
    "queryParameterValueMatch"
        ["descriptorKey", "descriptorValue", "expectMatch", "queryParameters"] => query_match,
    "remoteAddress" [] => |_| Some(RateLimitAction::RemoteAddress),
    "maskedRemoteAddress" ["v4PrefixMaskLen", "v6PrefixMaskLen"] => masked_remote_address,
    "genericKey" ["descriptorKey", "descriptorValue"] => generic_key,
    "headerValueMatch"
        ["descriptorKey", "descriptorValue", "expectMatch", "headers"] => header_match,
    "metadata"
        ["descriptorKey", "metadataKey", "defaultValue", "source", "skipIfAbsent"] => metadata,
    "method" [] => |_| Some(RateLimitAction::Method),
    "host" [] => |_| Some(RateLimitAction::Host),
    "path" ["templates"] => path,
    "principal" ["defaultValue", "skipIfAbsent"] => |fields| {
        Some(RateLimitAction::Principal { absent: absent(fields) })
    },
    "requestPrincipal" ["defaultValue", "skipIfAbsent"] => |fields| {
        Some(RateLimitAction::RequestPrincipal { absent: absent(fields) })
    },
    "claim" ["path", "descriptorKey", "defaultValue", "skipIfAbsent"] => claim,
}

fn action(at: &Cursor<'_, '_>) -> Option<RateLimitAction> {
    let fields = at.fields(NAMES)?;
    let mut written = ACTIONS.iter().filter_map(|(name, known, read)| {
        let action = fields.get(name)?;
        Some((action, *known, *read))
    });
    let Some((first, known, read)) = written.next() else {
        // An unknown one was reported.
        if fields.other_than(NAMES).is_empty() {
            at.wrong("names no action; write one, for example `method: {}`");
        }
        return None;
    };
    if let Some((second, ..)) = written.next() {
        second.wrong("is a second action of one entry; begin a new entry of the list with `-`");
    }
    read(first.fields(known)?)
}

fn request_headers(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    let header_name = required(fields, "headerName", header_or_pseudo);
    let descriptor_key = required(fields, "descriptorKey", anything);
    Some(RateLimitAction::RequestHeaders {
        header_name: header_name?,
        descriptor_key: descriptor_key?,
        absent: absent(fields),
    })
}

fn query_parameters(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    let query_parameter_name = required(fields, "queryParameterName", anything);
    let descriptor_key = required(fields, "descriptorKey", anything);
    Some(RateLimitAction::QueryParameters {
        query_parameter_name: query_parameter_name?,
        descriptor_key: descriptor_key?,
        absent: absent(fields),
    })
}

fn query_match(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    let query_parameters = bounded(fields, "queryParameters", MAX_ENTRIES, query_matcher);
    needs_matchers(fields, "queryParameters");
    Some(RateLimitAction::QueryParameterValueMatch {
        descriptor_key: checked(fields, "descriptorKey", anything),
        descriptor_value: required(fields, "descriptorValue", anything)?,
        expect_match: expect_match(fields),
        query_parameters,
    })
}

fn masked_remote_address(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    let bits = |name, most: u8| match fields.get(name) {
        None => Some(most),
        Some(at) => at.number(0..=u32::from(most))?.try_into().ok(),
    };
    Some(RateLimitAction::MaskedRemoteAddress {
        v4_prefix_mask_len: bits("v4PrefixMaskLen", 32)?,
        v6_prefix_mask_len: bits("v6PrefixMaskLen", 128)?,
    })
}

fn generic_key(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    Some(RateLimitAction::GenericKey {
        descriptor_key: checked(fields, "descriptorKey", anything),
        descriptor_value: required(fields, "descriptorValue", anything)?,
    })
}

fn header_match(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    let headers = bounded(fields, "headers", MAX_ENTRIES, header_matcher);
    needs_matchers(fields, "headers");
    Some(RateLimitAction::HeaderValueMatch {
        descriptor_key: checked(fields, "descriptorKey", anything),
        descriptor_value: required(fields, "descriptorValue", anything)?,
        expect_match: expect_match(fields),
        headers,
    })
}

fn metadata(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    let descriptor_key = required(fields, "descriptorKey", anything);
    let message = "is missing; write the filter's `key` and the `path` to the value";
    let place = fields.demand("metadataKey", message)?;
    let place = place.fields(&["key", "path"])?;
    let filter = required(place, "key", anything);
    let path = bounded(place, "path", MAX_ENTRIES, |at| {
        required(at.fields(&["key"])?, "key", anything)
    });
    if place.listed("path").is_none() {
        let message = "is missing; write for example `path: [{key: plan}]`";
        place.whole().missing("path", message);
    }
    if let Some(source) = fields.get("source")
        && source.word(&[("DYNAMIC", true), ("ROUTE_ENTRY", false)]) == Some(false)
    {
        source.wrong("routes have no metadata here; write DYNAMIC, or use genericKey");
    }
    Some(RateLimitAction::Metadata {
        descriptor_key: descriptor_key?,
        filter: filter?,
        path,
        absent: absent(fields),
    })
}

fn path(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    if fields.listed("templates").is_none() {
        let message = "is missing; write paths as an AuthorizationPolicy has them";
        fields.whole().missing("templates", message);
    }
    let templates = bounded(fields, "templates", MAX_TEMPLATES, |at| {
        let text = at.filled()?;
        value::path(at, &text);
        Some(text)
    });
    Some(RateLimitAction::Path { templates })
}

fn claim(fields: Fields<'_, '_>) -> Option<RateLimitAction> {
    if fields.listed("path").is_none() {
        let message = "is missing; write the claim's name, for example `path: [org]`";
        fields.whole().missing("path", message);
    }
    Some(RateLimitAction::Claim {
        path: fields.texts("path", anything),
        descriptor_key: checked(fields, "descriptorKey", anything),
        absent: absent(fields),
    })
}

/// `skipIfAbsent` and `defaultValue`. An empty default counts as none, as in Envoy.
fn absent(fields: Fields<'_, '_>) -> WhenAbsent {
    let skips = fields.get("skipIfAbsent");
    let is_skipped = skips.as_ref().and_then(|skips| skips.boolean()) == Some(true);
    let default = fields.get("defaultValue");
    let value = default.as_ref().and_then(|default| default.text());
    if let Some(default) = &default
        && value.as_ref().is_some_and(|value| value.is_empty())
    {
        default.note("an empty value counts as none; write a value that such requests share");
    }
    match value.filter(|value| !value.is_empty()) {
        Some(value) => {
            if let Some(skips) = skips.filter(|_| is_skipped) {
                skips.note("has no effect beside a defaultValue; keep one of them");
            }
            WhenAbsent::Value(value)
        }
        None if is_skipped => WhenAbsent::Skip,
        None => WhenAbsent::Drop,
    }
}

fn expect_match(fields: Fields<'_, '_>) -> bool {
    let expect = fields.get("expectMatch").and_then(|at| at.boolean());
    expect.unwrap_or(true)
}

fn needs_matchers(fields: Fields<'_, '_>, name: &'static str) {
    if fields.listed(name).is_none() {
        fields
            .whole()
            .missing(name, "is missing; write what to compare");
    }
}

fn query_matcher(at: &Cursor<'_, '_>) -> Option<QueryParameterMatch> {
    let fields = at.fields(&["name", "stringMatch", "presentMatch"])?;
    let name = required(fields, "name", anything);
    let test = match (fields.get("stringMatch"), fields.get("presentMatch")) {
        (Some(test), None) => Some(string_match(&test)?),
        (None, Some(present)) => {
            if present.boolean() == Some(false) {
                present.wrong("false is not supported; write expectMatch: false");
            }
            None
        }
        (None, None) => None,
        (Some(_), Some(second)) => {
            second.wrong("cannot be combined with stringMatch; keep one");
            None
        }
    };
    Some(QueryParameterMatch::new(name?, test))
}

/// Envoy's older names of the kinds of a `stringMatch`, directly in a header's matcher.
const OLDER: &[(&str, TextMatchKind)] = &[
    ("exactMatch", TextMatchKind::Exact),
    ("prefixMatch", TextMatchKind::Prefix),
    ("suffixMatch", TextMatchKind::Suffix),
    ("containsMatch", TextMatchKind::Contains),
];

fn header_matcher(at: &Cursor<'_, '_>) -> Option<HeaderMatch> {
    let fields = at.fields(&[
        "name",
        "stringMatch",
        "presentMatch",
        "rangeMatch",
        "exactMatch",
        "prefixMatch",
        "suffixMatch",
        "containsMatch",
        "safeRegexMatch",
        "invertMatch",
        "treatMissingHeaderAsEmpty",
    ])?;
    let name = required(fields, "name", header_or_pseudo);
    let mut tests = Vec::new();
    if let Some(test) = fields.get("stringMatch") {
        let made = string_match(&test).map(HeaderMatchTest::String);
        tests.push((test, made));
    }
    for (older, kind) in OLDER {
        if let Some(test) = fields.get(older) {
            let text = test.filled().map(|text| TextMatch::new(*kind, text, false));
            tests.push((test, text.map(HeaderMatchTest::String)));
        }
    }
    if let Some(test) = fields.get("safeRegexMatch") {
        let made = regex(&test).map(|text| TextMatch::new(TextMatchKind::Regex, text, false));
        tests.push((test, made.map(HeaderMatchTest::String)));
    }
    if let Some(test) = fields.get("presentMatch") {
        let made = test.boolean().map(HeaderMatchTest::Present);
        tests.push((test, made));
    }
    if let Some(test) = fields.get("rangeMatch") {
        let made = range(&test);
        tests.push((test, made));
    }
    if let Some((second, _)) = tests.get(1) {
        second.wrong("is a second test of one header; write another entry for it");
    }
    // Envoy takes a matcher without a test as a test of presence.
    let first = tests.into_iter().next();
    let test = first.map_or(Some(HeaderMatchTest::Present(true)), |(_, made)| made);
    let mut matcher = HeaderMatch::new(name?, test?);
    matcher.invert_match = fields.boolean("invertMatch");
    matcher.treat_missing_header_as_empty = fields.boolean("treatMissingHeaderAsEmpty");
    Some(matcher)
}

fn range(at: &Cursor<'_, '_>) -> Option<HeaderMatchTest> {
    let fields = at.fields(&["start", "end"])?;
    let bound = |name| match fields.get(name) {
        None => Some(0),
        Some(at) => integer(&at),
    };
    let (start, end) = (bound("start")?, bound("end")?);
    if end <= start {
        at.wrong("matches no number: start is the first that matches, end the first that does not");
    }
    Some(HeaderMatchTest::Range { start, end })
}

fn integer(at: &Cursor<'_, '_>) -> Option<i64> {
    let text = at.node().scalar().map_or("", |scalar| &scalar.text);
    let number = text.parse().ok();
    if number.is_none() {
        at.wrong("is no whole number");
    }
    number
}

const KINDS: &[(&str, TextMatchKind)] = &[
    ("exact", TextMatchKind::Exact),
    ("prefix", TextMatchKind::Prefix),
    ("suffix", TextMatchKind::Suffix),
    ("contains", TextMatchKind::Contains),
];

fn string_match(at: &Cursor<'_, '_>) -> Option<TextMatch> {
    let fields = at.fields(&[
        "exact",
        "prefix",
        "suffix",
        "contains",
        "safeRegex",
        "ignoreCase",
    ])?;
    let ignore_case = fields.boolean("ignoreCase");
    let mut tests: Vec<(TextMatchKind, Option<Text>)> = Vec::new();
    for (name, kind) in KINDS {
        if let Some(test) = fields.get(name) {
            // Only an exact text may be empty: an empty prefix would match everything.
            let is_exact = *kind == TextMatchKind::Exact;
            let text = if is_exact { test.text() } else { test.filled() };
            tests.push((*kind, text));
        }
    }
    if let Some(test) = fields.get("safeRegex") {
        if ignore_case {
            test.wrong("ignoreCase cannot be combined with a regex; write (?i) in it");
        }
        tests.push((TextMatchKind::Regex, regex(&test)));
    }
    if tests.len() != 1 {
        at.wrong("needs one of exact, prefix, suffix, contains and safeRegex");
        return None;
    }
    let (kind, text) = tests.pop()?;
    Some(TextMatch::new(kind, text?, ignore_case))
}

/// `{regex: ...}`; whether it is one is found when limits are compiled.
fn regex(at: &Cursor<'_, '_>) -> Option<Text> {
    required(at.fields(&["regex"])?, "regex", anything)
}

/// A header's name, or one of the pseudo-headers that Envoy's matchers know.
fn header_or_pseudo(at: &Cursor<'_, '_>, text: &str) {
    match text.strip_prefix(':') {
        None => value::header_name(at, text),
        Some("authority" | "method" | "path" | "scheme") => {}
        Some(_) => at.wrong(format!(
            "`{text}` is no header; known are :authority, :method, :path and :scheme"
        )),
    }
}

/// A request tries all of them in turn.
const MAX_TEMPLATES: usize = 256;
