use std::collections::BTreeMap;
use std::fmt;

use super::authentication::{self, Policies};
use super::comments::comments;
use super::rbac;
use super::services::Services;
use super::writer::{Converted, Writer};
use crate::istio::{self, MeshConfig, Position, Problem, Problems, Resources};

/// What resources of 2018 became. Prints as YAML, document by document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Conversion {
    /// The resources of today.
    pub resources: Vec<Converted>,
    /// Everything that is not quite the same, with its place in the old resources, in their order.
    /// A note about one of the new resources is also printed as a comment before it.
    pub notes: Vec<Problem>,
    /// Comments of documents that became nothing, by file.
    pub comments: BTreeMap<String, Vec<String>>,
    /// The lines on which documents start, by file.
    starts: BTreeMap<String, Vec<u32>>,
}

/// Writes today's resources for those of 2018.
///
/// # Errors
/// What has no counterpart that decides alike, each with its place; nothing is written then. Also
/// resources of today that replace those of 2018 in part: they would not replace the converted
/// ones.
///
/// # Example
///
/// See [the module](crate::convert).
pub fn convert(
    resources: &Resources,
    mesh: &MeshConfig,
    services: &Services,
) -> Result<Conversion, Problems> {
    let mut writer = Writer::new(resources, mesh, services);
    let policies = Policies::new(&mut writer);
    authentication::convert(&mut writer, &policies);
    rbac::convert(&mut writer, &policies);
    writer.settle();
    if let Some(problems) = Problems::from_list(writer.problems) {
        return Err(problems);
    }
    let mut notes = writer.notes;
    notes.sort_by(|a, b| a.at.cmp(&b.at));
    let conversion = Conversion {
        resources: writer.written,
        notes,
        comments: BTreeMap::new(),
        starts: starts(resources),
    };
    conversion.check()?;
    Ok(conversion)
}

impl Conversion {
    /// The files that resources were read from.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.starts.keys().map(String::as_str)
    }

    /// Takes over the comments of a text that resources were read from, under the name it was read
    /// by.
    pub fn keep_comments(&mut self, file: &str, text: &str) {
        let starts = self.starts.get(file).map_or(&[][..], Vec::as_slice);
        for comment in comments(text, starts) {
            let is_from = |at: &Position| &*at.file == file && at.line == comment.document;
            let mut made = self.resources.iter_mut();
            let place = match made.find(|resource| resource.from.iter().any(is_from)) {
                Some(resource) => &mut resource.comments,
                None => self.comments.entry(file.to_owned()).or_default(),
            };
            place.push(comment.text);
        }
    }

    /// Where the resource on a line of the output came from.
    fn origin_of(&self, at: &Position) -> Position {
        let mut end = 0;
        let mut resources = self.resources.iter();
        let resource = resources.find(|resource| {
            // One more for the line between two documents.
            end += resource.to_string().lines().count() + 1;
            usize::try_from(at.line).is_ok_and(|line| line <= end)
        });
        let from = resource.and_then(|resource| resource.from.first());
        from.cloned().unwrap_or_default()
    }

    /// Loads the converted resources, each alone and all together, because a conversion must not
    /// return what our own loader refuses.
    fn check(&self) -> Result<(), Problems> {
        let refused = |at, problem: Problem, how| {
            let message = format!("has no counterpart that loads{how}: {}", problem.message);
            Problem::new(at, problem.field, message)
        };
        let mut problems = Vec::new();
        for resource in &self.resources {
            let at = resource.from.first().cloned().unwrap_or_default();
            let read = istio::parse("converted", &resource.to_string(), &resource.namespace);
            let found = read.err().into_iter().flatten();
            problems.extend(found.map(|problem| refused(at.clone(), problem, "")));
        }
        if problems.is_empty() {
            let set = istio::parse("converted", &self.to_string(), "default");
            let found = set.err().into_iter().flatten();
            problems.extend(
                found.map(|problem| refused(self.origin_of(&problem.at), problem, " as a whole")),
            );
        }
        Problems::from_list(problems).map_or(Ok(()), Err)
    }
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in self.comments.values().flatten() {
            writeln!(f, "#{comment}")?;
        }
        for (index, resource) in self.resources.iter().enumerate() {
            if index > 0 || !self.comments.is_empty() {
                writeln!(f, "---")?;
            }
            resource.fmt(f)?;
        }
        Ok(())
    }
}

/// Where each document starts, of any kind.
fn starts(resources: &Resources) -> BTreeMap<String, Vec<u32>> {
    let read = resources.metas().map(|meta| &meta.at);
    let skipped = resources.skipped.iter().map(|skipped| &skipped.at);
    let mut starts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for at in read.chain(skipped) {
        starts.entry(at.file.to_string()).or_default().push(at.line);
    }
    starts
}
