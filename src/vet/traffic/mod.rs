//! Checks what routes and balances calls: VirtualServices, DestinationRules, and the services that
//! they name.

mod calls;
mod delegates;
mod destinations;
mod hosts;
mod mtls;
mod outliers;
mod rules;
mod unreachable;
mod view;

use super::report::notes::Notes;
use super::world::known::World;
use view::View;

/// Adds notes about routes and destinations.
pub(super) fn check(world: World<'_>, notes: &mut Notes) {
    let view = View::new(world);
    for service in &view.traffic().virtual_services {
        unreachable::check(service, notes);
        calls::check(service, notes);
    }
    destinations::check(&view, notes);
    hosts::check(&view, notes);
    delegates::check(&view, notes);
    outliers::check(&view, notes);
    rules::check(&view, notes);
    mtls::check(&view, notes);
}
