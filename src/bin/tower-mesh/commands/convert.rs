//! `tower-mesh convert`: rewrites the resources of 2018 in today's form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tower_mesh::convert::{Conversion, Services, convert};
use tower_mesh::istio::ServiceRoleBinding;

use crate::failure::Failure;
use crate::input::options::{Domain, ServiceName, key_and_value, tell_assumed_trust_domain};
use crate::input::world::{directory, tell_unread};

/// Write security.istio.io/v1 for the v1alpha1 resources of 2018, with the same decisions
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Convert {
    /// The old resources: a file, or a directory of *.yaml, *.yml and *.json; may be given several
    /// times
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The mesh's settings: a MeshConfig, or the ConfigMap `istio` that holds one
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    #[command(flatten)]
    domain: Domain,
    /// The labels of the workloads behind a service and a port they listen on; may be given several
    /// times [default: app=NAME, any port]
    #[arg(
        long = "service",
        value_name = "NAME[.NS][:PORT][=KEY=VALUE,..]",
        value_parser = Known::parse
    )]
    services: Vec<Known>,
    /// The namespace of resources that name none
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// A directory for the new resources, a file for each old one; - is stdout. No file is
    /// overwritten
    #[arg(long, short, value_name = "DIR", default_value = "-")]
    output: PathBuf,
    /// Exit with 1 when a note says that something is not quite the same
    #[arg(long)]
    strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh convert policies.2018/ > policies.yaml
  tower-mesh convert policies.2018/ -o policies/ \\
      --service ward.clinic:8080=app=ward --service desk.clinic:8080=app=desk,tier=front
  tower-mesh diff policies.2018/ policies/ --access-only --workload clinic/ward \\
      --label app=ward --service ward --port 8080

What is not quite the same is noted on stderr, with its place, and in a comment
above the new resource. What has no counterpart that decides alike is refused,
and nothing is written.

Exit status: 0 written, 1 written with notes under --strict, 2 refused or not
readable.";

/// What `--service` says.
#[derive(Clone, Debug)]
struct Known {
    service: ServiceName,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
}

impl Known {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, labels) = match text.split_once('=') {
            Some((name, labels)) => (name, labels.split(',').map(key_and_value).collect()),
            None => (text, Ok(BTreeMap::new())),
        };
        let (service, port) = match name.split_once(':') {
            Some((service, port)) => (service, format!(":{port}")),
            None => (name, String::new()),
        };
        let (service, namespace) = match service.split_once('.') {
            Some((service, namespace)) if !namespace.is_empty() && !namespace.contains('.') => {
                (service, Some(namespace.to_owned()))
            }
            _ => (service, None),
        };
        Ok(Self {
            service: ServiceName::parse(&format!("{service}{port}"))?,
            namespace,
            labels: labels.map_err(|error| format!("labels: {error}"))?,
        })
    }
}

/// Whether a binding has a name of `cluster.local`: it stood for itself, and becomes a principal,
/// of which that domain is ours whatever it is called.
fn names_ours(binding: &ServiceRoleBinding) -> bool {
    let subjects = binding.subjects.iter();
    let mut names = subjects.flat_map(|subject| subject.names.iter().chain(&subject.not_names));
    names.any(|name| name.starts_with("cluster.local/") && name.matches('/').count() == 4)
}

impl Convert {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let directory = directory(&self.paths, self.mesh_config.as_ref());
        let configuration = directory.read(&self.namespace)?;
        let services = self.services.iter().cloned();
        let services = services.fold(Services::new(), |all, known| {
            let ServiceName { name, port } = known.service;
            all.with(name, known.namespace, port, known.labels)
        });
        let resources = &configuration.resources;
        let mut mesh = (*configuration.mesh_config).clone();
        self.domain.tell_if_unused(&mesh);
        let stated = self.domain.trust_domain.as_ref().map(ToString::to_string);
        mesh.trust_domain = mesh.trust_domain.or(stated);
        let mut bindings = resources.service_role_bindings.iter();
        if mesh.trust_domain.is_none() && bindings.any(|binding| names_ours(binding)) {
            tell_assumed_trust_domain();
        }
        let mut conversion = convert(resources, &mesh, &services)?;
        let files: Vec<_> = conversion.files().map(str::to_owned).collect();
        for file in files {
            let failed = |error| Failure::Question(format!("{file} cannot be read again: {error}"));
            let text = fs::read_to_string(&file).map_err(failed)?;
            conversion.keep_comments(&file, &text);
        }
        for note in resources.notes.iter().chain(&conversion.notes) {
            eprintln!("note: {note}");
        }
        tell_unread(&configuration);
        if conversion.resources.is_empty() {
            eprintln!("note: nothing here becomes a resource of today");
        }
        if self.output.as_os_str() == "-" {
            let mut out = io::stdout().lock();
            write!(out, "{conversion}")?;
            out.flush()?;
        } else {
            self.write_files(&conversion)?;
        }
        let is_strict = self.strict && !conversion.notes.is_empty();
        Ok(ExitCode::from(u8::from(is_strict)))
    }

    fn write_files(&self, conversion: &Conversion) -> Result<(), Failure> {
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        for resource in &conversion.resources {
            let source = resource.from.first();
            // INVARIANT: every resource is made of something.
            let Some(source) = source.map(|at| Path::new(&*at.file)) else {
                continue;
            };
            let text = texts.entry(self.target(source)).or_default();
            if !text.is_empty() {
                text.push_str("---\n");
            }
            let _ = write!(text, "{resource}");
        }
        for (file, comments) in &conversion.comments {
            let target = self.target(Path::new(file));
            match texts.get_mut(&target) {
                Some(text) => {
                    let head = comments.iter().map(|comment| format!("#{comment}\n"));
                    text.insert_str(0, &format!("{}---\n", head.collect::<String>()));
                }
                None => eprintln!("note: {file}: its comments are not kept, nothing is left of it"),
            }
        }
        let failed = |path: &Path, error: &io::Error| {
            Failure::Question(format!("{} cannot be written: {error}", path.display()))
        };
        // Nothing is written when something cannot be.
        if let Some(target) = texts.keys().find(|target| target.exists()) {
            let message = format!("{} is there already; remove it first", target.display());
            return Err(Failure::Question(message));
        }
        let folders: BTreeSet<_> = texts.keys().filter_map(|target| target.parent()).collect();
        for folder in folders {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        for (target, text) in &texts {
            let file = OpenOptions::new().write(true).create_new(true).open(target);
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| failed(target, &error))?;
        }
        Ok(())
    }

    /// The same name below the output, with the extension of what is written.
    fn target(&self, source: &Path) -> PathBuf {
        let mut folders = self.paths.iter().filter(|path| path.is_dir());
        let inside = folders.find_map(|path| source.strip_prefix(path).ok());
        let name = inside.or_else(|| source.file_name().map(Path::new));
        let target = self.output.join(name.unwrap_or(source));
        target.with_extension("yaml")
    }
}
