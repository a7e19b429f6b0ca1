use std::io;
use std::time::{Duration, Instant};

use crate::access_log::Sink;
use crate::mesh::Mesh;

impl Mesh {
    /// Opens the files of all access logs in use again: those of the application, and those that
    /// MeshConfig and its providers name. Call it after something has moved them away, on SIGHUP or
    /// from `postrotate` of logrotate; Envoy does the same on SIGUSR1. Lines in the queues go to the
    /// new files. To know that the old ones are no longer written, call
    /// [`flush_access_logs`](Self::flush_access_logs) after it.
    ///
    /// It opens files, so it may block the thread for as long as the disk takes.
    ///
    /// # Errors
    /// A file that cannot be opened, with its path: the first of them. The old one stays in use, and
    /// all others are opened.
    pub fn reopen_access_logs(&self) -> io::Result<()> {
        let opened = self
            .access_log_sinks()
            .into_iter()
            .map(|sink| sink.reopen());
        opened.fold(Ok(()), Result::and)
    }

    /// Waits until all lines before this call are written or lost, but no longer than `most`;
    /// returns whether they are. As of [`Sink::flush`], it blocks the thread, and inside a runtime
    /// it does not wait for collectors.
    #[must_use]
    pub fn flush_access_logs(&self, most: Duration) -> bool {
        let begun = Instant::now();
        let left = || most.saturating_sub(begun.elapsed());
        // Each is asked, also behind one that is too slow.
        let sinks = self.access_log_sinks().into_iter();
        sinks.filter(|sink| !sink.flush(left())).count() == 0
    }

    /// Those of the logs in use, each once.
    pub(super) fn access_log_sinks(&self) -> Vec<Sink> {
        let reports = self.client().outbound().reports.load();
        let mut sinks: Vec<Sink> = Vec::new();
        for side in [&reports.server, &reports.client] {
            for sink in side.access_logs.sinks() {
                if !sinks.iter().any(|known| known.is_same(sink)) {
                    sinks.push(sink.clone());
                }
            }
        }
        sinks
    }
}
