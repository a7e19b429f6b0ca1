//! `tower-mesh diff`: finds requests that two configurations answer differently.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tower_mesh::diff::{Found, Search, unanswerable_changes};

use crate::failure::Failure;
use crate::input::lines::Lines;
use crate::input::options::{Format, Guarded, NoPolicy, Protocol, tell_assumed_trust_domain};
use crate::input::providers::Providers;
use crate::input::world::World;
use crate::output::answer::Answer;
use crate::output::json::json_line;
use crate::output::table::AccessTable;
use crate::printable::printable;

/// Say which requests two configurations answer differently: who gains access, and who loses it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Diff {
    /// The configuration as it was: a file, or a directory of *.yaml, *.yml and *.json
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The configuration as it will be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Compare the answers to the requests of a file (- is stdin), lines as check takes them;
    /// without it, requests are derived from the rules
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// How to print what differs: a table, or one JSON object a line
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only whether a request passes counts, and which external providers must allow it; not by which
    /// rule or with which status, nor audits and dry runs
    #[arg(long)]
    access_only: bool,
    /// Derive requests of HTTP, or raw TCP connections
    #[arg(long, value_enum, default_value_t = Protocol::Http, conflicts_with = "requests")]
    protocol: Protocol,
    /// How many derived requests to ask about at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20_000,
        conflicts_with = "requests"
    )]
    limit: usize,
    #[command(flatten)]
    providers: Providers,
    #[command(flatten)]
    no_policy: NoPolicy,
    #[command(flatten)]
    guarded: Guarded,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh diff policies.old/ policies/ --workload default/patients
  tower-mesh diff policies.old/ policies/ --workload default/patients \\
      --requests yesterday.jsonl --access-only
  git worktree add /tmp/main main && tower-mesh diff /tmp/main/policies policies \\
      --workload default/patients --label app=patients --format json

A line of JSON is {\"id\", \"old\", \"new\"}: both answers as check prints them.
Derived requests have a number as id, and a key \"request\", a line for
check --requests. Finding nothing is strong evidence, and no proof.
What no answer shows (mutual TLS, which tokens are good, how external providers
are asked, rate limits) is told on stderr. A request that passes only if a provider allows it
has less access than one that passes, and more than one that is refused;
--provider says what a provider answers on both sides.

Exit status: 0 nothing differs, 1 something does, 2 error. 2 also when no
authorization policy of either side selects the workload, though there are some:
a forgotten label would compare nothing. --allow-no-policy accepts that.";

impl Diff {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let read = |path: &PathBuf| World::read(std::slice::from_ref(path), &self.guarded);
        let mut worlds = match (read(&self.old), read(&self.new)) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => return Err(problems.into()),
            (Err(old), Err(new)) => {
                eprintln!("{old}");
                return Err(new.into());
            }
        };
        let port = self.guarded.port();
        let other = unanswerable_changes(worlds.0.engine(), worlds.1.engine(), port);
        for sentence in &other {
            eprintln!("note: {sentence}");
        }
        let mut report = Report::new(self.format, port);
        let mut is_bad = false;
        match &self.requests {
            Some(file) => {
                let mut lines = Lines::open(file)?;
                while let Some(line) = lines.next(&mut report.out)? {
                    let line = line.to_vec();
                    if let Err(error) = self.compare(&mut worlds, &line, None, &mut report)? {
                        eprintln!("error: line {}: {}", lines.number(), printable(&error));
                        is_bad = true;
                    }
                }
                lines.warn_if_empty();
            }
            None => {
                let found = self.search(&worlds);
                for (index, witness) in found.witnesses.iter().enumerate() {
                    let request = witness.to_json();
                    let mut line = request.clone();
                    if let Some(line) = line.as_object_mut() {
                        line.insert("id".to_owned(), json!(index + 1));
                    }
                    let line = line.to_string();
                    let compared =
                        self.compare(&mut worlds, line.as_bytes(), Some(request), &mut report)?;
                    if let Err(error) = compared {
                        eprintln!("error: request {}: {error}", index + 1);
                        is_bad = true;
                    }
                }
                report.derived = Some(found);
            }
        }
        let is_derived = self.requests.is_none();
        let differ = report.finish()?;
        let matters = |world: &World<'_>| {
            // A derived request names whatever callers the rules name.
            is_derived && differ && world.assumes_trust_domain() || world.has_met_others()
        };
        if matters(&worlds.0) || matters(&worlds.1) {
            tell_assumed_trust_domain();
        }
        let compares_nothing = !self.no_policy.allow_no_policy && is_beside(&worlds);
        if compares_nothing {
            let (old, new) = &worlds;
            let told = if new.near().is_empty() { old } else { new };
            told.tell_no_policy();
        }
        Ok(ExitCode::from(if is_bad || compares_nothing {
            2
        } else {
            // A change outside the rules is a difference, though no derived request can show it.
            u8::from(differ || (self.requests.is_none() && !other.is_empty()))
        }))
    }

    fn search(&self, (old, new): &(World<'_>, World<'_>)) -> Found {
        let mut search = Search::new(old.engine(), new.engine())
            .port(self.guarded.port())
            .limit(self.limit);
        if self.access_only {
            search = search.access_only();
        }
        if self.protocol == Protocol::Tcp {
            search = search.tcp();
        }
        search.run()
    }

    /// Asks the rules of both sides, whatever a gate would say: a sidecar may have none. The inner
    /// error says why one could not answer.
    fn compare(
        &self,
        (old, new): &mut (World<'_>, World<'_>),
        line: &[u8],
        derived: Option<Value>,
        report: &mut Report,
    ) -> Result<Result<(), String>, Failure> {
        let old = Answer::to_line(old, None, line, &self.providers, false);
        let new = Answer::to_line(new, None, line, &self.providers, false);
        for answer in [&old, &new] {
            if let Some(error) = answer.error() {
                return Ok(Err(error.to_owned()));
            }
        }
        if old.differs(&new, self.access_only) {
            report.add(line, derived, &old, &new)?;
        }
        Ok(Ok(()))
    }
}

