//! Sets an audit up.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::clock::{Clock, SystemClock};
use super::error::StartError;
use super::flood::Flood;
use super::handle::{Audit, Inner};
use super::place::{Folder, Place, contained};
use super::queue::{Queue, queue};
use super::second::Second;
#[cfg(feature = "otlp")]
use super::settings::Whose;
use super::settings::{Durability, OnFailure, SecondPlace};
use super::sink::{Sink, SinkError};
use super::stream::Stream;
use super::thread::{Floods, Gap, Unsynced, Writer};
use crate::audit::proof::{Checkpoint, PublicKeys, SealingKey, Signer, public_key};
use crate::audit::record::{Bounded, Fields, Kind, Own, Text};
use crate::audit::store::{Disk, Opened, SealingFile, Storage, Store};

impl Audit {
    /// Sets an audit up.
    pub fn builder() -> AuditBuilder {
        AuditBuilder::default()
    }
}

/// Sets an [`Audit`] up: [`Audit::builder`].
#[derive(Debug)]
#[must_use = "an audit does nothing until it is started"]
pub struct AuditBuilder {
    trails: Vec<Trail>,
    on_failure: OnFailure,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    workload: Option<Text>,
}

/// A place to which all events are written, with a stream, a chain and a thread of its own.
#[must_use = "a trail does nothing until an audit has it"]
pub struct Trail {
    to: To,
    durability: Durability,
    signer: Option<Box<dyn Signer>>,
    second_place: Option<SecondPlace>,
    sealing: Option<SealingKey>,
    checkpoint_records: u64,
    checkpoint_every: Duration,
    most_queued: usize,
    most_queued_bytes: u64,
    most_segment_bytes: u64,
    most_segment_age: Duration,
    storage: Box<dyn Storage>,
    /// Whose records these are, if a collector is to get them.
    #[cfg(feature = "otlp")]
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only a mesh says it")
    )]
    pub(in crate::audit) collector: Option<Whose>,
}

enum To {
    Folder(PathBuf),
    Sink(Box<dyn Sink>),
}

impl Trail {
    /// Segments in this folder, which is made if it is not there. Only one process can write it.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self::new(To::Folder(path.into()))
    }

    /// A place of the application.
    pub fn sink(sink: impl Sink) -> Self {
        Self::new(To::Sink(Box::new(sink)))
    }

    fn new(to: To) -> Self {
        Self {
            to,
            durability: Durability::Grouped(64, Duration::from_millis(2)),
            signer: None,
            second_place: None,
            sealing: None,
            checkpoint_records: 1000,
            checkpoint_every: Duration::from_secs(60),
            most_queued: 8192,
            most_queued_bytes: 32 * 1024 * 1024,
            most_segment_bytes: 64 * 1024 * 1024,
            most_segment_age: Duration::from_secs(24 * 60 * 60),
            storage: Box::new(Disk),
            #[cfg(feature = "otlp")]
            collector: None,
        }
    }

    /// When events are made durable. By default, 64 at once, or after 2 ms.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Signs checkpoints with this key. Without one there are none.
    pub fn signer(mut self, signer: impl Signer + 'static) -> Self {
        self.signer = Some(Box::new(signer));
        self
    }

    /// Gives each checkpoint to this function as soon as it is durable, on a thread of its own: one
    /// that hangs holds up no record. It should keep it where the writer of the trail cannot change
    /// it. A checkpoint that it refuses is given again, after a second or when a later one was made,
    /// and the last one of the process before is given at the start: so it may get one twice. A
    /// sink gets its checkpoints itself, so a trail of a sink with a second place is refused.
    pub fn second_place(
        mut self,
        place: impl FnMut(&Checkpoint) -> Result<(), SinkError> + Send + 'static,
    ) -> Self {
        self.second_place = Some(Box::new(place));
        self
    }

    /// Seals each segment when it is closed, with a key that is erased after that. Whoever breaks in
    /// later, with all rights and the key of the [signer](Self::signer), cannot write a closed segment
    /// anew: [`Verify::sealing_key`](crate::audit::Verify::sealing_key) finds it. The segment that is
    /// being written is not sealed yet; [`segments`](Self::segments) says how long that is.
    ///
    /// The key's file is replaced by that of the next key at each start, at each rotation and at the
    /// end. It belongs to this trail alone, must be in a folder that the process may write, and must
    /// have begun as a copy of the start key, which is then kept away from this machine.
    pub fn sealed(mut self, key: SealingKey) -> Self {
        self.sealing = Some(key);
        self
    }

    /// A checkpoint is due after so many records, or this time after the last. By default, 1,000
    /// records and 60 s.
    pub fn checkpoint_every(mut self, records: u64, time: Duration) -> Self {
        self.checkpoint_records = records.max(1);
        self.checkpoint_every = time;
        self
    }

    /// At most so many events and bytes wait. By default, 8,192 and 32 MiB.
    pub fn queue(mut self, events: usize, bytes: u64) -> Self {
        self.most_queued = events.max(1);
        self.most_queued_bytes = bytes;
        self
    }

    /// A segment is closed when it has so many bytes, or is so old. By default, 64 MiB and a day.
    pub fn segments(mut self, bytes: u64, age: Duration) -> Self {
        self.most_segment_bytes = bytes;
        self.most_segment_age = age;
        self
    }

    #[cfg(test)]
    pub(crate) fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.storage = Box::new(storage);
        self
    }
}

