//! The index of one table.

use super::domains::{Domains, Found};
use super::paths::Paths;
use crate::routing::hosts::{Choice, RouteTable, without_port};
use crate::routing::route::CallHead;

/// Finds routes of one table, to which it must be given for each call.
#[derive(Clone, Debug)]
pub(in crate::routing) struct TableIndex {
    domains: Domains,
    /// Of each virtual host.
    paths: Vec<Paths>,
}

impl TableIndex {
    pub(in crate::routing) fn new(table: &RouteTable) -> Self {
        let hosts = table.virtual_hosts.iter();
        Self {
            domains: Domains::new(table),
            paths: hosts.map(|host| Paths::new(&host.routes)).collect(),
        }
    }

    /// As [`RouteTable::choose`].
    pub(in crate::routing) fn choose<'t>(
        &self,
        table: &'t RouteTable,
        call: &dyn CallHead,
    ) -> Option<Choice<'t>> {
        let number = match self.domains.find(without_port(call.authority())) {
            Found::Number(number) => usize::try_from(number?).ok()?,
            Found::TooLong => return table.choose(call),
        };
        let virtual_host = table.virtual_hosts.get(number)?;
        let route = self.paths.get(number)?.find(&virtual_host.routes, call)?;
        Some(Choice {
            virtual_host,
            route,
        })
    }
}
