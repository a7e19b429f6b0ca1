//! Converted resources decide as the old ones did.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tower_mesh::Workload;
use tower_mesh::convert::{Services, convert};
use tower_mesh::istio::{self, MeshConfig, MtlsMode, parse_mesh_config};
use tower_mesh::policy::{Attributes, Engine, Judgement, Request};

use crate::analyze::legacy;
use crate::asked;
use crate::random::Random;

/// `TOWER_MESH_CONVERT_SETS` and `TOWER_MESH_CONVERT_SEED` choose more sets, or others.
#[test]
fn random_old_sets_decide_alike_when_converted() {
    let sets = number("TOWER_MESH_CONVERT_SETS", 400);
    let mut random = Random::new(number("TOWER_MESH_CONVERT_SEED", 20_181_125) as u64);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |what: &'static str| *counts.entry(what).or_default() += 1;
    for _ in 0..sets {
        let has_aliases = random.percent(25);
        let mesh = mesh(has_aliases, random.percent(50));
        let resources = legacy::resources(&mut random, has_aliases);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": resources}).to_string();
        let read = istio::parse("old.json", &list, "foo").unwrap();
        // Both services stand before our workload, or one of them before another.
        let is_shared = random.percent(60);
        let (workload, services) = (workload(is_shared), services(is_shared));
        let old = Engine::builder(&workload)
            .yaml(&list)
            .mesh_config(mesh.clone())
            .build()
            .unwrap();
        let conversion = match convert(&read, &mesh, &services) {
            Ok(conversion) => conversion,
            Err(problems) => {
                // What today's resources cannot say; nothing else may stop a conversion.
                for problem in problems {
                    let known = [
                        "a DENY for all cannot be taken back for some",
                        "write a role for each",
                        "the root namespace",
                        "differ in their triggerRules",
                    ];
                    let is_known = known.iter().any(|known| problem.message.contains(known));
                    assert!(is_known, "{problem}\n{list}");
                }
                count("refused");
                continue;
            }
        };
        let text = conversion.to_string();
        let new = Engine::builder(&workload)
            .yaml(&text)
            .mesh_config(mesh)
            .build();
        let new = new.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let said = |part: &str| {
            conversion
                .notes
                .iter()
                .any(|note| note.message.contains(part))
        };
        for port in [8080, 9090, 7070] {
            let mode = |engine: &Engine| match engine.mtls(port) {
                None => MtlsMode::Permissive,
                Some(mode) => mode,
            };
            assert_eq!(mode(&old), mode(&new), "port {port}\n{list}\n{text}");
        }
        for _ in 0..60 {
            let (line, port) = legacy::request(&mut random, &old);
            let request = asked::request(&line, port);
            // Outside of its paths no token was looked at, which is noted.
            let is_looked_at = old.prepare(&request).map_or(true, |prepared| {
                Attributes::claims(&prepared).is_some() == line["claims"].is_object()
            });
            if !is_looked_at && said("outside of its paths") {
                count("tokens not looked at");
                continue;
            }
            let (before, after) = (old.judge(&request), new.judge(&request));
            let shown = || format!("{line} to {port}\n{before:?}\n{after:?}\n{list}\n{text}");
            assert_eq!(
                before.decision.allowed,
                after.decision.allowed,
                "{}",
                shown()
            );
            match (before.status, after.status) {
                // It is a policy that demands the token now.
                (Some(401), Some(403)) => count("401 becomes 403"),
                (before, after) => assert_eq!(before, after, "{}", shown()),
            }
            // A rule on trial that is left out, which is noted, refuses nothing on trial either.
            let is_whole = !said("are no ports of the service");
            if let (Some(before), true, true) = (dry_run(&before), after.decision.allowed, is_whole)
            {
                assert_eq!(Some(before), dry_run(&after), "{}", shown());
                count("dry runs");
            }
            count(if before.decision.allowed {
                "allowed"
            } else {
                "denied"
            });
        }
        if !said("raw TCP") {
            for _ in 0..10 {
                let (line, port) = legacy::request(&mut random, &old);
                let connection: Request = asked::request(
                    &json!({"source": line["source"], "sni": line.get("sni").and_then(Value::as_str).unwrap_or_default()}),
                    port,
                );
                let (before, after) = (old.judge(&connection), new.judge(&connection));
                assert_eq!(
                    before.decision.allowed, after.decision.allowed,
                    "{line} as TCP to {port}\n{list}\n{text}"
                );
                count("connections");
            }
        }
        count("sets");
    }
    println!("{counts:?}");
    let share = |what: &str| counts[what] * 100 / (counts["allowed"] + counts["denied"]);
    assert!(
        share("allowed") >= 15 && share("denied") >= 15,
        "{counts:?}"
    );
    assert!(counts["sets"] * 3 >= sets, "{counts:?}");
}

fn dry_run(judgement: &Judgement) -> Option<bool> {
    let marks = judgement.decision.marks.as_ref()?;
    Some(marks.dry_run_allow.as_ref()?.allowed)
}

fn workload(is_shared: bool) -> Workload {
    let workload = Workload::new("foo", "web")
        .label("app", "web")
        .label("version", "v1")
        .service("web", 8080);
    if is_shared {
        workload.service("admin", 9090)
    } else {
        workload
    }
}

fn services(is_shared: bool) -> Services {
    let labels = |app: &str| BTreeMap::from([("app".to_owned(), app.to_owned())]);
    let admin = if is_shared { "web" } else { "admin" };
    Services::new()
        .with("web", Some("foo".to_owned()), Some(8080), labels("web"))
        .with("admin", Some("foo".to_owned()), Some(9090), labels(admin))
}

fn mesh(has_aliases: bool, has_own_root: bool) -> MeshConfig {
    let mut text: Value = if has_aliases {
        json!({"trustDomain": "td2", "trustDomainAliases": ["cluster.local"]})
    } else {
        json!({})
    };
    if has_own_root {
        text["rootNamespace"] = "mesh".into();
    }
    parse_mesh_config("mesh.yaml", &text.to_string()).unwrap()
}

/// A whole number of the environment.
pub(crate) fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a whole number"))
}
