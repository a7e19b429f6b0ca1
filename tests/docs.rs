//! The README and the pages of `docs`: every link leads somewhere, on the forge, on the registry and in rustdoc, and code is shown whole.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]
#[path = "docs/gate_page.rs"]
mod gate_page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Page {
    /// From the root of the repository.
    path: String,
    text: String,
    /// The text without fenced blocks.
    prose: String,
    /// Information string and content of fenced blocks.
    blocks: Vec<(String, String)>,
}

impl Page {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let mut block: Option<(String, String)> = None;
        for line in text.lines() {
            match (&mut block, line.strip_prefix("```")) {
                (None, Some(info)) => block = Some((info.to_owned(), String::new())),
                (Some(_), Some("")) => blocks.extend(block.take()),
                (Some((_, content)), _) => *content += &format!("{line}\n"),
                (None, None) => prose += &format!("{line}\n"),
            }
        }
        assert!(block.is_none(), "{path}: a block without its end");
        Self {
            path: path.to_owned(),
            text,
            prose,
            blocks,
        }
    }

    /// Label and target of each reference.
    fn labels(&self) -> Vec<(&str, &str)> {
        let definition = |line: &'_ str| -> Option<(usize, usize)> {
            let end = line.strip_prefix('[')?.find("]: ")? + 1;
            Some((end, end + 3))
        };
        self.prose
            .lines()
            .filter_map(|line| {
                let (end, target) = definition(line)?;
                Some((&line[1..end], line[target..].trim()))
            })
            .collect()
    }

    /// Targets that stand in the text.
    fn inline(&self) -> Vec<&str> {
        let ends = self.prose.match_indices("](");
        ends.map(|(at, _)| self.prose[at + 2..].split(')').next().unwrap())
            .collect()
    }

    /// As the forge names the headings.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let text = line.trim_start_matches('#').trim().to_lowercase();
                text.chars()
                    .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            })
            .collect()
    }

    /// The file that a target names, from the root; itself for an anchor alone.
    fn file(&self, target: &str) -> PathBuf {
        let file = target.split('#').next().unwrap();
        let folder = Path::new(&self.path).parent().unwrap();
        match file {
            "" => PathBuf::from(&self.path),
            file => folder.join(file),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let mut pages = vec![Page::read("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(Page::read(&format!("docs/{name}")));
        }
    }
    assert!(pages.len() > 10);
    pages
}

fn is_relative(target: &str) -> bool {
    !target.contains("://")
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    for page in pages() {
        let labels = page.labels().into_iter().map(|(_, target)| target);
        for target in labels.chain(page.inline()).filter(|t| is_relative(t)) {
            let file = page.file(target);
            let at = format!("{}: {target}", page.path);
            assert!(root().join(&file).exists(), "{at} names no file");
            let Some((_, anchor)) = target.split_once('#') else {
                continue;
            };
            let anchors = Page::read(file.to_str().unwrap()).anchors();
            assert!(anchors.contains(anchor), "{at} names no heading");
        }
    }
}

/// A label may be followed by rustdoc to another place than by the forge, a target in the text may not.
#[test]
fn links_to_other_files_are_by_label() {
    for page in pages() {
        for target in page.inline() {
            assert!(
                !is_relative(target) || target.starts_with('#'),
                "{}: [..]({target}) is no link in rustdoc; define a label, and override it where the page is included",
                page.path
            );
        }
    }
}

#[test]
fn every_label_of_a_file_is_a_module_in_rustdoc() {
    let including = |path: &str| -> String {
        let (file, marker) = match path {
            "README.md" => ("src/lib.rs", "include_str!(\"../README.md\")".to_owned()),
            path => (
                "src/guide/mod.rs",
                format!("include_str!(\"../../{path}\")"),
            ),
        };
        let code = std::fs::read_to_string(root().join(file)).unwrap();
        let Some((before, _)) = code.split_once(&marker) else {
            panic!("{file} does not include {path}");
        };
        let lines = before.lines().rev().skip(1);
        let own = lines.take_while(|line| line.starts_with("//"));
        own.map(|line| format!("{line}\n")).collect()
    };
    for page in pages() {
        let overrides = including(&page.path);
        for (label, target) in page.labels() {
            let is_there = overrides.contains(&format!(" [{label}]: "));
            assert!(
                is_there || !is_relative(target),
                "{}: rustdoc does not know [{label}]",
                page.path
            );
        }
        for line in overrides.lines() {
            let Some((_, rest)) = line.split_once(" [") else {
                continue;
            };
            let label = rest.split("]: ").next().unwrap();
            assert!(
                page.labels().iter().any(|(known, _)| *known == label),
                "{}: [{label}] is overridden and not defined",
                page.path
            );
        }
    }
}

#[test]
fn every_label_is_defined_and_used() {
    for page in pages() {
        let labels = page.labels();
        let known: BTreeSet<_> = labels
            .iter()
            .map(|(label, _)| label.to_lowercase())
            .collect();
        let prose: Vec<_> = page
            .prose
            .lines()
            .filter(|line| !(line.starts_with('[') && line.contains("]: ")))
            .collect();
        let prose = prose.join("\n");
        for (at, _) in prose.match_indices("][") {
            let label = prose[at + 2..].split(']').next().unwrap();
            let label = label.to_lowercase();
            assert!(known.contains(&label), "{}: [{label}]", page.path);
        }
        let prose = prose.to_lowercase();
        for label in known {
            let is_used = prose.contains(&format!("[{label}]"));
            assert!(is_used, "{}: [{label}] is never used", page.path);
        }
    }
}

#[test]
fn the_readme_shows_code_whole() {
    let readme = Page::read("README.md");
    let rust: Vec<_> = readme
        .blocks
        .iter()
        .filter(|(info, _)| info.starts_with("rust"))
        .collect();
    for (info, code) in &rust {
        assert_ne!(info, "rust,ignore");
        let is_hidden = |line: &str| line == "#" || line.starts_with("# ");
        assert!(!code.lines().any(is_hidden), "a hidden line in\n{code}");
    }
    let program = &rust[0].1;
    assert!(program.contains("async fn main()"), "{program}");
    // What it needs is told in front of it.
    let before = readme.text.split("```rust").next().unwrap();
    for name in ["tower-mesh --features axum", "cargo add axum", "tokio"] {
        assert!(before.contains(name), "{name}");
    }
    // No error is a caller's business.
    assert!(!program.contains("{error}"), "{program}");
}

/// Every feature of the package is on its page, and what is on the page is one.
#[test]
fn the_features_page_lists_the_features() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("[features]\n").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let features = section
        .lines()
        .filter_map(|line| line.split_once(" = ["))
        .map(|(name, _)| name)
        .filter(|name| !["default", "tokio"].contains(name));
    let page = Page::read("docs/features.md");
    for name in features {
        let row = format!("| `{name}` |");
        assert!(page.text.contains(&row), "{name}");
    }
}

