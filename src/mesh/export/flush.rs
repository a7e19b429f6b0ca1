use std::future::Future;
use std::time::Duration;

#[cfg(feature = "otlp")]
use crate::access_log::Sink;
use crate::mesh::Mesh;

impl Mesh {
    /// Sends the spans that wait to be sent, and the lines of access logs that wait for a collector.
    /// Returns whether that was done within this time; what the collector has not taken is done,
    /// too.
    ///
    /// [`serve`](Self::serve) does it at its end, for five seconds at most. Under a server of your
    /// own, do it before the process ends.
    pub fn flush_spans(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        let propagation = self.parts().propagation.clone();
        #[cfg(feature = "otlp")]
        let sinks = self.collectors();
        async move {
            #[cfg(feature = "otlp")]
            {
                let lines = async {
                    let mut are_sent = true;
                    for sink in sinks {
                        are_sent &= sink.flush_to_collector(within).await;
                    }
                    are_sent
                };
                let (spans, lines) = tokio::join!(propagation.flush_spans(within), lines);
                spans && lines
            }
            #[cfg(not(feature = "otlp"))]
            propagation.flush_spans(within).await
        }
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

#[cfg(feature = "otlp")]
impl Mesh {
    /// Where lines wait for a collector: of the application's logs, and of those in use.
    fn collectors(&self) -> Vec<Sink> {
        let mut sinks = self.parts().log_sinks.clone();
        for sink in self.access_log_sinks() {
            if !sinks.iter().any(|known| known.is_same(&sink)) {
                sinks.push(sink);
            }
        }
        sinks
    }
}
