//! All that a record may hold.

use std::net::IpAddr;

use super::actor::{Actor, Resource, Tls};
use super::patient::Pseudonym;
use super::text::Bounded;
use crate::audit::scalar::{Hash, Timestamp};

/// The fields of a record, but for those that its place in the stream gives. There is no other way
/// into a record: what is not here cannot leak into one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) kind: Option<Kind>,
    pub(crate) action: Bounded<64>,
    pub(crate) actor: Option<Actor>,
    pub(crate) call: Option<u64>,
    pub(crate) dest: Bounded<2048>,
    pub(crate) dry_run: Bounded<256>,
    pub(crate) generation: Option<u64>,
    pub(crate) grpc: Option<u16>,
    pub(crate) hash: Bounded<128>,
    pub(crate) identity: Option<Identity>,
    pub(crate) name: Bounded<128>,
    pub(crate) old_hash: Bounded<128>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) own: Own,
    pub(crate) patient: Option<Pseudonym>,
    pub(crate) phase: Option<&'static str>,
    pub(crate) policy: Bounded<512>,
    pub(crate) purpose: Bounded<128>,
    pub(crate) reason: Bounded<256>,
    pub(crate) request_id: Bounded<128>,
    pub(crate) resource: Resource,
    pub(crate) result: Bounded<256>,
    pub(crate) source: Bounded<256>,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) status: Option<u16>,
    pub(crate) subject: Bounded<256>,
    pub(crate) tls: Option<Tls>,
    pub(crate) trace: Bounded<64>,
}

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access,
    BreakGlass,
    Checkpoint,
    Config,
    Event,
    Gap,
    Identity,
    Prune,
    Rotate,
    Start,
    Stop,
}

impl Kind {
    /// Whether a record of this type is sealed, in a trail that is: it closes a segment, or begins a
    /// stream and so closes the one before.
    pub(crate) fn is_sealed(self) -> bool {
        matches!(self, Self::Start | Self::Rotate | Self::Stop)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::BreakGlass => "break_glass",
            Self::Checkpoint => "checkpoint",
            Self::Config => "config",
            Self::Event => "event",
            Self::Gap => "gap",
            Self::Identity => "identity",
            Self::Prune => "prune",
            Self::Rotate => "rotate",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// A certificate and the trust that came with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) bundle: Bounded<128>,
    pub(crate) not_after: Timestamp,
    pub(crate) serial: Bounded<64>,
}

/// What the records of the trail itself say.
#[derive(Clone, Debug, Default)]
pub(crate) enum Own {
    #[default]
    Nothing,
    Start(Option<OldStream>),
    Gap {
        from: Timestamp,
        to: Timestamp,
        n: u64,
    },
    Rotate {
        next: String,
    },
    Checkpoint {
        note: String,
    },
    Prune(Removed),
}

/// What shows that a record, and all before it, were there when its key still was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) index: u64,
    pub(crate) mac: Hash,
}

/// The stream before, with the number and the hash of its last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldStream {
    pub(crate) stream: String,
    pub(crate) size: u64,
    pub(crate) head: Hash,
}

/// The first records of a stream, which were removed: what must be known to verify the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) first: String,
    pub(crate) last: String,
    /// The latest time of their records; older records of a removal do not say it.
    pub(crate) latest: Option<Timestamp>,
    pub(crate) segments: u64,
    /// What the `start` named, if it was removed and named one.
    pub(crate) follows: Option<OldStream>,
    pub(crate) old: OldStream,
    pub(crate) peaks: Vec<Hash>,
}

impl Fields {
    pub(crate) fn new(kind: Kind) -> Box<Self> {
        Box::new(Self {
            kind: Some(kind),
            ..Self::default()
        })
    }

    pub(crate) fn own(kind: Kind, own: Own) -> Box<Self> {
        Box::new(Self {
            kind: Some(kind),
            own,
            ..Self::default()
        })
    }

    /// About how many bytes it keeps while it waits.
    pub(crate) fn weight(&self) -> usize {
        let texts = self.action.len()
            + self.dest.len()
            + self.dry_run.len()
            + self.hash.len()
            + self.name.len()
            + self.old_hash.len()
            + self.policy.len()
            + self.purpose.len()
            + self.reason.len()
            + self.request_id.len()
            + self.result.len()
            + self.source.len()
            + self.subject.len()
            + self.trace.len();
        let identity = self.identity.as_ref();
        size_of::<Self>()
            + texts
            + self.resource.len()
            + self.actor.as_ref().map_or(0, Actor::len)
            + self.tls.as_ref().map_or(0, Tls::len)
            + identity.map_or(0, |identity| identity.bundle.len() + identity.serial.len())
    }
}
