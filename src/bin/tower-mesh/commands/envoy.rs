//! `tower-mesh envoy`: prints the compiled program as Envoy's configuration.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tower_mesh::policy::envoy;

use crate::failure::Failure;
use crate::input::options::{Options, Protocol, tell_assumed_trust_domain};
use crate::input::world::World;

/// Print what runs as the filters of an Envoy listener, in the order they run
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Envoy {
    /// Filters of HTTP, or of raw TCP
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    protocol: Protocol,
    /// The keys behind a jwksUri, from a file; may be given several times
    #[arg(long, value_name = "URI=FILE", value_parser = uri_and_file)]
    jwks: Vec<(String, PathBuf)>,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh envoy --config policies/ --workload default/patients
  tower-mesh envoy --config policies/ --workload default/patients \\
      --port 5432 --protocol tcp

Prints a JSON array of filters without the last one (the router, or
tcp_proxy); [] when nothing applies.
Exit status: 0, or 2 when the configuration is refused.";

impl Envoy {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let world = World::load(&self.options)?;
        if world.assumes_trust_domain() {
            tell_assumed_trust_domain();
        }
        let program = world.engine().program();
        let port = self.options.guarded.port();
        let filters = match self.protocol {
            Protocol::Tcp => envoy::network_filters(program.tcp.get(port)),
            Protocol::Http => {
                let jwt = envoy::jwt_authn(program.authentication.get(port), &self.keys()?);
                let jwt = jwt.map_err(|error| {
                    Failure::Question(match error.missing_uri() {
                        Some(uri) => format!("{error}; add --jwks {uri}=FILE"),
                        None => error.to_string(),
                    })
                })?;
                envoy::http_filters(program.http.get(port), jwt)
            }
        };
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &Value::Array(filters)).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    /// The key sets by their URI.
    fn keys(&self) -> Result<BTreeMap<String, String>, Failure> {
        let read = |(uri, file): &(String, PathBuf)| {
            let keys = std::fs::read_to_string(file).map_err(|error| {
                Failure::Question(format!("{} cannot be read: {error}", file.display()))
            })?;
            Ok((uri.clone(), keys))
        };
        self.jwks.iter().map(read).collect()
    }
}

/// Reads `URI=FILE`; a URI may hold a `=` itself, the file's name may not.
fn uri_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.rsplit_once('=') {
        Some((uri, file)) if !uri.is_empty() && !file.is_empty() => {
            Ok((uri.to_owned(), file.into()))
        }
        _ => Err("write URI=FILE".to_owned()),
    }
}
