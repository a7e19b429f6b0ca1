//! `tower-mesh check`: judges requests.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};
use tower_mesh::gate::Gate;
use tower_mesh::identity::SpiffeId;
use tower_mesh::policy::{Engine, Request};

use crate::failure::Failure;
use crate::input::lines::Lines;
use crate::input::options::{Format, Gated, NoPolicy, Options, key_and_value};
use crate::input::providers::{Answers, Providers};
use crate::input::question::Question;
use crate::input::world::World;
use crate::output::answer::{Answer, admit};
use crate::output::json::json_line;
use crate::printable::printable;

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
    /// A claim of a verified token. A value that is JSON has its JSON type (true, 5, null, ["a"],
    /// {"a": 1}), except iss, sub, azp and jti, which are always text; any other value is text,
    /// and so is a value in quotes: 'level="5"'
    #[arg(long = "claim", value_name = "KEY=VALUE", value_parser = key_and_value, conflicts_with = "requests")]
    claims: Vec<(String, String)>,
    /// The id of the JWT-SVID that comes with the request, spiffe://DOMAIN/PATH: its request
    /// principal
    #[arg(long = "jwt-svid", value_name = "ID", conflicts_with = "requests")]
    jwt_svid: Option<String>,
    /// A header line
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_and_value, conflicts_with = "requests")]
    headers: Vec<(String, String)>,
    /// Judge the requests of a file (- is stdin), one JSON object a line
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// Print the result of each rule, and for rules that did not match the failed clause
    #[arg(long)]
    explain: bool,
    /// How to print the decisions
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    providers: Providers,
    #[command(flatten)]
    gate: Gated,
    #[command(flatten)]
    no_policy: NoPolicy,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh check --config policies/ --workload default/patients \\
      GET /patients/7 --as cluster.local/ns/default/sa/desk --explain
  tower-mesh check --config policies/ --workload default/patients \\
      --requests requests.jsonl --format json

Exit status of one request: 0 allowed, 1 denied, 2 error.
With --requests: 0 all judged, 2 a line is bad or the configuration is; bad
lines are told on stderr by their number, and the others are judged.
With --gate, a request that the gate refuses (400, 403, 414 or 431) is denied,
and no rule is asked; JSON then has the key gate. Without it, the answer is that
of a sidecar.
2 also when no authorization policy selects the workload: a forgotten label
would allow everything. --allow-no-policy accepts that.

Where a CUSTOM policy asks an external provider, --provider says what that
answers: allow, deny (403), the status of a denial, or error (it cannot be
asked: statusOnError, or onwards with failOpen). Without it the provider is
taken as allowing: the exit status is that of the rules, the text says `if NAME
allows`, and in JSON an entry of custom has the answer null.

