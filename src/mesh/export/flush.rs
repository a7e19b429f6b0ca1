use std::future::Future;
use std::time::Duration;

use crate::mesh::Mesh;

impl Mesh {
    /// Sends the spans that wait to be sent. Returns whether that was done within this time; spans
    /// that the collector has not taken are done, too.
    ///
    /// [`serve`](Self::serve) does it at its end, for five seconds at most. Under a server of your
    /// own, do it before the process ends.
    pub fn flush_spans(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        let propagation = self.parts().propagation.clone();
        async move { propagation.flush_spans(within).await }
    }

    /// Pushes the metrics to their collector, if there is one. Returns whether the collector has
    /// taken them within this time.
    ///
    /// [`serve`](Self::serve) does it at its end, for five seconds at most. Under a server of your
    /// own, do it before the process ends.
    pub fn flush_metrics(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        #[cfg(feature = "otlp")]
        let pusher = self.parts().pusher.clone();
        async move {
            #[cfg(feature = "otlp")]
            if let Some(pusher) = pusher {
                return pusher.push(within).await;
            }
            let _ = within;
            true
        }
    }
}
