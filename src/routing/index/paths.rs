//! Routes by path.

use super::texts::Texts;
use crate::routing::route::{CallHead, PathMatch, Route, eval};

/// Fewer routes than this are tried one by one.
const FEW: usize = 12;

/// The most segments of a path that are looked up; of a longer path all routes are tried.
const SEGMENTS: usize = 12;

/// Routes by what their path starts with.
///
/// A route is listed under one text only: a whole path under the path, a prefix under its part up
/// to the last whole segment (`/a/b` of `/a/b/c` and of the segments `/a/b`; `/a` of the text
/// `/a/b`, which takes `/a/bc`, too), and any other under nothing. So the routes that can match
/// `/a/b/c` are listed under `/a/b/c`, `/a/b`, `/a` and nothing, and of these lists, merged, the
/// first that matches is the route.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    whole: Texts,
    starts: Texts,
    rest: Vec<u32>,
    is_used: bool,
}

impl Paths {
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut paths = Self::default();
        if routes.len() < FEW {
            return paths;
        }
        paths.is_used = true;
        for (number, route) in (0..).zip(routes) {
            match &route.matches.path {
                PathMatch::Exact {
                    path,
                    ignore_case: false,
                } => paths.whole.add(path.as_bytes(), number),
                PathMatch::Prefix {
                    prefix,
                    ignore_case: false,
                } => paths.add_start(whole_segments(prefix.as_bytes()), number),
                PathMatch::Segments {
                    prefix,
                    ignore_case: false,
                } => paths.add_start(prefix.as_bytes(), number),
                _ => paths.rest.push(number),
            }
        }
        paths
    }

    fn add_start(&mut self, start: &[u8], number: u32) {
        match start.is_empty() {
            true => self.rest.push(number),
            false => self.starts.add(start, number),
        }
    }

    /// The first route that takes a call.
    pub(super) fn find<'r>(&self, routes: &'r [Route], call: &dyn CallHead) -> Option<&'r Route> {
        let path = call.path();
        let takes = |route: &Route| {
            route.matches.path.matches(path) && eval::matches_beside_path(&route.matches, call)
        };
        let mut lists: [&[u32]; SEGMENTS + 2] = [&[]; SEGMENTS + 2];
        if !self.is_used || !self.candidates(path.as_bytes(), &mut lists) {
            return routes.iter().find(|route| takes(route));
        }
        loop {
            let mut least: Option<(&mut &[u32], u32)> = None;
            for list in &mut lists {
                if let Some(number) = list.first().copied()
                    && least.as_ref().is_none_or(|(_, so_far)| number < *so_far)
                {
                    least = Some((list, number));
                }
            }
            let (list, number) = least?;
            *list = list.get(1..).unwrap_or_default();
            let route = usize::try_from(number).ok().and_then(|at| routes.get(at))?;
            if takes(route) {
                return Some(route);
            }
        }
    }

    /// The lists of routes that can take a path; `false` if it has too many segments.
    fn candidates<'p>(&'p self, path: &[u8], lists: &mut [&'p [u32]; SEGMENTS + 2]) -> bool {
        let mut free = lists.iter_mut();
        let mut put = |list| free.next().map(|place| *place = list).is_some();
        if !put(self.whole.get(path)) || !put(&self.rest) {
            return false;
        }
        if self.starts.is_empty() {
            return true;
        }
        let ends = path.iter().enumerate().skip(1);
        let ends = ends.filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut starts = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        starts.all(|start| put(self.starts.get(start)))
    }
}

/// The part of a text before its last `/`.
fn whole_segments(text: &[u8]) -> &[u8] {
    let last = text.iter().rposition(|byte| *byte == b'/');
    last.and_then(|last| text.get(..last)).unwrap_or_default()
}
