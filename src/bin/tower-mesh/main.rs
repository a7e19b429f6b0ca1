//! The command line of tower-mesh: asks the engine for decisions, and prints a program as Envoy's
//! configuration.

mod commands;
mod failure;
mod input;
mod output;
mod printable;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[cfg(not(all(feature = "audit", feature = "pki")))]
use crate::commands::absent;
#[cfg(feature = "audit")]
use crate::commands::audit;
#[cfg(feature = "pki")]
use crate::commands::pki;
use crate::commands::{check, completions, convert, coverage, diff, envoy, man, route, vet};
use crate::failure::Failure;

/// Istio's policies without a sidecar: what they decide, why, and as Envoy runs them
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh check --config policies/ --workload default/patients GET /patients/7
  tower-mesh check --help
  tower-mesh man diff | man -l -

Every command says in its own --help what it takes, with examples, and what
its exit status means.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify, show and prune an audit trail, and make the keys that sign it (needs the feature audit)
    #[cfg(not(feature = "audit"))]
    #[command(after_help = absent::after_help("audit"))]
    Audit(absent::Absent),
    #[cfg(feature = "audit")]
    Audit(audit::Audit),
    Check(check::Check),
    Completions(completions::Completions),
    Convert(convert::Convert),
    Coverage(coverage::Coverage),
    Diff(diff::Diff),
    Envoy(envoy::Envoy),
    Man(man::Man),
    /// Make certificates for development (needs the feature pki)
    #[cfg(not(feature = "pki"))]
    #[command(after_help = absent::after_help("pki"))]
    Pki(absent::Absent),
    #[cfg(feature = "pki")]
    Pki(pki::Pki),
    Route(route::Route),
    Vet(vet::Vet),
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().command {
        #[cfg(not(feature = "audit"))]
        Command::Audit(absent) => absent.run("audit"),
        #[cfg(feature = "audit")]
        Command::Audit(audit) => audit.run(),
        Command::Check(check) => check.run(),
        Command::Completions(completions) => completions.run(CommandLine::command()),
        Command::Convert(convert) => convert.run(),
        Command::Coverage(coverage) => coverage.run(),
        Command::Diff(diff) => diff.run(),
        Command::Envoy(envoy) => envoy.run(),
        Command::Man(man) => man.run(CommandLine::command()),
        #[cfg(not(feature = "pki"))]
        Command::Pki(absent) => absent.run("pki"),
        #[cfg(feature = "pki")]
        Command::Pki(pki) => pki.run(),
        Command::Route(route) => route.run(),
        Command::Vet(vet) => vet.run(),
    };
    match done {
        Ok(code) => code,
        // The reader of our output has closed it; the result of the rest is unknown.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(2),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}
