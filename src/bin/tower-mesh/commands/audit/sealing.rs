//! The keys that seals are verified with.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use tower_mesh::audit::{SealingKey, Verify};

use crate::failure::Failure;

/// What the seals of a trail are verified with.
#[derive(Debug, Args)]
pub(super) struct Sealing {
    /// The start key of a sealed trail, as `audit key --sealing` makes it: without it seals are not
    /// verified
    #[arg(long, value_name = "FILE")]
    sealing_key: Option<PathBuf>,
    /// The sealing key that the process has now: it shows an end that was cut off behind a seal
    #[arg(long, value_name = "FILE", requires = "sealing_key")]
    sealing_now: Option<PathBuf>,
}

impl Sealing {
    pub(super) fn add_to(&self, mut verify: Verify) -> Result<Verify, Failure> {
        // Before the trail, which may go on while it is read.
        if let Some(file) = &self.sealing_now {
            verify = verify.sealing_now(key(file)?);
        }
        let Some(file) = &self.sealing_key else {
            return Ok(verify);
        };
        let start = key(file)?;
        if start.index() > 0 {
            return Err(Failure::Question(format!(
                "{}: this is sealing key {}, which a process has; --sealing-key wants the start key, \
                 which is kept where the trail is verified",
                file.display(),
                start.index()
            )));
        }
        Ok(verify.sealing_key(start))
    }
}

fn key(file: &Path) -> Result<SealingKey, Failure> {
    SealingKey::from_file(file).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}"));
        Failure::Question(format!("{error}{}", cause.unwrap_or_default()))
    })
}
