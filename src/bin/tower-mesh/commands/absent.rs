//! Commands that this build lacks; each names the feature that adds it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

// What it says of itself stands at each of the commands.
#[derive(Debug, Args)]
pub(crate) struct Absent {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Absent {
    /// Says which feature adds the command, which has its name.
    pub(crate) fn run(self, feature: &str) -> Result<ExitCode, Failure> {
        // No option of the command can work.
        drop(self.words);
        Err(Failure::Question(format!(
            "this command was built without the feature {feature}: cargo install tower-mesh --features cli,{feature}"
        )))
    }
}

/// What the command says after its help.
pub(crate) fn after_help(feature: &str) -> String {
    format!(
        "\
Examples:
  cargo install tower-mesh --features cli,{feature}
  tower-mesh {feature} --help

This build does not have the feature {feature}.

Exit status: 2."
    )
}
