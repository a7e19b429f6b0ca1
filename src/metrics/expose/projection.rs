//! Changes labels as Telemetry resources say.
//!
//! What is counted stays the same, and only what is shown changes: all series of a family at once,
//! so that one exposition never mixes the labels from before and after a change. Series that have
//! become equal, because the labels that told them apart are gone, are added up. A sum of counters
//! is a counter, so none goes back.

use std::collections::BTreeMap;

use crate::metrics::plan::{FamilyPlan, MetricsPlan, TagPlan};
use crate::metrics::store::labels::{UNKNOWN, escaped, write_label};
use crate::metrics::store::tags::TagValues;

/// Series by their labels as they are shown.
pub(super) type Shown<T> = BTreeMap<String, T>;

/// The series of a family as they are shown; `add` adds the counts of one to those of an equal.
pub(super) fn project<'r, T: Clone + 'r>(
    plan: &MetricsPlan,
    family: usize,
    rows: impl Iterator<Item = (String, Option<&'r TagValues>, T)>,
    add: impl Fn(&mut T, T),
) -> Shown<T> {
    let reporters = ["destination", "source", "unknown"];
    let plans = reporters.map(|reporter| plan.of(family, reporter));
    let mut shown = Shown::new();
    for (labels, tags, counts) in rows {
        let reporter = value(&labels, "reporter").unwrap_or(UNKNOWN);
        let plan = reporters.iter().position(|known| *known == reporter);
        let plan = plan.and_then(|index| plans.get(index));
        let Some(plan) = plan.or_else(|| plans.last()).filter(|plan| !plan.is_off) else {
            continue;
        };
        let labels = change(&labels, plan, tags);
        match shown.get_mut(&labels) {
            Some(equal) => add(equal, counts),
            None => {
                shown.insert(labels, counts);
            }
        }
    }
    shown
}

/// The labels after a plan, in their order; new ones come last.
fn change(labels: &str, plan: &FamilyPlan, tags: Option<&TagValues>) -> String {
    let mut text = String::with_capacity(labels.len());
    let planned = |name: &str| plan.tags.iter().find(|(label, _)| **label == *name);
    for (name, written) in pairs(labels) {
        match planned(name) {
            None => escaped(&mut text, name, written),
            Some((_, TagPlan::Remove)) => {}
            Some((_, tag)) => write_label(&mut text, name, tag.value(tags)),
        }
    }
    let is_there = |label: &str| pairs(labels).any(|(name, _)| name == label);
    for (label, tag) in &plan.tags {
        if *tag != TagPlan::Remove && !is_there(label) {
            write_label(&mut text, label, tag.value(tags));
        }
    }
    text
}

impl TagPlan {
    fn value<'v>(&'v self, tags: Option<&'v TagValues>) -> &'v str {
        match self {
            Self::Remove => "",
            Self::Fixed(value) => value,
            // Also of what was counted before the expression was there.
            Self::Evaluated(text) => tags.and_then(|tags| tags.get(text)).unwrap_or(UNKNOWN),
        }
    }
}

/// The value of a label in a written set, as it is escaped.
pub(crate) fn value<'l>(labels: &'l str, name: &str) -> Option<&'l str> {
    pairs(labels).find_map(|(known, value)| (known == name).then_some(value))
}

/// The names and escaped values of a written set: `a="x",b="y"`.
fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let mut is_escaped = false;
        let end = after.bytes().position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })?;
        let value = after.get(..end)?;
        rest = after.get(end + 1..)?.trim_start_matches(',');
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &str = r#"reporter="source",source_app="a\"b,c=\"",response_code="200""#;

    fn plan(tags: &[(&str, TagPlan)]) -> FamilyPlan {
        let tags = tags
            .iter()
            .map(|(label, tag)| ((*label).into(), tag.clone()));
        FamilyPlan {
            is_off: false,
            tags: tags.collect(),
        }
    }

    #[test]
    fn labels_are_replaced_removed_and_added() {
        assert_eq!(change(LABELS, &plan(&[]), None), LABELS);
        let changed = change(
            LABELS,
            &plan(&[
                ("source_app", TagPlan::Remove),
                ("response_code", TagPlan::Fixed("x\"".into())),
                ("team", TagPlan::Evaluated("request.host".into())),
                ("gone", TagPlan::Remove),
            ]),
            None,
        );
        assert_eq!(
            changed,
            r#"reporter="source",response_code="x\"",team="unknown""#
        );
        let values = [("request.host".into(), Some("h".to_owned()))].into_iter();
        let tags = TagValues::new(values);
        let changed = change(
            LABELS,
            &plan(&[("reporter", TagPlan::Evaluated("request.host".into()))]),
            Some(&tags),
        );
        assert!(changed.starts_with(r#"reporter="h","#), "{changed}");
    }

    #[test]
    fn series_that_become_equal_are_added_up() {
        let mut changes = MetricsPlan::default();
        changes.server.families[0] = plan(&[("code", TagPlan::Remove)]);
        changes.client.families[0].is_off = true;
        let row = |reporter: &str, code: &str, count: u64| {
            (
                format!("reporter=\"{reporter}\",code=\"{code}\""),
                None,
                count,
            )
        };
        let rows = [
            row("destination", "1", 1),
            row("destination", "2", 2),
            row("source", "1", 4),
            row("unknown", "1", 8),
        ];
        let shown = project(&changes, 0, rows.into_iter(), |sum, more| *sum += more);
        let shown: Vec<_> = shown.into_iter().collect();
        assert_eq!(
            shown,
            [
                ("reporter=\"destination\"".to_owned(), 3),
                ("reporter=\"unknown\"".to_owned(), 8)
            ]
        );
        assert!(!changes.is_plain(0) && changes.is_plain(1));
    }
}
