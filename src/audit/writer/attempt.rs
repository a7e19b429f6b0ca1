//! Writes a batch of events, and what the trail itself has to say, or takes all of it back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::place::{Fault, Place, SINK_FAILED, contained};
use super::queue::Queued;
use super::settings::{AGAIN, TARGET};
use super::thread::{Gap, Item, Unsynced, Writer};
use crate::audit::proof::{Checkpoint, KeyFileError, SignError};
use crate::audit::record::{Fields, Kind, Own};
use crate::audit::scalar::Timestamp;
use crate::audit::store::SealingFile;

impl Writer {
    /// Writes a batch, and whatever else is due. What cannot be written is counted for the next `gap`.
    pub(super) fn commit(&mut self, batch: &[Item], is_last: bool, must_sync: bool) {
        self.began = self.clock.elapsed();
        let is_written = self.is_committed(batch, is_last, must_sync);
        // Only now, so that a failure which the second attempt makes good refuses nobody.
        self.shared
            .is_broken
            .store(self.is_broken, Ordering::Relaxed);
        self.answer(batch, is_written);
        // Nobody who waits for a record waits for another place, too.
        self.give_checkpoints();
        if self.must_evolve(self.clock.elapsed())
            && let Err(error) = self.evolve()
        {
            tracing::error!(target: TARGET, %error, "the next sealing key of the audit trail");
            self.shared.counters.failures.add(1);
            self.evolve_not_before = self.clock.elapsed() + AGAIN;
        }
    }

    /// Whether the sealing key has done its work.
    pub(super) fn must_evolve(&self, elapsed: Duration) -> bool {
        let is_used = |sealing: &SealingFile| self.durable.is_sealed_with(sealing.key());
        // A sink may keep what it has taken in memory until it is flushed.
        let is_kept = !self.is_sink() || !self.is_broken && self.unsynced.since.is_none();
        is_kept && self.sealing.as_ref().is_some_and(is_used) && elapsed >= self.evolve_not_before
    }

    /// Erases the sealing key, once what it has sealed is durable, and goes on with the next. A crash
    /// in between leaves the key, which then seals the next start as well: no number is missing.
    pub(super) fn evolve(&mut self) -> Result<(), KeyFileError> {
        self.shared.begin_write(self.clock.elapsed());
        let evolved = self.sealing.as_mut().map_or(Ok(()), SealingFile::evolve);
        self.shared.end_write();
        evolved
    }

    fn is_committed(&mut self, batch: &[Item], is_last: bool, must_sync: bool) -> bool {
        let mut done = 0;
        for _ in 0..2 {
            if self.is_broken && !self.recover() {
                break;
            }
            match self.attempt(batch, &mut done, is_last, must_sync) {
                Ok(()) => {
                    self.begin_again();
                    return true;
                }
                Err(fault) => self.has_failed(fault),
            }
            if self.is_sink() {
                break;
            }
        }
        let rest = batch.get(done..).unwrap_or_default();
        self.lose(rest.iter().map(|item| item.count).sum());
        false
    }

    /// After a segment that could not be closed, goes on in the next right away.
    fn begin_again(&mut self) {
        if self.is_broken
            && self.recover()
            && let Err(fault) = self.attempt(&[], &mut 0, false, true)
        {
            self.has_failed(fault);
        }
    }

    /// Tells those who wait; after a success, only if their events were synced.
    fn answer(&self, batch: &[Item], is_written: bool) {
        let is_durable = is_written && self.place.is_durable();
        for ticket in batch.iter().filter_map(|item| item.ticket.as_ref()) {
            match is_durable {
                true => ticket.is_durable(),
                false => ticket.has_failed(),
            }
        }
    }

