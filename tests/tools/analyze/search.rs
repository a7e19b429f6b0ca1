//! The search for differences finds what ten thousand random requests find.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tower_mesh::Workload;
use tower_mesh::diff::Search;
use tower_mesh::istio::parse_mesh_config;
use tower_mesh::policy::{Engine, Request};

use crate::asked;
use crate::random::{self, Random};
use crate::same::number;
use crate::world::{Issuers, World};

const PORT: u16 = 8080;
const REQUESTS: usize = 10_000;

/// `TOWER_MESH_DIFF_PAIRS` and `TOWER_MESH_DIFF_SEED` choose more pairs that differ, or others. With more pairs than usual the search is
/// asked about those, too, in which random requests find nothing.
#[test]
fn the_search_finds_what_ten_thousand_random_requests_find() {
    const USUAL: usize = 20;
    let pairs = number("TOWER_MESH_DIFF_PAIRS", USUAL);
    let mut random = Random::new(number("TOWER_MESH_DIFF_SEED", 20_261_125) as u64);
    let issuers = Issuers::new();
    let traffic = Traffic::new(&mut random);
    let mut tally: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut asked = 0;
    let mut missed = Vec::new();
    let mut differing = 0;
    while differing < pairs {
        let world = few(&mut random, &issuers);
        let Some((how, resources)) = changed(&mut random, &world) else {
            continue;
        };
        let Some((old, new)) = engine(&world, &world.resources).zip(engine(&world, &resources))
        else {
            continue;
        };
        let by_chance = traffic.of(&world).iter().any(|request| {
            old.judge(request).decision.allowed != new.judge(request).decision.allowed
        });
        let [count, random_found, both, search_only] = tally.entry(how).or_default();
        *count += 1;
        if !by_chance && pairs <= USUAL {
            continue;
        }
        let search = Search::new(&old, &new).port(PORT).access_only().at_most(1);
        let search = if world.is_tcp { search.tcp() } else { search };
        let found = search.run();
        asked += found.asked;
        match (by_chance, !found.witnesses.is_empty()) {
            (true, true) => {
                *random_found += 1;
                *both += 1;
            }
            (true, false) => {
                *random_found += 1;
                missed.push(format!("{how}: {:?}\n{resources:?}", world.resources));
            }
            (false, true) => *search_only += 1,
            (false, false) => {}
        }
        differing += usize::from(by_chance);
    }
    println!("changed how         pairs  random  search too  search alone");
    let mut sums = [0; 4];
    for (how, counts) in &tally {
        let [pairs, random, both, alone] = counts;
        println!("{how:18} {pairs:6} {random:7} {both:11} {alone:13}");
        sums = std::array::from_fn(|index| sums[index] + counts[index]);
    }
    let [pairs, random_found, both, alone] = sums;
    println!("all                {pairs:6} {random_found:7} {both:11} {alone:13}");
    println!("{asked} questions of the search");
    assert!(tally.len() >= 6 && random_found * 6 >= pairs);
    assert!(both * 100 >= random_found * 95, "{}", missed.join("\n\n"));
}

/// What the search finds is a difference, and the line that it prints is one, too.
#[test]
fn what_is_found_differs_and_says_nothing_that_does_not_matter() {
    let mut random = Random::new(7);
    let issuers = Issuers::new();
    let mut found = 0;
    for _ in 0..30 {
        let world = few(&mut random, &issuers);
        let Some((_, resources)) = changed(&mut random, &world) else {
            continue;
        };
        let Some((old, new)) = engine(&world, &world.resources).zip(engine(&world, &resources))
        else {
            continue;
        };
        let search = Search::new(&old, &new).port(PORT).limit(1_500);
        for witness in search.run().witnesses {
            let request = witness.request();
            assert_ne!(old.judge(&request), new.judge(&request), "{witness}");
            let line = witness.to_json();
            let read = asked::request(&line, witness.port());
            assert_eq!(
                (old.judge(&read), new.judge(&read)),
                (old.judge(&request), new.judge(&request)),
                "{line}"
            );
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
}

/// A random set of few policies, so that what is changed shows.
fn few(random: &mut Random, issuers: &Issuers) -> World {
    let mut world = random::world(random, issuers, "few", 0);
    let mut left = 1 + random.below(3);
    world.resources.retain(|resource| {
        let is_policy = resource["kind"] == "AuthorizationPolicy";
        let keeps = !is_policy || left > 0;
        left = left.saturating_sub(usize::from(is_policy));
        keeps
    });
    world
}

/// Of many rules that all changed each is found, whatever the others say.
#[test]
fn each_of_many_changed_rules_is_found() {
    let engine = |end: &str| {
        let rules = (0..300)
            .map(|index| format!("  - to: [{{operation: {{paths: [\"/p{index}{end}/*\"]}}}}]\n"));
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: many}}\nspec:\n  rules:\n{}",
            rules.collect::<String>()
        );
        let workload = Workload::new("foo", "web");
        Engine::builder(&workload).yaml(&text).build().unwrap()
    };
    let (old, new) = (engine(""), engine("x"));
    let found = Search::new(&old, &new).access_only().limit(4_000).run();
    for index in 0..300 {
        for start in [format!("/p{index}/"), format!("/p{index}x/")] {
            let shows = |path: &Value| path.as_str().unwrap().starts_with(&start);
            let mut lines = found.witnesses.iter().map(|witness| witness.to_json());
            assert!(lines.any(|line| shows(&line["path"])), "{start}");
        }
    }
}

