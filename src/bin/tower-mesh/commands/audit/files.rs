//! The files of a trail, of keys and of checkpoints.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use tower_mesh::audit::{Checkpoint, FaultKind, PublicKeys, Verify, VerifyReport};

use super::sealing::Sealing;
use crate::failure::Failure;
use crate::printable::printable;

/// What a trail is verified with.
#[derive(Debug, Args)]
pub(super) struct Evidence {
    /// Public keys that verify the checkpoints, one a line, as `audit key` prints them; `until
    /// TIME` after one says that it was retired then (repeatable)
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Checkpoints from a second place, one after the other: without them nobody can tell that the
    /// end of the newest stream was cut off (repeatable)
    #[arg(long, value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    #[command(flatten)]
    sealing: Sealing,
}

impl Evidence {
    /// The verification of the trail in this folder, and notes about what it cannot show.
    pub(super) fn verify(&self, path: &Path) -> Result<Verify, Failure> {
        let mut checkpoints = Vec::new();
        for file in &self.checkpoints {
            let read = Checkpoint::parse_all(&read(file)?);
            checkpoints.extend(read.map_err(|error| wrong(file, &error))?);
        }
        if let (Some(file), true) = (self.checkpoints.first(), checkpoints.is_empty()) {
            return Err(Failure::Question(format!(
                "{}: there is no checkpoint in it; name the file that the trail's second place fills",
                file.display()
            )));
        }
        // An empty folder is no trail, unless checkpoints say that there was one.
        if checkpoints.is_empty() {
            refuse_none(path)?;
        }
        let keys = public_keys(&self.key)?;
        if keys.is_empty() {
            eprintln!(
                "note: without --key the signatures of checkpoints are not verified: whoever can \
                 write the trail can have written it again"
            );
        }
        if checkpoints.is_empty() {
            eprintln!(
                "note: without --checkpoints from a second place, an end that was cut off the \
                 newest stream is not found"
            );
        }
        let verify = Verify::new(path).keys(keys).checkpoints(checkpoints);
        self.sealing.add_to(verify)
    }
}

/// The keys of these files.
pub(super) fn public_keys(files: &[PathBuf]) -> Result<PublicKeys, Failure> {
    let mut all = String::new();
    for file in files {
        let text = read(file)?;
        if text.contains("PRIVATE KEY-----") {
            return Err(Failure::Question(format!(
                "{}: this is a private key, which signs; `tower-mesh audit key --public` prints \
                 the public key that verifies",
                file.display()
            )));
        }
        let keys = PublicKeys::parse(&text).map_err(|error| wrong(file, &error))?;
        if keys.is_empty() {
            return Err(Failure::Question(format!(
                "{}: there is no key in it; it needs the line that `tower-mesh audit key` prints",
                file.display()
            )));
        }
        all.push_str(&text);
        all.push('\n');
    }
    PublicKeys::parse(&all).map_err(|error| Failure::Question(error.to_string()))
}

/// A folder without segments is a wrong path, or a trail that somebody has deleted.
pub(super) fn refuse_none(path: &Path) -> Result<(), Failure> {
    let names = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    for name in names {
        let name = name.map_err(|error| unreadable(path, &error))?.file_name();
        if name.to_str().is_some_and(is_segment) {
            return Ok(());
        }
    }
    Err(Failure::Question(format!(
        "there is no audit trail in {}: no file has the name of a segment, \
         TIME-STREAM-NUMBER.jsonl; name the folder that holds them",
        path.display()
    )))
}

/// Other lines of JSON, as of an access log, are no trail: with no segment, all of none hold.
fn is_segment(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".jsonl") else {
        return false;
    };
    let mut parts = name.split('-');
    let began = parts.next().unwrap_or_default();
    began.contains('T') && began.ends_with('Z') && parts.count() == 2
}

/// What looks like a forged trail may be a wrong file of keys.
pub(super) fn hint(report: &VerifyReport) {
    let fault = report.first_fault();
    if fault.is_some_and(|fault| fault.kind() == FaultKind::UnknownKey) {
        eprintln!("note: {KEYS_HINT}");
    }
}

/// What to do when no known key has signed.
pub(super) const KEYS_HINT: &str = "a file with the wrong public keys looks like this, too: \
    `tower-mesh audit key FILE --name NAME --public`, with the file and the name that the process \
    signs with, prints the right one";

/// A trail that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "read it as the user of the service, or read a copy",
        _ => "name the folder that holds its segments",
    };
    Failure::Question(format!(
        "the audit trail in {} cannot be read: {error}; {remedy}",
        path.display()
    ))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::Question(format!(
            "{}: {error}; name a file of text that can be read",
            file.display()
        ))
    })
}

fn wrong(file: &Path, error: &dyn Error) -> Failure {
    Failure::Question(format!("{}: {}", file.display(), chain(error)))
}

/// Writes a report line by line: whoever has changed a trail may have put commands for a terminal
/// in it.
pub(super) fn write_plain(out: &mut impl Write, report: &impl fmt::Display) -> io::Result<()> {
    for line in report.to_string().lines() {
        writeln!(out, "{}", printable(line))?;
    }
    Ok(())
}

/// An error and its causes, in a line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    for cause in causes {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}
