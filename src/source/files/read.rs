//! Finds configuration files below a path, and reads them.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::istio::{Position, Problem};

/// The largest file that is read, in bytes; a larger one is not configuration of one mesh.
const MAX_FILE: u64 = 64 << 20;
const MAX_FILES: usize = 100_000;
/// The largest depth of nested directories.
const MAX_DEPTH: usize = 32;

/// The name and text of one file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) struct Contents {
    pub(in crate::source) name: String,
    pub(in crate::source) text: Result<String, Problem>,
}

/// Files in reading order, and the paths that could not be read.
#[derive(Debug, Default)]
pub(in crate::source) struct Found {
    pub(in crate::source) files: Vec<PathBuf>,
    pub(in crate::source) problems: Vec<Problem>,
}

/// Adds the file at `path`, or the configuration files below it.
pub(in crate::source) fn find(path: &Path, found: &mut Found) {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let before = found.files.len() + found.problems.len();
            let mut above = HashSet::new();
            descend(path, &mut above, found);
            if found.files.len() + found.problems.len() == before {
                let message = "holds no file *.yaml, *.yml or *.json; name the right directory";
                found.problems.push(problem(path, message));
            }
        }
        Ok(_) => found.files.push(path.to_owned()),
        Err(error) => found.problems.push(unreadable(path, &error)),
    }
}

/// Adds what is below a directory. `above` holds the real paths of the directories that lead to it,
/// to detect circles.
fn descend(directory: &Path, above: &mut HashSet<PathBuf>, found: &mut Found) {
    let real = match directory.canonicalize() {
        Ok(real) => real,
        Err(error) => return found.problems.push(unreadable(directory, &error)),
    };
    if above.contains(&real) {
        let message = "a symbolic link leads back to a directory above it; remove it";
        return found.problems.push(problem(directory, message));
    }
    if above.len() >= MAX_DEPTH {
        let message = format!("lies more than {MAX_DEPTH} directories deep");
        return found.problems.push(problem(directory, message));
    }
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return found.problems.push(unreadable(directory, &error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    above.insert(real.clone());
    for entry in entries {
        // A mounted ConfigMap keeps its real files under hidden names and links to them.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let is_kustomization = entry.file_name() == "Kustomization";
        let wanted = is_configuration(&path);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && wanted => {
                let message = "is a directory with the name of a file; rename it";
                found.problems.push(problem(&path, message));
            }
            Ok(metadata) if metadata.is_dir() => descend(&path, above, found),
            Ok(_) if (wanted || is_kustomization) && found.files.len() >= MAX_FILES => {
                let message = format!("is one file more than the {MAX_FILES} that are read");
                found.problems.push(problem(&path, message));
                break;
            }
            Ok(_) if wanted || is_kustomization => found.files.push(path),
            // A broken link may have led to a directory, so it is an error even without a matching
            // name.
            Err(error) if wanted || entry.file_type().is_ok_and(|kind| kind.is_symlink()) => {
                found.problems.push(unreadable(&path, &error));
            }
            _ => {}
        }
    }
    above.remove(&real);
}

fn is_configuration(path: &Path) -> bool {
    let mut known = ["yaml", "yml", "json"].iter();
    path.extension()
        .is_some_and(|extension| known.any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Reads a file as text and removes a byte order mark.
pub(in crate::source) fn read(path: &Path) -> Contents {
    Contents {
        name: path.display().to_string(),
        text: read_text(path),
    }
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let unreadable = |error: io::Error| unreadable(path, &error);
    // This is checked before the file is opened, because opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(problem(path, "is no regular file"));
    }
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // The file may grow after the file system reported its size, so the read itself is limited.
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    if read.map_err(unreadable)? as u64 > MAX_FILE {
        let message = format!("is larger than {} MiB; split it", MAX_FILE >> 20);
        return Err(problem(path, message));
    }
    decode(bytes).map_err(|(line, column, message)| {
        let at = Position::new(path.display().to_string().into(), line, column);
        Problem::new(at, "", message)
    })
}

/// Decodes bytes as UTF-8. The error holds line, column and message.
fn decode(bytes: Vec<u8>) -> Result<String, (u32, u32, String)> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err((1, 1, "is UTF-16; save it as UTF-8".to_owned()));
    }
    match String::from_utf8(bytes) {
        Ok(text) => match text.strip_prefix('\u{FEFF}') {
            Some(rest) => Ok(rest.to_owned()),
            None => Ok(text),
        },
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            let byte = error.as_bytes().get(good).copied().unwrap_or_default();
            let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
            let message = format!("the byte 0x{byte:02X} is not UTF-8; save the file as UTF-8");
            Err((number(line), number(column), message))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    problem(path, format!("cannot be read: {error}"))
}

fn problem(path: &Path, message: impl Into<String>) -> Problem {
    Problem::of_file(path.display().to_string(), message)
}
