//! `tower-mesh vet`: finds mistakes in policies that load.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use tower_mesh::Workload;
use tower_mesh::istio::{Position, Problem};
use tower_mesh::vet::{self, Code, Note, Report, Severity, Silenced, UnknownCode};

use crate::failure::Failure;
use crate::input::options::{
    ASSUMED_TRUST_DOMAIN, Domain, Gated, key_and_value, namespace_and_account,
    tell_assumed_trust_domain,
};
use crate::input::world::directory;
use crate::output::github;

/// Find mistakes in policies, with file, line and remedy
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Vet {
    /// Istio resources: files, and directories of *.yaml, *.yml and *.json
    #[arg(value_name = "PATH", required_unless_present = "explain")]
    paths: Vec<PathBuf>,
    /// Explain a code with an example, and vet nothing
    #[arg(long, value_name = "CODE", conflicts_with = "paths")]
    explain: Option<String>,
    /// How to print notes: for people, one JSON object a line, or annotations of GitHub Actions
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Count warnings as errors
    #[arg(long)]
    deny_warnings: bool,
    /// Silence a code everywhere, and say why; may be given several times
    #[arg(long, value_name = "CODE=REASON", value_parser = code_and_reason)]
    allow: Vec<(Code, String)>,
    /// List silenced notes, too, with their reasons
    #[arg(long)]
    show_silenced: bool,
    /// The mesh's settings: a MeshConfig, or the ConfigMap `istio` that holds one
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// A provider that the application registers in Rust, for CUSTOM policies; may be given several
    /// times
    #[arg(long = "authorizer", value_name = "NAME")]
    authorizers: Vec<String>,
    #[command(flatten)]
    gate: Gated,
    #[command(flatten)]
    domain: Domain,
    /// The namespace of resources that name none
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    workloads: Workloads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Github,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh vet policies/
  tower-mesh vet policies/ --format github --deny-warnings
  tower-mesh vet --explain method-lower-case
  tower-mesh vet policies/ \\
      --workload default/patients --label app=patients --service patients:8443 \\
      --workload default/store --label app=store --service store:5432/tcp
  tower-mesh vet policies/ --allow jwt-without-audiences='the issuer has one service'

Workloads make the notes exact. Those that Deployments and the like in PATH
deploy are known; others are stated, all of a namespace or none of it. The
labels and services of a workload follow it.

A resource silences notes about itself by an annotation, a line for each code:
  tower-mesh.io/vet-ignore: \"CODE: reason\"
What each code means: --explain CODE, or docs/vet.md.

A line of JSON has the keys code, severity (error, warning; silenced with
--show-silenced), resource, file, line, column, message and help.

Exit status: 0 no errors (warnings do not count unless --deny-warnings is
given), 1 errors, 2 unreadable, or no such code.";

impl Vet {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if let Some(name) = &self.explain {
            return explain(name);
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let (report, passed_over) = match self.report() {
            Ok(found) => found,
            Err(Failure::Configuration(problems)) if self.format == Format::Github => {
                for problem in problems.as_slice() {
                    writeln!(out, "{}", github::problem(problem))?;
                }
                out.flush()?;
                return Err(Failure::Configuration(problems));
            }
            Err(failure) => return Err(failure),
        };
        let of_note: fn(&Note) -> String = match self.format {
            Format::Text => Note::to_string,
            Format::Json => Note::to_json,
            Format::Github => github::note,
        };
        let of_silenced: fn(&Silenced) -> String = match self.format {
            Format::Text => Silenced::to_string,
            Format::Json => Silenced::to_json,
            Format::Github => github::silenced,
        };
        for note in &report.notes {
            writeln!(out, "{}", of_note(note))?;
        }
        for silenced in report.silenced.iter().filter(|_| self.show_silenced) {
            writeln!(out, "{}", of_silenced(silenced))?;
        }
        match self.format {
            Format::Text => count(&report, &mut out)?,
            Format::Json => {}
            Format::Github => {
                for file in &passed_over {
                    writeln!(out, "{}", github::notice(&file.at, &file.message))?;
                }
                if report.assumes_trust_domain {
                    let nowhere = Position::default();
                    writeln!(out, "{}", github::notice(&nowhere, ASSUMED_TRUST_DOMAIN))?;
                }
            }
        }
        out.flush()?;
        if self.format != Format::Github {
            for file in &passed_over {
                eprintln!("note: {file}");
            }
            if report.assumes_trust_domain {
                tell_assumed_trust_domain();
            }
        }
        let fails = report.has_errors() || self.deny_warnings && !report.notes.is_empty();
        Ok(ExitCode::from(u8::from(fails)))
    }

    /// What was found, and the files that were passed over without a note in it.
    fn report(&self) -> Result<(Report, Vec<Problem>), Failure> {
        let directory = directory(&self.paths, self.mesh_config.as_ref());
        let (configuration, readable) = directory.survey(&self.namespace)?;
        self.domain.tell_if_unused(&configuration.mesh_config);
        let mut vet = vet::Vet::new().gate(self.gate.or_istio());
        if let Some(domain) = &self.domain.trust_domain {
            vet = vet.trust_domain(domain.clone());
        }
        let mesh_is_known =
            self.mesh_config.is_some() || configuration.resources.mesh_config.is_some();
        if mesh_is_known {
            vet = vet.mesh_config((*configuration.mesh_config).clone());
        }
        let vet = self.authorizers.iter().fold(vet, vet::Vet::authorizer);
        let allowed = self.allow.iter().cloned();
        let vet = allowed.fold(vet, |vet, (code, reason)| vet.allow(code, reason));
        let workloads = self.workloads.0.iter().cloned();
        let vet = workloads.fold(vet, vet::Vet::workload);
        let report = vet.resources(&configuration.resources, &readable)?;
        let notes = &configuration.resources.notes;
        let mut passed_over = configuration.passed_over;
        passed_over.retain(|file| !notes.contains(file));
        Ok((report, passed_over))
    }
}

/// Says how many notes there are.
fn count(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let count = |severity: Severity| match report.count(severity) {
        1 => format!("1 {severity}"),
        count => format!("{count} {severity}s"),
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let silenced = report.silenced.len();
    writeln!(out, "{errors}, {warnings}, {silenced} silenced")
}

/// Prints what a code means.
fn explain(name: &str) -> Result<ExitCode, Failure> {
    let code: Code = name.parse().map_err(|error: UnknownCode| {
        let near = error.near();
        let near = near.iter().map(|code| format!("`{code}`"));
        let near = match near.collect::<Vec<_>>().as_slice() {
            [] => "docs/vet.md lists them".to_owned(),
            near => format!("near it: {}", near.join(", ")),
        };
        Failure::Question(format!("{error}; {near}"))
    })?;
    let explanation = code.explanation();
    let mut out = io::stdout().lock();
    writeln!(out, "{code}\n\n{}\n", explanation.text)?;
    writeln!(out, "Gets the note (at the lines marked with <-):\n")?;
    indent(explanation.example, &mut out)?;
    writeln!(out, "\nGets no note:\n")?;
    indent(explanation.remedy, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn indent(text: &str, out: &mut impl Write) -> io::Result<()> {
    for line in text.lines() {
        writeln!(out, "{}", format!("    {line}").trim_end())?;
    }
    Ok(())
}

fn code_and_reason(text: &str) -> Result<(Code, String), String> {
    let (code, reason) = key_and_value(text).map_err(|_| "write CODE=REASON".to_owned())?;
    let code: Result<Code, _> = code.parse();
    let code = code.map_err(|error| format!("{error}; docs/vet.md lists them"))?;
    if reason.trim().is_empty() {
        return Err(format!("write why: {code}=REASON"));
    }
    Ok((code, reason))
}

/// The workloads that are known; each label and service belongs to the workload before it.
#[derive(Clone, Debug)]
struct Workloads(Vec<Workload>);

/// A word of the command line about a workload.
#[derive(Clone, Debug)]
enum Word {
    /// `NAMESPACE/SERVICE-ACCOUNT`.
    Workload(String, String),
    /// `KEY=VALUE`.
    Label(String, String),
    /// `NAME:PORT`, `NAME:PORT/PROTOCOL`.
    Service {
        name: String,
        port: u16,
        protocol: Option<String>,
    },
}

impl Args for Workloads {
    fn augment_args(command: Command) -> Command {
        let arg = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append);
        command
            .next_help_heading("Known workloads")
            .arg(
                arg("workload")
                    .value_name("NS/SA")
                    .value_parser(Word::workload)
                    .help("A workload: its namespace and service account; may be given several times"),
            )
            .arg(
                arg("label")
                    .value_name("KEY=VALUE")
                    .value_parser(Word::label)
                    .requires("workload")
                    .help("A label of the workload before it, for selectors"),
            )
            .arg(
                arg("service")
                    .value_name("NAME:PORT[/PROTOCOL]")
                    .value_parser(Word::service)
                    .requires("workload")
                    .help("A service in front of the workload before it; the protocol (tcp, mysql, redis, …) unless it is HTTP; http, too, on a port that is known for another"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Workloads {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // Each with its place on the command line.
        let mut words: Vec<(usize, Word)> = Vec::new();
        for argument in ["workload", "label", "service"] {
            let values = matches.get_many::<Word>(argument).into_iter().flatten();
            let places = matches.indices_of(argument).into_iter().flatten();
            words.extend(places.zip(values.cloned()));
        }
        words.sort_by_key(|(place, _)| *place);
        let mut workloads: Vec<Workload> = Vec::new();
        for (_, word) in words {
            let missing = || {
                let message = "a --label or --service belongs to the --workload before it\n";
                clap::Error::raw(ErrorKind::MissingRequiredArgument, message)
            };
            let workload = match word {
                Word::Workload(namespace, account) => Workload::new(namespace, account),
                Word::Label(key, value) => workloads.pop().ok_or_else(missing)?.label(key, value),
                Word::Service {
                    name,
                    port,
                    protocol,
                } => {
                    let workload = workloads.pop().ok_or_else(missing)?;
                    match protocol {
                        Some(protocol) => workload.service_with_port_name(name, port, protocol),
                        None => workload.service(name, port),
                    }
                }
            };
            workloads.push(workload);
        }
        Ok(Self(workloads))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Word {
    fn workload(text: &str) -> Result<Self, String> {
        let (namespace, account) = namespace_and_account(text)?;
        Ok(Self::Workload(namespace, account))
    }

    fn label(text: &str) -> Result<Self, String> {
        let (key, value) = key_and_value(text)?;
        Ok(Self::Label(key, value))
    }

    fn service(text: &str) -> Result<Self, String> {
        let due = || format!("`{text}`: write NAME:PORT or NAME:PORT/PROTOCOL");
        let (name, rest) = text.split_once(':').ok_or_else(due)?;
        let (port, protocol) = match rest.split_once('/') {
            Some((port, protocol)) if !protocol.is_empty() => (port, Some(protocol.to_owned())),
            Some(_) => return Err(due()),
            None => (rest, None),
        };
        if name.is_empty() || name.contains(['.', '/']) {
            return Err(due());
        }
        Ok(Self::Service {
            name: name.to_owned(),
            port: port.parse().map_err(|_| due())?,
            protocol,
        })
    }
}
