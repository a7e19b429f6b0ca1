//! Decodes Authorizer, a kind of this crate.

use std::time::Duration;

use super::meta::no_dry_run;
use super::value::{header_name, is_label};
use crate::istio::yaml::cursor::{Cursor, digits};
use crate::istio::yaml::fields::Fields;
use crate::istio::yaml::suggest::nearest;
use crate::istio::{Authorizer, AuthorizerCache, CacheKey, Meta, Problem};

pub(in crate::istio) const SPEC: &[&str] = &["expression", "cache"];
pub(in crate::istio) const CACHE: &[&str] = &[
    "keys",
    "ttl",
    "staleIfError",
    "denials",
    "maxEntries",
    "maxBytes",
];
pub(in crate::istio) const DENIALS: &[&str] = &["ttl"];

/// `Authorizer`, `spec`.
pub(in crate::istio) fn authorizer(meta: Meta, spec: &Cursor<'_, '_>) -> Option<Authorizer> {
    no_dry_run(&meta, spec);
    // A resource without a name was reported.
    if !meta.name.is_empty() && !is_label(&meta.name) {
        let message = format!(
            "`{}` is no provider name; write 1 to 63 of a-z, 0-9 and -, no hyphen at the ends",
            meta.name
        );
        let problem = Problem::new(meta.at.clone(), "metadata.name", message);
        spec.sink().report(problem);
    }
    let fields = spec.fields(SPEC)?;
    let expression = fields.filled("expression");
    let written = fields.get("cache");
    if fields.is_empty() {
        spec.wrong("says nothing; write an expression, a cache, or both");
    }
    Some(Authorizer {
        expression,
        cache: written.and_then(|at| cache(&at)),
        meta,
    })
}

fn cache(at: &Cursor<'_, '_>) -> Option<AuthorizerCache> {
    let fields = at.fields(CACHE)?;
    let keys = fields.each("keys", key);
    let listed = fields.demand("keys", "is missing; list what the provider decides by");
    if let Some(empty) = listed.filter(|_| fields.listed("keys").is_none()) {
        empty.wrong("is empty, so that one decision would serve everybody; list what the provider decides by");
    }
    let repeated = (1..keys.len()).find(|index| {
        let (before, key) = (keys.get(..*index), keys.get(*index));
        before
            .zip(key)
            .is_some_and(|(before, key)| before.contains(key))
    });
    if let Some(key) = repeated.and_then(|index| keys.get(index)) {
        at.missing("keys", format!("names {key} twice; keep one"));
    }
    let mut cache = AuthorizerCache::keyed_by(keys);
    cache.at = at.at();
    if let Some(ttl) = fields.get("ttl") {
        cache.ttl = positive(&ttl)?;
    }
    if let Some(longer) = fields.get("staleIfError") {
        cache.stale_if_error = longer.duration()?;
    }
    if let Some(denials) = fields.get("denials") {
        let ttl = denials.fields(DENIALS)?;
        let ttl = ttl.demand("ttl", "is missing; write how long a refusal counts, or 0s")?;
        cache.denial_ttl = Some(ttl.duration()?);
    }
    if let Some(most) = number(fields, "maxEntries", 1..=AuthorizerCache::MOST_ENTRIES) {
        cache.max_entries = most;
    }
    if let Some(most) = number(fields, "maxBytes", AuthorizerCache::FEWEST_BYTES..=u32::MAX) {
        cache.max_bytes = most;
    }
    Some(cache)
}

fn positive(at: &Cursor<'_, '_>) -> Option<Duration> {
    let duration = at.duration()?;
    if duration < Duration::from_millis(1) {
        at.wrong("must be at least 1ms; leave the cache out to keep no decision");
    }
    Some(duration)
}

fn key(at: &Cursor<'_, '_>) -> Option<CacheKey> {
    let text = at.filled()?;
    let key = CacheKey::parse(&text);
    match &key {
        Some(CacheKey::Header(name)) => header_name(at, name),
        Some(_) => {}
        None => {
            let near = nearest(&text, CacheKey::names());
            at.wrong(match near {
                Some(near) => format!("`{text}` is no attribute; did you mean {near}?"),
                None => {
                    let names: Vec<_> = CacheKey::names().collect();
                    format!("`{text}` is no attribute; known are {}", names.join(", "))
                }
            });
        }
    }
    key
}

fn number(
    fields: Fields<'_, '_>,
    name: &'static str,
    range: std::ops::RangeInclusive<u32>,
) -> Option<u32> {
    let at = fields.get(name)?;
    let number = at.node().scalar().and_then(|scalar| digits(&scalar.text));
    let number = number.filter(|number| range.contains(number));
    if number.is_none() {
        let (least, most) = (range.start(), range.end());
        at.wrong(format!("is no number from {least} to {most}"));
    }
    number
}
