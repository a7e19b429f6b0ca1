//! Verifies the seals of closed segments.

use std::io;
use std::sync::Arc;

use super::classify::Bad;
use super::fault::FaultKind;
use super::report::VerifyReport;
use crate::audit::proof::{SealingKey, record_hash};
use crate::audit::record::Entry;

/// The seals of a trail, in the order of its streams. Each is made with the key after that of the seal
/// before, or with the same one after a crash, so none can be left out.
#[derive(Debug, Default)]
pub(super) struct Seals {
    /// The key of the last seal; at first, the start key.
    key: Option<SealingKey>,
    /// What the process has now.
    now: Option<Arc<SealingKey>>,
    last: Option<u64>,
    /// Whether the seals that come next are not there for a reason.
    may_skip: bool,
    /// Where the records after the last seal begin.
    stream: String,
    first: u64,
    count: u64,
}

impl Seals {
    pub(super) fn new(
        start: Option<&SealingKey>,
        now: Option<&Arc<SealingKey>>,
    ) -> io::Result<Self> {
        match start {
            Some(start) if start.index() > 0 => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the sealing key is not the start key: it has the number {}",
                    start.index()
                ),
            )),
            _ => Ok(Self {
                key: start.map(SealingKey::copy),
                now: now.cloned(),
                ..Self::default()
            }),
        }
    }

    /// Records that had the next seals were removed, or cannot be judged.
    pub(super) fn skip(&mut self) {
        self.may_skip = true;
    }

    /// Judges a record that was read after those before.
    pub(super) fn judge(&mut self, entry: &Entry<'_>) -> Option<Bad> {
        if !matches!(entry.kind(), "start" | "rotate" | "stop") {
            return None;
        }
        let found = entry.seal();
        let Some(key) = &mut self.key else {
            self.count += u64::from(found.is_some());
            return None;
        };
        let expected = self.last.map_or(0, |last| last.saturating_add(1));
        let wrong = match found {
            // The trail was not sealed yet.
            None if self.last.is_none() => return None,
            None => Err((
                FaultKind::Unsealed,
                format!("it has no seal, and should have seal {expected}"),
            )),
            Some(None) => Err((FaultKind::BadSeal, "its seal has another form".to_owned())),
            Some(Some((seal, unsealed))) => {
                let is_next = seal.index == expected || self.last == Some(seal.index);
                let is_later =
                    (expected..=expected.saturating_add(MOST_SKIPPED)).contains(&seal.index);
                if !(is_next || self.may_skip && is_later) {
                    let what = format!(
                        "it has seal {}, and should have seal {expected}",
                        seal.index
                    );
                    Err((FaultKind::BadSeal, what))
                } else {
                    // A seal that does not hold must not move the key on.
                    let mut tried = key.copy();
                    while tried.index() < seal.index {
                        tried.evolve();
                    }
                    match tried.seal(&record_hash(unsealed.as_bytes())) == seal {
                        true => {
                            *key = tried;
                            Ok(seal.index)
                        }
                        false => Err((
                            FaultKind::BadSeal,
                            format!(
                                "seal {} does not hold: records were written again after it was \
                                 made, or the key is that of another trail",
                                seal.index
                            ),
                        )),
                    }
                }
            }
        };
        match wrong {
            Ok(index) => {
                self.may_skip = false;
                self.last = Some(index);
                self.count += 1;
                entry.stream().clone_into(&mut self.stream);
                self.first = entry.seq() + 1;
                None
            }
            Err((kind, what)) => {
                let is_same = self.stream == entry.stream();
                let first = if is_same { self.first } else { 1 };
                let mut bad = Bad::new(kind, first.min(entry.seq()), what);
                bad.to = Some(entry.seq()).filter(|to| *to > bad.seq);
                Some(bad)
            }
        }
    }

    /// What is wrong with the trail as a whole, of the stream and from the record that are returned.
    pub(super) fn end(&mut self, report: &mut VerifyReport) -> Option<(&str, Bad)> {
        report.seals = self.count;
        report.seals_verified = self.key.is_some();
        let key = self.key.as_mut()?;
        let Some(last) = self.last else {
            let what = "no record has a seal, and there is a sealing key".to_owned();
            return (report.faults.is_empty())
                .then(|| ("", Bad::new(FaultKind::Unsealed, 1, what)));
        };
        let now = self.now.as_ref()?;
        let next = last.saturating_add(1);
        if now.index() > next.saturating_add(MOST_SKIPPED) {
            let what = "the key of the process is not one of this trail".to_owned();
            return Some((&self.stream, Bad::new(FaultKind::BadSeal, self.first, what)));
        }
        // The trail was read after the key, and may have gone on.
        if now.index() < last {
            return None;
        }
        while key.index() < now.index() {
            key.evolve();
        }
        if !key.is_same(now) {
            let what = "the key of the process is not one of this trail".to_owned();
            return Some((&self.stream, Bad::new(FaultKind::BadSeal, self.first, what)));
        }
        (now.index() > next).then(|| {
            let what = format!(
                "the process has sealed up to seal {}, and the last that is there is seal {last}",
                now.index() - 1
            );
            (
                &*self.stream,
                Bad::new(FaultKind::Truncated, self.first, what),
            )
        })
    }
}

/// So many keys at most are made for one seal: seconds, and hundreds of years of segments.
const MOST_SKIPPED: u64 = 1 << 22;
