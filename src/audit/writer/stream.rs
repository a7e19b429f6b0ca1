//! A stream of records: numbers, chain and tree. Pure.

use crate::audit::proof::{
    Checkpoint, Frontier, SealingKey, SignError, Signer, genesis, record_hash,
};
use crate::audit::record::{Fields, Kind, Link, Own, write};
use crate::audit::scalar::{Hash, Timestamp};

/// What a stream has come to.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    id: String,
    state: State,
}

/// Where a stream is. To put it back takes back the records after.
#[derive(Clone, Debug)]
pub(crate) struct State {
    head: Hash,
    tree: Frontier,
    /// The number of the last checkpoint.
    signed: u64,
    /// Whether there is a record after it.
    is_unsigned: bool,
    /// The number of the key of the last seal.
    sealed: Option<u64>,
}

impl State {
    /// Whether this key has sealed a record.
    pub(crate) fn is_sealed_with(&self, key: &SealingKey) -> bool {
        self.sealed == Some(key.index())
    }
}

impl Stream {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: State {
                head: genesis(id),
                tree: Frontier::default(),
                signed: 0,
                is_unsigned: false,
                sealed: None,
            },
        }
    }

    /// A random id of 128 bits.
    pub(crate) fn random_id() -> Option<String> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).ok()?;
        Some(crate::audit::scalar::hex_of(&id))
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.tree.size() == 0
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn rewind(&mut self, state: &State) {
        self.state.clone_from(state);
    }

    /// How many records came after the last checkpoint.
    pub(crate) fn unsigned(&self) -> u64 {
        match self.state.is_unsigned {
            true => self.state.tree.size() - self.state.signed,
            false => 0,
        }
    }

    /// Adds the line of the next record.
    pub(crate) fn append(
        &mut self,
        out: &mut Vec<u8>,
        fields: &Fields,
        time: Timestamp,
        clock_step: Option<i64>,
        count: Option<u64>,
    ) {
        self.append_sealed(out, fields, time, clock_step, count, None);
    }

    /// Adds the line of the next record, sealed with this key.
    pub(crate) fn append_sealed(
        &mut self,
        out: &mut Vec<u8>,
        fields: &Fields,
        time: Timestamp,
        clock_step: Option<i64>,
        count: Option<u64>,
        key: Option<&SealingKey>,
    ) {
        let start = out.len();
        let state = &mut self.state;
        let mut link = Link {
            stream: &self.id,
            seq: state.tree.size() + 1,
            prev: &state.head,
            time,
            clock_step,
            count,
            seal: None,
        };
        write(out, fields, link);
        if let Some(key) = key {
            let seal = key.seal(&record_hash(out.get(start..).unwrap_or_default()));
            link.seal = Some(seal);
            out.truncate(start);
            write(out, fields, link);
            state.sealed = Some(seal.index);
        }
        let line = out.get(start..).unwrap_or_default();
        state.head = record_hash(line);
        state.tree.push(line);
        state.is_unsigned = true;
        out.push(b'\n');
    }

    /// Adds a checkpoint over all records before, and returns its note.
    pub(crate) fn checkpoint(
        &mut self,
        out: &mut Vec<u8>,
        time: Timestamp,
        signer: &dyn Signer,
    ) -> Result<String, SignError> {
        let State { head, tree, .. } = &self.state;
        let note = Checkpoint::sign(&self.id, tree.size(), &tree.root(), head, time, signer)?;
        let own = Own::Checkpoint { note: note.clone() };
        self.append(out, &Fields::own(Kind::Checkpoint, own), time, None, None);
        self.state.signed = self.state.tree.size();
        self.state.is_unsigned = false;
        Ok(note)
    }
}
