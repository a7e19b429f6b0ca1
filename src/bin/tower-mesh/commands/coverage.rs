//! `tower-mesh coverage`: shows which rules the requests of a file test.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tower_mesh::coverage::{Coverage as Covered, Report};
use tower_mesh::policy::{CustomMatch, Request};

use crate::failure::Failure;
use crate::input::lines::Lines;
use crate::input::options::{Format, NoPolicy, Options, ServiceName};
use crate::input::providers::{ProviderRules, Providers, answer};
use crate::input::question::Question;
use crate::input::world::World;
use crate::output::json::json_line;
use crate::printable::printable;

/// Say which rules and clauses the requests of a file put to the test
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Coverage {
    /// The requests (- is stdin), one JSON object a line, as `check` takes them
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Exit with 1 when less than this share is covered
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_under: Option<f64>,
    #[command(flatten)]
    providers: Providers,
    #[command(flatten)]
    no_policy: NoPolicy,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh coverage --config policies/ --workload default/patients \\
      --requests requests.jsonl
  tower-mesh coverage --config policies/ --workload default/patients \\
      --requests requests.jsonl --format json --fail-under 90

A rule has a point for a request that it matched, one for a request that it did
not match, and one for each of its lists (methods, principals, the values of a
condition) whose opposite would have turned its answer to some request. A rule
without lists matches everything and has the first point only.
Requests that a DENY refused never reach the ALLOW rules, and those that an
external provider refuses (--provider) reach neither.

Exit status: 0; 1 below --fail-under; 2 when a line is bad or the configuration
is, and when no authorization policy selects the workload: a forgotten label
would cover nothing. --allow-no-policy accepts that.";

/// Places beyond these are put together with the rest.
const MAX_PLACES: usize = 256;

/// Which engine judges a request: the services it names, and its port.
type EngineKey = (Option<Vec<ServiceName>>, u16);

impl Coverage {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut world = World::load(&self.options)?;
        let report = self.report(&mut world)?;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Text => write!(out, "{report}")?,
            Format::Json => json_line(&mut out, &report)?,
        }
        out.flush()?;
        world.tell_if_it_has_met_others();
        if !self.no_policy.allow_no_policy && !world.has_rules() {
            world.tell_no_policy();
            return Ok(ExitCode::from(2));
        }
        let missed = self
            .fail_under
            .filter(|percent| !report.is_at_least(*percent));
        if let Some(percent) = missed {
            eprintln!("{}", too_little(&report, percent));
        }
        Ok(ExitCode::from(u8::from(missed.is_some())))
    }

    fn report(&self, world: &mut World<'_>) -> Result<Report, Failure> {
        let own = world.engine().clone();
        let mut whole = Covered::new(&own);
        let mut elsewhere: HashMap<EngineKey, Covered> = HashMap::new();
        let mut lines = Lines::open(&self.requests)?;
        while let Some(line) = lines.next(&mut io::sink())? {
            let question = Question::read(line);
            let number = lines.number();
            let bad = |message: String| {
                Failure::Question(format!("line {number}: {}", printable(&message)))
            };
            let question = question.map_err(bad)?;
            let port = question.port(world.port());
            let services = question.services().map_err(bad)?;
            let answers = self.providers.with(question.answers().map_err(bad)?);
            let request = question.into_request(port).map_err(bad)?;
            world.meet(&request);
            let engine = world.engine_for(services.clone(), port)?;
            let rules = ProviderRules::of(engine);
            let said = |asked: &CustomMatch, form: &Request| answer(&answers, &rules, asked, form);
            if std::ptr::eq(engine.program(), own.program()) {
                whole.observe_with(&request, &said);
                continue;
            }
            if elsewhere.len() >= MAX_PLACES {
                elsewhere.drain().for_each(|(_, one)| whole.merge(one));
            }
            let place = elsewhere.entry((services, port));
            let covered = place.or_insert_with(|| Covered::new(engine));
            covered.observe_with(&request, &said);
        }
        if world.has_rules() {
            lines.warn_if_empty();
        }
        elsewhere.into_values().for_each(|one| whole.merge(one));
        Ok(whole.report())
    }
}

fn too_little(report: &Report, percent: f64) -> String {
    match report.percent {
        Some(covered) => format!("{covered:.1}% is covered, less than {percent}%"),
        None => "no rule applies to this workload: is its name right, are its labels?".to_owned(),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let percent = number.filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| format!("`{text}` is no percentage; write a number from 0 to 100"))
}
