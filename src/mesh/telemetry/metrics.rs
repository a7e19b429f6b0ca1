//! What is shown of metrics.

use crate::istio::{Metric, Problem, TagOverride, Text};
use crate::metrics::{FAMILIES, FamilyPlan, MetricsPlan, SidePlan, TagPlan};
use crate::telemetry::{EffectiveMetrics, EffectiveTelemetry};

/// The changes that resources make; `None` if they make none.
pub(super) fn plan(found: &EffectiveTelemetry, problems: &mut Vec<Problem>) -> Option<MetricsPlan> {
    let (server, client) = (&found.server.metrics, &found.client.metrics);
    if server.is_plain() && client.is_plain() {
        return None;
    }
    Some(MetricsPlan {
        server: side(server, problems),
        client: side(client, problems),
    })
}

fn side(found: &EffectiveMetrics, problems: &mut Vec<Problem>) -> SidePlan {
    let mut families: [FamilyPlan; FAMILIES] = Default::default();
    for (metric, family) in Metric::ALL.into_iter().zip(&mut families) {
        family.is_off = !found.counts(metric);
        for (label, tag) in &found.get(metric).tags {
            let tag = match tag {
                TagOverride::Upsert(text) => value(text, problems),
                _ => TagPlan::Remove,
            };
            family.tags.push((label.as_str().into(), tag));
        }
    }
    SidePlan {
        families,
        reporting_interval: found.reporting_interval,
    }
}

#[cfg(feature = "cel")]
fn value(text: &Text, problems: &mut Vec<Problem>) -> TagPlan {
    match crate::cel::TagValue::compile(text) {
        Ok(value) => match value.constant() {
            Some(constant) => TagPlan::Fixed(constant.into()),
            None => TagPlan::Evaluated(text.as_str().into()),
        },
        Err(error) => {
            problems.push(super::logs::mistake(text, error.to_string()));
            TagPlan::Remove
        }
    }
}

#[cfg(not(feature = "cel"))]
fn value(text: &Text, problems: &mut Vec<Problem>) -> TagPlan {
    problems.push(super::logs::mistake(text, super::logs::NO_CEL));
    TagPlan::Remove
}
