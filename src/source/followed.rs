use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{ConfigSource, Configuration, NextUpdate, Source, Update, Watch};
use crate::istio::Problems;

/// A [`Watch`] with a clock: it looks each second.
struct Followed {
    /// `None` while a look is under way, and after one that panicked.
    watch: Option<Watch>,
    clock: Option<Interval>,
    /// A look that has begun. It goes on when the future that waits for it is dropped.
    look: Option<JoinHandle<Looked>>,
    restless: Restless,
}

/// The watch after a look, and what it found.
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
    /// The next look; `None` when it panicked, which ends the source.
    async fn look(&mut self, namespace: &str) -> Option<Looked> {
        if self.look.is_none() {
            match &mut self.clock {
                Some(clock) => {
                    clock.tick().await;
                }
                // The first look waits for nothing.
                None => {
                    let mut clock = interval_at(Instant::now() + LOOK, LOOK);
                    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    self.clock = Some(clock);
                }
            }
            let mut watch = self.watch.take()?;
            let namespace = namespace.to_owned();
            // Reading files blocks, so a thread for blocking work does it.
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

/// Since when the files have differed at every look, or since the log last said so.
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
                "the files of the configuration are different at every look, so no change counts; whoever writes them must come to rest for two seconds"
            );
        }
    }
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the log says that the files do not come to rest.
const REMIND: Duration = Duration::from_secs(60);
