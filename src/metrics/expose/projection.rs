//! Changes labels as Telemetry resources say.
//!
//! What is counted stays the same, and only what is shown changes: all series of a family at once,
//! so that one exposition never mixes the labels from before and after a change. Series that have
//! become equal, because the labels that told them apart are gone, are added up. A sum of counters
//! is a counter, and a series that is no longer shown stays in the sums, so none goes back.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;

use crate::metrics::plan::{FamilyPlan, MetricsPlan, TagPlan};
use crate::metrics::store::labels::{UNKNOWN, escaped, write_label};
use crate::metrics::store::tags::TagValues;

/// The series of a family as they are shown, by their labels.
#[derive(Debug)]
pub(super) struct Projection<T> {
    /// By [`REPORTERS`].
    plans: [FamilyPlan; REPORTERS.len()],
    shown: BTreeMap<String, T>,
}

impl<T> Projection<T> {
    /// For the family with this number, without a series yet.
    pub(super) fn new(plan: &MetricsPlan, family: usize) -> Self {
        Self {
            plans: REPORTERS.map(|reporter| plan.of(family, reporter)),
            shown: BTreeMap::new(),
        }
    }

    /// Adds a series; `merge` adds its counts to those of one that has become equal.
    pub(super) fn add(
        &mut self,
        labels: &str,
        tags: Option<&TagValues>,
        counts: T,
        merge: impl FnOnce(&mut T, T),
    ) {
        let Some(labels) = self.change(labels, tags) else {
            return;
        };
        match self.shown.get_mut(&labels) {
            Some(equal) => merge(equal, counts),
            None => {
                self.shown.insert(labels, counts);
            }
        }
    }

    /// Adds the counts of a series that is no longer shown to those of an equal one, if there is
    /// one: their sum was shown, and must not go back.
    pub(super) fn add_if_shown(
        &mut self,
        labels: &str,
        tags: Option<&TagValues>,
        counts: T,
        merge: impl FnOnce(&mut T, T),
    ) {
        let labels = self.change(labels, tags);
        if let Some(equal) = labels.and_then(|labels| self.shown.get_mut(&labels)) {
            merge(equal, counts);
        }
    }

    pub(super) fn into_rows(self) -> IntoIter<String, T> {
        self.shown.into_iter()
    }

    /// The labels as they are shown; `None` if the series is not.
    fn change(&self, labels: &str, tags: Option<&TagValues>) -> Option<String> {
        let reporter = value(labels, "reporter").unwrap_or(UNKNOWN);
        let plan = REPORTERS.iter().position(|known| *known == reporter);
        let plan = plan.and_then(|index| self.plans.get(index));
        let plan = plan.or_else(|| self.plans.last())?;
        (!plan.is_off).then(|| change(labels, plan, tags))
    }
}

impl<T> Default for Projection<T> {
    fn default() -> Self {
        Self::new(&MetricsPlan::default(), 0)
    }
}

/// The last is for all others.
const REPORTERS: [&str; 3] = ["destination", "source", "unknown"];

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
            (format!("reporter=\"{reporter}\",code=\"{code}\""), count)
        };
        let rows = [
            row("destination", "1", 1),
            row("destination", "2", 2),
            row("source", "1", 4),
            row("unknown", "1", 8),
        ];
        let mut shown = Projection::new(&changes, 0);
        for (labels, counts) in rows {
            shown.add(&labels, None, counts, |sum, more| *sum += more);
        }
        let retired = [
            row("destination", "3", 16),
            row("source", "3", 32),
            row("unknown", "3", 64),
        ];
        for (labels, counts) in retired {
            shown.add_if_shown(&labels, None, counts, |sum, more| *sum += more);
        }
        let shown: Vec<_> = shown.into_rows().collect();
        assert_eq!(
            shown,
            [
                ("reporter=\"destination\"".to_owned(), 19),
                ("reporter=\"unknown\"".to_owned(), 72)
            ]
        );
        assert!(!changes.is_plain(0) && changes.is_plain(1));
    }
}
