//! What directories, texts and watches give, and which changes a watch reports.

use std::fs;
use std::path::Path;

use super::*;

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: NAME}\nspec: {rules: [{}]}\n";

fn policy(name: &str) -> String {
    POLICY.replace("NAME", name)
}

fn problems(path: &Path) -> String {
    Directory::load(path, "ns").unwrap_err().to_string()
}

#[test]
fn reads_a_single_file_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policies.txt");
    fs::write(&file, policy("a")).unwrap();
    let loaded = Directory::load(&file, "ns").unwrap();
    assert_eq!(
        loaded.resources.authorization_policies[0].meta.namespace,
        "ns"
    );
}

#[test]
fn reads_configuration_files_in_order_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::create_dir(dir.path().join(".hidden")).unwrap();
    for (file, name) in [
        ("b.yml", "b"),
        ("a.yaml", "a"),
        ("sub/c.yaml", "c"),
        (".hidden/d.yaml", "d"),
        ("e.txt", "e"),
        (".f.yaml", "f"),
    ] {
        fs::write(dir.path().join(file), policy(name)).unwrap();
    }
    let loaded = Directory::load(dir.path(), "ns").unwrap();
    let names: Vec<_> = loaded
        .resources
        .authorization_policies
        .iter()
        .map(|policy| policy.meta.name.clone())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn takes_a_byte_order_mark_off() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bom.yaml");
    fs::write(&file, format!("\u{FEFF}{}", policy("a"))).unwrap();
    assert!(Directory::load(&file, "ns").is_ok());
}

#[test]
fn tells_the_problems_of_all_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), policy("a")).unwrap();
    fs::write(
        dir.path().join("b.yaml"),
        policy("b").replace("rules", "rule"),
    )
    .unwrap();
    fs::write(dir.path().join("c.yaml"), policy("a")).unwrap();
    fs::write(dir.path().join("d.yaml"), b"a: b\n\xE9: c\n").unwrap();
    fs::write(dir.path().join("e.yaml"), b"\xFF\xFEa\0").unwrap();
    fs::write(dir.path().join("f.yaml"), "a: [").unwrap();
    fs::create_dir(dir.path().join("g.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("h.yaml")).unwrap();
    std::os::unix::fs::symlink("i.yaml", dir.path().join("i.yaml")).unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
    let all = problems(dir.path());
    let lines: Vec<&str> = all.lines().collect();
    for (line, (file, word)) in lines.iter().zip([
        ("b.yaml:4:8: spec.rule: ", "did you mean `rules`"),
        ("c.yaml:1:1: metadata.name: ", "a.yaml:1:1"),
        ("d.yaml:2:1: ", "0xE9 is not UTF-8"),
        ("e.yaml:1:1: ", "UTF-16"),
        ("f.yaml:", "not YAML"),
        ("g.yaml: ", "directory"),
        ("h.yaml: ", "No such file"),
        ("i.yaml: ", "symbolic links"),
        ("loop: ", "leads back"),
    ]) {
        assert!(line.contains(file) && line.contains(word), "{file}: {line}");
    }
    assert_eq!(lines.len(), 9, "{all}");
}

#[test]
fn a_missing_path_and_an_empty_directory_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    assert!(problems(dir.path()).contains("holds no file"));
    assert!(problems(&dir.path().join("x")).contains("No such file"));
}

#[test]
fn reads_the_mesh_settings_from_their_own_file_or_from_a_config_map() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("mesh-config.yaml");
    fs::write(&settings, "trustDomain: explicit\n").unwrap();
    fs::write(
        dir.path().join("istio.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: 'trustDomain: from-map'}\n",
    )
    .unwrap();
    let directory = Directory::new(dir.path()).mesh_config(&settings);
    let loaded = directory.read("ns").unwrap();
    assert_eq!(loaded.mesh_config.trust_domain_or(None), "explicit");
    fs::remove_file(&settings).unwrap();
    let loaded = Directory::load(dir.path(), "ns").unwrap();
    assert_eq!(loaded.mesh_config.trust_domain_or(None), "from-map");
    assert!(
        directory
            .read("ns")
            .unwrap_err()
            .to_string()
            .contains("mesh-config.yaml")
    );
}

