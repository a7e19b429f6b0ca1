//! Verifies that each stream follows the one before.

use std::collections::BTreeMap;

use super::fault::{Fault, FaultKind};
use super::report::{VerifyReport, push};
use super::state::Pruned;
use super::stream::Verified;
use crate::audit::record::OldStream;

/// The streams that were read, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<(String, Verified)>);

impl Links {
    pub(super) fn add(&mut self, stream: &str, verified: Verified) {
        self.0.push((stream.to_owned(), verified));
    }

    /// Judges what the first records of the streams name.
    pub(super) fn judge(&self, pruned: &Pruned, report: &mut VerifyReport) {
        let by_id: BTreeMap<_, _> = self
            .0
            .iter()
            .map(|(id, stream)| (id.as_str(), stream))
            .collect();
        let mut followed = BTreeMap::<&str, &str>::new();
        let mut faults = Vec::new();
        for (index, (id, stream)) in self.0.iter().enumerate() {
            let at_start = |kind, what| fault(kind, id, 1, stream, what);
            let Some(start) = &stream.start else {
                continue;
            };
            let Some(old) = start else {
                // One whose beginning was removed has no first record to judge.
                let is_first = index == 0 || pruned.is_known(id);
                if !is_first {
                    let what = "the stream follows none, and there are streams before".to_owned();
                    faults.push(at_start(FaultKind::Spliced, what));
                }
                continue;
            };
            if let Some(other) = followed.insert(&old.stream, id) {
                let what = format!("stream {other} follows stream {} too", old.stream);
                faults.push(at_start(FaultKind::Forked, what));
                continue;
            }
            match by_id.get(old.stream.as_str()) {
                Some(before) => faults.extend(compare(old, before)),
                None => {
                    let mut removed = pruned.of(&old.stream).iter();
                    if !removed.any(|removed| removed.old == *old) {
                        let what = format!("the stream that stream {id} follows is not there");
                        let mut fault = fault(FaultKind::Missing, &old.stream, 1, stream, what);
                        fault.to = Some(old.size);
                        faults.push(fault);
                    }
                }
            }
        }
        for (id, stream) in &self.0 {
            if let Some(next) = &stream.next
                && !stream.is_faulty
                && !followed.contains_key(id.as_str())
            {
                let what = format!("the next segment {next} is not there");
                let seq = stream.state.next();
                faults.push(fault(FaultKind::Truncated, id, seq, stream, what));
            }
        }
        for fault in faults {
            push(&mut report.faults, fault);
        }
        // In the order of the streams, whichever way each fault was found.
        let order = |fault: &Fault| self.0.iter().position(|(id, _)| *id == fault.stream);
        report.faults.sort_by_key(|fault| order(fault));
    }
}

/// Whether a stream is what the one after it says.
fn compare(old: &OldStream, before: &Verified) -> Option<Fault> {
    if before.is_faulty {
        return None;
    }
    let size = before.state.tree.size();
    if old.size > size {
        let what = format!("the stream after it says that it had {} records", old.size);
        let mut fault = fault(FaultKind::Truncated, &old.stream, size + 1, before, what);
        fault.to = Some(old.size);
        return Some(fault);
    }
    if old.size < size {
        let what = format!("the stream after it says that it had {} records", old.size);
        return Some(fault(
            FaultKind::Forked,
            &old.stream,
            old.size + 1,
            before,
            what,
        ));
    }
    (old.head != before.state.head).then(|| {
        let what = "the records are not those that the stream after it names".to_owned();
        let first = (before.state.proved + 1).min(size);
        let mut fault = fault(FaultKind::Edited, &old.stream, first, before, what);
        fault.to = Some(size);
        fault
    })
}

fn fault(kind: FaultKind, stream: &str, seq: u64, seen: &Verified, what: String) -> Fault {
    let (file, line) = seen.last_place.clone();
    Fault {
        kind,
        stream: stream.to_owned(),
        seq,
        to: None,
        file,
        line,
        what,
    }
}
