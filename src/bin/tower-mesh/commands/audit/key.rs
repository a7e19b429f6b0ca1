//! `tower-mesh audit key`: makes a key that signs checkpoints.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tower_mesh::audit::{KeyFileError, SealingKey, SigningKey};

use super::files::chain;
use crate::failure::Failure;

/// Make a key that signs checkpoints, and print the public key that verifies them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Key {
    /// The file of the private key, which is made with the mode 0600 and must not be there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The name of the key in its signatures, as of the service
    #[arg(long, value_name = "NAME", required_unless_present = "sealing")]
    name: Option<String>,
    /// Make the start key of sealing instead, which has no name and no public key
    #[arg(long, conflicts_with_all = ["name", "public"])]
    sealing: bool,
    /// Make none; print the public key of the one that is there
    #[arg(long)]
    public: bool,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit key audit.pem --name patients > audit.pub
  tower-mesh audit key audit.pem --name patients --public

The process that writes the trail reads the private key, with the same name
(SigningKey::from_file). Whoever verifies gets the public key. To rotate: make
a new key, give it to the process, add its public key to the file of public
keys, and `until TIME` to the line of the old one.

  tower-mesh audit key start.key --sealing

A sealing key is secret. Make it where the trail is verified, and copy it to the
machine of the process once (SealingKey::from_file), which replaces its copy.

Exit status: 0, or 2 when the file is there already or cannot be used.";

impl Key {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        if self.sealing {
            SealingKey::create_file(&self.file).map_err(|error| self.wrong(&error))?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.name.as_deref().unwrap_or_default();
        let key = match self.public {
            true => SigningKey::from_file(name, &self.file),
            false => SigningKey::create_file(name, &self.file),
        };
        let key = key.map_err(|error| self.wrong(&error))?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", key.public())?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn wrong(&self, error: &KeyFileError) -> Failure {
        let file = self.file.display();
        let kind = match error {
            KeyFileError::Io(_, io) => Some(io.kind()),
            _ => None,
        };
        Failure::Question(match kind {
            Some(io::ErrorKind::AlreadyExists) => format!(
                "{file} is there already, and is never overwritten{}",
                match self.sealing {
                    true => "",
                    false => "; --public prints its public key",
                }
            ),
            Some(io::ErrorKind::NotFound) if self.public => {
                format!("{file} is not there; without --public it is made")
            }
            Some(io::ErrorKind::NotFound) => {
                format!("{file} cannot be made: its folder is not there; make that first")
            }
            _ => chain(error),
        })
    }
}
