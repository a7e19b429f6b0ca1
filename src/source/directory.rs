//! Reads configuration from files.

use std::path::{Path, PathBuf};

use crate::istio::{
    Loader, MeshConfig, Problem, Problems, is_blank_mesh_config, parse_mesh_config,
};

use super::configuration::settings;
use super::expressions;
use super::files::passed_over::passed_over;
use super::files::read::{Contents, Found, find, read};
use super::holdings::Holdings;
use super::{Configuration, OnOpening, Watch};

/// Configuration in files: one file, or every `*.yaml`, `*.yml` and `*.json` file below a
/// directory.
///
/// Files of kustomize and Helm that hold no resources are skipped, each with a
/// [note](Configuration::passed_over); neither tool is run. A Helm template is an error, because it
/// may hold rules that would silently be missing.
#[derive(Clone, Debug)]
pub struct Directory {
    paths: Vec<PathBuf>,
    mesh_config: Option<PathBuf>,
    on_opening: OnOpening,
}

impl Directory {
    /// Configuration at a path. Nothing is read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            paths: vec![path.into()],
            mesh_config: None,
            on_opening: OnOpening::default(),
        }
    }

    /// Reads the configuration at a path once.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn load(
        path: impl Into<PathBuf>,
        default_namespace: &str,
    ) -> Result<Configuration, Problems> {
        Self::new(path).read(default_namespace)
    }

    /// Watches configuration at a path; see [`Watch`].
    #[must_use]
    pub fn watch(path: impl Into<PathBuf>) -> Watch {
        Watch::new(Self::new(path))
    }

    /// Adds a path that is read together with the others.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Sets the file of the mesh's settings: a MeshConfig, or the ConfigMap `istio` that holds one.
    /// It overrides a ConfigMap `istio` among the resources. If the file is inside the directory,
    /// it is not also read as a resource.
    #[must_use]
    pub fn mesh_config(mut self, file: impl Into<PathBuf>) -> Self {
        self.mesh_config = Some(file.into());
        self
    }

    /// Sets what a mesh that watches this directory does with a change that is damaged or opens the
    /// workload; [`OnOpening::Refuse`] by default.
    #[must_use]
    pub fn on_opening(mut self, on_opening: OnOpening) -> Self {
        self.on_opening = on_opening;
        self
    }

    /// Reads all files. Resources without a namespace belong to `default_namespace`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any file, and every file that cannot be read: a file that is
    /// missing, larger than 64 MiB or not UTF-8, or a symbolic link that leads nowhere or in a
    /// circle. A directory without any configuration file is also an error, because it would be the
    /// configuration that allows everything. So is a directory in which every file is skipped.
    pub fn read(&self, default_namespace: &str) -> Result<Configuration, Problems> {
        Self::parse(&self.gather(), default_namespace)
    }

    /// Reads everything leniently, for tools that judge a configuration and do not run it; see
    /// [`Loader::survey`].
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), except for mistakes that leave the resource readable.
    pub fn survey(
        &self,
        default_namespace: &str,
    ) -> Result<(Configuration, Vec<Problem>), Problems> {
        let loaded = Self::loader(&self.gather(), default_namespace);
        let (resources, readable) = loaded.loader.survey()?;
        let configuration = Configuration {
            passed_over: loaded.passed_over,
            ..Configuration::new(resources, loaded.mesh_config)
        };
        Ok((configuration, readable))
    }

    pub(super) fn opening(&self) -> OnOpening {
        self.on_opening
    }

    /// Reads the contents of all files without parsing them.
    pub(super) fn gather(&self) -> Gathered {
        let settings = self.mesh_config.as_deref();
        let real = settings.and_then(|file| file.canonicalize().ok());
        let is_settings = |path: &Path| real.is_some() && path.canonicalize().ok() == real;
        let mut found = Found::default();
        for path in &self.paths {
            find(path, &mut found);
        }
        let files = found.files.iter().filter(|path| !is_settings(path));
        Gathered {
            files: files.map(|path| read(path)).collect(),
            problems: found.problems,
            mesh_config: settings.map(read),
        }
    }

    /// Parses gathered files into a configuration.
    pub(super) fn parse(
        gathered: &Gathered,
        default_namespace: &str,
    ) -> Result<Configuration, Problems> {
        let loaded = Self::loader(gathered, default_namespace);
        let resources = loaded.loader.finish()?;
        // A skipped file counts as blank. If it held documents before, it has lost them.
        let mut holdings = Holdings::new(gathered.files.iter().map(|file| &*file.name), &resources);
        if let Some(file) = &gathered.mesh_config
            && let Ok(text) = &file.text
        {
            holdings = holdings.with_settings(&file.name, is_blank_mesh_config(text));
        }
        Ok(Configuration {
            passed_over: loaded.passed_over,
            holdings,
            ..Configuration::new(resources, loaded.mesh_config)
        })
    }

    /// Parses all files that are not skipped.
    fn loader(gathered: &Gathered, default_namespace: &str) -> Loaded {
        let mut loader = Loader::new(default_namespace);
        for problem in &gathered.problems {
            loader.report(problem.clone());
        }
        let passed = passed_over(&gathered.files);
        let mut notes = Vec::new();
        for (index, file) in gathered.files.iter().enumerate() {
            if let Some(passed) = passed.get(&index) {
                let note = passed.note(&file.name);
                if passed.changes_ours {
                    loader.note(note.clone());
                }
                notes.push(note);
                continue;
            }
            match &file.text {
                Ok(text) => loader.read(&file.name, text),
                Err(problem) => loader.report(problem.clone()),
            }
        }
        if let (Some(first), true) = (notes.first(), passed.len() == gathered.files.len()) {
            let message =
                "every file is passed over, and nothing is left to read: name rendered resources";
            loader.report(Problem::new(first.at.clone(), "", message));
        }
        let mesh_config = gathered.mesh_config.as_ref().map(|file| match &file.text {
            Ok(text) => parse_mesh_config(&file.name, text),
            Err(problem) => Err(problem.clone().into()),
        });
        let mesh_config = settings(&mut loader, mesh_config);
        expressions::check(&mut loader);
        Loaded {
            loader,
            mesh_config,
            passed_over: notes,
        }
    }
}

/// Parsed files, before they are judged.
struct Loaded {
    loader: Loader,
    mesh_config: Option<MeshConfig>,
    passed_over: Vec<Problem>,
}

/// The files that were found in one look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gathered {
    files: Vec<Contents>,
    problems: Vec<Problem>,
    mesh_config: Option<Contents>,
}
