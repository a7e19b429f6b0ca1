//! Where lines go.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tracing::field;

use super::counts::Counts;
#[cfg(feature = "otlp")]
use super::otlp::record;
use super::queue::{Queue, queue};
use super::writer::{self, Target};
use crate::access_log::format::Facts;
use crate::context::Refusal;
#[cfg(feature = "otlp")]
use crate::propagation::EndpointError;
#[cfg(feature = "otlp")]
use crate::propagation::log_export::LogExport;

/// Where the lines of an access log go. Cheap to clone; clones share one queue and one writer.
///
/// Standard output and files are written by a thread of their own, from a queue of at most 8,192
/// lines and 8 MiB ([`file_with`](Self::file_with) sets others). A line that finds no room is
/// dropped and counted; nothing ever waits for it. When the last log that uses the sink is gone, the
/// thread writes what is left and ends.
///
/// # Errors while writing
///
/// A full disk, a closed pipe and the like lose the lines that could not be written: they are
/// counted, and a warning says so at most ten times a second (target `tower_mesh::access_log`). The
/// next lines are tried again, so a sink recovers by itself. A line that was cut in its middle ends
/// before the next one begins.
#[derive(Clone)]
pub struct Sink(Arc<Inner>);

enum Inner {
    #[cfg(feature = "otlp")]
    Otlp(LogExport),
    Written {
        queue: Queue,
        file: Option<LogFile>,
    },
    Events(Counts),
    Custom(Box<dyn LineSink>, Counts),
}

struct LogFile {
    path: PathBuf,
    next: Arc<ArcSwapOption<File>>,
}

/// Takes the lines of an access log: [`Sink::custom`].
pub trait LineSink: Send + Sync + 'static {
    /// Takes one line with its line break, and returns whether it took it. A line that it did not
    /// take counts as dropped.
    ///
    /// It runs on the request path, in the task of the connection, often in a `Drop`: it must not
    /// block or wait. A panic is contained; the line is then lost and counted nowhere.
    fn take(&self, line: &[u8]) -> bool;
}

impl Sink {
    /// Standard output. All logs of the process that ask for it share one queue.
    #[must_use]
    pub fn stdout() -> Self {
        static STDOUT: LazyLock<Sink> =
            LazyLock::new(|| Sink::written(Target::Stdout, None, MOST_LINES, MOST_BYTES));
        STDOUT.clone()
    }

