//! Decodes `localityLbSetting` and `zoneAwareLbSetting`.

use std::collections::{BTreeMap, HashSet};

use super::value::{choice, field};
use crate::istio::decode::value::required;
use crate::istio::traffic::{
    LocalityDistribute, LocalityFailover, LocalityLbSetting, ZoneAwareLbSetting,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

/// Labels that say where an endpoint runs.
const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// `localityLbSetting`; `has_outlier_detection` beside it, without which nothing fails over.
pub(in crate::istio::decode) fn locality_lb_setting(
    at: &Cursor<'_, '_>,
    has_outlier_detection: bool,
) -> Option<LocalityLbSetting> {
    let fields = at.fields(&["distribute", "failover", "failoverPriority", "enabled"])?;
    if let Some(failover) = fields.listed("failover")
        && fields.listed("distribute").is_some()
    {
        failover.wrong("cannot be combined with distribute; keep one");
    }
    let distribute = fields.each("distribute", distribute);
    if let Some(list) = fields.get("distribute") {
        apart(&list, distribute.iter().map(|one| &*one.from), Order::First);
    }
    let failover_priority = fields.texts("failoverPriority", |at, label| {
        if fields.listed("failover").is_some() && TOPOLOGY.contains(&label) {
            at.wrong(format!(
                "`{label}` cannot be combined with failover, which orders by it; leave one out"
            ));
        }
    });
    needs_outliers(fields, has_outlier_detection);
    Some(LocalityLbSetting {
        enabled: choice(fields, "enabled"),
        failover: fields.each("failover", failover),
        distribute,
        failover_priority,
        at: at.at(),
    })
}

/// `zoneAwareLbSetting`, likewise.
pub(in crate::istio::decode) fn zone_aware_lb_setting(
    at: &Cursor<'_, '_>,
    has_outlier_detection: bool,
) -> Option<ZoneAwareLbSetting> {
    let fields = at.fields(&["enabled", "failover", "failoverPriority", "minClusterSize"])?;
    let failover_priority = fields.texts("failoverPriority", |at, label| {
        if TOPOLOGY.contains(&label) {
            at.wrong(format!("`{label}` is ordered by itself here; leave it out"));
        }
    });
    needs_outliers(fields, has_outlier_detection);
    Some(ZoneAwareLbSetting {
        enabled: choice(fields, "enabled"),
        failover: fields.each("failover", failover),
        failover_priority,
        min_cluster_size: field(fields, "minClusterSize", |at| at.number(0..=u32::MAX)),
        at: at.at(),
    })
}

fn needs_outliers(fields: Fields<'_, '_>, has_outlier_detection: bool) {
    let mut written = ["failover", "failoverPriority"].into_iter();
    if !has_outlier_detection && let Some(at) = written.find_map(|name| fields.listed(name)) {
        at.note("has no effect without outlierDetection; write outlierDetection: {}");
    }
}

fn distribute(at: &Cursor<'_, '_>) -> Option<LocalityDistribute> {
    let fields = at.fields(&["from", "to"])?;
    let from = required(fields, "from", |_, _| {});
    let to = fields.demand("to", "is missing; write localities and their shares of 100")?;
    let mut shares = BTreeMap::new();
    let mut is_whole = true;
    for (locality, share) in to.pairs() {
        match share.number(1..=100) {
            Some(share) => {
                shares.insert(locality.to_owned(), share);
            }
            None => is_whole = false,
        }
    }
    let sum: u32 = shares.values().sum();
    if is_whole && sum != 100 {
        to.wrong(format!("the shares add up to {sum}; make them 100"));
    }
    // The order in which the keys are written says nothing.
    apart(&to, shares.keys().map(String::as_str), Order::None);
    Some(LocalityDistribute {
        from: from?,
        to: shares,
        at: at.at(),
    })
}

fn failover(at: &Cursor<'_, '_>) -> Option<LocalityFailover> {
    let fields = at.fields(&["from", "to"])?;
    let region = |at: &Cursor<'_, '_>, text: &str| {
        if text.contains(['/', '*']) {
            at.wrong(format!(
                "`{text}` is no region; write one without a zone and without `*`"
            ));
        }
    };
    let (from, to) = (
        required(fields, "from", region),
        required(fields, "to", region),
    );
    let failover = LocalityFailover {
        from: from?,
        to: to?,
    };
    if failover.from == failover.to {
        at.wrong("fails over to the region itself; write another in to");
    }
    Some(failover)
}

/// Whether the first of several localities that match is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    First,
    None,
}

/// That localities are written as such, and that none lies within another. Where the first counts, a
/// wildcard may follow what lies within it.
fn apart<'a>(at: &Cursor<'_, '_>, localities: impl Iterator<Item = &'a str>, order: Order) {
    // The localities so far, and all that they lie within.
    let mut seen: HashSet<String> = HashSet::new();
    let mut around: HashSet<String> = HashSet::new();
    for locality in localities {
        let inner = locality.strip_suffix('*').unwrap_or(locality);
        if inner.contains('*') || locality.splitn(3, '/').any(str::is_empty) {
            at.wrong(format!(
                "`{locality}` is no locality; write REGION/ZONE/SUBZONE, of which the end may be * or missing"
            ));
            continue;
        }
        let wider = wider(locality);
        let own = wider.last().cloned().unwrap_or_default();
        let may_follow = order == Order::First && locality.ends_with('*');
        if wider.iter().any(|wide| seen.contains(wide)) || !may_follow && around.contains(&own) {
            at.wrong(format!(
                "`{locality}` and another locality overlap; keep one"
            ));
        }
        seen.insert(own);
        around.extend(wider);
    }
}

/// What a locality lies within, from everything to the locality itself; `us/a` is `us/a/*`.
fn wider(locality: &str) -> Vec<String> {
    let mut wider = vec![String::new()];
    let mut whole = String::new();
    for part in locality.splitn(3, '/').take_while(|part| *part != "*") {
        whole = format!("{whole}/{part}");
        wider.push(whole.clone());
    }
    wider
}
