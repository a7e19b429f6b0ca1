//! `tower-mesh check`: what would be decided.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use crate::Failure;
use crate::answer::Answer;
use crate::options::{Options, key_and_value};
use crate::question::Question;
use crate::world::World;

/// A longer line is no request.
const MAX_LINE: u64 = 16 << 20;

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
            Some(file) if file.as_os_str() == "-" => self.judge_lines(world, io::stdin().lock()),
            Some(file) => {
                let file = open(file)?;
                self.judge_lines(world, file)
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

    fn judge_lines(&self, mut world: World<'_>, input: impl Read) -> Result<ExitCode, Failure> {
        let mut input = BufReader::new(input);
        let mut out = BufWriter::new(io::stdout().lock());
        let mut code = ExitCode::SUCCESS;
        let mut line = Vec::new();
        loop {
            // Whoever waits for an answer before the next question gets it.
            if input.buffer().is_empty() {
                out.flush()?;
            }
            line.clear();
            if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let answer = self.answer(&mut world, &line);
            let is_cut = line.len() as u64 >= MAX_LINE && !line.ends_with(b"\n");
            if answer.is_error() {
                code = ExitCode::from(2);
            }
            serde_json::to_writer(&mut out, &answer).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
            if is_cut {
                input.skip_until(b'\n')?;
            }
        }
        out.flush()?;
        Ok(code)
    }

    /// The answer to one line.
    fn answer(&self, world: &mut World<'_>, line: &[u8]) -> Answer {
        let (id, judged) = match serde_json::from_slice::<Value>(line) {
            Ok(value) => {
                let id = value.get("id").cloned().unwrap_or_default();
                (id.clone(), self.judge(world, id, value))
            }
            Err(error) => (Value::Null, Err(format!("no JSON: {error}"))),
        };
        judged.unwrap_or_else(|message| Answer::error(id, message, self.explain))
    }

    fn judge(&self, world: &mut World<'_>, id: Value, value: Value) -> Result<Answer, String> {
        let question: Question =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        let port = question.port(self.options.port());
        let services = question.services()?;
        let request = question.into_request(port)?;
        let engine = world
            .engine_for(services, port)
            .map_err(|problems| problems.to_string())?;
        Ok(Answer::to(id, engine, &request, self.explain))
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

fn open(file: &Path) -> Result<File, Failure> {
    File::open(file)
        .map_err(|error| Failure::Question(format!("{} cannot be read: {error}", file.display())))
}
