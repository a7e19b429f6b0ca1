//! Judges what `prune` records say.

use std::collections::BTreeMap;

use super::fault::{Fault, FaultKind};
use super::report::{PrunedNote, VerifyReport, push};
use super::signed::line_of;
use super::state::{Pruned, State};
use super::stream::Removal;
use crate::audit::proof::{Checkpoint, record_hash};
use crate::audit::record::Removed;
use crate::audit::scalar::Timestamp;
use crate::audit::store::Name;

/// The checkpoints from elsewhere, of each stream by size.
pub(super) type External<'a> = BTreeMap<&'a str, BTreeMap<u64, &'a Checkpoint>>;

impl Pruned {
    /// Adds what a record has removed, if it may have been removed.
    pub(super) fn judge(
        &mut self,
        removal: Removal,
        external: &External<'_>,
        now: Timestamp,
        report: &mut VerifyReport,
    ) {
        let Removal {
            time,
            place,
            removed,
            ..
        } = removal;
        // Whoever signs the record can write any time into it.
        let kept_from = time.min(now).micros().saturating_sub(KEPT_MICROS);
        if let Some((kind, what)) = wrong(&removed, external, kept_from) {
            let (file, line) = place;
            let fault = Fault {
                kind,
                stream: removed.old.stream,
                seq: 1,
                to: Some(removed.old.size),
                file,
                line,
                what: what.to_owned(),
            };
            push(&mut report.faults, fault);
            return;
        }
        let note = PrunedNote {
            stream: removed.old.stream.clone(),
            records: removed.old.size,
            segments: removed.segments,
            first: removed.first.clone(),
            last: removed.last.clone(),
            latest: removed.latest.unwrap_or_default().to_string(),
            at: time.to_string(),
            file: place.0.clone(),
            line: place.1,
        };
        push(&mut report.pruned, note);
        self.add(removed, place);
    }
}

fn wrong(
    removed: &Removed,
    external: &External<'_>,
    kept_from: u64,
) -> Option<(FaultKind, &'static str)> {
    let Some(state) = State::after(removed) else {
        return Some((
            FaultKind::NotCanonical,
            "what it says of the tree does not fit the number of records",
        ));
    };
    let is_of =
        |name: &str| Name::parse(name).is_some_and(|name| name.stream == removed.old.stream);
    if !is_of(&removed.first) || !is_of(&removed.last) {
        return Some((
            FaultKind::NotCanonical,
            "the segments that it names are not of the stream that it names",
        ));
    }
    let Some(latest) = removed.latest else {
        return Some((
            FaultKind::NotCanonical,
            "it does not say until when the records were that it removed",
        ));
    };
    if latest.micros() > kept_from {
        return Some((
            FaultKind::Missing,
            "records were removed that are younger than six years",
        ));
    }
    let checkpoints = external.get(removed.old.stream.as_str())?;
    for (size, checkpoint) in checkpoints.range(..=removed.old.size) {
        if checkpoint.time().micros() > kept_from {
            return Some((
                FaultKind::Missing,
                "records were removed that are younger than six years, as a checkpoint from elsewhere says",
            ));
        }
        let agrees = match removed.old.size - size {
            0 => state.is_signed_by(checkpoint),
            // Its own record is the last one that was removed.
            1 => record_hash(&line_of(checkpoint)) == state.head,
            _ => true,
        };
        if !agrees {
            return Some((
                FaultKind::Edited,
                "the records that were removed are not those that a checkpoint from elsewhere has signed",
            ));
        }
    }
    None
}

/// 45 CFR 164.316(b)(2)(i): six years, of which at least one has a leap day.
const KEPT_MICROS: u64 = (6 * 365 + 1) * 24 * 60 * 60 * 1_000_000;
