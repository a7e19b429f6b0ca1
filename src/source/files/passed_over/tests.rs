//! Which files of kustomize and Helm are skipped, and which are read or refused.

use std::fs;

use crate::source::Directory;

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: NAME}\nspec: {rules: [{}]}\n";

fn policy(name: &str) -> String {
    POLICY.replace("NAME", name)
}

/// Reads a directory with these files and a policy. Returns the names of the skipped files, and of
/// the files that have a warning.
fn read(files: &[(&str, &str)]) -> Result<(Vec<String>, Vec<String>), String> {
    let dir = tempfile::tempdir().unwrap();
    let own = policy("own");
    for (name, text) in files.iter().chain([&("own.yaml", own.as_str())]) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let loaded = Directory::load(dir.path(), "ns").map_err(|problems| problems.to_string())?;
    let names = |notes: &[crate::istio::Problem]| {
        let root = format!("{}/", dir.path().display());
        let notes = notes.iter();
        let notes = notes.filter(|note| note.message.starts_with("passed over: "));
        notes.map(|note| note.at.file.replace(&root, "")).collect()
    };
    Ok((names(&loaded.passed_over), names(&loaded.resources.notes)))
}

#[test]
fn files_of_kustomize_and_helm_are_passed_over() {
    let kustomize = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
    let part = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    let ours = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: own}\nspec: {action: DENY}\n";
    let chart = ("Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0\n");
    let listing = |text: &str| format!("{kustomize}{text}\n");
    let merge = listing("patchesStrategicMerge: [./p/a.yaml]");
    let both = listing("patches: [{path: p/a.yaml}]\nresources: [p/a.yaml]");
    let json = listing("patchesJson6902: [{path: p/a.json, target: {kind: Deployment, name: a}}]");
    let json_of_ours =
        listing("patches: [{path: p/a.json, target: {kind: AuthorizationPolicy, name: own}}]");
    let inline = listing("patches: [{patch: '[]', target: {kind: RequestAuthentication}}]");
    let up = listing("patches: [{path: ../p.yaml}]");
    let operations = r#"[{"op": "remove", "path": "/spec"}]"#;
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n",
        POLICY.replace('\n', "\n  ").trim_end()
    );
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: 'trustDomain: x'}\n";
    let inline_settings = listing(&format!(
        "patches:\n- patch: |\n    {}",
        settings.replace('\n', "\n    ")
    ));
    let one_line = listing(
        "patchesStrategicMerge: ['{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy}']",
    );
    let by_pattern = listing("patches: [{path: p/a.json, target: {group: 'security.*', kind: X}}]");
    let by_no_group =
        listing("patches: [{path: p/a.json, target: {group: '', kind: AuthorizationPolicy}}]");
    let of_settings =
        listing("patches: [{path: p/a.json, target: {kind: ConfigMap, name: istio}}]");
    let of_another =
        listing("patches: [{path: p/a.json, target: {version: v1, kind: ConfigMap, name: app}}]");
    // The files, those that are skipped, and those that have a warning.
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);
    let table: &[Row<'_>] = &[
        (
            &[("kustomization.yaml", "resources: [own.yaml]\n")],
            &["kustomization.yaml"],
            &[],
        ),
        (
            &[("kustomization.yml", kustomize)],
            &["kustomization.yml"],
            &[],
        ),
        (&[("Kustomization", kustomize)], &["Kustomization"], &[]),
        (
            &[("kustomization.yaml", "namespace: prod\n")],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[("kustomization.yaml", &merge), ("p/a.yaml", part)],
            &["kustomization.yaml", "p/a.yaml"],
            &[],
        ),
        (
            &[("kustomization.yaml", &merge), ("p/a.yaml", ours)],
            &["kustomization.yaml", "p/a.yaml"],
            &["p/a.yaml"],
        ),
        (
            &[("kustomization.yaml", &both), ("p/a.yaml", part)],
            &["kustomization.yaml"],
            &[],
        ),
        (
            &[("kustomization.yaml", &json), ("p/a.json", operations)],
            &["kustomization.yaml", "p/a.json"],
            &[],
        ),
        (
            &[
                ("kustomization.yaml", &json_of_ours),
                ("p/a.json", operations),
            ],
            &["kustomization.yaml", "p/a.json"],
            &["p/a.json"],
        ),
        // A policy in a list and the mesh's settings also count as ours.
        (
            &[("kustomization.yaml", &merge), ("p/a.yaml", &list)],
            &["kustomization.yaml", "p/a.yaml"],
            &["p/a.yaml"],
        ),
        (
            &[("kustomization.yaml", &merge), ("p/a.yaml", settings)],
            &["kustomization.yaml", "p/a.yaml"],
            &["p/a.yaml"],
        ),
        (
            &[("kustomization.yaml", &inline_settings)],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[("kustomization.yaml", &one_line)],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[
                ("kustomization.yaml", &by_pattern),
                ("p/a.json", operations),
            ],
            &["kustomization.yaml", "p/a.json"],
            &["p/a.json"],
        ),
        (
            &[
                ("kustomization.yaml", &by_no_group),
                ("p/a.json", operations),
            ],
            &["kustomization.yaml", "p/a.json"],
            &["p/a.json"],
        ),
        (
            &[
                ("kustomization.yaml", &of_settings),
                ("p/a.json", operations),
            ],
            &["kustomization.yaml", "p/a.json"],
            &["p/a.json"],
        ),
        (
            &[
                ("kustomization.yaml", &of_another),
                ("p/a.json", operations),
            ],
            &["kustomization.yaml", "p/a.json"],
            &[],
        ),
        // Files that it lists or generates, and that are not read, may hold policies.
        (
            &[("kustomization.yaml", "resources: [own.yaml, ../base]\n")],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[
                ("sub/kustomization.yaml", "resources: [../base, ..]\n"),
                ("base/b.yaml", part),
            ],
            &["sub/kustomization.yaml"],
            &[],
        ),
        (
            &[("kustomization.yaml", "components: [../parts]\n")],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[("kustomization.yaml", "helmCharts: [{name: a}]\n")],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[("kustomization.yaml", "replacements: [{path: r.yaml}]\n")],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[("kustomization.yaml", &inline)],
            &["kustomization.yaml"],
            &["kustomization.yaml"],
        ),
        (
            &[("sub/kustomization.yaml", &up), ("p.yaml", part)],
            &["p.yaml", "sub/kustomization.yaml"],
            &[],
        ),
        (
            &[
                chart,
                ("values.yaml", "a: 1\n"),
                ("values-prod.yaml", "a: 2\n"),
            ],
            &["Chart.yaml", "values-prod.yaml", "values.yaml"],
            &[],
        ),
        (&[("values.yaml", "a: {kind: x}\n")], &["values.yaml"], &[]),
        (
            &[(
                "values.yaml",
                "extraObjects:\n- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n",
            )],
            &["values.yaml"],
            &["values.yaml"],
        ),
        (
            &[(
                "values.yaml",
                "raw: |\n  apiVersion: security.istio.io/v1\n",
            )],
            &["values.yaml"],
            &["values.yaml"],
        ),
        (&[("values.yaml", "# nothing\n")], &[], &[]),
        (&[("values.yaml", &policy("v"))], &[], &[]),
    ];
    for (files, passed, warned) in table {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let due: (Vec<String>, Vec<String>) = (owned(passed), owned(warned));
        assert_eq!(
            read(files).unwrap_or_else(|why| panic!("{why}")),
            due,
            "{files:?}"
        );
    }
}

