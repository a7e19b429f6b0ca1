//! A clinic's mesh in one process: four workloads that talk over mutual TLS, end-user tokens, RBAC, traces and metrics.
//!
//! ```text
//! cargo run --example patients                          # the whole scenario, checked row by row
//! cargo run --example patients -- --policies v1alpha1   # the same on the resources of 2018
//! cargo run --example patients -- --policies DIR        # on your own copy of the policies
//! cargo run --example patients -- --json                # one JSON object a line
//! cargo run --example patients -- --serve               # keep it up, to be called with curl
//! cargo run --example patients -- --otlp http://localhost:4317    # its spans to a collector, too; 4318 is OTLP over HTTP
//! cargo run --example patients -- --zipkin http://localhost:9411  # or to Zipkin, or to Jaeger
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "an example may stop at the first surprise, prints, and keeps its notes behind a lock"
)]

mod clinic;
mod export;
mod grpc;
mod metrics;
mod raw;
mod report;
mod scenario;
mod serve;
mod services;
mod signals;

use std::path::PathBuf;
use std::process::ExitCode;

use export::Export;

fn main() -> ExitCode {
    if std::env::args().any(|argument| ["-h", "--help"].contains(&argument.as_str())) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    clinic::install_tracing(&arguments.export);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let clinic = match clinic::Clinic::start(&arguments.policies, &arguments.export).await {
            Ok(clinic) => clinic,
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        };
        if arguments.serve {
            let code = serve::until_interrupted(&clinic).await;
            arguments.export.flush().await;
            return code;
        }
        let report = scenario::run(&clinic).await;
        let exported = arguments.export.flush().await;
        if arguments.json {
            report.print_json();
        } else {
            report.print();
        }
        if let Some((taken, not)) = exported {
            eprintln!("the collector has taken {taken} spans, and {not} it has not");
        }
        if report.is_as_expected() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    })
}

struct Arguments {
    policies: PathBuf,
    json: bool,
    serve: bool,
    export: Export,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            policies: clinic::policies("v1"),
            json: false,
            serve: false,
            export: Export::default(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => parsed.json = true,
                "--serve" => parsed.serve = true,
                "--policies" => {
                    let set = arguments
                        .next()
                        .ok_or("--policies needs v1, v1alpha1 or a directory")?;
                    parsed.policies = clinic::policies(&set);
                }
                option @ ("--otlp" | "--zipkin") => {
                    let url = arguments.next();
                    let url = url.ok_or_else(|| format!("{option} needs a URL"))?;
                    let export = Export::new(option, url);
                    parsed.export = export.map_err(|problem| format!("{option}: {problem}"))?;
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(parsed)
    }
}

const USAGE: &str =
    "usage: patients [--policies v1|v1alpha1|DIR] [--json | --serve] [--otlp URL | --zipkin URL]";