    pub(super) fn attempt(
        &mut self,
        batch: &[Item],
        done: &mut usize,
        is_last: bool,
        must_sync: bool,
    ) -> Result<(), Fault> {
        let now = Timestamp::from(self.clock.now());
        self.notice_clock_step();
        self.buffer.clear();
        self.written.clone_from(self.stream.state());
        if let Some((count, since)) = self.shared.take_dropped() {
            self.gap.add(count, since.unwrap_or(now), "queue_full");
        }
        if self.stream.is_empty() {
            let start = std::mem::take(&mut self.start);
            let begun = self.emit(&start, now, 1);
            self.start = start;
            begun?;
            self.checkpoint_if_due(now, self.signs_start)?;
        }
        let mut new = Unsynced::default();
        if self.gap.is_due() {
            let Gap { n, since, why, .. } = self.gap;
            let from = since.unwrap_or(now).min(now);
            let mut fields = Fields::own(Kind::Gap, Own::Gap { from, to: now, n });
            fields.reason = super::thread::reason(why);
            self.emit(&fields, now, 1)?;
            match self.is_sink() {
                true => {
                    self.gap = Gap::default();
                    self.shared.counters.gaps.add(1);
                }
                false => new.gap = self.gap,
            }
        }
        let mut has_ticket = false;
        for item in batch.get(*done..).unwrap_or_default() {
            let Queued { fields, time, .. } = &*item.event;
            self.emit(fields, *time, item.count)?;
            has_ticket |= item.ticket.is_some();
            if self.is_sink() {
                *done += 1;
                self.shared.counters.written.add(item.count);
            } else {
                new.events += item.count;
            }
            self.checkpoint_if_due(now, false)?;
        }
        if is_last {
            self.emit(&Fields::new(Kind::Stop), now, 1)?;
        }
        self.checkpoint_if_due(now, is_last)?;
        let had_lines = !self.buffer.is_empty() || self.is_sink();
        self.flush_buffer()?;
        let elapsed = self.clock.elapsed();
        self.unsynced.events += new.events;
        if new.gap.is_due() {
            self.unsynced.gap.join(new.gap);
            self.unsynced.gaps += 1;
        }
        if had_lines {
            self.unsynced.since.get_or_insert(elapsed);
        }
        // From here on the gap is in the file; a failed sync brings it back.
        self.gap = Gap::default();
        let is_due = must_sync || is_last || has_ticket || !self.notes.is_empty();
        if is_due || self.is_sync_due(elapsed) {
            let synced = self.sync();
            if synced.is_err() {
                // The batch is tried again, so it is not lost yet.
                self.unsynced.events = self.unsynced.events.saturating_sub(new.events);
            }
            synced?;
        }
        *done = batch.len();
        if !is_last {
            self.rotate_if_due(now);
        }
        Ok(())
    }

    fn is_sink(&self) -> bool {
        matches!(self.place, Place::Sink(_))
    }

    /// Adds a record: to the buffer, or right to the sink.
    fn emit(&mut self, fields: &Fields, time: Timestamp, count: u64) -> Result<(), Fault> {
        let count = (count != 1).then_some(count);
        let step = self.clock_step;
        let sealing = self.sealing.as_ref().map(SealingFile::key);
        let key = sealing.filter(|_| fields.kind.is_some_and(Kind::is_sealed));
        self.stream
            .append_sealed(&mut self.buffer, fields, time, step, count, key);
        self.give_to_sink()?;
        self.clock_step = None;
        Ok(())
    }

    /// Gives the one record in the buffer to the sink. A record that it has taken is never taken back.
    fn give_to_sink(&mut self) -> Result<(), Fault> {
        let Place::Sink(sink) = &mut self.place else {
            return Ok(());
        };
        let line = std::str::from_utf8(&self.buffer).unwrap_or_default();
        let line = line.trim_end_matches('\n');
        self.shared.begin_write(self.clock.elapsed());
        let taken = contained(|| sink.record(line));
        self.shared.end_write();
        self.buffer.clear();
        match taken {
            Some(Ok(())) => {
                self.durable.clone_from(self.stream.state());
                self.written.clone_from(self.stream.state());
                Ok(())
            }
            _ => Err(Fault::Unwritten(SINK_FAILED)),
        }
    }

    /// Adds a checkpoint, if there is a key and enough has come since the last.
    fn checkpoint_if_due(&mut self, now: Timestamp, is_last: bool) -> Result<(), Fault> {
        let Some(signer) = &self.signer else {
            return Ok(());
        };
        let (unsigned, elapsed) = (self.stream.unsigned(), self.clock.elapsed());
        let is_late = elapsed >= self.checkpoint_at + self.checkpoint_every;
        let is_due = unsigned >= self.checkpoint_records && elapsed >= self.sign_not_before;
        if unsigned == 0 || !(is_due || is_late || is_last) {
            return Ok(());
        }
        let (stream, buffer) = (&mut self.stream, &mut self.buffer);
        self.shared.begin_write(elapsed);
        let signed = contained(|| stream.checkpoint(buffer, now, &**signer));
        self.shared.end_write();
        match signed.unwrap_or_else(|| Err(SignError::new("the signer has panicked"))) {
            Ok(note) => {
                self.checkpoint_at = elapsed;
                self.give_to_sink()?;
                self.notes.push(note);
            }
            Err(error) => {
                tracing::error!(target: TARGET, %error, "a checkpoint of the audit trail");
                self.shared.counters.checkpoint_failures.add(1);
                self.sign_not_before = elapsed + AGAIN;
                self.checkpoint_at = (elapsed + AGAIN).saturating_sub(self.checkpoint_every);
            }
        }
        Ok(())
    }

