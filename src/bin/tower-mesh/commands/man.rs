//! `tower-mesh man`: manual pages, of the program and of each command.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

/// Print a manual page, or write all of them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Man {
    /// The command, and its own command if it has some; without it, the page of the program
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write the pages of the program and of every command into a directory, which is created if
    /// needed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh man | man -l -
  tower-mesh man check | man -l -
  tower-mesh man audit verify | man -l -
  tower-mesh man --dir ~/.local/share/man/man1

Exit status: 0, or 2 when there is no such command or a page cannot be
written.";

impl Man {
    pub(crate) fn run(&self, mut program: clap::Command) -> Result<ExitCode, Failure> {
        // Subcommands get their full names (`tower-mesh check`) only then.
        program.build();
        if let Some(dir) = &self.dir {
            write_all(program, dir)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut command = &program;
        for name in &self.command {
            command = command
                .find_subcommand(name)
                .ok_or_else(|| Failure::Question(format!("there is no command `{name}`")))?;
        }
        print(command.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print(command: clap::Command) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let mut out = io::stdout().lock();
    out.write_all(&page)?;
    out.flush()
}

fn write_all(program: clap::Command, dir: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::Question(format!(
            "the pages cannot be written to {}: {error}",
            dir.display()
        ))
    };
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(program, dir).map_err(failed)
}
