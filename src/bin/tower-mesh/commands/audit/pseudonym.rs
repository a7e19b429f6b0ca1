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

A secret is made by (umask 077; head -c 32 /dev/urandom > patients.key).

The ids come from stdin, and not from arguments, because arguments are seen in
the list of processes and kept in the history of shells. The lines come out in
the order of the ids.

Exit status: 0, or 2 when the secret or an id cannot be used, or there is no id.";

impl PseudonymOf {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let file = self.file.display();
        let wrong = |error: &dyn std::fmt::Display| Failure::Question(format!("{file}: {error}"));
        let secret = fs::read(&self.file)
            .map_err(|error| wrong(&format!("{error}; name the file with the secret")))?;
        let key = PatientKey::new("asked", &secret).map_err(|error| wrong(&error))?;
        self.warn(&secret);
        let mut out = io::stdout().lock();
        let mut number = 0_u64;
        for id in io::stdin().lock().lines() {
            number += 1;
            let wrong = |what| Failure::Question(format!("stdin: line {number}: {what}"));
            let id = id.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => wrong("it is not UTF-8, as an id is"),
                _ => error.into(),
            })?;
            if id.is_empty() {
                return Err(wrong("it is empty; write one id in each line"));
            }
            writeln!(out, "{}", key.pseudonym(&id))?;
        }
        out.flush()?;
        match number {
            0 => Err(Failure::Question(
                "there is no id on stdin; write one in each line".to_owned(),
            )),
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    /// About a file that is probably not as it was meant.
    fn warn(&self, secret: &[u8]) {
        let file = self.file.display();
        if secret.ends_with(b"\n") {
            eprintln!(
                "note: {file} ends in a line break, which is a part of the secret: if the process \
                 uses the secret without it, these are other pseudonyms"
            );
        }
        #[cfg(unix)]
        if let Ok(about) = fs::metadata(&self.file)
            && std::os::unix::fs::MetadataExt::mode(&about) & 0o077 != 0
        {
            eprintln!(
                "note: others than its owner may read {file}, and with it look up patients; run \
                 chmod 600 {file}"
            );
        }
    }
}