    fn flush_buffer(&mut self) -> Result<(), Fault> {
        if let Place::Folder(folder) = &mut self.place
            && !self.buffer.is_empty()
        {
            self.shared.begin_write(self.clock.elapsed());
            let appended = folder.store.append(&self.buffer);
            self.shared.end_write();
            appended?;
            self.written.clone_from(self.stream.state());
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        let began = self.clock.elapsed();
        self.shared.begin_write(began);
        let synced = self.place.sync();
        self.shared.end_write();
        let took = self.clock.elapsed().saturating_sub(began);
        let counters = &self.shared.counters;
        counters.syncs.add(1);
        counters
            .sync_nanos
            .add(took.as_nanos().try_into().unwrap_or(u64::MAX));
        synced?;
        counters.written.add(self.unsynced.events);
        counters.gaps.add(self.unsynced.gaps);
        self.unsynced = Unsynced::default();
        self.durable.clone_from(&self.written);
        self.durable_notes.append(&mut self.notes);
        Ok(())
    }

    /// Gives checkpoints that are durable to the second place.
    pub(super) fn give_checkpoints(&mut self) {
        for note in std::mem::take(&mut self.durable_notes) {
            self.shared.counters.checkpoints.add(1);
            let is_given = match (&mut self.place, &self.second_place) {
                (Place::Sink(sink), _) => {
                    self.shared.begin_write(self.clock.elapsed());
                    let given = contained(|| sink.checkpoint(&note));
                    self.shared.end_write();
                    matches!(given, Some(Ok(())))
                }
                (_, Some(second)) => {
                    Checkpoint::parse(&note).is_ok_and(|checkpoint| second.give(checkpoint))
                }
                _ => true,
            };
            if !is_given {
                tracing::error!(target: TARGET, "the second place did not take a checkpoint");
                self.shared.counters.checkpoint_failures.add(1);
            }
        }
    }

    /// Closes the segment with a record that names the next, and goes on there.
    fn rotate_if_due(&mut self, now: Timestamp) {
        let elapsed = self.clock.elapsed();
        let Place::Folder(folder) = &mut self.place else {
            return;
        };
        if !folder.is_full(elapsed) {
            return;
        }
        self.shared.begin_write(elapsed);
        let made = folder.store.make_next();
        self.shared.end_write();
        let next = match made {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(target: TARGET, %error, "the next segment of the audit trail");
                folder.not_before = elapsed + AGAIN;
                self.shared.counters.failures.add(1);
                return;
            }
        };
        let own = Own::Rotate { next: next.name() };
        self.buffer.clear();
        let closed = self
            .emit(&Fields::own(Kind::Rotate, own), now, 1)
            .and_then(|()| self.checkpoint_if_due(now, true))
            .and_then(|()| self.flush_buffer())
            .and_then(|()| self.sync());
        if let Place::Folder(folder) = &mut self.place {
            match closed {
                Ok(()) => {
                    folder.store.enter(next);
                    folder.since = elapsed;
                }
                Err(_) => folder.store.forget(&next),
            }
        }
        if let Err(fault) = closed {
            self.has_failed(fault);
        }
    }

    /// Takes back what may not be there, and lets go of the place.
    pub(super) fn has_failed(&mut self, fault: Fault) {
        if !self.gap.is_failure {
            let stream = self.stream.id();
            tracing::error!(target: TARGET, stream, reason = fault.word(), "the audit trail cannot be written");
        }
        self.shared.counters.failures.add(1);
        self.notes.clear();
        // What was written before the write that failed may still be kept.
        let kept = match fault {
            Fault::Unwritten(_) if !self.is_sink() && self.unsynced.since.is_some() => self.sync(),
            _ => Err(fault),
        };
        if kept.is_err() {
            let Unsynced { events, gap, .. } = std::mem::take(&mut self.unsynced);
            self.gap.join(gap);
            self.lose(events);
            self.written.clone_from(&self.durable);
        }
        self.stream.rewind(&self.durable);
        self.shared.begin_write(self.clock.elapsed());
        self.place.abandon();
        self.shared.end_write();
        self.gap.is_failure = true;
        self.gap.why = Some(fault.word());
        self.gap
            .since
            .get_or_insert_with(|| self.clock.now().into());
        self.is_broken = true;
        self.probe_at = self.began + AGAIN;
    }

    fn recover(&mut self) -> bool {
        let elapsed = self.clock.elapsed();
        self.shared.begin_write(elapsed);
        let is_open = self.place.recover(elapsed).is_ok();
        self.shared.end_write();
        match is_open {
            true => self.is_broken = false,
            false => self.probe_at = elapsed + AGAIN,
        }
        is_open
    }

    fn lose(&mut self, events: u64) {
        self.shared.counters.lost.add(events);
        self.gap.n += events;
    }
}
