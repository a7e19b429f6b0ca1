use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Tells every server of a mesh to drain.
#[derive(Debug)]
pub(super) struct Shutdown {
    plan: watch::Sender<Option<Plan>>,
    /// How many servers with guards run.
    guarded: watch::Sender<usize>,
}

/// When what happens.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// No connection is accepted any more.
    stop: Instant,
    /// What has not ended is cut.
    cut: Instant,
    /// How long servers go on first.
    notice: Duration,
}

impl Shutdown {
    pub(super) fn new() -> Self {
        Self {
            plan: watch::Sender::new(None),
            guarded: watch::Sender::new(0),
        }
    }

    /// Asks for it: servers go on for `notice`, then connections get `grace` to finish. Asked again, whatever is sooner counts.
    pub(super) fn request(&self, notice: Duration, grace: Duration) {
        let notice = notice.min(FOREVER);
        let stop = Instant::now() + notice;
        let cut = stop + grace.min(FOREVER);
        self.plan.send_modify(|plan| {
            let before = plan.unwrap_or(Plan { stop, cut, notice });
            *plan = Some(Plan {
                stop: before.stop.min(stop),
                cut: before.cut.min(cut),
                notice: before.notice.min(notice),
            });
        });
    }

    pub(super) fn is_requested(&self) -> bool {
        self.plan.borrow().is_some()
    }

    pub(super) fn signal(&self) -> Signal {
        Signal(self.plan.subscribe())
    }

    /// A server with guards runs for as long as this is kept.
    pub(super) fn guarded(&self) -> Running {
        self.guarded.send_modify(|running| *running += 1);
        Running(self.guarded.clone())
    }

    /// For who waits until servers with guards have ended.
    pub(super) fn last(&self) -> Last {
        Last(self.guarded.subscribe())
    }
}

/// A server with guards that runs.
#[derive(Debug)]
pub(super) struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .send_modify(|running| *running = running.saturating_sub(1));
    }
}

/// Waits for the servers with guards to end.
#[derive(Clone, Debug)]
pub(super) struct Last(watch::Receiver<usize>);

impl Last {
    /// Resolves when a server without guards shall stop: when no server with guards runs any more, or what is left shall be cut.
    pub(super) async fn stop(&mut self, signal: &mut Signal) {
        signal.stop().await;
        tokio::select! {
            // It fails when the mesh is gone, and no server is left either.
            _ = self.0.wait_for(|running| *running == 0) => {}
            () = signal.cut() => {}
        }
    }
}

/// Waits for a [`Shutdown`].
#[derive(Clone, Debug)]
pub(super) struct Signal(watch::Receiver<Option<Plan>>);

impl Signal {
    /// Resolves when a shutdown is asked for: with the notice, and the grace after it.
    pub(super) async fn asked(&mut self) -> (Duration, Duration) {
        loop {
            let plan = *self.0.borrow_and_update();
            if let Some(Plan { stop, cut, notice }) = plan {
                return (notice, cut.saturating_duration_since(stop));
            }
            if self.0.changed().await.is_err() {
                pending().await
            }
        }
    }

    /// Resolves when servers shall stop.
    pub(super) async fn stop(&mut self) {
        self.reach(|plan| plan.stop).await;
    }

    /// Resolves when what is left shall be cut.
    pub(super) async fn cut(&mut self) {
        self.reach(|plan| plan.cut).await;
    }

    async fn reach(&mut self, moment: impl Fn(&Plan) -> Instant) {
        loop {
            let at = self.0.borrow_and_update().as_ref().map(&moment);
            let reached = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = reached => return,
                changed = self.0.changed() => if changed.is_err() {
                    // The mesh is gone, and with it whoever could ask; what was asked for stays.
                    match at {
                        Some(at) => return sleep_until(at).await,
                        None => pending().await,
                    }
                },
            }
        }
    }
}

/// Longer than any process, and yet no sum with it overflows.
const FOREVER: Duration = Duration::from_secs(86400 * 365 * 30);
