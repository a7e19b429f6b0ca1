//! The thread that writes the lines of one sink.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::queue::{Lines, Message};
use crate::log_limit::limited;

/// Where a writer writes.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File {
        file: File,
        /// The file that takes its place, once one was opened.
        next: Arc<ArcSwapOption<File>>,
    },
}

impl Target {
    /// Takes the next file, if there is one.
    fn renew(&mut self) -> bool {
        let Self::File { file, next } = self else {
            return false;
        };
        // Not locked for readers that find nothing.
        if next.load().is_none() {
            return false;
        }
        match next.swap(None).and_then(|next| next.try_clone().ok()) {
            Some(next) => {
                *file = next;
                true
            }
            None => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().lock().write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File { .. } => Ok(()),
        }
    }
}

/// Writes lines until nothing can send any more.
///
/// A thread that waits in the channel must be woken by the request that sends, which costs that
/// request microseconds. So after a batch the thread sleeps for a moment without waiting in the
/// channel, and waits there only when nothing has come for a while.
pub(super) fn run(lines: &Lines, mut target: Target) {
    let mut batch = Batch::default();
    let mut quiet = 0;
    loop {
        let first = if quiet < ROUNDS {
            match lines.messages.try_recv() {
                Ok(first) => first,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    quiet += 1;
                    thread::sleep(ROUND);
                    continue;
                }
            }
        } else {
            match lines.messages.recv() {
                Ok(first) => first,
                Err(_) => return,
            }
        };
        quiet = 0;
        let mut answers = Vec::new();
        let mut message = Some(first);
        while let Some(next) = message {
            match next {
                Message::Line(line) => {
                    lines.taken(line.len());
                    batch.add(&line);
                }
                Message::Flush(answer) => answers.push(answer),
            }
            let is_full = batch.bytes.len() >= BATCH;
            message = match is_full || !answers.is_empty() {
                true => None,
                false => lines.messages.try_recv().ok(),
            };
        }
        batch.write(&mut target, lines);
        for answer in answers {
            let _ = answer.try_send(());
        }
    }
}

/// Lines that are written at once.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    /// The last line that was written has no end, because the device failed within it.
    is_torn: bool,
}

impl Batch {
    fn add(&mut self, line: &[u8]) {
        if self.is_torn && self.bytes.is_empty() {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(line);
        self.lines += 1;
    }

    /// Writes all, or counts what could not be written. A device that fails is tried again with the
    /// next batch.
    fn write(&mut self, target: &mut Target, lines: &Lines) {
        if target.renew() {
            if self.is_torn && self.bytes.first() == Some(&b'\n') {
                self.bytes.remove(0);
            }
            self.is_torn = false;
        }
        let mut written = 0;
        let failure = loop {
            let Some(rest) = self.bytes.get(written..).filter(|rest| !rest.is_empty()) else {
                break target.flush().err();
            };
            match target.write(rest) {
                Ok(0) => break Some(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        let rest = self.bytes.get(written..).unwrap_or_default();
        let lost = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
        let lost = lost.min(self.lines);
        if written > 0 {
            let last = self.bytes.get(written - 1);
            self.is_torn = last != Some(&b'\n');
        }
        lines.counts.add_written(self.lines - lost);
        lines.counts.add_failed(lost);
        if let Some(error) = failure {
            limited!(
                target: "tower_mesh::access_log",
                WARN,
                %error,
                lost,
                "lines of the access log cannot be written"
            );
        }
        self.bytes.clear();
        self.lines = 0;
        if self.bytes.capacity() > 4 * BATCH {
            self.bytes = Vec::new();
        }
    }
}

/// So many bytes are written at once, or a few more.
const BATCH: usize = 64 * 1024;
const ROUND: Duration = Duration::from_millis(2);
/// After so many rounds without a line the thread waits.
const ROUNDS: u32 = 50;
