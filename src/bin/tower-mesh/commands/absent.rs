//! Commands that this build lacks; each names the feature that adds it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

/// Verify, show and prune an audit trail, and make the keys that sign it (needs the feature audit)
#[cfg(not(feature = "audit"))]
#[derive(Debug, Args)]
#[command(after_help = AUDIT_EXAMPLES)]
pub(crate) struct Audit {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

#[cfg(not(feature = "audit"))]
const AUDIT_EXAMPLES: &str = "\
Examples:
  cargo install tower-mesh --features cli,audit
  tower-mesh audit --help

This build does not have the feature audit.

Exit status: 2.";

#[cfg(not(feature = "audit"))]
impl Audit {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        // No option of the command can work.
        drop(self.words);
        Err(without("audit"))
    }
}

/// Make certificates for development (needs the feature pki)
#[cfg(not(feature = "pki"))]
#[derive(Debug, Args)]
#[command(after_help = PKI_EXAMPLES)]
pub(crate) struct Pki {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

#[cfg(not(feature = "pki"))]
const PKI_EXAMPLES: &str = "\
Examples:
  cargo install tower-mesh --features cli,pki
  tower-mesh pki --help

This build does not have the feature pki.

Exit status: 2.";

#[cfg(not(feature = "pki"))]
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