/// `scripts/getting-started.sh` runs the page; what it would pass over is told here, where it costs nothing.
#[test]
fn the_first_page_is_made_of_commands_files_and_what_is_printed() {
    let page = Page::read("docs/getting-started.md");
    let lines: Vec<_> = page.text.lines().collect();
    let mut files = BTreeSet::new();
    let mut is_open = false;
    for (at, line) in lines.iter().enumerate() {
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        is_open = !is_open;
        if !is_open {
            continue;
        }
        let before = lines[at - 1].strip_prefix('`');
        match before.and_then(|name| name.strip_suffix("`:")) {
            Some(file) => drop(files.insert(file)),
            None => assert!(["sh", "text"].contains(&kind), "line {}: {kind}", at + 1),
        }
    }
    let expected = [
        "policies/charts.yaml",
        "policies/patients.yaml",
        "src/bin/charts.rs",
        "src/bin/patients.rs",
    ];
    assert_eq!(files, BTreeSet::from(expected));
}

/// Each id that a comment of `src` names has a row on the page, and each test on the page exists.
#[test]
fn the_rules_page_has_every_id_and_names_tests_that_exist() {
    let mut source = String::new();
    read_code(&root().join("src"), &mut source);
    let mut code = source.clone();
    read_code(&root().join("tests"), &mut code);
    let page = Page::read("docs/rules.md");
    let mut rows = BTreeSet::new();
    for line in page.text.lines() {
        let Some((id, rest)) = line
            .strip_prefix("| ")
            .and_then(|line| line.split_once(" | "))
        else {
            continue;
        };
        if rule_ids(id).is_empty() {
            continue;
        }
        assert!(rows.insert(id.to_owned()), "{id} has two rows");
        let tests = rest.rsplit(" | ").next().unwrap().trim_end_matches(" |");
        for name in tests.split(", ").filter(|name| *name != "none of its own") {
            let name = name.trim_matches('`');
            assert!(code.contains(&format!("fn {name}(")), "{id}: {name}");
        }
    }
    let missing: Vec<_> = rule_ids(&source).difference(&rows).cloned().collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    assert!(rows.len() > 100, "{}", rows.len());
}

/// A capital letter, a hyphen and two digits, on their own: `J-25`.
fn rule_ids(text: &str) -> BTreeSet<String> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    let mut ids = BTreeSet::new();
    for (at, four) in bytes.windows(4).enumerate() {
        let [letter, b'-', tens, ones] = four else {
            continue;
        };
        let is_id = letter.is_ascii_uppercase() && tens.is_ascii_digit() && ones.is_ascii_digit();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        if is_id && !is_word(before) && !is_word(bytes.get(at + 4)) {
            ids.insert(text[at..at + 4].to_owned());
        }
    }
    ids
}

/// The Rust code of every file below a folder.
fn read_code(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_code(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
