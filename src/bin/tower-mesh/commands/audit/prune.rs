//! `tower-mesh audit prune`: removes what is older than the law wants it kept.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::json;
use tower_mesh::audit::{FaultKind, Prune, PruneError, PruneReport, PublicKeys, SigningKey};

use super::files::{KEYS_HINT, chain, public_keys, refuse_none};
use super::time::time;
use crate::failure::Failure;
use crate::output::json::json_line;
use crate::printable::printable;

/// Remove segments whose records are all older than a time, and leave a signed record of it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PruneTrail {
    /// The folder with the trail
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Remove what is older than this time (UTC; a date is its beginning), at least six years ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: SystemTime,
    /// The private key that signs the record of what is removed
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// The name of that key, as it was made with
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Public keys that verify the trail's checkpoints, that of the signing key among them; without
    /// it, that one alone (repeatable)
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Print what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit prune /var/lib/patients/audit --before 2020-01-01 \\
      --signing-key audit.pem --name patients --key audit.pub --dry-run
  tower-mesh audit prune /var/lib/patients/audit --before 2020-01-01 \\
      --signing-key audit.pem --name patients --key audit.pub

What is removed cannot be had back: copy it first if it is to be kept. Nothing
else ever removes a record. A trail that is not whole is not pruned; segments
that no checkpoint signs as a whole, and the one that is written, stay.

Exit status: 0, also when nothing was old enough; 1 when the trail is not whole,
and 2 on another error. In both cases nothing was removed, unless the error says so.";

impl PruneTrail {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        refuse_none(&self.path)?;
        let signer = SigningKey::from_file(&self.name, &self.signing_key).map_err(|error| {
            let file = "--signing-key is the file that `tower-mesh audit key` has made";
            Failure::Question(format!("{}; {file}", chain(&error)))
        })?;
        let keys = match self.key.as_slice() {
            [] => PublicKeys::from_iter([signer.public()]),
            files => public_keys(files)?,
        };
        let prune = Prune::before(&self.path, self.before, keys, signer);
        let pruned = match self.dry_run {
            true => prune.dry_run(),
            false => prune.run(),
        };
        let pruned = match pruned {
            Ok(pruned) => pruned,
            Err(PruneError::NotWhole(fault)) => {
                let is_unknown = fault.kind() == FaultKind::UnknownKey;
                let error = PruneError::NotWhole(fault);
                eprintln!("error: {}", printable(&chain(&error)));
                if is_unknown {
                    eprintln!("note: {KEYS_HINT}");
                }
                return Ok(ExitCode::from(1));
            }
            Err(error) => return Err(Failure::Question(chain(&error))),
        };
        let mut out = io::stdout().lock();
        match self.json {
            true => self.write_json(&mut out, &pruned)?,
            false => self.write_text(&mut out, &pruned)?,
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn write_json(&self, out: &mut impl Write, pruned: &PruneReport) -> io::Result<()> {
        let (removed, unsigned) = (&pruned.removed, &pruned.unsigned);
        let report = match self.dry_run {
            true => json!({"would_remove": removed, "unsigned": unsigned}),
            false => json!({"removed": removed, "unsigned": unsigned}),
        };
        json_line(out, &report)
    }

    fn write_text(&self, out: &mut impl Write, pruned: &PruneReport) -> io::Result<()> {
        let (removed, kept, nothing) = match self.dry_run {
            true => ("would remove", "would keep", "nothing would be removed"),
            false => ("removed", "kept", "nothing was removed"),
        };
        for name in &pruned.removed {
            writeln!(out, "{removed} {name}")?;
        }
        for name in &pruned.unsigned {
            writeln!(out, "{kept} {name}: no checkpoint signs all of its records")?;
        }
        if pruned.removed.is_empty() {
            writeln!(out, "{nothing}")?;
        }
        Ok(())
    }
}
