//! The requests of a walk.

use std::collections::BTreeSet;
use std::iter;

use fastrand::Rng;
use http::Method;
use http::uri::PathAndQuery;

use super::template::{Template, fill, word};

/// A request that a guard must refuse, and the line of the report that it belongs to.
pub(super) struct Probe {
    pub(super) about: String,
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
}

/// Each route with its own method and all others, then paths below and beside the routes, then
/// random ones.
pub(super) fn probes(routes: &BTreeSet<Template>, random: usize, seed: u64) -> Vec<Probe> {
    let mut rng = Rng::with_seed(seed);
    let mut probes = Vec::new();
    for route in routes {
        let own = route.method().filter(|own| !methods().any(|m| m == *own));
        for method in own.into_iter().chain(methods()) {
            // A router may answer other methods itself, with 405 or another handler.
            probes.extend(probe(&route.to_string(), method, route.fill(&mut rng)));
        }
    }
    let prefixes: BTreeSet<&str> = routes.iter().flat_map(Template::prefixes).collect();
    let listed: BTreeSet<&str> = routes.iter().map(Template::path).collect();
    for prefix in &prefixes {
        for method in methods() {
            let about = format!("unlisted paths at and below {prefix}");
            let unknown = format!("{prefix}/{}", word(&mut rng));
            let itself = Some(*prefix).filter(|prefix| !listed.contains(prefix));
            let below = [&format!("{prefix}/"), &unknown];
            for path in itself.into_iter().chain(below.map(String::as_str)) {
                probes.extend(probe(&about, method.clone(), fill(path, &mut rng)));
            }
        }
    }
    let prefixes: Vec<&str> = prefixes.into_iter().collect();
    let asterisk = Some(PathAndQuery::from_static("*"));
    probes.extend(probe("OPTIONS *", Method::OPTIONS, asterisk));
    let methods: Vec<Method> = methods().collect();
    for _ in 0..random {
        let method = rng.choice(&methods).cloned().unwrap_or_default();
        let path = random_path(&prefixes, &mut rng);
        probes.extend(probe("random paths", method, path));
    }
    probes
}

fn probe(about: &str, method: Method, path: Option<PathAndQuery>) -> Option<Probe> {
    Some(Probe {
        about: about.to_owned(),
        method,
        path: path?,
    })
}

/// The methods that routers know, and one that none does.
fn methods() -> impl Iterator<Item = Method> {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    known.into_iter().chain(Method::from_bytes(b"UNKNOWN").ok())
}

/// Half of them begin like a route.
fn random_path(prefixes: &[&str], rng: &mut Rng) -> Option<PathAndQuery> {
    let prefix = match rng.bool() {
        true => rng.choice(prefixes).copied().unwrap_or_default(),
        false => "",
    };
    let count = rng.usize(1..5);
    let segments = iter::repeat_with(|| segment(rng)).take(count);
    let segments: String = segments.map(|segment| format!("/{segment}")).collect();
    fill(&format!("{prefix}{segments}"), rng)
}

fn segment(rng: &mut Rng) -> String {
    match rng.u8(0..4) {
        0 => rng.choice(OFTEN).copied().unwrap_or_default().to_owned(),
        1 => rng.choice(ODD).copied().unwrap_or_default().to_owned(),
        _ => word(rng),
    }
}

/// What applications often serve beside the routes that they list.
const OFTEN: &[&str] = &[
    ".well-known",
    "admin",
    "api",
    "assets",
    "debug",
    "favicon.ico",
    "graphql",
    "health",
    "healthz",
    "index.html",
    "livez",
    "metrics",
    "openapi.json",
    "readyz",
    "static",
    "v1",
];

/// Spellings that routers, file services and guards may read in different ways.
const ODD: &[&str] = &[
    "", ".", "..", "..;", "%2e%2e", "%2f", "%61dmin", "a%00", "a;b=c", "%c3%a9", "a?b=/c",
];
