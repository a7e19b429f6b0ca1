//! Merges several sources of configuration into one.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::{ConfigSource, Configuration, NextUpdate, OnOpening, Source, Update};
use crate::istio::{MeshConfig, Position, Problem, Problems, contradictions};

/// Several sources as one, for configuration with several owners. The result has the resources of
/// all of them.
///
/// A change of any source is a change of the whole, which the mesh judges as a whole:
///
/// - While one source gives a configuration with problems, the whole has these problems and is
///   refused. Changes of the other sources take effect again once it is corrected.
/// - Two resources with the same kind, namespace and name are a problem, and so are two different
///   MeshConfigs: each must have one owner.
/// - A change that opens the workload is refused unless every source sets [`OnOpening::Warn`].
/// - When a source ends, its last configuration stays and the others are still followed. The log
///   reports this at ERROR.
///
/// # Example
///
/// ```
/// use tower_mesh::source::{Directory, Fixed, Merged};
///
/// let all = Merged::new()
///     .and(Fixed::yaml("built-in.yaml", "{}"))
///     .and(Directory::watch("/etc/policies"));
/// ```
#[derive(Debug, Default)]
pub struct Merged(Vec<Part>);

#[derive(Debug)]
struct Part {
    source: ConfigSource,
    latest: Option<Update>,
    has_ended: bool,
    /// Whether the mesh has yet to judge the latest update.
    is_open: bool,
}

impl Merged {
    /// A merged source without any parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source.
    #[must_use]
    pub fn and(mut self, source: impl Into<ConfigSource>) -> Self {
        self.0.push(Part {
            source: source.into(),
            latest: None,
            has_ended: false,
            is_open: false,
        });
        self
    }
}

impl Source for Merged {
    fn next<'a>(&'a mut self, namespace: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            loop {
                if self.0.iter().all(|part| part.has_ended && !part.is_open) {
                    return None;
                }
                let (index, update) = first(&mut self.0, namespace).await;
                if let Some(part) = self.0.get_mut(index) {
                    part.take(update);
                }
                let is_complete = self.0.iter().all(|part| part.latest.is_some());
                if is_complete && self.0.iter().any(|part| part.is_open) {
                    return Some(merge(&self.0));
                }
            }
        })
    }

    fn answered(&mut self, verdict: Result<(), &Problems>) {
        for part in self.0.iter_mut().filter(|part| part.is_open) {
            part.is_open = false;
            part.source.0.answered(verdict);
        }
    }

    fn may_change(&self) -> bool {
        self.0.iter().any(|part| part.source.0.may_change())
    }
}

impl Part {
    fn take(&mut self, update: Option<Update>) {
        match update {
            Some(update) => {
                self.latest = Some(update);
                self.is_open = true;
            }
            None => {
                self.has_ended = true;
                tracing::error!(
                    target: "tower_mesh::config",
                    "one of several sources of the configuration has ended; its part stays as it is"
                );
                if self.latest.is_none() {
                    // Without its part fewer rules would apply than its owner wants.
                    self.latest = Some(Update::new(Err(never_gave())));
                    self.is_open = true;
                }
            }
        }
    }
}

fn never_gave() -> Problems {
    let message = "one of several sources of the configuration ended before it gave any";
    Problem::new(Position::default(), "", message).into()
}

/// The first update from any source that has not ended and has no verdict to wait for.
async fn first(parts: &mut [Part], namespace: &str) -> (usize, Option<Update>) {
    let live = parts.iter_mut().enumerate();
    let live = live.filter(|(_, part)| !part.has_ended && !part.is_open);
    let waiting = live.map(|(index, part)| (index, part.source.0.next(namespace)));
    let mut waiting: Vec<_> = waiting.collect();
    if waiting.is_empty() {
        return pending().await;
    }
    poll_fn(|cx| {
        for (index, next) in &mut waiting {
            if let Poll::Ready(update) = next.as_mut().poll(cx) {
                return Poll::Ready((*index, update));
            }
        }
        Poll::Pending
    })
    .await
}

/// Merges the latest update of each source into one.
fn merge(parts: &[Part]) -> Update {
    // A part that cannot change opens nothing, so it has no say.
    let changing = parts.iter().filter(|part| part.source.0.may_change());
    let latest = || parts.iter().filter_map(|part| part.latest.as_ref());
    let said: Vec<_> = changing
        .filter_map(|part| Some(part.latest.as_ref()?.on_opening))
        .collect();
    let warns = !said.is_empty() && said.iter().all(|said| *said == OnOpening::Warn);
    let on_opening = match warns {
        true => OnOpening::Warn,
        false => OnOpening::Refuse,
    };
    let mut whole = Configuration::default();
    let mut problems = Vec::new();
    for update in latest() {
        match &update.configuration {
            Ok(part) => problems.extend(append(&mut whole, part.clone())),
            Err(found) => problems.extend(found.clone()),
        }
    }
    if problems.is_empty() {
        problems = contradictions(&whole.resources);
    }
    let configuration = Problems::from_list(problems).map_or(Ok(whole), Err);
    Update::new(configuration).on_opening(on_opening)
}

/// Adds a part to the whole. Returns a problem if both have different mesh settings.
fn append(whole: &mut Configuration, part: Configuration) -> Option<Problem> {
    let Configuration {
        resources,
        mesh_config,
        passed_over,
        holdings,
    } = part;
    let unstated = MeshConfig::default();
    let is_second = *mesh_config != unstated
        && *whole.mesh_config != unstated
        && mesh_config != whole.mesh_config;
    if *mesh_config != unstated {
        whole.mesh_config = Arc::clone(&mesh_config);
    }
    whole.resources.append(resources);
    whole.passed_over.extend(passed_over);
    whole.holdings.append(holdings);
    is_second.then(|| {
        let message = "two sources of the configuration give different MeshConfigs; keep one";
        Problem::new(Position::default(), "", message)
    })
}
