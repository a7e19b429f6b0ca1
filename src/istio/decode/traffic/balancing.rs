//! Decodes `loadBalancer`.

use std::collections::HashSet;
use std::time::Duration;

use super::locality::{locality_lb_setting, zone_aware_lb_setting};
use super::value::{decimal, duration, duration_or_none, field, percent, text};
use crate::istio::decode::value::{header_name, required};
use crate::istio::traffic::{
    ConsistentHash, HashAlgorithm, HashCookie, HashKey, LoadBalancer, SimpleLb, Warmup,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

const LOAD_BALANCER: &[&str] = &[
    "simple",
    "consistentHash",
    "backendUtilization",
    "localityLbSetting",
    "zoneAwareLbSetting",
    "warmupDurationSecs",
    "warmup",
];
const HASH: &[&str] = &[
    "httpHeaderName",
    "httpCookie",
    "useSourceIp",
    "httpQueryParameterName",
    "ringHash",
    "maglev",
    "minimumRingSize",
];
const SIMPLE: &[(&str, SimpleLb)] = &[
    ("UNSPECIFIED", SimpleLb::LeastRequest),
    ("LEAST_CONN", SimpleLb::LeastRequest),
    ("LEAST_REQUEST", SimpleLb::LeastRequest),
    ("RANDOM", SimpleLb::Random),
    ("ROUND_ROBIN", SimpleLb::RoundRobin),
    ("PASSTHROUGH", SimpleLb::Passthrough),
];

/// `loadBalancer`; `has_outlier_detection` beside it.
pub(super) fn load_balancer(
    at: &Cursor<'_, '_>,
    has_outlier_detection: bool,
) -> Option<LoadBalancer> {
    let fields = at.fields(LOAD_BALANCER)?;
    if let Some(utilization) = fields.get("backendUtilization") {
        utilization.wrong("is not supported; write simple or consistentHash");
    }
    let locality = fields.get("localityLbSetting");
    let zone_aware = fields.get("zoneAwareLbSetting");
    if let Some(second) = &zone_aware
        && locality.is_some()
    {
        second.wrong("cannot be combined with localityLbSetting; keep one");
    }
    Some(LoadBalancer {
        simple: fields.word("simple", SIMPLE),
        consistent_hash: field(fields, "consistentHash", consistent_hash),
        locality_lb_setting: locality
            .and_then(|at| locality_lb_setting(&at, has_outlier_detection)),
        zone_aware_lb_setting: zone_aware
            .and_then(|at| zone_aware_lb_setting(&at, has_outlier_detection)),
        warmup: field(fields, "warmup", warmup).or_else(|| older_warmup(fields)),
        at: at.at(),
    })
}

fn older_warmup(fields: Fields<'_, '_>) -> Option<Warmup> {
    let at = fields.get("warmupDurationSecs")?;
    at.note("is deprecated; write warmup: {duration: ...}");
    let duration = duration_or_none(&at).filter(|duration| *duration > Duration::ZERO)?;
    Some(Warmup {
        duration,
        ..Warmup::default()
    })
}

fn warmup(at: &Cursor<'_, '_>) -> Option<Warmup> {
    let fields = at.fields(&["duration", "minimumPercent", "aggression"])?;
    let written = fields.demand("duration", "is missing; write for example 30s");
    Some(Warmup {
        minimum_percent: field(fields, "minimumPercent", percent),
        aggression_thousandths: field(fields, "aggression", aggression),
        duration: written.and_then(|at| duration(&at))?,
    })
}

/// More than zero. Envoy takes one below 1 as 1.
fn aggression(at: &Cursor<'_, '_>) -> Option<u32> {
    const MOST: f64 = 1_000_000.0;
    let number = decimal(at).filter(|number| *number > 0.0 && *number <= MOST);
    let Some(number) = number else {
        at.wrong("is no aggression; write a number above 0, such as 1.5");
        return None;
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds of the type"
    )]
    let thousandths = (number * 1000.0).round() as u32;
    Some(thousandths.max(1))
}

