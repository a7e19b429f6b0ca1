//! Compares the guards of two configurations, port by port.

use std::collections::BTreeSet;

use super::protection::{Guard, Guarded};
use crate::istio::{Position, Problem};

/// The guards that a changed configuration takes away from one workload.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Guards that a port had and has no more.
    pub(super) openings: Vec<Problem>,
    /// Guards that are still there, made up of fewer policies or issuers.
    pub(super) fewer: BTreeSet<String>,
}

impl Losses {
    pub(super) fn between(before: Guarded<'_>, after: Guarded<'_>) -> Self {
        let mut losses = Self::default();
        for guard in Guard::ALL {
            losses.compare(*guard, before, after);
        }
        losses
    }

    fn compare(&mut self, guard: Guard, before: Guarded<'_>, after: Guarded<'_>) {
        let mut named = before.ports(guard);
        named.extend(after.ports(guard));
        let ports = named.iter().copied().map(Some).chain([None]);
        let mut lost = Vec::new();
        for port in ports {
            if !before.has(guard, port) {
                continue;
            }
            if !after.keeps(guard, port) {
                lost.push(port);
                continue;
            }
            let (old, new) = (before.names(guard, port), after.names(guard, port));
            if new.len() < old.len() {
                let gone: Vec<_> = old.difference(&new).collect();
                self.fewer
                    .insert(format!("no longer {guard}: {}", some_of(gone.into_iter())));
            }
        }
        let Some(first) = lost.first() else { return };
        let place = before.place(guard, *first);
        let at = place.unwrap_or_else(|| Position::new("the configuration".into(), 0, 0));
        let names = before.names(guard, *first);
        let had = if names.is_empty() {
            String::new()
        } else {
            format!(", where there was {}", some_of(names.into_iter()))
        };
        let ports = if named.is_empty() {
            String::new()
        } else {
            let ports = lost.iter().map(|port| match port {
                Some(port) => format!("port {port}"),
                None => "every port that nothing names".to_owned(),
            });
            format!(" on {}", some_of(ports))
        };
        let message = format!("no {guard} is left for this workload{ports}{had}");
        self.openings.push(Problem::new(at, "", message));
    }
}

/// The first names of a list, and how many more there are.
fn some_of(names: impl ExactSizeIterator<Item = impl AsRef<str>>) -> String {
    let more = names.len().saturating_sub(MOST);
    let mut text = String::new();
    for name in names.take(MOST) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.as_ref());
    }
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The most names in a message.
const MOST: usize = 5;
