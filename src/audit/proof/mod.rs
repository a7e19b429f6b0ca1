//! What shows that a trail is whole: the chain, the tree, and signed checkpoints.

mod chain;
mod checkpoint;
mod key;
mod low_s;
mod path;
mod public_keys;
mod sealing;
mod tree;
mod tree_proof;

pub(crate) use chain::{genesis, record_hash};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use key::{KeyFileError, SignError, Signer, SigningKey};
pub(crate) use key::{only_for_owner, public_key};
pub(crate) use path::Path;
pub(crate) use public_keys::SignatureFault;
pub use public_keys::{Algorithm, PublicKey, PublicKeyError, PublicKeys};
pub use sealing::SealingKey;
pub(crate) use tree::Frontier;
pub use tree_proof::{
    consistency_proof, inclusion_proof, leaf_hash, root_of, verify_consistency, verify_inclusion,
};