/// An address may hold a password, which must not be logged.
#[test]
fn what_is_listed_and_not_read_is_named_without_addresses() {
    for (listed, said) in [
        ("[../base]", "; it lists \"../base\", not read here;"),
        (
            "[../base, ../more]",
            "; it lists \"../base\" and 1 more, not read here;",
        ),
        (
            "['https://user:secret@git.example/base?ref=v1']",
            "; it lists a resource from elsewhere, not read here;",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("own.yaml"), policy("own")).unwrap();
        let text = format!("resources: {listed}\n");
        fs::write(dir.path().join("kustomization.yaml"), text).unwrap();
        let loaded = Directory::load(dir.path(), "ns").unwrap();
        let note = &loaded.passed_over[0].message;
        assert!(note.contains(said) && !note.contains("secret"), "{note}");
    }
}

#[test]
fn what_may_hold_rules_is_never_passed_over() {
    let template = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: {{ .Values.name }}}\n";
    let chart = ("Chart.yaml", "apiVersion: v2\nname: a\n");
    let table: &[&[(&str, &str)]] = &[
        &[chart, ("templates/policy.yaml", template)],
        // Without a chart in the same directory, this is not a values file.
        &[("values-prod.yaml", "a: 1\n")],
        &[("values.yaml", "kind: AuthorizationPolicy\nspec: {}\n")],
        &[("values.yaml", "- a\n")],
        &[("values.yaml", "a: [\n")],
        &[(
            "values.yaml",
            "a: 1\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolic\n",
        )],
        &[(
            "Chart.yaml",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: {}\n",
        )],
        &[("Chart.yaml", "version: 1\n")],
        &[("kustomization.yaml", "kind: AuthorizationPolicy\n")],
        &[
            ("kustomization.yaml", "patches: [{path: p.yaml}]\n"),
            ("p.yaml", "a: [\n"),
        ],
        &[("patch.yaml", "- {op: remove, path: /spec}\n")],
    ];
    for files in table {
        assert!(read(files).is_err(), "{files:?}");
    }
}

#[test]
fn a_directory_of_which_every_file_is_passed_over_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("kustomization.yaml"), "resources: []\n").unwrap();
    let why = Directory::load(dir.path(), "ns").unwrap_err().to_string();
    assert!(why.contains("every file is passed over"), "{why}");
}

/// However a kustomization is cut, doubled or reordered, it is skipped, read or refused; nothing
/// panics.
#[test]
fn damaged_kustomizations_do_not_panic() {
    let whole = "apiVersion: kustomize.config.k8s.io/v1\nkind: Kustomization\nnamespace: a\npatches:\n- path: ../../p.yaml\n  target: {group: x.istio.io, kind: A|B}\n- patch: |-\n    - op: add\npatchesStrategicMerge: [a.yaml, {}, [], ~]\nresources: [., /, '']\n";
    let mut seed = 7_u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % bound.max(1)
    };
    let words = [
        "*", "[", "{", ": ", "- ", "\n", "..", "/", "é", "&a ", "*a", "\0",
    ];
    for _ in 0..500 {
        let mut letters: Vec<char> = whole.chars().collect();
        for _ in 0..=below(4) {
            let at = below(letters.len());
            let end = (at + below(6)).min(letters.len());
            letters.splice(at..end, words[below(words.len())].chars());
        }
        let text: String = letters.into_iter().collect();
        let file = |name: &str, text: &str| super::Contents {
            name: name.to_owned(),
            text: Ok(text.to_owned()),
        };
        let files = [
            file("kustomization.yaml", &text),
            file("p.yaml", &text),
            file("", &text),
        ];
        let _ = super::passed_over(&files);
    }
}
