//! `tower-mesh audit verify`: says whether a trail is whole, and which record is the first bad one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tower_mesh::audit::VerifyReport;

use super::files::{Evidence, chain, hint, write_plain};
use crate::failure::Failure;
use crate::output::json::json_line;

/// Say whether a trail is whole, or which record is the first bad one and what is wrong with it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyTrail {
    /// The folder with the trail
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    evidence: Evidence,
    /// Print the whole report as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit verify /var/lib/patients/audit --key audit.pub
  tower-mesh audit verify /var/lib/patients/audit --key audit.pub \\
      --checkpoints checkpoints.txt --json | jq .faults
  tower-mesh audit verify /var/lib/patients/audit --key audit.pub \
      --sealing-key start.key

A line of a fault is FILE:LINE, the stream and the record, the kind (edited,
missing, reordered, duplicated, inserted, truncated, spliced, forked, not
canonical, unknown key, retired key, bad signature, bad seal, unsealed,
unsigned), and what was expected. Gaps, accesses without an end, a line that a crash has cut off and
records that no checkpoint signs yet are told, and are no faults.

Exit status: 0 whole, 1 not whole, 2 error.";

/// As JSON.
#[derive(Serialize)]
struct Verified<'a> {
    whole: bool,
    #[serde(flatten)]
    report: &'a VerifyReport,
}

impl VerifyTrail {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let verify = self.evidence.verify(&self.path)?;
        let report = verify
            .run()
            .map_err(|error| Failure::Question(chain(&error)))?;
        let mut out = io::stdout().lock();
        let whole = report.is_whole();
        match self.json {
            true => json_line(
                &mut out,
                &Verified {
                    whole,
                    report: &report,
                },
            )?,
            false => write_plain(&mut out, &report)?,
        }
        out.flush()?;
        hint(&report);
        Ok(ExitCode::from(u8::from(!whole)))
    }
}
