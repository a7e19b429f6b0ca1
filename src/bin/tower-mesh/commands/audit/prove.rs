//! `tower-mesh audit prove`: proves that one record is in a trail.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tower_mesh::audit::Prove;

use super::files::{chain, refuse_none};
use crate::failure::Failure;

/// Print one record with the proof that it is in the trail, to check without the trail
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ProveRecord {
    /// The folder with the trail
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The stream of the record, as `audit show --json` prints it
    #[arg(long, value_name = "STREAM")]
    stream: String,
    /// Its number in the stream
    #[arg(long, value_name = "N")]
    seq: u64,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit prove /var/lib/patients/audit \\
      --stream 0f6c1e5d8a934b27b6a1c2d3e4f50617 --seq 42 > proof.json
  tower-mesh audit check proof.json --key audit.pub

It prints one line of JSON: the record, the first checkpoint that signs it, and
the hashes between them (RFC 9162). Whoever has it and the public key needs no
other record. The last records have no proof until a checkpoint signs them.

Exit status: 0, or 2 when there is no such record, no checkpoint that signs it,
or the trail is not whole before that.";

impl ProveRecord {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        refuse_none(&self.path)?;
        let proof = Prove::new(&self.path)
            .record(&self.stream, self.seq)
            .map_err(|error| {
                let (stream, seq) = (&self.stream, self.seq);
                Failure::Question(format!(
                    "record {seq} of stream {stream}: {}",
                    chain(&error)
                ))
            })?;
        let mut out = io::stdout().lock();
        writeln!(out, "{proof}")?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
