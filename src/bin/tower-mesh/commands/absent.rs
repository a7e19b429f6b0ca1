//! Commands that this build lacks; each names the feature that adds it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

/// Make certificates for development (needs the feature pki)
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pki {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  cargo install tower-mesh --features cli,pki
  tower-mesh pki --help

This build does not have the feature pki.

Exit status: 2.";

impl Pki {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        // No option of the command can work.
        drop(self.words);
        Err(without("pki"))
    }
}

fn without(feature: &str) -> Failure {
    Failure::Question(format!(
        "this command was built without the feature {feature}: cargo install tower-mesh --features cli,{feature}"
    ))
}
