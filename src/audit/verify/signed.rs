//! Compares a stream with its checkpoints, and with those from elsewhere.

use super::classify::Bad;
use super::fault::FaultKind;
use super::stream::Check;
use crate::audit::proof::{Checkpoint, SignatureFault};
use crate::audit::record::{Entry, Fields, Kind, Link, Own, write};

impl Check<'_> {
    /// Judges the checkpoint that is in a record.
    pub(super) fn checkpoint(&mut self, entry: &Entry<'_>) -> Option<Bad> {
        let seq = entry.seq();
        let note = entry.text("note").unwrap_or_default();
        let checkpoint = match Checkpoint::parse(&note) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                let what = format!("no checkpoint: {}", error.what());
                return Some(Bad::new(FaultKind::NotCanonical, seq, what));
            }
        };
        let latest = self.verified.latest;
        if !self.means.keys.is_empty()
            && let Err(fault) = checkpoint.judge_after(self.means.keys, latest)
        {
            let (kind, what) = signature_fault(fault);
            return Some(Bad::new(kind, seq, what.to_owned()));
        }
        if checkpoint.stream() != self.stream || checkpoint.size().checked_add(1) != Some(seq) {
            let what = "the checkpoint is about another stream, or another place in it";
            return Some(Bad::new(FaultKind::Spliced, seq, what.to_owned()));
        }
        let bad = self.compare(&checkpoint);
        if bad.is_none() && !is_as_written(entry, &checkpoint) {
            // No record after the last one shows that it was changed.
            let what = "the record has more or other fields than its checkpoint";
            return Some(Bad::new(FaultKind::Edited, seq, what.to_owned()));
        }
        self.report.checkpoints += u64::from(bad.is_none());
        bad
    }

    /// Judges the checkpoint from elsewhere about the stream up to this record.
    pub(super) fn external(&mut self, size: u64) -> Option<Bad> {
        let checkpoint = *self.means.external.get(self.stream)?.get(&size)?;
        let latest = self.verified.latest;
        if !self.means.keys.is_empty()
            && let Err(fault) = checkpoint.judge_after(self.means.keys, latest)
        {
            let (kind, what) = signature_fault(fault);
            return Some(Bad::new(kind, size, what.to_owned()));
        }
        let bad = self.compare(checkpoint);
        if bad.is_none() {
            self.report.external_checkpoints += 1;
            self.verified.state.proved = self.verified.state.proved.max(size);
        }
        bad
    }

    /// Whether the records up to here are those that a checkpoint has signed.
    fn compare(&self, checkpoint: &Checkpoint) -> Option<Bad> {
        let state = &self.verified.state;
        if state.is_signed_by(checkpoint) {
            return None;
        }
        let what = "the records are not those that the checkpoint has signed";
        let mut bad = Bad::new(FaultKind::Edited, state.proved + 1, what.to_owned());
        bad.to = Some(checkpoint.size());
        Some(bad)
    }
}

/// Whether the record of a checkpoint is the one that the writer makes of it.
fn is_as_written(entry: &Entry<'_>, checkpoint: &Checkpoint) -> bool {
    checkpoint.is_as_signed() && line_of(checkpoint) == entry.as_str().as_bytes()
}

/// The record that the writer makes of a checkpoint.
pub(super) fn line_of(checkpoint: &Checkpoint) -> Vec<u8> {
    let own = Own::Checkpoint {
        note: checkpoint.to_string(),
    };
    let link = Link {
        stream: checkpoint.stream(),
        seq: checkpoint.size().saturating_add(1),
        prev: checkpoint.head(),
        time: checkpoint.time(),
        clock_step: None,
        count: None,
        seal: None,
    };
    let mut line = Vec::new();
    write(&mut line, &Fields::own(Kind::Checkpoint, own), link);
    line
}

pub(crate) fn signature_fault(fault: SignatureFault) -> (FaultKind, &'static str) {
    match fault {
        SignatureFault::Bad => (
            FaultKind::BadSignature,
            "the signature of the checkpoint does not hold",
        ),
        SignatureFault::Retired => (
            FaultKind::RetiredKey,
            "the key of the checkpoint was retired before it, or before the records that it signs",
        ),
        SignatureFault::UnknownKey => (
            FaultKind::UnknownKey,
            "no known key has signed the checkpoint",
        ),
    }
}