#[test]
fn a_watch_tells_each_change_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, policy("a")).unwrap();
    let mut watch = Directory::watch(dir.path());
    assert!(watch.changed("ns").unwrap().is_ok());
    assert!(watch.changed("ns").is_none());
    fs::write(&file, policy("a")).unwrap();
    assert!(watch.changed("ns").is_none());
    fs::write(&file, "a: [").unwrap();
    assert!(watch.changed("ns").is_none());
    assert!(watch.changed("ns").unwrap().is_err());
    assert!(watch.changed("ns").is_none());
    fs::write(&file, policy("b")).unwrap();
    fs::write(dir.path().join("b.yaml"), policy("c")).unwrap();
    assert!(watch.changed("ns").is_none());
    let loaded = watch.changed("ns").unwrap().unwrap();
    assert_eq!(loaded.resources.authorization_policies.len(), 2);
    fs::remove_file(&file).unwrap();
    assert!(watch.changed("ns").is_none());
    assert!(watch.changed("ns").unwrap().is_ok());
}

#[test]
fn a_file_that_is_being_written_is_not_yet_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, policy("a")).unwrap();
    let mut watch = Directory::watch(dir.path());
    assert!(watch.changed("ns").unwrap().is_ok());
    // Starting from nothing, every part of the text, each seen in one look.
    let whole = policy("b");
    for end in (0..whole.len()).step_by(7) {
        fs::write(&file, &whole[..end]).unwrap();
        assert!(watch.changed("ns").is_none(), "{end}");
    }
    fs::write(&file, &whole).unwrap();
    assert!(watch.changed("ns").is_none());
    let loaded = watch.changed("ns").unwrap().unwrap();
    assert_eq!(loaded.resources.authorization_policies.len(), 1);

    // A change that is undone between two looks is no change.
    fs::write(&file, "").unwrap();
    assert!(watch.changed("ns").is_none());
    fs::write(&file, &whole).unwrap();
    assert!(watch.changed("ns").is_none());
    fs::write(&file, "").unwrap();
    assert!(watch.changed("ns").is_none());
}

#[test]
fn fixed_texts_are_read_together() {
    let fixed = Fixed::yaml("one", policy("a")).and("two", policy("a"));
    let message = fixed.load("ns").unwrap_err().to_string();
    assert!(
        message.starts_with("two:1:1: ") && message.contains("one:1:1"),
        "{message}"
    );
    let loaded = Fixed::yaml("one", policy("a"))
        .mesh_config("mesh", "trustDomain: td")
        .load("ns")
        .unwrap();
    assert_eq!(loaded.mesh_config.trust_domain_or(None), "td");
}

#[test]
fn damage_is_a_file_that_holds_nothing_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let holdings = || {
        let settings = dir.path().join("settings.txt");
        let directory = Directory::new(dir.path()).mesh_config(settings);
        directory.read("ns").unwrap().holdings
    };
    let damage = |before: &Holdings| -> Vec<String> {
        let problems = before.damage(&holdings());
        problems.iter().map(ToString::to_string).collect()
    };
    put("a.yaml", &policy("a"));
    put("b.yaml", "# to come");
    put("settings.txt", "rootNamespace: r");
    let before = holdings();
    assert!(damage(&before).is_empty());
    put("b.yaml", "");
    put("c.yaml", &policy("c"));
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    assert!(damage(&before).is_empty(), "gone beside others");
    put("c.yaml", "# gone");
    assert!(damage(&before)[0].contains("a.yaml: held documents, and no file holds any now"));
    put("a.yaml", "---\n# nothing");
    put("settings.txt", "# nothing");
    let told = damage(&before);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("a.yaml: held documents and holds none now"));
    assert!(told[1].contains("settings.txt: held"));
}
