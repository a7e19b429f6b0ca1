//! `tower-mesh audit report`: answers an auditor's standing questions about a period.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use tower_mesh::audit::ActivityReport;

use super::files::{Evidence, chain, hint, write_plain};
use super::time::{refuse_empty, time};
use crate::failure::Failure;
use crate::output::json::json_line;

/// Say for a period who accessed what, what was refused by which rule, each emergency access, what
/// changed, and what is not in the trail
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Report {
    /// The folder with the trail
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// From this time (UTC; a date is its beginning); without it, from the beginning
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<SystemTime>,
    /// Until before this time; without it, to the end
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<SystemTime>,
    #[command(flatten)]
    evidence: Evidence,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit report /var/lib/patients/audit --key audit.pub \\
      --from 2026-01-01 --to 2026-04-01
  tower-mesh audit report /var/lib/patients/audit --key audit.pub --json \\
      | jq .refusals

The report ends with the verification of the whole trail: what it says of a
period is worth what that says.

Exit status: 0, 1 when the trail is not whole, 2 error.";

impl Report {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        refuse_empty(self.from, self.to)?;
        let verify = self.evidence.verify(&self.path)?;
        let report = ActivityReport::read(&verify, self.from, self.to)
            .map_err(|error| Failure::Question(chain(&error)))?;
        let mut out = io::stdout().lock();
        match self.json {
            true => json_line(&mut out, &report)?,
            false => write_plain(&mut out, &report)?,
        }
        out.flush()?;
        hint(report.verification());
        let is_whole = report.verification().is_whole();
        Ok(ExitCode::from(u8::from(!is_whole)))
    }
}
