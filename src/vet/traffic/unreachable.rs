//! Finds routes that no call reaches, since an earlier one takes all that they match.

use std::collections::HashMap;

use crate::istio::Position;
use crate::istio::traffic::{HttpMatch, HttpRoute, NamedMatch, StringMatch, VirtualService};
use crate::vet::Code;
use crate::vet::report::notes::Notes;

/// Adds notes about routes, and matches of routes, that are never reached.
pub(super) fn check(service: &VirtualService, notes: &mut Notes) {
    let mut tell = |at: &Position, what: &str, earlier: &Position| {
        let message =
            format!("no call reaches this {what}: the one at {earlier} takes all that it matches");
        let help = "put it before that one, or narrow that one";
        notes.add(Code::RouteUnreachable, &service.meta, at, message, help);
    };
    let everything = HttpMatch::default();
    let mut earlier = Earlier::default();
    for route in &service.http {
        let own: Vec<&HttpMatch> = match route.matches.as_slice() {
            [] => vec![&everything],
            matches => matches.iter().collect(),
        };
        let mut covered = Vec::new();
        for each in &own {
            covered.extend(earlier.covering(each).map(|by| (place(each, route), by)));
            // What a delegate's routes leave goes on to the next route.
            if route.delegate.is_none() {
                earlier.add(each, place(each, route));
            }
        }
        if let [(_, by), ..] = covered.as_slice()
            && covered.len() == own.len()
        {
            tell(&route.at, "route", by);
            continue;
        }
        for (at, by) in covered {
            tell(at, "match", by);
        }
    }
    let mut all = None;
    for route in &service.tcp {
        if let Some(by) = all {
            tell(&route.at, "route", by);
        } else if route.matches.is_empty() {
            all = Some(&route.at);
        }
    }
}

/// Where a match is written; the one that stands for none is the route's.
fn place<'r>(of_match: &'r HttpMatch, route: &'r HttpRoute) -> &'r Position {
    match route.matches.is_empty() {
        true => &route.at,
        false => &of_match.at,
    }
}

/// The matches so far, by the text of their path test in lower case.
#[derive(Default)]
struct Earlier<'r>(HashMap<String, Vec<(&'r HttpMatch, &'r Position)>>);

impl<'r> Earlier<'r> {
    fn add(&mut self, of_match: &'r HttpMatch, at: &'r Position) {
        let of_text = self.0.entry(key(of_match)).or_default();
        of_text.push((of_match, at));
    }

    /// The first that holds wherever this one does.
    fn covering(&self, later: &HttpMatch) -> Option<&'r Position> {
        let text = key(later);
        let ends = 0..=text.len();
        let starts = ends.filter_map(|end| text.get(..end));
        let mut fitting = starts.filter_map(|start| self.0.get(start)).flatten();
        let covering = fitting.find(|(earlier, _)| covers(earlier, later));
        covering.map(|(_, at)| *at)
    }
}

fn key(of_match: &HttpMatch) -> String {
    match &of_match.uri {
        Some(uri) if !takes_every_path(uri) => uri.text().to_ascii_lowercase(),
        _ => String::new(),
    }
}

fn takes_every_path(uri: &StringMatch) -> bool {
    match uri {
        StringMatch::Exact(_) => false,
        StringMatch::Prefix(prefix) => prefix.as_str() == "/",
        StringMatch::Regex(regex) => matches!(regex.as_str(), ".*" | "/.*"),
    }
}

/// Whether `earlier` holds for every call that `later` holds for.
fn covers(earlier: &HttpMatch, later: &HttpMatch) -> bool {
    let texts = [
        (&earlier.scheme, &later.scheme),
        (&earlier.method, &later.method),
        (&earlier.authority, &later.authority),
    ];
    // A match that names gateways is not asked about its source.
    let asks_source = !earlier.source_labels.is_empty() || earlier.source_namespace.is_some();
    let has = |gateway| later.gateways.contains(gateway);
    let is_at_gateways = match earlier.gateways.as_slice() {
        [] => !asks_source || later.gateways.is_empty(),
        gateways => !later.gateways.is_empty() && gateways.iter().all(has),
    };
    let label = |(key, value)| later.source_labels.get(key) == Some(value);
    let namespace = &earlier.source_namespace;
    let without = |it: &NamedMatch| {
        let mut same = later.without_headers.iter();
        same.any(|other| is_same_name(it, other) && it.test == other.test)
    };
    covers_path(earlier, later)
        && texts.iter().all(|(earlier, later)| match (earlier, later) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(earlier), Some(later)) => covers_text(earlier, later),
        })
        && earlier.port.is_none_or(|port| later.port == Some(port))
        && is_at_gateways
        && earlier.source_labels.iter().all(label)
        && (namespace.is_none() || *namespace == later.source_namespace)
        && covers_named(&earlier.headers, &later.headers, is_same_name)
        && earlier.without_headers.iter().all(without)
        && covers_named(&earlier.query_params, &later.query_params, |one, other| {
            one.name == other.name
        })
}

fn covers_path(earlier: &HttpMatch, later: &HttpMatch) -> bool {
    match (&earlier.uri, &later.uri) {
        (None, _) => true,
        (Some(earlier), _) if takes_every_path(earlier) => true,
        (Some(_), None) => false,
        (Some(of_earlier), Some(of_later)) => {
            if earlier.ignore_uri_case && !matches!(of_later, StringMatch::Regex(_)) {
                return covers_text(&lower(of_earlier), &lower(of_later));
            }
            // The later one may take other spellings, too.
            earlier.ignore_uri_case == later.ignore_uri_case && covers_text(of_earlier, of_later)
        }
    }
}

/// The test as it compares without regard to case; a regex keeps its own.
fn lower(test: &StringMatch) -> StringMatch {
    match test {
        StringMatch::Exact(text) => StringMatch::Exact(text.to_ascii_lowercase().as_str().into()),
        StringMatch::Prefix(text) => StringMatch::Prefix(text.to_ascii_lowercase().as_str().into()),
        StringMatch::Regex(_) => test.clone(),
    }
}

fn covers_text(earlier: &StringMatch, later: &StringMatch) -> bool {
    match (earlier, later) {
        (StringMatch::Regex(earlier), _) if earlier.as_str() == ".*" => true,
        (StringMatch::Prefix(earlier), StringMatch::Exact(later) | StringMatch::Prefix(later)) => {
            later.starts_with(earlier.as_str())
        }
        (StringMatch::Exact(earlier), StringMatch::Exact(later))
        | (StringMatch::Regex(earlier), StringMatch::Regex(later)) => earlier == later,
        _ => false,
    }
}

/// Whether each test of the earlier list holds wherever the later list does.
fn covers_named(
    earlier: &[NamedMatch],
    later: &[NamedMatch],
    is_same: impl Fn(&NamedMatch, &NamedMatch) -> bool,
) -> bool {
    earlier.iter().all(|of_earlier| {
        let mut same = later.iter().filter(|it| is_same(of_earlier, it));
        same.any(|of_later| match (&of_earlier.test, &of_later.test) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(earlier), Some(later)) => covers_text(earlier, later),
        })
    })
}

fn is_same_name(one: &NamedMatch, other: &NamedMatch) -> bool {
    one.name.eq_ignore_ascii_case(&other.name)
}
