//! What is told of a stream, and is no fault by itself.

use super::classify::Bad;
use super::fault::FaultKind;
use super::report::{GapNote, OpenIntent, StreamNote, push};
use super::stream::Check;
use crate::audit::record::Entry;
use crate::audit::store::Name;

impl Check<'_> {
    pub(super) fn gap(&mut self, entry: &Entry<'_>) {
        let text = |name| entry.text(name).unwrap_or_default().into_owned();
        let n = entry.number("n").unwrap_or_default();
        self.report.gaps += 1;
        self.report.gap_events = self.report.gap_events.saturating_add(n);
        let note = GapNote {
            stream: self.stream.to_owned(),
            seq: entry.seq(),
            from: text("from"),
            to: text("to"),
            n,
            reason: text("reason"),
        };
        push(&mut self.report.first_gaps, note);
    }

    pub(super) fn access(&mut self, entry: &Entry<'_>) {
        let Some(call) = entry.number("call") else {
            return;
        };
        match entry.text("phase").as_deref() {
            Some("intent") if self.intents.len() < MOST_INTENTS => {
                self.intents.insert(call, entry.seq());
            }
            Some("intent") => self.more_intents += 1,
            Some("completion") if self.intents.remove(&call).is_none() => {
                self.more_intents = self.more_intents.saturating_sub(1);
            }
            _ => {}
        }
    }

    pub(super) fn time(&mut self, entry: &Entry<'_>) {
        let time = entry.time();
        let back = self.clock.micros().saturating_sub(time.micros());
        if back > MOST_BACK_MICROS {
            self.report.clock_steps_back += 1;
            let note = self.note(entry.seq(), back / 1000);
            push(&mut self.report.first_clock_steps, note);
            self.clock = time;
        }
        self.clock = self.clock.max(time);
        self.verified.latest = self.verified.latest.max(time);
    }

    /// All lines were read, or a bad one was found.
    pub(super) fn end(&mut self) {
        let (size, proved) = (self.verified.state.size, self.verified.state.proved);
        if !self.verified.is_stopped {
            let later = self.means.external.get(self.stream);
            let later = later.and_then(|sizes| sizes.range(size + 1..).next_back());
            if let Some((signed, _)) = later
                && !self.means.pruned.covers(self.stream, *signed)
            {
                let what = format!("a checkpoint from elsewhere has signed {signed} records");
                let mut bad = Bad::new(FaultKind::Truncated, size + 1, what);
                bad.to = Some(*signed);
                self.fault(bad);
            }
        }
        // It was made before it was named, may still be empty, and may be younger than this
        // verification.
        let is_there = |next: &String| {
            let is_name = Name::parse(next).is_some();
            is_name && self.means.folder.join(next).exists()
        };
        self.verified.next = self.verified.next.take().filter(|next| !is_there(next));
        if self.is_prune && size > proved {
            let note = self.note(proved, size - proved);
            push(&mut self.report.unsigned, note);
        }
        self.report.open_intents += self.intents.len() as u64 + self.more_intents;
        let mut open: Vec<_> = self.intents.drain().collect();
        open.sort_unstable_by_key(|(_, seq)| *seq);
        for (call, seq) in open {
            let stream = self.stream.to_owned();
            push(
                &mut self.report.first_open_intents,
                OpenIntent { stream, seq, call },
            );
        }
        self.report.streams += 1;
        self.report.segments += self.names.len() as u64;
        // What no checkpoint proves excuses nothing.
        self.verified
            .removals
            .retain(|removal| removal.seq <= proved);
    }

    pub(super) fn note(&self, seq: u64, count: u64) -> StreamNote {
        StreamNote {
            stream: self.stream.to_owned(),
            seq,
            count,
        }
    }
}

const MOST_INTENTS: usize = 64 * 1024;
const MOST_BACK_MICROS: u64 = 1_000_000;
