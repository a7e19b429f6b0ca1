//! Turns a [`Watch`] into a source by giving it a clock.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{ConfigSource, Configuration, NextUpdate, Source, Update, Watch};
use crate::istio::Problems;

/// A [`Watch`] with a clock: it looks at the files every second.
struct Followed {
    /// `None` while a look is running, and after a look that panicked.
    watch: Option<Watch>,
    clock: Option<Interval>,
    /// A look that is running. It continues when the future that waits for it is dropped.
    look: Option<JoinHandle<Looked>>,
    restless: Restless,
}

/// The watch after a look, and the result of the look.
type Looked = (Watch, Option<Result<Configuration, Problems>>);

impl From<Watch> for ConfigSource {
    fn from(watch: Watch) -> Self {
        Self::boxed(Followed {
            watch: Some(watch),
            clock: None,
            look: None,
            restless: Restless::default(),
        })
    }
}

impl Source for Followed {
    fn next<'a>(&'a mut self, namespace: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            loop {
                let (watch, found) = self.look(namespace).await?;
                self.restless.note(watch.is_unsettled());
                let on_opening = watch.opening();
                self.watch = Some(watch);
                if let Some(configuration) = found {
                    return Some(Update::new(configuration).on_opening(on_opening));
                }
            }
        })
    }
}

impl Followed {
    /// Waits for the next look. `None` means that the look panicked, which ends the source.
    async fn look(&mut self, namespace: &str) -> Option<Looked> {
        if self.look.is_none() {
            match &mut self.clock {
                Some(clock) => {
                    clock.tick().await;
                }
                // The first look starts at once.
                None => {
                    let mut clock = interval_at(Instant::now() + LOOK, LOOK);
                    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    self.clock = Some(clock);
                }
            }
            let mut watch = self.watch.take()?;
            let namespace = namespace.to_owned();
            // Reading files blocks, so it runs on a thread for blocking work.
            self.look = Some(spawn_blocking(move || {
                let found = watch.changed(&namespace);
                (watch, found)
            }));
        }
        let looked = self.look.as_mut()?.await;
        self.look = None;
        looked.ok()
    }
}

/// Since when every look has found different files, or since the log last reported that.
#[derive(Default)]
struct Restless(Option<Instant>);

impl Restless {
    fn note(&mut self, is_unsettled: bool) {
        if !is_unsettled {
            self.0 = None;
            return;
        }
        let since = *self.0.get_or_insert_with(Instant::now);
        if since.elapsed() >= REMIND {
            self.0 = Some(Instant::now());
            tracing::warn!(
                target: "tower_mesh::config",
                "the files of the configuration are different at every look, so no change is \
                 applied; leave them unchanged for two seconds"
            );
        }
    }
}

/// The time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// The time between two log lines about files that keep changing.
const REMIND: Duration = Duration::from_secs(60);
