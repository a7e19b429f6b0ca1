//! Which file of `src` imports which, with re-exports seen through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path below the crate: `["tls", "source", "files"]`. The crate itself is empty.
pub(crate) type Module = Vec<String>;

/// One file of `src`.
struct File {
    /// Its code without comments and unit tests.
    code: String,
    uses: Vec<Use>,
}

/// One path of a `use` line.
struct Use {
    path: Vec<String>,
    is_public: bool,
}

/// The files of `src`, and which of them each one imports.
pub(crate) struct Graph {
    files: BTreeMap<Module, File>,
    imports: BTreeMap<Module, BTreeSet<Module>>,
}

impl Graph {
    /// Reads `src`, without the command line's own files and unit tests.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        for path in super::rust_files(&root) {
            let inside = path.strip_prefix(&root).unwrap();
            let mut module: Module = inside
                .with_extension("")
                .components()
                .map(|part| part.as_os_str().to_str().unwrap().to_owned())
                .collect();
            if module.iter().any(|part| part == "tests" || part == "bin") {
                continue;
            }
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            let code = code(&std::fs::read_to_string(&path).unwrap());
            let uses = uses(&code);
            files.insert(module, File { code, uses });
        }
        let mut graph = Self {
            files,
            imports: BTreeMap::new(),
        };
        let imports = graph.files.keys();
        graph.imports = imports
            .map(|module| (module.clone(), graph.imports_of(module)))
            .collect();
        graph
    }

    fn imports_of(&self, module: &Module) -> BTreeSet<Module> {
        let file = &self.files[module];
        let private = file.uses.iter().filter(|line| !line.is_public);
        let mut paths: Vec<_> = private.map(|line| line.path.clone()).collect();
        paths.extend(inline_paths(&file.code));
        let targets = paths
            .iter()
            .filter_map(|path| self.resolve(&self.absolute(module, path)?, 0));
        targets.filter(|target| target != module).collect()
    }

    /// A path from the crate's root; `None` for one that leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module.clone(), rest.to_vec()].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let base = module.get(..module.len().checked_sub(ups)?)?;
                Some([base, &path[ups..]].concat())
            }
            _ => {
                let child = [module.clone(), vec![first.clone()]].concat();
                let inside = [module.clone(), path.to_vec()].concat();
                self.files.contains_key(&child).then_some(inside)
            }
        }
    }

    /// The file that defines what a path names.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Module> {
        let length = (0..=path.len())
            .rev()
            .find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        if let (Some(name), true) = (rest.first(), depth < 8) {
            let doors = self.files[module].uses.iter();
            let door = doors
                .filter(|door| door.is_public)
                .find(|door| door.path.last() == Some(name));
            if let Some(door) = door
                && let Some(target) = self.absolute(&module.to_vec(), &door.path)
                && target != path
            {
                let target = [target, rest[1..].to_vec()].concat();
                return self.resolve(&target, depth + 1);
            }
        }
        Some(module.to_vec())
    }

    /// Groups of files that import each other in a circle.
    pub(crate) fn rings(&self) -> Vec<Vec<&Module>> {
        let mut rings: Vec<Vec<&Module>> = Vec::new();
        for module in self.files.keys() {
            if rings.iter().flatten().any(|known| *known == module) {
                continue;
            }
            let reached = self.reached(module);
            let back = |other: &&Module| self.reached(other).contains(module);
            let ring: Vec<_> = reached.iter().copied().filter(back).collect();
            if !ring.is_empty() {
                rings.push(ring);
            }
        }
        rings
    }

    /// Every file that a file imports, directly or through others.
    fn reached(&self, from: &Module) -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            for next in &self.imports[module] {
                let (next, _) = self.imports.get_key_value(next).unwrap();
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached
    }

    /// Pairs of neighbours in one folder, of which one is a folder, that import both ways.
    pub(crate) fn both_ways(&self) -> Vec<String> {
        let mut arrows: BTreeMap<(&[String], &[String]), String> = BTreeMap::new();
        for (from, targets) in &self.imports {
            for to in targets {
                let same = from.iter().zip(to).take_while(|(a, b)| a == b).count();
                if let (Some(a), Some(b)) = (from.get(..=same), to.get(..=same)) {
                    let line = format!("{} -> {}", from.join("::"), to.join("::"));
                    arrows.insert((a, b), line);
                }
            }
        }
        let forth = arrows.iter().filter(|((a, b), _)| a < b);
        forth
            .filter_map(|((a, b), line)| {
                let back = arrows.get(&(*b, *a))?;
                Some(format!(
                    "{} and {}: {line}, {back}",
                    a.join("::"),
                    b.join("::")
                ))
            })
            .collect()
    }
}

/// A text without comments and without what follows the first unit tests.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = product
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn uses(code: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for line in statements(code) {
        let (visibility, tree) = line.split_once("use ").unwrap();
        let is_public = visibility.trim_start().starts_with("pub");
        let paths = spread(tree.trim());
        found.extend(paths.into_iter().map(|path| Use { path, is_public }));
    }
    found
}

/// The `use` statements of a text, from their visibility to their semicolon.
fn statements(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find("use ") {
        let line = rest[..start].rfind('\n').map_or(0, |at| at + 1);
        let before = rest[line..start].trim();
        let is_statement = before.is_empty() || before.starts_with("pub");
        let end = rest[start..].find(';').map_or(rest.len(), |at| start + at);
        let is_path = |letter: char| letter.is_alphanumeric() || "_:{},* \n".contains(letter);
        if is_statement && rest[start..end].chars().all(is_path) {
            found.push(rest[line..end].to_owned());
            rest = &rest[end..];
        } else {
            rest = &rest[start + 4..];
        }
    }
    found
}

/// The paths of a use tree.
fn spread(tree: &str) -> Vec<Vec<String>> {
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let parts = path.split("::").map(|part| part.trim().to_owned());
        return vec![parts.filter(|part| !part.is_empty()).collect()];
    };
    let close = tree.rfind('}').unwrap_or(tree.len());
    let prefix: Vec<_> = spread(tree[..open].trim_end_matches("::")).concat();
    let (mut depth, mut start, mut items) = (0, open + 1, Vec::new());
    for (at, letter) in tree[..close]
        .char_indices()
        .skip_while(|(at, _)| *at <= open)
    {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&tree[start..close]);
    let items = items
        .into_iter()
        .map(str::trim)
        .filter(|item| !item.is_empty());
    items
        .flat_map(spread)
        .map(|path| match path.first().map(String::as_str) {
            Some("self") => prefix.clone(),
            _ => [prefix.clone(), path].concat(),
        })
        .collect()
}

/// The paths through `crate` and `super` outside of `use` statements.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let mut rest = code.to_owned();
    for line in statements(code) {
        rest = rest.replace(&line, "");
    }
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(start) {
            let before = rest[..at].chars().next_back();
            if before
                .is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':')
            {
                continue;
            }
            let path: String = rest[at..]
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || ['_', ':'].contains(letter))
                .collect();
            let parts = path.split("::").map(str::to_owned);
            found.push(parts.filter(|part| !part.is_empty()).collect());
        }
    }
    found
}