impl To {
    fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            // A sink that panics here is one that fails later.
            Self::Sink(sink) => contained(|| sink.name().to_owned()).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail")
            .field("to", &self.to.name())
            .field("durability", &self.durability)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

impl Default for AuditBuilder {
    fn default() -> Self {
        Self {
            trails: Vec::new(),
            on_failure: OnFailure::Refuse,
            deadline: Duration::from_millis(500),
            clock: Arc::new(SystemClock::default()),
            workload: None,
        }
    }
}

impl AuditBuilder {
    /// Adds a trail. Each gets all events; an event is durable when it is in one of them.
    pub fn trail(mut self, trail: Trail) -> Self {
        self.trails.push(trail);
        self
    }

    /// What happens when an event cannot be made durable. By default, refuse.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// In what time an event must be durable. By default, 500 ms.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The SPIFFE ID of this workload, for the `start` records.
    pub fn workload(mut self, spiffe_id: impl Into<Text>) -> Self {
        self.workload = Some(spiffe_id.into());
        self
    }

    /// Other clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Lets collectors know whose records they get.
    #[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
    pub(crate) fn tell_collectors(&self, resource: &Resource) {
        let collectors = self
            .trails
            .iter()
            .filter_map(|trail| trail.collector.as_ref());
        for collector in collectors {
            // Nobody else says it.
            let _ = collector.set(resource.clone());
        }
    }

