//! What the log says of a configuration that was read.

use crate::istio::Skipped;
use crate::policy::Program;
use crate::source::Configuration;

/// Tells what loads but deserves a word, and what is not ours and was passed over.
pub(super) fn tell(configuration: &Configuration, program: &Program) {
    // The program's notes hold those of the resources, too.
    for note in bounded(&program.notes) {
        tracing::warn!(target: "tower_mesh::config", %note);
    }
    let skipped = &configuration.resources.skipped;
    for one in bounded(skipped) {
        let Skipped {
            api_version,
            kind,
            name,
            at,
        } = one;
        tracing::info!(
            target: "tower_mesh::config",
            %at,
            api_version = start(api_version),
            kind = start(kind),
            name = start(name),
            "document skipped: its group is none of ours"
        );
    }
    let passed_over = configuration.passed_over.iter();
    let passed_over: Vec<_> = passed_over
        .filter(|file| !program.notes.contains(file))
        .collect();
    for file in bounded(&passed_over) {
        tracing::info!(target: "tower_mesh::config", %file, "file passed over");
    }
    more(passed_over.len(), "more files passed over");
    more(program.notes.len(), "more notes");
    more(skipped.len(), "more documents skipped");
}

fn bounded<T>(list: &[T]) -> &[T] {
    list.get(..MOST).unwrap_or(list)
}

fn more(count: usize, what: &str) {
    if count > MOST {
        tracing::info!(target: "tower_mesh::config", "{} {what}", count - MOST);
    }
}

/// A word of a document of someone else's, which may be of any length.
fn start(text: &str) -> &str {
    let end = text.char_indices().nth(LONGEST).map(|(index, _)| index);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// So many lines of each sort; the dump of a cluster has thousands.
const MOST: usize = 50;
const LONGEST: usize = 100;
