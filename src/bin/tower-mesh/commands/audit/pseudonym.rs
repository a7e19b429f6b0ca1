//! `tower-mesh audit pseudonym`: says under which pseudonym a patient is in the trail.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tower_mesh::audit::PatientKey;

use crate::failure::Failure;

/// Print the pseudonyms of the patients whose ids are on stdin, one a line
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PseudonymOf {
    /// The file with the secret of the patient key: its bytes as they are, 32 or more
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit pseudonym patients.key < ids.txt
  tower-mesh audit show /var/lib/patients/audit \\
      --patient \"$(tower-mesh audit pseudonym patients.key < id.txt)\"

The ids come from stdin, and not from arguments, because arguments are seen in
the list of processes and kept in the history of shells. The lines come out in
the order of the ids.

Exit status: 0, or 2 when the secret cannot be used.";

impl PseudonymOf {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let file = self.file.display();
        let wrong = |error: &dyn std::fmt::Display| Failure::Question(format!("{file}: {error}"));
        let secret = fs::read(&self.file).map_err(|error| wrong(&error))?;
        let key = PatientKey::new("asked", &secret).map_err(|error| wrong(&error))?;
        let mut out = io::stdout().lock();
        for id in io::stdin().lock().lines() {
            writeln!(out, "{}", key.pseudonym(&id?))?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
