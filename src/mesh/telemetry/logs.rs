//! Access logs.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(feature = "otlp")]
use super::exporter::url;
#[cfg(feature = "cel")]
use super::facts::{Chosen, headers};
use super::reports::{Reports, SideReports};
#[cfg(feature = "cel")]
use super::tags::Tags;
#[cfg(feature = "cel")]
use crate::access_log::Filter;
use crate::access_log::{AccessLog, AccessLogs, FormatError, Readers, Side, Sink};
#[cfg(feature = "cel")]
use crate::cel::{Condition, Fact};
use crate::identity::Workload;
use crate::istio::{FileLogFormat, MeshConfig, Problem, Text, TracingService};
use crate::matcher::path_redaction::PathRedaction;
#[cfg(feature = "otlp")]
use crate::mesh::export::collectors::tell_workload;
use crate::message::Direction;
use crate::telemetry::{EffectiveAccessLog, EffectiveTelemetry, ModeTelemetry};

/// Makes the logs of one configuration after the other. A file that was opened stays open, so that
/// a change of a filter cuts no line.
#[derive(Debug)]
pub(super) struct LogCompiler {
    /// Those of the application, which are always written.
    own: Vec<AccessLog>,
    /// What no log shows of paths.
    hidden: PathRedaction,
    /// The SPIFFE id of the workload's own certificate.
    id: Option<Arc<str>>,
    /// The name of this process.
    #[cfg(feature = "cel")]
    node: Arc<str>,
    /// MeshConfig's `accessLogFile`.
    mesh_file: Option<Text>,
    files: BTreeMap<String, Sink>,
    #[cfg(feature = "otlp")]
    collectors: BTreeMap<String, Sink>,
}

impl LogCompiler {
    pub(super) fn new(own: Vec<AccessLog>, hidden: PathRedaction, id: Option<Arc<str>>) -> Self {
        Self {
            own,
            hidden,
            id,
            #[cfg(feature = "cel")]
            node: Arc::default(),
            mesh_file: None,
            files: BTreeMap::new(),
            #[cfg(feature = "otlp")]
            collectors: BTreeMap::new(),
        }
    }

    /// Closes the files that no log of these reports has: a configuration that was refused, or has
    /// been replaced, has named them.
    pub(super) fn keep_files_of(&mut self, reports: &Reports) {
        let is_used = |file: &Sink| {
            let sides = [&reports.server, &reports.client].into_iter();
            let mut used = sides.flat_map(|side| side.access_logs.sinks());
            used.any(|sink| sink.is_same(file))
        };
        self.files.retain(|_, file| is_used(file));
    }

    /// The logs of requests and of calls, and what else reads their facts.
    pub(super) fn compile(
        &mut self,
        found: &EffectiveTelemetry,
        mesh: &MeshConfig,
        workload: &Workload,
        problems: &mut Vec<Problem>,
    ) -> Reports {
        self.mesh_file.clone_from(&mesh.telemetry.access_log_file);
        #[cfg(feature = "cel")]
        {
            self.node = workload.node_id().into();
        }
        let reports = Reports {
            server: self.side(Direction::Inbound, &found.server, problems),
            client: self.side(Direction::Outbound, &found.client, problems),
        };
        #[cfg(feature = "otlp")]
        tell_workload(self.collectors.values(), workload);
        #[cfg(not(feature = "otlp"))]
        let _ = workload;
        reports
    }

    fn side(
        &mut self,
        direction: Direction,
        found: &ModeTelemetry,
        problems: &mut Vec<Problem>,
    ) -> SideReports {
        let side = match direction {
            Direction::Inbound => Side::Server,
            Direction::Outbound => Side::Client,
        };
        let mut readers = Readers::default();
        let mut logs = self.own.clone();
        for one in &found.access_logs {
            if let Some(log) = self.log(one, &mut readers, problems) {
                logs.push(log.side(side));
            }
        }
        #[cfg(feature = "cel")]
        let tags = Tags::new(&found.metrics, &self.hidden, &self.node)
            .inspect(|tags| read(tags.facts(), &mut readers));
        SideReports {
            access_logs: AccessLogs::read_by(direction, logs, readers, self.id.clone()),
            #[cfg(feature = "cel")]
            tags: tags.map(Arc::new),
        }
    }

    fn log(
        &mut self,
        found: &EffectiveAccessLog,
        readers: &mut Readers,
        problems: &mut Vec<Problem>,
    ) -> Option<AccessLog> {
        let made = match &found.format {
            FileLogFormat::Text(text) => AccessLog::format(text).map_err(|error| (error, text)),
            FileLogFormat::Labels(labels) => of_labels(labels),
            FileLogFormat::DefaultJson => Ok(AccessLog::json()),
            _ => Ok(AccessLog::text()),
        };
        let log = match made {
            Ok(mut log) => {
                log.redact(&self.hidden);
                log
            }
            Err((error, text)) => {
                problems.push(Problem::new(
                    text.at().clone(),
                    "logFormat",
                    error.to_string(),
                ));
                return None;
            }
        };
        let log = match found.omits_empty_values {
            true => log.omit_empty_values(),
            false => log,
        };
        let sink = match &found.collector {
            Some(service) => self.collector(service, problems)?,
            None => self.sink(found.path.as_ref(), problems)?,
        };
        let log = log.to(sink);
        match &found.filter {
            #[cfg(feature = "cel")]
            Some(filter) => filtered(log, filter, &self.node, readers, problems),
            #[cfg(not(feature = "cel"))]
            Some(filter) => {
                let _ = readers;
                problems.push(mistake(filter, NO_CEL));
                None
            }
            None => Some(log),
        }
    }

