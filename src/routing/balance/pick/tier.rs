//! The hosts of one priority that have one availability, by locality.

use std::sync::Arc;

use crate::routing::balance::host::Host;
use crate::routing::balance::locality::ZoneRouting;
use crate::routing::balance::random::unit;

use super::call::Draw;
use super::pool::Pool;

/// One pool, or several, of which one is drawn first.
#[derive(Debug)]
pub(super) enum Tier {
    One(Pool),
    /// By weights, each added to that of all before.
    Weighted(Box<[(f64, Pool)]>),
    Zones {
        routing: ZoneRouting,
        zones: Box<[Pool]>,
        /// All hosts.
        all: Pool,
    },
}

impl Tier {
    pub(super) fn pick(&self, draw: &Draw, random: &mut impl FnMut() -> u64) -> Option<&Arc<Host>> {
        match self {
            Self::One(pool) => pool.pick(draw, random),
            Self::Weighted(pools) => {
                let (total, _) = pools.last()?;
                let point = unit(random()) * total;
                let index = pools.partition_point(|(end, _)| *end <= point);
                let (_, pool) = pools.get(index).or_else(|| pools.last())?;
                pool.pick(draw, random)
            }
            Self::Zones {
                routing,
                zones,
                all,
            } => {
                let zone = routing.draw(random).and_then(|zone| zones.get(zone));
                zone.filter(|zone| !zone.is_empty())
                    .unwrap_or(all)
                    .pick(draw, random)
            }
        }
    }
}