    /// Opens the trails, writes their first records and starts their threads. It blocks while it
    /// does.
    ///
    /// # Errors
    /// There is no trail; a folder cannot be written, or another process writes it; or no thread can
    /// be started. A sink that fails is tried again by its thread.
    pub fn start(self) -> Result<Audit, StartError> {
        if self.trails.is_empty() {
            return Err(StartError::NoTrail);
        }
        let flood = Arc::new(Flood::new());
        let mut queues = Vec::new();
        for trail in self.trails {
            queues.push(trail.start(&self.clock, &flood, self.workload.as_ref())?);
        }
        Ok(Audit(Arc::new(Inner::new(
            queues,
            flood,
            self.clock,
            self.deadline,
            self.on_failure,
        ))))
    }
}

impl Trail {
    fn start(
        self,
        clock: &Arc<dyn Clock>,
        flood: &Arc<Flood>,
        workload: Option<&Text>,
    ) -> Result<Queue, StartError> {
        let id = Stream::random_id().ok_or(StartError::Random)?;
        let sealing = self.sealing.as_ref().map(SealingFile::open).transpose();
        let sealing = sealing.map_err(StartError::from)?;
        let name = self.to.name();
        let elapsed = clock.elapsed();
        let mut start = Fields::new(Kind::Start);
        start.dest = workload.cloned().map(Bounded::new).unwrap_or_default();
        let (mut is_folder, mut signs_start) = (false, false);
        let is_prompt = self.durability == Durability::Strict;
        let keeps = match &self.to {
            To::Folder(_) => true,
            // A sink that panics here is one that fails later.
            To::Sink(sink) => contained(|| sink.is_durable()).unwrap_or(false),
        };
        let (most, most_bytes) = (self.most_queued, self.most_queued_bytes);
        let (queue, received) = queue(name, most, most_bytes, is_prompt, keeps);
        let mut second_place = None;
        let place = match self.to {
            To::Folder(path) => {
                let opened = Store::open(&path, &id, clock.now().into(), self.storage);
                let opened = opened.map_err(StartError::Open)?;
                (is_folder, signs_start) = (true, opened.is_unsigned);
                if let Some(place) = self.second_place {
                    let last = opened.note.as_deref();
                    let last = last.and_then(|note| own(note, self.signer.as_deref()));
                    let second = Second::start(place, last, &queue.shared);
                    second_place = Some(second.map_err(StartError::Thread)?);
                }
                Place::Folder(Box::new(Folder {
                    store: began(&mut start, opened),
                    most_bytes: self.most_segment_bytes,
                    most_age: self.most_segment_age,
                    since: elapsed,
                    not_before: elapsed,
                }))
            }
            To::Sink(_) if self.second_place.is_some() => return Err(StartError::SecondPlace),
            To::Sink(sink) => Place::Sink(sink),
        };
        let stream = Stream::new(&id);
        let mut writer = Writer {
            received,
            backlog: VecDeque::new(),
            shared: Arc::clone(&queue.shared),
            flood: Arc::clone(flood),
            clock: Arc::clone(clock),
            durability: self.durability,
            place,
            signer: self.signer,
            second_place,
            sealing,
            evolve_not_before: elapsed,
            checkpoint_records: self.checkpoint_records,
            checkpoint_every: self.checkpoint_every,
            written: stream.state().clone(),
            durable: stream.state().clone(),
            start,
            signs_start,
            stream,
            buffer: Vec::new(),
            gap: Gap::default(),
            unsynced: Unsynced::default(),
            notes: Vec::new(),
            durable_notes: Vec::new(),
            checkpoint_at: elapsed,
            sign_not_before: elapsed,
            is_broken: false,
            began: elapsed,
            probe_at: elapsed,
            floods: Floods::new(elapsed.as_secs()),
            clocks: (clock.now(), elapsed),
            clock_step: None,
        };
        if let Err(fault) = writer.begin()
            && is_folder
        {
            return Err(StartError::Write(fault.word()));
        }
        if writer.must_evolve(elapsed) {
            writer.evolve().map_err(StartError::Seal)?;
        }
        let shared = Arc::clone(&queue.shared);
        let thread = thread::Builder::new().name("audit".to_owned());
        let thread = thread
            .spawn(move || writer.run())
            .map_err(StartError::Thread)?;
        let _ = shared.thread.set(thread.thread().clone());
        Ok(queue)
    }
}

/// The checkpoint in this note, if this key has signed it.
fn own(note: &str, signer: Option<&dyn Signer>) -> Option<Checkpoint> {
    let keys = PublicKeys::from_iter([public_key(signer?)]);
    let checkpoint = Checkpoint::parse(note).ok()?;
    checkpoint.judge(&keys).is_ok().then_some(checkpoint)
}

/// Says in the first record what was found.
fn began(start: &mut Fields, opened: Opened) -> Store {
    let Opened {
        store,
        old,
        torn,
        is_faulty,
        ..
    } = opened;
    start.own = Own::Start(old);
    if !torn.is_empty() {
        start.reason = Bounded::new("torn_line");
        start.source = Bounded::new(torn.join(" "));
    }
    if is_faulty {
        start.reason = Bounded::new("faulty_tail");
    }
    store
}
