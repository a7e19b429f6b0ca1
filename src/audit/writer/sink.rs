//! Other places than a folder.

use std::fmt;

/// Takes the records of a trail: a log collector, a database, a place of the application.
///
/// A trail with a sink has a stream and a chain of its own. All methods run on the thread of that
/// trail, which does nothing else until they return: a sink that blocks delays its own trail only.
pub trait Sink: Send + 'static {
    /// What the trail is called where its counts are shown.
    fn name(&self) -> &str {
        "sink"
    }

    /// Takes one record in its canonical form, without a line break. They come in the order of their
    /// numbers. After a failure the record is given again, or a `gap` record in its place.
    ///
    /// # Errors
    /// It did not take the record.
    fn record(&mut self, line: &str) -> Result<(), SinkError>;

    /// Takes a checkpoint, a signed note, after the record that holds it.
    ///
    /// # Errors
    /// It did not take the checkpoint; the failure is counted.
    fn checkpoint(&mut self, note: &str) -> Result<(), SinkError> {
        let _ = note;
        Ok(())
    }

    /// Makes all records before durable, as far as the sink can.
    ///
    /// # Errors
    /// It could not.
    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether what it has flushed is durable, so that it counts for
    /// `submit_durable`.
    fn is_durable(&self) -> bool {
        false
    }
}

/// A sink has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkError(String);

impl SinkError {
    /// A failure with its reason, for the log.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SinkError {}