/// Whether no rule of either side is asked about the workload. Where neither side has rules at all,
/// for whomever, none can have been missed: how connections and tokens are taken is then what is
/// compared, if anything says so and no rule for tokens is missed.
fn is_beside((old, new): &(World<'_>, World<'_>)) -> bool {
    let has_rules = old.has_rules() || new.has_rules();
    let holds_rules = old.holds_rules() || new.holds_rules();
    let has_authentication = old.has_authentication() || new.has_authentication();
    let misses_tokens = (old.holds_token_rules() || new.holds_token_rules())
        && !(old.has_token_rules() || new.has_token_rules());
    !has_rules && (holds_rules || misses_tokens || !has_authentication)
}

/// A line of JSON.
#[derive(Serialize)]
struct Changed<'a> {
    id: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Value>,
    old: &'a Answer,
    new: &'a Answer,
}

/// What differs, printed at once or as a table at the end.
struct Report {
    out: BufWriter<io::StdoutLock<'static>>,
    table: Option<AccessTable>,
    changed: usize,
    derived: Option<Found>,
}

impl Report {
    fn new(format: Format, port: u16) -> Self {
        Self {
            out: BufWriter::new(io::stdout().lock()),
            table: (format == Format::Text).then(|| AccessTable::new(port)),
            changed: 0,
            derived: None,
        }
    }

    fn add(
        &mut self,
        line: &[u8],
        derived: Option<Value>,
        old: &Answer,
        new: &Answer,
    ) -> io::Result<()> {
        self.changed += 1;
        if let Some(table) = &mut self.table {
            let request = match derived {
                Some(request) => request,
                None => serde_json::from_slice(line)?,
            };
            table.add(&request, old, new);
            return Ok(());
        }
        let changed = Changed {
            id: &old.id,
            request: derived,
            old,
            new,
        };
        json_line(&mut self.out, &changed)
    }

    /// Says whether anything differs.
    fn finish(mut self) -> io::Result<bool> {
        if let Some(table) = &self.table {
            write!(self.out, "{table}")?;
            if let Some(Found { asked, .. }) = &self.derived {
                writeln!(self.out, "{asked} derived requests were asked about.")?;
            }
        }
        self.out.flush()?;
        match &self.derived {
            Some(found) if found.is_full => {
                let count = found.witnesses.len();
                eprintln!("note: only the first {count} changes are shown");
            }
            Some(found) if found.is_cut => {
                eprintln!("note: there was more to ask about; --limit sets how much is asked");
            }
            _ => {}
        }
        Ok(self.changed > 0)
    }
}
