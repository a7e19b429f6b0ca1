//! A file of `tests/vet` for each code: one where it is told, at the lines that are marked, and one where nothing is told at all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tower_mesh::Workload;
use tower_mesh::vet::{Code, Report, Vet};

/// Among them M-22 (`identity-in-permissive`), J-23 (`token-not-required`), B-05 (`host-without-port`), B-10 (`deny-exact-path`), B-33
/// (`get-without-head`) and R-13 (`unguarded-workload`).
#[test]
fn every_code_is_told_at_the_marked_lines() {
    for code in Code::ALL {
        let (report, text) = vet(*code, "fires");
        let told: BTreeSet<u32> = report
            .notes
            .iter()
            .filter(|note| note.code == *code)
            .map(|note| note.at.line)
            .collect();
        assert_eq!(told, marked(&text), "{code}: {:#?}", report.notes);
    }
}

#[test]
fn nothing_is_told_about_the_same_said_well() {
    for code in Code::ALL {
        let (report, _) = vet(*code, "silent");
        assert_eq!(report.notes, [], "{code}");
    }
}

#[test]
fn notes_point_into_their_text_and_say_what_to_do() {
    for code in Code::ALL {
        let (report, text) = vet(*code, "fires");
        for note in &report.notes {
            assert!(!note.message.is_empty() && !note.help.is_empty(), "{note}");
            if note.code == Code::UnguardedWorkload {
                continue;
            }
            let line = text.lines().nth(note.at.line as usize - 1).unwrap();
            let rest: String = line.chars().skip(note.at.column as usize - 1).collect();
            assert!(!rest.trim().is_empty(), "{note}: {line:?}");
            assert!(note.resource.contains(' '), "{note}");
        }
        let mut sorted = report.notes.clone();
        sorted.sort_by_key(|note| (note.at.clone(), note.code.as_str()));
        assert_eq!(sorted, report.notes, "{code}");
    }
}

/// The page, the codes and the fixtures speak of the same codes.
#[test]
fn the_page_explains_every_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/vet.md")).unwrap();
    let explained: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(explained, codes, "in this order");
    for code in Code::ALL {
        let section = page.split(&format!("### `{code}`\n")).nth(1).unwrap();
        // The sentence may be wrapped.
        let first = section.trim_start().split("\n\n").next().unwrap();
        let first = first.replace('\n', " ");
        let due = format!("*{}.* {}", code.severity(), code.summary());
        assert!(first.starts_with(&due), "{code}: {first:?}, not {due:?}");
    }
    let folders = fs::read_dir(root.join("tests/vet")).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    let codes: BTreeSet<String> = codes.into_iter().map(str::to_owned).collect();
    assert_eq!(folders, codes);
}

/// Whatever is cut, doubled or exchanged in a text: it is refused or judged, and nothing panics.
#[test]
fn damaged_texts_are_refused_or_judged() {
    let mut seed = 11_u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % bound.max(1)
    };
    let words = [
        "*", "\"\"", "“", "%", "{*}", "/", ":", "'*'", "[]", "é", "0", " ",
    ];
    let mut judged = 0;
    for code in Code::ALL {
        let (_, text) = vet(*code, "fires");
        for _ in 0..40 {
            let mut letters: Vec<char> = text.chars().collect();
            for _ in 0..=below(3) {
                let at = below(letters.len());
                let end = (at + below(4)).min(letters.len());
                letters.splice(at..end, words[below(words.len())].chars());
            }
            let damaged: String = letters.into_iter().collect();
            let workload = Workload::new("clinic", "ward").label("app", "ward");
            let vet = Vet::new().workload(workload);
            judged += usize::from(vet.yaml("damaged.yaml", &damaged, "clinic").is_ok());
        }
    }
    assert!(judged > 100, "{judged}");
}

#[test]
fn what_is_public_can_be_shared() {
    fn shared<T: Send + Sync + Clone + std::fmt::Debug>() {}
    shared::<Vet>();
    shared::<Report>();
    shared::<tower_mesh::vet::Note>();
    shared::<tower_mesh::vet::Silenced>();
    shared::<Code>();
}

#[test]
fn codes_are_sorted_and_read_back() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for code in Code::ALL {
        assert_eq!(code.as_str().parse(), Ok(*code));
    }
    let unknown = "weather".parse::<Code>().unwrap_err();
    assert_eq!(unknown.to_string(), "`weather` is no code of a note");
}

#[test]
fn the_clinics_own_policies_are_fine() {
    for set in ["v1", "v1alpha1"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/patients/policies");
        let configuration = tower_mesh::source::Directory::new(folder.join(set));
        let (configuration, readable) = configuration.survey("default").unwrap();
        let domain = tower_mesh::identity::TrustDomain::default();
        let vet = Vet::new().trust_domain(domain);
        let report = vet.resources(&configuration.resources, &readable);
        assert_eq!(report.unwrap(), Report::default(), "{set}");
    }
}

/// What a fixture gives, and its text.
fn vet(code: Code, name: &str) -> (Report, String) {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/vet",
        code.as_str(),
        &format!("{name}.yaml"),
    ]
    .iter()
    .collect();
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let workloads = text
        .lines()
        .filter_map(|line| line.strip_prefix("# workload: "))
        .map(workload);
    let vet = workloads.fold(Vet::new(), Vet::workload);
    let report = vet.yaml("fixture.yaml", &text, "clinic");
    let report = report.unwrap_or_else(|problems| panic!("{path:?}: {problems}"));
    (report, text)
}

/// `NAMESPACE/ACCOUNT KEY=VALUE NAME:PORT[/PROTOCOL]`.
pub(super) fn workload(line: &str) -> Workload {
    let mut words = line.split(' ');
    let (namespace, account) = words.next().unwrap().split_once('/').unwrap();
    words.fold(Workload::new(namespace, account), |workload, word| {
        if let Some((key, value)) = word.split_once('=') {
            return workload.label(key, value);
        }
        let (name, rest) = word.split_once(':').unwrap();
        match rest.split_once('/') {
            Some((port, protocol)) => {
                workload.service_with_port_name(name, port.parse().unwrap(), protocol)
            }
            None => workload.service(name, rest.parse().unwrap()),
        }
    })
}

/// The lines that end in `# <-`, those after `# <-next`, and the resource without a place that a line `# <-nowhere` stands for.
fn marked(text: &str) -> BTreeSet<u32> {
    let mut marked = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let number = u32::try_from(index).unwrap() + 1;
        if line.ends_with("# <-") {
            marked.insert(number);
        } else if line.ends_with("# <-next") {
            marked.insert(number + 1);
        } else if line.ends_with("# <-nowhere") {
            marked.insert(0);
        }
    }
    marked
}
