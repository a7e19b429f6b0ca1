//! `tower-mesh completions`: prints the completions of a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  source <(tower-mesh completions bash)
  tower-mesh completions zsh > ~/.zfunc/_tower-mesh
  tower-mesh completions fish > ~/.config/fish/completions/tower-mesh.fish

Exit status: 0.";

impl Completions {
    pub(crate) fn run(&self, mut command: clap::Command) -> Result<ExitCode, Failure> {
        // The generator panics when it cannot write, so it writes to memory.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "tower-mesh", &mut script);
        let mut out = io::stdout().lock();
        out.write_all(&script)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
