//! What makes a host an outlier: DestinationRule `outlierDetection`.

use std::time::Duration;

/// When hosts are ejected, and for how long. The default has Istio's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// So many 5xx in a row eject a host; 0: none do. It stays 5 where only
    /// [`consecutive_gateway_errors`](Self::consecutive_gateway_errors) is set.
    pub consecutive_5xx_errors: u32,
    /// So many 502, 503 and 504 in a row do; 0: none do.
    pub consecutive_gateway_errors: u32,
    /// Failures without an answer have a counter of their own. Otherwise they count as 503, and 504
    /// for timeouts.
    pub splits_local_origin_errors: bool,
    /// With a counter of their own, so many in a row eject a host; 0: none do.
    pub consecutive_local_origin_failures: u32,
    /// How often [`OutlierDetector::sweep`](super::OutlierDetector::sweep) is called.
    pub interval: Duration,
    /// The first ejection of a host lasts so long, the next twice that, and so on, up to 300 s or
    /// this, whichever is longer.
    pub base_ejection_time: Duration,
    /// No more than this part of the hosts of all priorities is ejected, in percent. With 10, fewer
    /// than ten hosts eject none.
    pub max_ejection_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx_errors: 5,
            consecutive_gateway_errors: 0,
            splits_local_origin_errors: false,
            consecutive_local_origin_failures: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
        }
    }
}

impl OutlierDetection {
    /// How long the k-th ejection in a row lasts: `min(base · k, max(300 s, base))`.
    pub(super) fn ejection_time(&self, k: u32) -> Duration {
        let longest = self.longest_ejection();
        self.base_ejection_time.saturating_mul(k).min(longest)
    }

    /// Whether more ejections in a row than `k` last longer, as Envoy judges it: `base · k` is less
    /// than the longest time and `base` more.
    pub(super) fn grows_after(&self, k: u32) -> bool {
        let end = self
            .longest_ejection()
            .saturating_add(self.base_ejection_time);
        self.base_ejection_time.saturating_mul(k) < end
    }

    /// Envoy's `max_ejection_time`, which Istio does not set.
    fn longest_ejection(&self) -> Duration {
        LONGEST_EJECTION.max(self.base_ejection_time)
    }
}

const LONGEST_EJECTION: Duration = Duration::from_secs(300);
