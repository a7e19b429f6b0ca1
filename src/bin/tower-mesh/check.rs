//! `tower-mesh check`: what would be decided.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use crate::Failure;
use crate::answer::Answer;
use crate::lines::Lines;
use crate::options::{Options, key_and_value};
use crate::question::Question;
use crate::world::World;

/// Say whether requests are allowed, by which rule, and why
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// The request's method
    #[arg(
        value_name = "METHOD",
        required_unless_present = "requests",
        conflicts_with = "requests"
    )]
    method: Option<String>,
    /// The request's target as sent: path and query
    #[arg(
        value_name = "PATH",
        required_unless_present = "requests",
        conflicts_with = "requests"
    )]
    path: Option<String>,
    /// The peer's principal, with or without spiffe://; without one the request comes in plaintext
    #[arg(long = "as", value_name = "PRINCIPAL", conflicts_with = "requests")]
    principal: Option<String>,
    /// A claim of a verified token; a value that is a JSON list or object counts as one
    #[arg(long = "claim", value_name = "KEY=VALUE", value_parser = key_and_value, conflicts_with = "requests")]
    claims: Vec<(String, String)>,
    /// A header line
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_and_value, conflicts_with = "requests")]
    headers: Vec<(String, String)>,
    /// Judge the requests of a file (- is stdin): one JSON object a line in, one JSON decision a line out
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// Say what each rule said, and of those that did not match which clause failed
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh check --config policies/ --workload default/patients \\
      GET /patients/7 --as cluster.local/ns/default/sa/desk --explain
  tower-mesh check --config policies/ --workload default/patients \\
      --requests requests.jsonl

Exit status of one request: 0 allowed, 1 denied, 2 error.
With --requests: 0 all judged, 2 a line is bad or the configuration is.

A request is a line like
  {\"id\": 1, \"method\": \"GET\", \"path\": \"/patients/7?x=1\"}
Its keys: id, protocol (http, tcp), method, path, authority, sni, claims,
headers {name: value or [values]},
source {principal, uri_sans, dns_sans, subject, ip, remote_ip},
destination {ip, port, services}.";

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let world = World::load(&self.options)?;
        match &self.requests {
            None => self.judge_one(&world),
            Some(file) => {
                let lines = Lines::open(file)?;
                self.judge_lines(world, lines)
            }
        }
    }

    fn judge_one(&self, world: &World<'_>) -> Result<ExitCode, Failure> {
        let question = Question::http(
            self.method.clone().unwrap_or_default(),
            self.path.clone().unwrap_or_default(),
            self.principal.clone(),
            self.claims(),
            self.headers.clone(),
        );
        let request = question
            .into_request(self.options.port())
            .map_err(Failure::Question)?;
        let answer = Answer::to(Value::Null, world.engine(), &request, self.explain);
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        if let Some(explanation) = answer.explanation() {
            write!(out, "{explanation}")?;
        }
        out.flush()?;
        Ok(ExitCode::from(u8::from(!answer.is_allowed())))
    }

    fn judge_lines(&self, mut world: World<'_>, mut lines: Lines) -> Result<ExitCode, Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut code = ExitCode::SUCCESS;
        while let Some(line) = lines.next(&mut out)? {
            let answer = Answer::to_line(&mut world, line, self.explain);
            if answer.is_error() {
                code = ExitCode::from(2);
            }
            serde_json::to_writer(&mut out, &answer).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(code)
    }

    /// The claims of the token; `None` without any.
    fn claims(&self) -> Option<Map<String, Value>> {
        let claim = |(name, text): &(String, String)| {
            let json = serde_json::from_str(text).ok();
            let value = json.filter(|value: &Value| value.is_array() || value.is_object());
            (
                name.clone(),
                value.unwrap_or_else(|| Value::from(text.as_str())),
            )
        };
        (!self.claims.is_empty()).then(|| self.claims.iter().map(claim).collect())
    }
}
