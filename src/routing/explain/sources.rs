use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::istio::traffic::TrafficResources;
use crate::istio::{Meta, Position};

/// Where a route is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WrittenIn {
    /// `VirtualService`, `HTTPRoute` or `GRPCRoute`; of a delegate, where both write the route.
    pub kind: String,
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
    /// The file.
    pub file: String,
    /// The line where the route starts; `None` where only the file is known.
    pub line: Option<u32>,
}

impl fmt::Display for WrittenIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            file,
            line,
        } = self;
        write!(f, "{kind} {namespace}/{name} ({file}")?;
        match line {
            Some(line) => write!(f, ":{line})"),
            None => f.write_str(")"),
        }
    }
}

/// The resources of routes, by the places of the routes. A place that two texts of one name share
/// is nobody's.
#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct Sources(HashMap<Position, Option<Arc<Owner>>>);

#[derive(Debug, PartialEq, Eq)]
struct Owner {
    kind: String,
    namespace: String,
    name: String,
}

impl Sources {
    pub(in crate::routing) fn new(resources: &TrafficResources) -> Self {
        let mut sources = Self::default();
        for service in &resources.virtual_services {
            let places = service.http.iter().map(|route| &route.at);
            sources.add(&service.meta, places);
        }
        for route in &resources.http_routes {
            sources.add(&route.meta, route.rules.iter().map(|rule| &rule.at));
        }
        for route in &resources.grpc_routes {
            sources.add(&route.meta, route.rules.iter().map(|rule| &rule.at));
        }
        sources
    }

    fn add<'p>(&mut self, meta: &Meta, places: impl Iterator<Item = &'p Position>) {
        let owner = Arc::new(Owner {
            kind: meta.kind.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        });
        for at in places {
            match self.0.entry(at.clone()) {
                Entry::Vacant(free) => drop(free.insert(Some(Arc::clone(&owner)))),
                Entry::Occupied(mut taken) => {
                    if taken.get().as_ref() != Some(&owner) {
                        taken.insert(None);
                    }
                }
            }
        }
    }

    /// Where the route at this place is written.
    pub(super) fn find(&self, at: &Position) -> Option<WrittenIn> {
        let owner = self.0.get(at)?.as_ref()?;
        Some(WrittenIn {
            kind: owner.kind.clone(),
            namespace: owner.namespace.clone(),
            name: owner.name.clone(),
            file: at.file.to_string(),
            line: Some(at.line).filter(|line| !matches!(*line, 0 | u32::MAX)),
        })
    }
}
