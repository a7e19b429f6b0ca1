//! Compares what protects each port in two configurations.

use std::collections::BTreeSet;

use super::protection::{PortProtections, Protection};
use crate::istio::{Position, Problem};

/// The protections that a changed configuration takes away from one workload.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Protections that a port had and has no more.
    pub(super) openings: Vec<Problem>,
    /// Protections that are still there, made up of fewer policies or issuers.
    pub(super) fewer: BTreeSet<String>,
}

impl Losses {
    pub(super) fn between(before: PortProtections<'_>, after: PortProtections<'_>) -> Self {
        let mut losses = Self::default();
        for protection in Protection::ALL {
            losses.compare(*protection, before, after);
        }
        losses
    }

    fn compare(
        &mut self,
        protection: Protection,
        before: PortProtections<'_>,
        after: PortProtections<'_>,
    ) {
        let mut named = before.ports(protection);
        named.extend(after.ports(protection));
        let ports = named.iter().copied().map(Some).chain([None]);
        let mut lost = Vec::new();
        for port in ports {
            if !before.has(protection, port) {
                continue;
            }
            if !after.keeps(protection, port) {
                lost.push(port);
                continue;
            }
            let (old, new) = (
                before.names(protection, port),
                after.names(protection, port),
            );
            if new.len() < old.len() {
                let gone: Vec<_> = old.difference(&new).collect();
                self.fewer.insert(format!(
                    "no longer {protection}: {}",
                    some_of(gone.into_iter())
                ));
            }
        }
        let Some(first) = lost.first() else { return };
        let place = before.place(protection, *first);
        let at = place.unwrap_or_else(|| Position::new("the configuration".into(), 0, 0));
        let names = before.names(protection, *first);
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
        let message = format!("no {protection} is left for this workload{ports}{had}");
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