A request is a line like
  {\"id\": 1, \"method\": \"GET\", \"path\": \"/patients/7?x=1\"}
Its keys: id, protocol (http, tcp), method, path, authority, sni, claims,
jwt_svid, headers {name: value or [values]}, providers {name: answer},
source {principal, uri_sans, dns_sans, subject, ip, remote_ip},
destination {ip, port, services}.";

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut world = World::load(&self.options)?;
        self.providers.tell_if_unasked(world.engine());
        let code = match &self.requests {
            None => self.judge_one(&mut world)?,
            Some(file) => self.judge_lines(&mut world, Lines::open(file)?)?,
        };
        world.tell_if_it_has_met_others();
        if self.no_policy.allow_no_policy || world.has_rules() {
            return Ok(code);
        }
        world.tell_no_policy();
        Ok(ExitCode::from(2))
    }

    fn judge_one(&self, world: &mut World<'_>) -> Result<ExitCode, Failure> {
        let question = Question::http(
            self.method.clone().unwrap_or_default(),
            self.path.clone().unwrap_or_default(),
            self.principal.clone(),
            self.claims(),
            self.jwt_svid.clone(),
            self.headers.clone(),
        );
        let request = question.into_request(self.options.guarded.port());
        let request = request.map_err(Failure::Question)?;
        if self.caller_can_be() {
            world.meet(&request);
        }
        let answer = Answer::to(
            Value::Null,
            self.gate.asked(),
            world.engine(),
            &request,
            &self.providers.with(Answers::default()),
            self.explain,
        );
        let mut out = io::stdout().lock();
        self.print(&answer, None, &mut out)?;
        out.flush()?;
        if self.format == Format::Text && answer.is_denied_by_default() {
            self.tell_of_the_caller();
        }
        if self.format == Format::Text {
            answer.depends_on().for_each(tell_of_the_provider);
        }
        if self.gate.is_left_open() && answer.allowed {
            tell_of_the_gate(world.engine(), &request);
        }
        Ok(ExitCode::from(u8::from(!answer.allowed)))
    }

    /// Whether a certificate can be of the caller; without one it is nobody.
    fn caller_can_be(&self) -> bool {
        self.principal.as_deref().is_none_or(|principal| {
            let id = principal.strip_prefix("spiffe://").unwrap_or(principal);
            SpiffeId::new(&format!("spiffe://{id}")).is_ok()
        })
    }

    /// Says on stderr why no rule can match the caller by its principal.
    fn tell_of_the_caller(&self) {
        match self.principal.as_deref() {
            None => eprintln!(
                "note: asked without a caller, so no principal matches; give one: --as {CALLER}"
            ),
            Some(principal) if !self.caller_can_be() => eprintln!(
                "note: no certificate can be of `{}`; write --as {CALLER}",
                printable(principal)
            ),
            Some(_) => {}
        }
    }

    fn judge_lines(&self, world: &mut World<'_>, mut lines: Lines) -> Result<ExitCode, Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut code = ExitCode::SUCCESS;
        while let Some(line) = lines.next(&mut out)? {
            let answer = Answer::to_line(
                world,
                self.gate.asked(),
                line,
                &self.providers,
                self.explain,
            );
            let number = lines.number();
            if let Some(error) = answer.error() {
                // In the order of the answers, for those who read both.
                out.flush()?;
                eprintln!("error: line {number}: {}", printable(error));
                code = ExitCode::from(2);
            }
            self.print(&answer, Some(number), &mut out)?;
        }
        out.flush()?;
        if world.has_rules() {
            lines.warn_if_empty();
        }
        Ok(code)
    }

    /// Prints an answer; that to a line of a file with the line's number, unless it is JSON.
    fn print(&self, answer: &Answer, line: Option<u64>, out: &mut impl Write) -> io::Result<()> {
        if self.format == Format::Json {
            return json_line(out, answer);
        }
        if answer.error().is_some() {
            return Ok(());
        }
        if let Some(number) = line {
            write!(out, "line {number}: ")?;
        }
        writeln!(out, "{answer}")?;
        match answer.explanation() {
            Some(explanation) => write!(out, "{explanation}"),
            None => Ok(()),
        }
    }

    /// The claims of the token; `None` without any.
    fn claims(&self) -> Option<Map<String, Value>> {
        let claim = |(name, text): &(String, String)| (name.clone(), typed(name, text));
        (!self.claims.is_empty()).then(|| self.claims.iter().map(claim).collect())
    }
}

/// Says on stderr that the answer holds only if a provider allows the request.
fn tell_of_the_provider(name: &str) {
    let name = printable(name);
    eprintln!(
        "note: the answer depends on the provider `{name}`, which is taken as allowing; \
         --provider {name}=deny (or allow, error, a status) says what it answers"
    );
}

/// Says on stderr that a server of a mesh would not ask the rules about this request.
fn tell_of_the_gate(engine: &Engine, request: &Request) {
    if let Err(refusal) = admit(Gate::istio(), engine, request) {
        eprintln!(
            "note: the gate of a mesh answers {} before any rule is asked: {refusal} (rule {}); \
             --gate istio asks it",
            refusal.status().as_u16(),
            refusal.rule()
        );
    }
}

/// A claim's value with the type it is written in; issuers and subjects are texts, whatever they
/// look like (RFC 7519).
fn typed(name: &str, text: &str) -> Value {
    let is_text = TEXTS.contains(&name) && !text.starts_with('"');
    let json = (!is_text).then(|| serde_json::from_str(text).ok());
    json.flatten().unwrap_or_else(|| Value::from(text))
}

/// How a caller is written.
const CALLER: &str = "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT";
/// Claims that are texts.
const TEXTS: [&str; 4] = ["iss", "sub", "azp", "jti"];
