use std::collections::HashSet;
use std::fmt::{self, Display};

use super::services::{Backend, Services};
use super::yaml::Yaml;
use crate::istio::{MeshConfig, Position, Problem, Resources};

/// A resource of today that replaces resources of 2018. Prints as a YAML document, comments
/// first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Converted {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The documents it is made of; never empty.
    pub from: Vec<Position>,
    /// Small differences, each with its place in the old resource.
    pub notes: Vec<Problem>,
    /// Comments of the old documents.
    pub comments: Vec<String>,
    pub(super) dry_run: bool,
    pub(super) spec: Yaml,
}

impl Converted {
    /// A resource that is enforced, made of these documents.
    pub(super) fn new(
        kind: &'static str,
        namespace: &str,
        name: String,
        spec: Yaml,
        from: Vec<Position>,
    ) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name,
            from,
            notes: Vec::new(),
            comments: Vec::new(),
            dry_run: false,
            spec,
        }
    }
}

impl Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in &self.comments {
            writeln!(f, "#{comment}")?;
        }
        for note in &self.notes {
            // A message is one line; a quoted line break must not end the comment.
            let note = note.to_string().replace(char::is_control, " ");
            writeln!(f, "# NOTE {note}")?;
        }
        let annotation = Yaml::map([("istio.io/dry-run", Some(Yaml::text("true")))]);
        let document = Yaml::map([
            ("apiVersion", Some(Yaml::text("security.istio.io/v1"))),
            ("kind", Some(Yaml::text(self.kind))),
            (
                "metadata",
                Some(Yaml::map([
                    ("name", Some(Yaml::text(&*self.name))),
                    ("namespace", Some(Yaml::text(&*self.namespace))),
                    ("annotations", self.dry_run.then_some(annotation)),
                ])),
            ),
            ("spec", Some(self.spec.clone())),
        ]);
        document.fmt(f)
    }
}

/// The new resources, and the notes about them.
pub(super) struct Writer<'a> {
    pub(super) resources: &'a Resources,
    pub(super) mesh: &'a MeshConfig,
    pub(super) services: &'a Services,
    pub(super) written: Vec<Converted>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
    /// Notes that the next resource carries.
    pending: Vec<Problem>,
    /// What was noted already: place, field and message.
    noted: HashSet<(Position, String, String)>,
    names: HashSet<(&'static str, String, String)>,
    /// Services whose assumed labels were noted already.
    places: HashSet<(String, String)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        resources: &'a Resources,
        mesh: &'a MeshConfig,
        services: &'a Services,
    ) -> Self {
        Self {
            resources,
            mesh,
            services,
            written: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            pending: Vec::new(),
            noted: HashSet::new(),
            names: HashSet::new(),
            places: HashSet::new(),
        }
    }

    /// Refuses a thing that today's resources cannot express; nothing is written then.
    pub(super) fn refuse(&mut self, at: &Position, field: impl Display, message: impl Display) {
        let problem = Problem::new(at.clone(), field.to_string(), message.to_string());
        self.problems.push(problem);
    }

    /// Something that is not quite the same.
    pub(super) fn note(&mut self, at: &Position, field: impl Display, message: impl Display) {
        let (field, message) = (field.to_string(), message.to_string());
        let key = (at.clone(), field.clone(), message.clone());
        if self.noted.insert(key) {
            self.pending.push(Problem::new(at.clone(), field, message));
        }
    }

    /// Notes, once, what follows from taking labels for a service.
    pub(super) fn note_place(&mut self, at: &Position, namespace: &str, place: &Backend) {
        let name = &place.service;
        if !self.places.insert((namespace.to_owned(), name.clone())) {
            return;
        }
        if place.is_assumed {
            let message = format!(
                "the workloads behind the service `{name}` are taken to carry the label \
                 app={name}; --service {name}=KEY=VALUE says which they carry"
            );
            self.note(at, "", message);
        }
        if place.ports.is_empty() {
            let message = format!(
                "all ports of the workloads behind the service `{name}` are covered, where the old \
                 resources meant the service's own; --service {name}:PORT says which it is"
            );
            self.note(at, "", message);
        }
    }

    /// Leaves notes without a resource that carries them.
    pub(super) fn settle(&mut self) {
        self.notes.append(&mut self.pending);
    }

    /// Refuses a resource for the root namespace, which was one like any other, and where
    /// resources are for the whole mesh today.
    pub(super) fn refuse_in_root(&mut self, at: &Position, field: &str) {
        let message = format!(
            "would be written into `{}`, the root namespace, where today it is for the whole mesh \
             (a PeerAuthentication with a selector is ignored there); convert with --mesh-config \
             and a rootNamespace that holds nothing else",
            self.mesh.root_namespace
        );
        let problem = Problem::new(at.clone(), field.to_owned(), message);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Writes a resource, under a name that is free. One that is `for_mesh` may be written into the
    /// root namespace: the old resources meant the whole mesh.
    pub(super) fn write(&mut self, mut resource: Converted, for_mesh: bool) {
        if resource.namespace == self.mesh.root_namespace && !for_mesh {
            for at in resource.from.iter().take(1) {
                self.refuse_in_root(at, "metadata.namespace");
            }
            return;
        }
        resource.notes = std::mem::take(&mut self.pending);
        self.notes.extend(resource.notes.iter().cloned());
        let wanted = resource.name.clone();
        let mut count = 1;
        let key = |made: &Converted| (made.kind, made.namespace.clone(), made.name.clone());
        while !self.names.insert(key(&resource)) {
            count += 1;
            resource.name = format!("{wanted}-{count}");
        }
        self.written.push(resource);
    }
}

/// `spec.selector`; `None`: everything.
pub(super) fn selector<'l>(
    labels: impl IntoIterator<Item = (&'l String, &'l String)>,
) -> Option<Yaml> {
    let labels = labels.into_iter();
    let labels = labels.map(|(key, value)| (key.as_str(), Some(Yaml::text(value.as_str()))));
    let mut labels = labels.peekable();
    labels.peek()?;
    Some(Yaml::map([("matchLabels", Some(Yaml::map(labels)))]))
}