fn consistent_hash(at: &Cursor<'_, '_>) -> Option<ConsistentHash> {
    let fields = at.fields(HASH)?;
    let keys = HASH.iter().take(4).filter_map(|name| fields.get(name));
    if let Some(second) = keys.skip(1).last() {
        second.wrong("is a second key of one hash; keep one");
    }
    let named = |name| required(fields, name, header_name);
    let key = if fields.get("httpHeaderName").is_some() {
        HashKey::HttpHeader(named("httpHeaderName")?)
    } else if let Some(cookie) = fields.get("httpCookie") {
        HashKey::HttpCookie(hash_cookie(&cookie)?)
    } else if fields.get("httpQueryParameterName").is_some() {
        HashKey::HttpQueryParameter(required(fields, "httpQueryParameterName", |_, _| {})?)
    } else if fields.boolean("useSourceIp") {
        HashKey::SourceIp
    } else {
        at.wrong(
            "hashes nothing; write httpHeaderName, httpCookie, useSourceIp: true or httpQueryParameterName",
        );
        return None;
    };
    Some(ConsistentHash {
        key,
        algorithm: hash_algorithm(fields),
        at: at.at(),
    })
}

fn hash_cookie(at: &Cursor<'_, '_>) -> Option<HashCookie> {
    let fields = at.fields(&["name", "path", "ttl", "attributes"])?;
    let name = required(fields, "name", header_name);
    let mut seen: HashSet<String> = HashSet::new();
    let attributes = fields.each("attributes", |at| {
        let fields = at.fields(&["name", "value"])?;
        let name = required(fields, "name", |_, _| {})?;
        if !seen.insert(name.as_str().to_owned()) {
            at.wrong(format!("`{name}` is written twice; keep one"));
        }
        Some((name, fields.text("value").unwrap_or_default()))
    });
    Some(HashCookie {
        name: name?,
        path: text(fields, "path"),
        ttl: field(fields, "ttl", |at| at.duration()),
        attributes,
    })
}

fn hash_algorithm(fields: Fields<'_, '_>) -> HashAlgorithm {
    const NAMES: [&str; 3] = ["ringHash", "maglev", "minimumRingSize"];
    let written = NAMES.into_iter().filter_map(|name| fields.get(name));
    if let Some(second) = written.skip(1).last() {
        second.wrong("is a second table of one hash; keep one of ringHash and maglev");
    }
    let size = |at: Cursor<'_, '_>| at.number(0..=MOST_RING).map(u64::from);
    let older = fields.get("minimumRingSize");
    if let Some(older) = &older {
        older.note("is deprecated; write ringHash: {minimumRingSize: ...}");
    }
    if let Some(maglev) = fields.get("maglev") {
        return HashAlgorithm::Maglev(maglev_size(&maglev).unwrap_or_default());
    }
    let ring = fields.get("ringHash");
    let ring = ring.as_ref().and_then(|at| at.fields(&["minimumRingSize"]));
    let least = match ring {
        Some(ring) => ring.get("minimumRingSize").and_then(size),
        None => older.and_then(size),
    };
    least
        .filter(|least| *least > 0)
        .map_or_else(HashAlgorithm::default, HashAlgorithm::RingHash)
}

/// Envoy's largest ring.
const MOST_RING: u32 = 8 * 1024 * 1024;

fn maglev_size(at: &Cursor<'_, '_>) -> Option<u64> {
    let fields = at.fields(&["tableSize"])?;
    let message = "is missing; write a prime, for example 65537";
    let size = fields.demand("tableSize", message)?;
    let number = size.number(1..=MOST_MAGLEV)?;
    if !is_prime(number) {
        size.wrong(format!("{number} is no prime; write for example 65537"));
    }
    Some(u64::from(number))
}

const MOST_MAGLEV: u32 = 5_000_010;

/// Envoy takes 1 for one.
fn is_prime(number: u32) -> bool {
    let factors = (2..).take_while(|factor: &u32| factor * factor <= number);
    factors
        .into_iter()
        .all(|factor| !number.is_multiple_of(factor))
}
