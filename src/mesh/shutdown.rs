//! The plan of a shutdown, which servers and clients of a mesh wait for.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Requests that every server of a mesh drains.
#[derive(Debug)]
pub(super) struct Shutdown {
    plan: watch::Sender<Option<Plan>>,
    /// How many servers with guards run.
    guarded: watch::Sender<usize>,
}

/// The times of a shutdown.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Servers stop accepting connections.
    stop: Instant,
    /// Servers cut the connections that are left.
    cut: Instant,
    /// How long servers go on after the request.
    notice: Duration,
}

impl Shutdown {
    pub(super) fn new() -> Self {
        Self {
            plan: watch::Sender::new(None),
            guarded: watch::Sender::new(0),
        }
    }

    /// Requests a shutdown: servers go on for `notice`, then connections get `grace` to finish. Of
    /// several requests the earliest times count.
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

    /// Counts a server with guards as running until dropped.
    pub(super) fn guarded(&self) -> Running {
        self.guarded.send_modify(|running| *running += 1);
        Running(self.guarded.clone())
    }

    /// Waits until the servers with guards have ended.
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
    /// Resolves when a server without guards must stop: when no server with guards runs after the
    /// shutdown began, or when connections are cut.
    pub(super) async fn stop(&mut self, signal: &mut Signal) {
        signal.stop().await;
        tokio::select! {
            // It fails when the mesh was dropped; then no server is left either.
            _ = self.0.wait_for(|running| *running == 0) => {}
            () = signal.cut() => {}
        }
    }
}

/// Waits for a [`Shutdown`].
#[derive(Clone, Debug)]
pub(super) struct Signal(watch::Receiver<Option<Plan>>);

impl Signal {
    /// Resolves when a shutdown is requested, with the notice and the grace period after it.
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

    /// Resolves when servers must stop accepting connections.
    pub(super) async fn stop(&mut self) {
        self.reach(|plan| plan.stop).await;
    }

    /// Resolves when servers must cut the connections that are left.
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
                    // The mesh was dropped, so no other request can come; the last one stays in
                    // force.
                    match at {
                        Some(at) => return sleep_until(at).await,
                        None => pending().await,
                    }
                },
            }
        }
    }
}

/// Longer than any process runs, and short enough that no sum with it overflows.
const FOREVER: Duration = Duration::from_secs(86400 * 365 * 30);
