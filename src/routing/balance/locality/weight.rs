//! What a locality's weight is worth while some of its hosts are ill.

/// `weight · min(1, 1.4 · available / total)`: Envoy's `effectiveLocalityWeight`, with the
/// overprovisioning factor that Istio leaves as it is. 0 without hosts.
pub(in crate::routing::balance) fn effective_weight(
    weight: u32,
    available: usize,
    total: usize,
) -> f64 {
    if total == 0 {
        return 0.0;
    }
    let ratio = OVERPROVISIONING * (available as f64 / total as f64);
    f64::from(weight) * ratio.min(1.0)
}

const OVERPROVISIONING: f64 = 1.4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_counts_whole_until_too_many_hosts_are_ill() {
        for (available, total, expected) in [
            (100, 100, 80.0),
            (72, 100, 80.0),
            (71, 100, 79.52),
            (50, 100, 56.0),
            (1, 4, 28.0),
            (0, 4, 0.0),
            (0, 0, 0.0),
        ] {
            let weight = effective_weight(80, available, total);
            assert!(
                (weight - expected).abs() < 1e-9,
                "{available} of {total}: {weight}"
            );
        }
    }
}
