//! `tower-mesh audit show`: prints chosen records.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use clap::builder::PossibleValuesParser;
use tower_mesh::audit::{Form, RecordFilter, Show};

use super::files::refuse_none;
use super::time::{refuse_empty, time};
use crate::failure::Failure;
use crate::output::json::JsonForTerminal;

/// Print records, chosen by who, what, when, decision and more
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ShowRecords {
    /// The folder with the trail
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Records whose actor has this text in its SPIFFE ID, subject, issuer, client or intermediary;
    /// `anonymous` also finds actors without a name
    #[arg(long, value_name = "TEXT")]
    who: Option<String>,
    /// Records with this text in the method, route, service, resource id, event name, subject or reason
    #[arg(long, value_name = "TEXT")]
    what: Option<String>,
    /// The texts of --who and --what are the whole of a field: dr-7, and not dr-70
    #[arg(long)]
    exact: bool,
    /// Records at this time (UTC; a date is its beginning) or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<SystemTime>,
    /// Records before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<SystemTime>,
    /// Records with this decision
    #[arg(long, value_name = "DECISION", value_parser = PossibleValuesParser::new(DECISIONS))]
    decision: Option<String>,
    /// Records with this trace id or request id
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Records of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(TYPES))]
    kind: Option<String>,
    /// Records about the patient with this pseudonym, as `audit pseudonym` prints it
    #[arg(long, value_name = "PSEUDONYM")]
    patient: Option<String>,
    /// Print the records as they are, JSON in a line, and not a line for a person
    #[arg(long)]
    json: bool,
}

const DECISIONS: [&str; 4] = ["allow", "deny", "error", "cancelled"];
const TYPES: [&str; 11] = [
    "access",
    "break_glass",
    "checkpoint",
    "config",
    "event",
    "gap",
    "identity",
    "prune",
    "rotate",
    "start",
    "stop",
];

const EXAMPLES: &str = "\
Examples:
  tower-mesh audit show /var/lib/patients/audit --who dr-7 --from 2026-03-01
  tower-mesh audit show /var/lib/patients/audit --decision deny --what /patients/{id}
  tower-mesh audit show /var/lib/patients/audit --type break_glass --json
  tower-mesh audit show /var/lib/patients/audit --type checkpoint --json | jq -j .note

A record must pass all filters that are given. Texts are compared as they are
written, with capitals. The records are not verified: that is audit verify.
Lines that are no records are left out and counted on stderr.

Exit status: 0, or 2 on an error.";

impl ShowRecords {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        refuse_none(&self.path)?;
        refuse_empty(self.from, self.to)?;
        let form = match self.json {
            true => Form::Json,
            false => Form::Text,
        };
        let show = Show::new(&self.path).filter(self.filter()).form(form);
        let out = BufWriter::new(io::stdout().lock());
        let mut out = JsonForTerminal::new(out, self.json && io::stdout().is_terminal());
        let shown = show.write(&mut out)?;
        out.flush()?;
        if shown.records == 0 {
            eprintln!("note: no record passes all filters");
        }
        if shown.unreadable > 0 {
            eprintln!(
                "note: lines that are no records were left out: {}; audit verify says more",
                shown.unreadable
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn filter(&self) -> RecordFilter {
        type With = fn(RecordFilter, String) -> RecordFilter;
        let texts: [(&Option<String>, With); 6] = [
            (&self.who, RecordFilter::who),
            (&self.what, RecordFilter::what),
            (&self.decision, RecordFilter::outcome),
            (&self.trace, RecordFilter::trace),
            (&self.kind, RecordFilter::kind),
            (&self.patient, RecordFilter::patient),
        ];
        let mut filter = RecordFilter::default();
        for (text, with) in texts {
            if let Some(text) = text {
                filter = with(filter, text.clone());
            }
        }
        if self.exact {
            filter = filter.exact();
        }
        if let Some(from) = self.from {
            filter = filter.from(from);
        }
        if let Some(to) = self.to {
            filter = filter.to(to);
        }
        filter
    }
}