    /// Of a collector that stays, also what waits for it stays.
    #[cfg(feature = "otlp")]
    fn collector(&mut self, service: &TracingService, problems: &mut Vec<Problem>) -> Option<Sink> {
        let url = url(service);
        if let Some(known) = self.collectors.get(&url) {
            return Some(known.clone());
        }
        match Sink::otlp(&url) {
            Ok(sink) => {
                self.collectors.insert(url, sink.clone());
                Some(sink)
            }
            Err(error) => {
                let at = service.service.at().clone();
                problems.push(Problem::new(at, "service", error.to_string()));
                None
            }
        }
    }

    /// No provider is a collector without the feature.
    #[cfg(not(feature = "otlp"))]
    #[expect(clippy::unused_self, reason = "as the one with the feature")]
    fn collector(&self, service: &TracingService, problems: &mut Vec<Problem>) -> Option<Sink> {
        let message = "a collector needs the feature `otlp` of tower-mesh; build with it";
        let at = service.service.at().clone();
        problems.push(Problem::new(at, "service", message));
        None
    }

    fn sink(&mut self, path: Option<&Text>, problems: &mut Vec<Problem>) -> Option<Sink> {
        let Some(path) = path.filter(|path| path.as_str() != STDOUT) else {
            return Some(Sink::stdout());
        };
        if let Some(known) = self.files.get(path.as_str()) {
            return Some(known.clone());
        }
        let is_of_mesh = self.mesh_file.as_ref().map(Text::at) == Some(path.at());
        let field = match is_of_mesh {
            true => "accessLogFile",
            false => "envoyFileAccessLog.path",
        };
        // To open a pipe that nobody reads would wait for a reader.
        let kind = std::fs::metadata(path.as_str()).map(|found| found.file_type());
        if kind.is_ok_and(is_pipe) {
            let message = format!("the access log `{path}` is a pipe: write a file, or {STDOUT}");
            problems.push(Problem::new(path.at().clone(), field, message));
            return None;
        }
        match Sink::file(path.as_str()) {
            Ok(sink) => {
                self.files.insert(path.as_str().to_owned(), sink.clone());
                Some(sink)
            }
            Err(error) => {
                let message = format!(
                    "the access log `{path}` cannot be opened: {error}; write another path, or {STDOUT}"
                );
                problems.push(Problem::new(path.at().clone(), field, message));
                None
            }
        }
    }
}

#[cfg(unix)]
fn is_pipe(kind: std::fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_: std::fs::FileType) -> bool {
    false
}

const STDOUT: &str = "/dev/stdout";

fn of_labels(labels: &[(Text, Text)]) -> Result<AccessLog, (FormatError, &Text)> {
    let written = labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    AccessLog::labels(written).map_err(|error| {
        let is_meant = |(key, _): &&(Text, Text)| error.label() == Some(key.as_str());
        let found = labels.iter().find(is_meant).or_else(|| labels.first());
        // INVARIANT: without labels there is no mistake.
        static NOWHERE: std::sync::LazyLock<Text> = std::sync::LazyLock::new(Text::default);
        (error, found.map_or(&*NOWHERE, |(_, value)| value))
    })
}

#[cfg(feature = "cel")]
fn filtered(
    log: AccessLog,
    filter: &Text,
    node: &Arc<str>,
    readers: &mut Readers,
    problems: &mut Vec<Problem>,
) -> Option<AccessLog> {
    match Condition::compile(filter) {
        Ok(condition) => {
            read(condition.facts(), readers);
            let node = Arc::clone(node);
            let chosen = Chosen { condition, node };
            Some(log.only(Filter::test(Arc::new(chosen))))
        }
        Err(error) => {
            problems.push(mistake(filter, error.to_string()));
            None
        }
    }
}

/// Notes what an expression reads.
#[cfg(feature = "cel")]
fn read<'f>(facts: impl Iterator<Item = &'f Fact>, readers: &mut Readers) {
    readers.is_any = true;
    for fact in facts {
        let (request, response) = headers(fact);
        readers.request_headers.extend(request);
        readers.response_headers.extend(response);
    }
}

#[cfg(not(feature = "cel"))]
pub(super) const NO_CEL: &str = "expressions need the feature `cel` of tower-mesh; build with it";

/// A mistake in an expression.
pub(super) fn mistake(text: &Text, message: impl Into<String>) -> Problem {
    Problem::new(text.at().clone(), "expression", message)
}
