use std::time::Duration;

use tokio::sync::watch;

/// Tells every server of a mesh to drain, once.
#[derive(Debug)]
pub(super) struct Shutdown(watch::Sender<Option<Duration>>);

impl Shutdown {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Asks for it; connections get `grace` to finish. Only the first call counts.
    pub(super) fn request(&self, grace: Duration) {
        self.0.send_if_modified(|asked| {
            let is_first = asked.is_none();
            asked.get_or_insert(grace);
            is_first
        });
    }

    pub(super) fn signal(&self) -> Signal {
        Signal(self.0.subscribe())
    }
}

/// Waits for a [`Shutdown`].
#[derive(Debug)]
pub(super) struct Signal(watch::Receiver<Option<Duration>>);

impl Signal {
    /// Resolves when a shutdown is asked for, or has been; says how long connections get.
    pub(super) async fn requested(&mut self) -> Duration {
        let asked = self.0.wait_for(Option::is_some).await.map(|asked| *asked);
        match asked {
            Ok(grace) => grace.unwrap_or_default(),
            // The mesh is gone, and with it whoever could ask.
            Err(_) => std::future::pending().await,
        }
    }
}
