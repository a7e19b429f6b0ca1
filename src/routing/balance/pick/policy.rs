//! How a host is picked.

/// Which of the hosts that are available gets a call: DestinationRule `loadBalancer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// `LEAST_REQUEST`, the default: of two hosts drawn by weight, the one with fewer calls in
    /// flight for its weight; of equal ones, the first drawn.
    ///
    /// # Differences from Envoy
    ///
    /// The two are different hosts; Envoy may draw one twice. With unequal weights Envoy has a queue
    /// in which a host's weight is divided by its calls in flight and one; both send calls by
    /// weight while none is in flight, and both fewer to a busy host. Two draws need no lock.
    #[default]
    LeastRequest,
    /// `ROUND_ROBIN`: turns, by weight.
    RoundRobin,
    /// `RANDOM`: any host. Weights do not count, as in Envoy.
    Random,
    /// `consistentHash` with `ringHash`: by the hash of a call, or at random without one.
    RingHash {
        /// The least number of entries of the ring. Istio's default is 1024; 8,388,608 is the most.
        minimum_size: u64,
    },
    /// `consistentHash` with `maglev`: by the hash of a call, or at random without one.
    Maglev {
        /// The size of the table, a prime number. Envoy's default is 65,537.
        table_size: u32,
    },
    /// Of two hosts drawn by weight, the one whose answer should come first; of equal ones, the first
    /// drawn. See
    /// [`PeakEwma`](crate::routing::balance::PeakEwma). Istio has no field for it.
    PeakEwma,
}
