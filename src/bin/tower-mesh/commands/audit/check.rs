//! `tower-mesh audit check`: verifies the proof of one record.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tower_mesh::audit::{InclusionError, InclusionProof};

use super::files::public_keys;
use crate::failure::Failure;
use crate::printable::printable;

/// Say whether the proof of a record holds, without the trail
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckProof {
    /// The file with the proof, as `audit prove` prints it
    #[arg(value_name = "PROOF")]
    proof: PathBuf,
    /// Public keys that verify checkpoints, one a line, as `audit key` prints them (repeatable)
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit check proof.json --key audit.pub

It prints the record and what signs it. That the record is in the trail says
nothing about the others: `audit verify` does.

Exit status: 0 the proof holds, 1 it does not, 2 error: the file is no proof.";

impl CheckProof {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let file = self.proof.display();
        let wrong = |error: &dyn std::fmt::Display| Failure::Question(format!("{file}: {error}"));
        let text = fs::read_to_string(&self.proof).map_err(|error| wrong(&error))?;
        let proof: InclusionProof = text
            .parse()
            .map_err(|error: InclusionError| wrong(&printable(&error.to_string())))?;
        let keys = public_keys(&self.key)?;
        if let Err(error) = proof.verify(&keys) {
            eprintln!("error: {file}: {error}");
            return Ok(ExitCode::from(1));
        }
        let mut out = io::stdout().lock();
        let (seq, stream) = (proof.seq(), printable(proof.stream()));
        let (size, time) = (proof.checkpoint().size(), proof.signed_at());
        writeln!(
            out,
            "record {seq} of stream {stream} is in the trail: a known key has signed its first {size} records at {time}"
        )?;
        writeln!(out, "{}", printable(proof.record()))?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
