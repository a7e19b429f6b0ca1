//! Asks Envoy and `tower-mesh check` the same, and notes where they differ.

use std::path::Path;

use serde_json::{Value, json};

use crate::server::Server;
use crate::wire::Callers;
use crate::world::World;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sets: usize,
    pub(crate) requests: usize,
    pub(crate) allowed: usize,
    pub(crate) denied: usize,
    pub(crate) differences: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, more: Self) {
        self.sets += more.sets;
        self.requests += more.requests;
        self.allowed += more.allowed;
        self.denied += more.denied;
        self.differences.extend(more.differences);
    }

    pub(crate) fn report(&self, what: &str) {
        for difference in self.differences.iter().take(10) {
            eprintln!("{difference}\n");
        }
        eprintln!(
            "{what}: {} requests to {} sets, {} allowed, {} denied, {} different",
            self.requests,
            self.sets,
            self.allowed,
            self.denied,
            self.differences.len()
        );
    }
}

/// Compares every answer; `change` may falsify Envoy's filters.
pub(crate) fn compare(
    envoy: &Path,
    worlds: &[World],
    callers: &mut Callers,
    change: impl Fn(&mut Value),
) -> Tally {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(envoy, directory.path(), worlds, callers.pki(), change);
    let mut tally = Tally::default();
    let mut sent = Vec::new();
    for (world, port) in worlds.iter().zip(&server.ports) {
        let answers = ask_us(world, directory.path(), *port);
        tally.sets += 1;
        for (request, ours) in world.requests.iter().zip(answers) {
            tally.requests += 1;
            let is_allowed = ours["allowed"] == true;
            tally.allowed += usize::from(is_allowed);
            tally.denied += usize::from(!is_allowed);
            let case = tally.requests;
            if world.is_tcp {
                let echoed = callers.is_echoed(request, *port);
                if echoed != is_allowed {
                    let what = format!("Envoy lets it pass: {echoed}");
                    tally.differences.push(told(world, request, &ours, &what));
                }
                continue;
            }
            let status = callers.send(request, *port, case);
            let asked = server.asked.try_iter().count();
            sent.push(Sent {
                case,
                world,
                request,
                ours,
                status,
                asked,
            });
        }
    }
    // What does not parse has no case.
    let cases: Vec<_> = sent
        .iter()
        .filter(|sent| ![0, 400].contains(&sent.status))
        .map(|sent| sent.case)
        .collect();
    let seen = server.seen(&cases);
    for sent in sent {
        let seen = seen.get(&sent.case).unwrap_or(&Value::Null);
        if let Some(what) = sent.difference(seen) {
            let what = format!("{what}\nEnvoy: {seen}");
            tally
                .differences
                .push(told(sent.world, sent.request, &sent.ours, &what));
        }
    }
    tally
}

/// A request that Envoy answered.
struct Sent<'w> {
    case: usize,
    world: &'w World,
    request: &'w Value,
    ours: Value,
    /// Envoy's status.
    status: u16,
    /// How often Envoy asked the external provider.
    asked: usize,
}

fn told(world: &World, request: &Value, ours: &Value, what: &str) -> String {
    let (name, mesh, resources) = (&world.name, &world.mesh, json!(world.resources));
    format!(
        "{name}: {what}\nours: {ours}\nrequest: {request}\nmesh: {mesh}\nresources: {resources}"
    )
}

/// What `tower-mesh check` says, in the order of the requests.
fn ask_us(world: &World, directory: &Path, port: u16) -> Vec<Value> {
    let file = directory.join("requests.jsonl");
    let lines = world.requests.iter().map(|request| {
        let mut request = request.clone();
        if !world.is_tcp && request.get("authority").is_none() {
            request["authority"] = "app.example".into();
        }
        format!("{request}\n")
    });
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let json = ["--format", "json", "--allow-no-policy"];
    let words = [&json[..], &["--requests", file.to_str().unwrap()]].concat();
    let answers = world.tower_mesh(directory, port, "check", &words);
    let answers: Vec<_> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), world.requests.len());
    answers
}

impl Sent<'_> {
    /// Where Envoy's answer is another than ours.
    fn difference(&self, seen: &Value) -> Option<String> {
        let ours = &self.ours;
        let status = ours["status"].as_u64().unwrap();
        if status != u64::from(self.status) {
            return Some(format!("status {status}, Envoy's {}", self.status));
        }
        let policy = ours["policy"].as_str();
        let rbac = &seen["rbac"];
        match status {
            403 => {
                let name = policy.unwrap_or("none");
                let details = format!("rbac_access_denied_matched_policy[{name}]");
                if seen["details"] != details {
                    return Some(format!("{details}, Envoy's {}", seen["details"]));
                }
            }
            200 if policy.is_some() && rbac["enforced_effective_policy_id"].as_str() != policy => {
                let theirs = &rbac["enforced_effective_policy_id"];
                return Some(format!("allowed by {policy:?}, Envoy's {theirs}"));
            }
            400 => return None,
            _ => {}
        }
        for set in ["allow", "deny"] {
            let key = format!("istio_dry_run_{set}_shadow");
            let result = rbac[format!("{key}_engine_result")].as_str();
            let name = rbac[format!("{key}_effective_policy_id")].as_str();
            let run = &ours["dry_run"][set];
            if (run["result"].as_str(), run["policy"].as_str()) != (result, name) {
                return Some(format!("dry run {run}, Envoy's {result:?} {name:?}"));
            }
        }
        let audited = ours["audit"].as_array().unwrap();
        if (seen["audit"] == true) == audited.is_empty() {
            return Some(format!("audit {audited:?}, Envoy's {}", seen["audit"]));
        }
        let custom = ours["custom"].as_array().unwrap().len();
        (custom != self.asked).then(|| format!("{custom} to ask, Envoy asked {}", self.asked))
    }
}
