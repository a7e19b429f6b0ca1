//! The access log: one line for each exchange, whatever becomes of it.

mod calls;
pub(crate) mod collectors;
mod flags;
mod layer;
mod requests;
mod unanswered_calls;

use std::sync::{Arc, Mutex};

use tower_mesh::access_log::{AccessLog, LineSink, Sink};

use crate::support::mesh::{settle, until};

/// The lines of a log.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl LineSink for Lines {
    fn take(&self, line: &[u8]) -> bool {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let line = line.strip_suffix('\n').unwrap();
        self.0.lock().unwrap().push(line.to_owned());
        true
    }
}

impl Lines {
    pub(crate) fn sink(&self) -> Sink {
        Sink::custom(self.clone())
    }

    /// Who asked for what, and what became of it.
    fn log(&self) -> AccessLog {
        let log = AccessLog::format(
            "%PROTOCOL% %REQ(:METHOD)% %REQ(:AUTHORITY)%%REQ(:PATH)% %RESPONSE_CODE% \
             %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED%/%BYTES_SENT%",
        );
        log.unwrap().to(self.sink())
    }

    /// All lines, once there are so many, and nothing else is to come.
    pub(crate) async fn take(&self, count: usize) -> Vec<String> {
        until("lines", || self.0.lock().unwrap().len() >= count).await;
        settle().await;
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    pub(crate) async fn one(&self) -> String {
        self.take(1).await.remove(0)
    }
}
