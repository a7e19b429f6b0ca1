//! The command and its own commands.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{check, key, prove, prune, pseudonym, report, show, verify};
use crate::failure::Failure;

/// Verify, show and prune an audit trail, and make the keys that sign it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit key audit.pem --name patients > audit.pub
  tower-mesh audit verify /var/lib/patients/audit --key audit.pub \\
      --checkpoints checkpoints.txt
  tower-mesh audit show /var/lib/patients/audit --who dr-7 --from 2026-03-01
  tower-mesh audit report /var/lib/patients/audit --key audit.pub \\
      --from 2026-01-01 --to 2026-04-01

A trail may be read while it is written. Nothing but prune changes it.

Exit status: each command says it in its own --help. 2 is always an error.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::CheckProof),
    Key(key::Key),
    Prove(prove::ProveRecord),
    Prune(prune::PruneTrail),
    Pseudonym(pseudonym::PseudonymOf),
    Report(report::Report),
    Show(show::ShowRecords),
    Verify(verify::VerifyTrail),
}

impl Audit {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.command {
            Command::Check(check) => check.run(),
            Command::Key(key) => key.run(),
            Command::Prove(prove) => prove.run(),
            Command::Prune(prune) => prune.run(),
            Command::Pseudonym(pseudonym) => pseudonym.run(),
            Command::Report(report) => report.run(),
            Command::Show(show) => show.run(),
            Command::Verify(verify) => verify.run(),
        }
    }
}
