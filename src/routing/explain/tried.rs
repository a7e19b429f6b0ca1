use std::fmt;

use serde::Serialize;

use super::failed::{self, FailedMatch};
use super::sources::{Sources, WrittenIn};
use crate::routing::route::{CallHead, Route};

/// A route that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RouteReport {
    /// Its name; of a route with named matches `ROUTE.MATCH`; `None` where nothing names it.
    pub route: Option<String>,
    /// Where it is written; `None` for the route of a service without a VirtualService.
    pub resource: Option<WrittenIn>,
    /// All that it asks for, each as `FIELD is {TEST}` or `FIELD is not {TEST}`.
    pub asks: Vec<String>,
    /// Whether it takes the call.
    pub matched: bool,
    /// The first test that the call does not pass; `None` when it takes the call.
    pub failed: Option<FailedMatch>,
}

impl RouteReport {
    pub(super) fn new(route: &Route, sources: &Sources, call: &dyn CallHead) -> Self {
        let failed = failed::first(&route.matches, call);
        Self {
            route: route.name.clone(),
            resource: sources.find(&route.at),
            asks: failed::asks(&route.matches),
            matched: failed.is_none(),
            failed,
        }
    }
}

impl fmt::Display for RouteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.route.as_deref().unwrap_or("without a name");
        write!(f, "  route {name}")?;
        if let Some(resource) = &self.resource {
            write!(f, " of {resource}")?;
        }
        match &self.failed {
            Some(failed) => writeln!(f, ": no match\n    {failed}"),
            None => {
                writeln!(f, ": match")?;
                let mut asks = self.asks.iter();
                asks.try_for_each(|asks| writeln!(f, "    {asks}"))
            }
        }
    }
}