/// Requests and connections to try, made once.
struct Traffic {
    with_tokens: Vec<Request>,
    without: Vec<Request>,
    connections: Vec<Request>,
}

impl Traffic {
    fn new(random: &mut Random) -> Self {
        let mut many = |make: &dyn Fn(&mut Random) -> Value| -> Vec<Request> {
            let lines = (0..REQUESTS).map(|_| make(random));
            lines.map(|line| asked::request(&line, PORT)).collect()
        };
        Self {
            with_tokens: many(&|random| random::request(random, true)),
            without: many(&|random| random::request(random, false)),
            connections: many(&|random| random::connection(random)),
        }
    }

    fn of(&self, world: &World) -> &[Request] {
        let has_tokens = has_tokens(world);
        match (world.is_tcp, has_tokens) {
            (true, _) => &self.connections,
            (false, true) => &self.with_tokens,
            (false, false) => &self.without,
        }
    }
}

fn has_tokens(world: &World) -> bool {
    let kinds = world.resources.iter().map(|resource| &resource["kind"]);
    kinds
        .into_iter()
        .any(|kind| kind == "RequestAuthentication")
}

/// An engine of a set; `None` when the set does not load.
fn engine(world: &World, resources: &[Value]) -> Option<Engine> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": resources});
    let text = list.to_string().replace("PORT", &PORT.to_string());
    let mesh = parse_mesh_config("mesh.yaml", &world.mesh.to_string()).unwrap();
    let workload = Workload::new("foo", "web")
        .label("app", "web")
        .service("web", PORT);
    Engine::builder(&workload)
        .yaml(&text)
        .mesh_config(mesh)
        .build()
        .ok()
}

/// The set with one thing changed, and how.
fn changed(random: &mut Random, world: &World) -> Option<(&'static str, Vec<Value>)> {
    let mut resources = world.resources.clone();
    let policies: Vec<usize> = (0..resources.len())
        .filter(|index| resources[*index]["kind"] == "AuthorizationPolicy")
        .collect();
    let chosen = policies[random.below(policies.len())];
    let policy = &mut resources[chosen];
    let rules = policy["spec"]["rules"].as_array().map_or(0, Vec::len);
    let fresh = |random: &mut Random| {
        let mut fresh = random::random_policy(random, 9, has_tokens(world), world.is_tcp);
        fresh["spec"]["rules"].take()
    };
    let how = match random.below(9) {
        0 => {
            let lists = lists(policy, &|key| key.starts_with("not"));
            let pointer = lists.get(random.below(lists.len().max(1)))?;
            remove(policy, pointer);
            "a not dropped"
        }
        1 | 2 => {
            let lists = lists(policy, &|_| true);
            let list = lists.get(random.below(lists.len().max(1)))?;
            let list = policy.pointer_mut(list)?.as_array_mut()?;
            let index = random.below(list.len());
            let text = list[index].as_str()?.to_owned();
            list[index] = match random.below(3) {
                0 => format!("{text}x").into(),
                1 => text.trim_end_matches('*').to_owned().into(),
                _ => format!("{text}*").into(),
            };
            "a literal changed"
        }
        3 => {
            let lists = lists(policy, &|_| true);
            let list = lists.get(random.below(lists.len().max(1)))?;
            let list = policy.pointer_mut(list)?.as_array_mut()?;
            if list.len() < 2 {
                return None;
            }
            list.remove(random.below(list.len()));
            "a literal removed"
        }
        4 => {
            let action = if policy["spec"]["action"] == "ALLOW" {
                "DENY"
            } else {
                "ALLOW"
            };
            policy["spec"]["action"] = action.into();
            policy["spec"].as_object_mut()?.remove("provider");
            "action changed"
        }
        5 => {
            if rules == 0 {
                return None;
            }
            let index = random.below(rules);
            policy["spec"]["rules"].as_array_mut()?.remove(index);
            "a rule removed"
        }
        6 => {
            let rule = fresh(random).as_array()?.first()?.clone();
            policy["spec"]["rules"].as_array_mut()?.push(rule);
            "a rule added"
        }
        7 => {
            resources.remove(chosen);
            "a policy removed"
        }
        _ => {
            policy["spec"]["rules"] = fresh(random);
            "rules exchanged"
        }
    };
    (resources != world.resources).then_some((how, resources))
}

/// Pointers to the lists of texts below `spec.rules` whose key is `wanted`.
fn lists(policy: &Value, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    collect(&policy["spec"]["rules"], "/spec/rules", wanted, &mut found);
    found
}

fn collect(value: &Value, at: &str, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let at = format!("{at}/{key}");
                let is_texts = value
                    .as_array()
                    .is_some_and(|list| list.iter().all(Value::is_string));
                if is_texts && wanted(key) {
                    found.push(at.clone());
                }
                collect(value, &at, wanted, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{at}/{index}"), wanted, found);
            }
        }
        _ => {}
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().remove(key);
}