    /// A file, to whose end the lines are added. It is made if it is not there. The folder must be
    /// there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::file_with(path, MOST_LINES, MOST_BYTES)
    }

    /// As [`file`](Self::file), with a queue of at most so many lines (one or more) and bytes.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn file_with(
        path: impl AsRef<Path>,
        most_lines: usize,
        most_bytes: usize,
    ) -> io::Result<Self> {
        let path = path.as_ref();
        let file = open(path)?;
        let next = Arc::<ArcSwapOption<File>>::default();
        let target = Target::File {
            file,
            next: Arc::clone(&next),
        };
        let file = LogFile {
            path: path.to_owned(),
            next,
        };
        Ok(Self::written(
            target,
            Some(file),
            most_lines.max(1),
            most_bytes,
        ))
    }

    /// Events of `tracing`: target `tower_mesh::access_log`, level INFO, with the line as the
    /// message. Your subscriber decides whether that blocks a request; without one that wants the
    /// event, no line is made.
    ///
    /// The event of a request that a guard has refused has fields besides: `peer`, `user`, `reason`,
    /// `policy`, `at` (where the rule is written) and `asked` (the rules that could have let it
    /// pass). In a mesh it then stands for the event of refusals, target `tower_mesh::access`, so
    /// that none is told twice; beside a log with a filter that one stays.
    #[must_use]
    pub fn events() -> Self {
        Self(Arc::new(Inner::Events(Counts::default())))
    }

    /// An OpenTelemetry collector at this URL, which begins with `http://`: protobuf over HTTP where
    /// its port is 4318 or it has a path, else gRPC.
    ///
    /// The line is the body of a log record. Its attributes are the method, the path (with the
    /// log's redaction), the authority, the status, Envoy's flags and details, and the request id;
    /// it has the ids of the trace and the span, and in a mesh the resource of its workload. Headers
    /// for the collector are those of `OTEL_EXPORTER_OTLP_LOGS_HEADERS`, else
    /// `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// At most 8,192 records and 8 MiB wait or are being sent ([`otlp_with`](Self::otlp_with) sets
    /// others); one that finds no room is dropped and counted. A value of an attribute has at most
    /// 4 KiB. A task on the runtime of the requests sends the records, at most 512 in a batch and at
    /// the latest after one second; `OTEL_BLRP_MAX_QUEUE_SIZE`, `OTEL_BLRP_MAX_EXPORT_BATCH_SIZE`,
    /// `OTEL_BLRP_SCHEDULE_DELAY` and `OTEL_BLRP_EXPORT_TIMEOUT` (milliseconds) change that.
    ///
    /// A collector that is down, slow or broken has no effect on a request. A batch that it cannot
    /// take now is sent again, up to three times within the timeout of ten seconds; then its records
    /// count as failed, as do those of a batch that is refused and those that the collector rejects
    /// of one that it takes. A warning says so once. A connection on which a batch has failed is not
    /// used again, so one that has died without a word costs one batch.
    ///
    /// # Errors
    /// When it is no such URL: another scheme, no host, or a user or password in it.
    #[cfg(feature = "otlp")]
    pub fn otlp(url: &str) -> Result<Self, EndpointError> {
        Ok(Self(Arc::new(Inner::Otlp(LogExport::to(url)?))))
    }

    /// As [`otlp`](Self::otlp), with at most so many records (from 1 to 131,072) and bytes, those of
    /// the batch that is being sent among them, and so long for each batch, retries included.
    ///
    /// # Errors
    /// As of [`otlp`](Self::otlp).
    #[cfg(feature = "otlp")]
    pub fn otlp_with(
        url: &str,
        most_records: usize,
        most_bytes: usize,
        timeout: Duration,
    ) -> Result<Self, EndpointError> {
        let export = LogExport::to(url)?.bounded(most_records, most_bytes, timeout);
        Ok(Self(Arc::new(Inner::Otlp(export))))
    }

    /// A sink of your own.
    #[must_use]
    pub fn custom(sink: impl LineSink) -> Self {
        Self(Arc::new(Inner::Custom(Box::new(sink), Counts::default())))
    }

    fn written(
        target: Target,
        file: Option<LogFile>,
        most_lines: usize,
        most_bytes: usize,
    ) -> Self {
        let (queue, lines) = queue(most_lines, most_bytes);
        let thread = thread::Builder::new().name("access-log".to_owned());
        // Without a thread every line is dropped and counted: the requests go on.
        if let Err(error) = thread.spawn(move || writer::run(&lines, target)) {
            tracing::error!(
                target: "tower_mesh::access_log",
                %error,
                "the access log has no thread, so its lines are dropped"
            );
        }
        Self(Arc::new(Inner::Written { queue, file }))
    }

    /// Opens the file at its path again, after something has moved the old one away, and lets go of
    /// the old one before the next lines are written. A sink that is no file has nothing to open.
    ///
    /// Call it on SIGHUP, or from `postrotate` of logrotate. Lines in the queue go to the new file.
    /// To know that the old one is no longer written, call [`flush`](Self::flush) after it.
    ///
    /// # Errors
    /// The file cannot be opened, with its path; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        if let Inner::Written {
            file: Some(file), ..
        } = &*self.0
        {
            let opened = open(&file.path).map_err(|error| {
                let path = file.path.display();
                let message = format!(
                    "the access log {path} cannot be opened again: {error}; the old file stays in use"
                );
                io::Error::new(error.kind(), message)
            })?;
            file.next.store(Some(Arc::new(opened)));
        }
        Ok(())
    }

    /// Waits until all lines before this call are written or lost, but no longer than `most`;
    /// returns whether they are. It blocks the thread: call it at the end of a program, or with
    /// `spawn_blocking`.
    ///
    /// Inside a runtime it does not block for a collector: it then only asks for it.
    #[must_use]
    pub fn flush(&self, most: Duration) -> bool {
        match &*self.0 {
            #[cfg(feature = "otlp")]
            Inner::Otlp(export) => export.flush_blocking(most),
            Inner::Written { queue, .. } => queue.flush(most),
            Inner::Events(_) | Inner::Custom(..) => true,
        }
    }

    /// How many lines were written.
    #[must_use]
    pub fn written_lines(&self) -> u64 {
        self.become_of()[0]
    }

    /// How many lines were dropped because the queue was full, or because a sink of your own did not
    /// take them.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.become_of()[1]
    }

    /// How many lines were lost because they could not be written.
    #[must_use]
    pub fn failed_lines(&self) -> u64 {
        self.become_of()[2]
    }

    /// How many were written, dropped and lost.
    fn become_of(&self) -> [u64; 3] {
        let counts = match &*self.0 {
            #[cfg(feature = "otlp")]
            Inner::Otlp(export) => return export.counts(),
            Inner::Written { queue, .. } => &*queue.counts,
            Inner::Events(counts) | Inner::Custom(_, counts) => counts,
        };
        [counts.written(), counts.full(), counts.failed()]
    }

    /// Says whose lines they are. The last workload of a sink counts.
    #[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
    pub(crate) fn set_resource<'a>(&self, attributes: impl Iterator<Item = (&'a str, String)>) {
        if let Inner::Otlp(export) = &*self.0 {
            export.set_resource(attributes);
        }
    }

    /// Sends what a collector has not got. Returns whether that was done within this time.
    #[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
    pub(crate) async fn flush_to_collector(&self, within: Duration) -> bool {
        match &*self.0 {
            Inner::Otlp(export) => export.flush(within).await,
            _ => true,
        }
    }

    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::access_log) fn is_events(&self) -> bool {
        matches!(*self.0, Inner::Events(_))
    }

    /// Whether both are one sink.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the metrics of a mesh")
    )]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether a line would go anywhere.
    pub(in crate::access_log) fn wants(&self) -> bool {
        match &*self.0 {
            Inner::Events(_) => {
                tracing::enabled!(target: "tower_mesh::access_log", tracing::Level::INFO)
            }
            #[cfg(feature = "otlp")]
            Inner::Otlp(_) => true,
            Inner::Written { .. } | Inner::Custom(..) => true,
        }
    }

    /// Takes a line with its line break.
    pub(in crate::access_log) fn send(&self, line: &[u8], facts: Facts<'_>) {
        match &*self.0 {
            #[cfg(feature = "otlp")]
            Inner::Otlp(export) => export.push(record(line, facts)),
            Inner::Written { queue, .. } => queue.send(line),
            Inner::Events(counts) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = String::from_utf8_lossy(line);
                event(&line, facts.refusal());
                counts.add_written(1);
            }
            Inner::Custom(sink, counts) => match sink.take(line) {
                true => counts.add_written(1),
                false => counts.add_full(),
            },
        }
    }
}

fn event(line: &str, refusal: Option<&Refusal>) {
    let Some(refusal) = refusal else {
        return tracing::info!(target: "tower_mesh::access_log", "{line}");
    };
    let shown = |text: &Option<String>| text.clone().map(field::display);
    tracing::info!(
        target: "tower_mesh::access_log",
        peer = %refusal.peer,
        user = shown(&refusal.user),
        reason = %refusal.reason,
        policy = shown(&refusal.policy),
        at = shown(&refusal.at),
        asked = shown(&refusal.asked),
        "{line}"
    );
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &*self.0 {
            Inner::Written { file: None, .. } => "stdout",
            Inner::Written {
                file: Some(file), ..
            } => return f.debug_tuple("Sink").field(&file.path).finish(),
            Inner::Events(_) => "events",
            #[cfg(feature = "otlp")]
            Inner::Otlp(export) => return f.debug_tuple("Sink").field(&export.place()).finish(),
            Inner::Custom(..) => "custom",
        };
        f.debug_tuple("Sink").field(&kind).finish()
    }
}

const MOST_LINES: usize = 8 * 1024;
const MOST_BYTES: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
