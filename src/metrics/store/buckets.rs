use std::sync::LazyLock;

/// The buckets of the request histograms: of the durations, the request sizes and the response
/// sizes.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Buckets([Bounds; FAMILIES]);

/// The upper bounds of one histogram.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Bounds {
    bounds: Box<[f64]>,
    /// Only whole numbers are observed, so that a bound counts as the whole number below it.
    whole: Box<[u64]>,
    /// As they are printed, with `+Inf` at the end.
    le: Box<[String]>,
}

impl Buckets {
    /// Envoy's default buckets (milliseconds, or bytes), which Istio uses.
    pub(in crate::metrics) fn usual() -> &'static Self {
        static USUAL: LazyLock<Buckets> = LazyLock::new(|| {
            let bounds = Bounds::made(&ENVOYS);
            Buckets([bounds.clone(), bounds.clone(), bounds])
        });
        &USUAL
    }

    /// The names of the histograms, in order.
    pub(in crate::metrics) const NAMES: [&str; FAMILIES] = [
        "istio_request_duration_milliseconds",
        "istio_request_bytes",
        "istio_response_bytes",
    ];

    /// Sets the bounds of the histograms whose names start with a prefix, as Envoy's matcher sees
    /// them (`istiocustom.istio_request_bytes`) or as Prometheus does; `false` if there is none.
    pub(in crate::metrics) fn replace(&mut self, prefix: &str, bounds: &Bounds) -> bool {
        let mut any = false;
        for (name, own) in Self::NAMES.iter().zip(&mut self.0) {
            if name.starts_with(prefix) || format!("istiocustom.{name}").starts_with(prefix) {
                *own = bounds.clone();
                any = true;
            }
        }
        any
    }

    pub(in crate::metrics) fn get(&self, family: usize) -> Option<&Bounds> {
        self.0.get(family)
    }

    /// The bucket of each value.
    pub(super) fn find(&self, values: [u64; FAMILIES]) -> [usize; FAMILIES] {
        let mut found = [0; FAMILIES];
        for ((found, bounds), value) in found.iter_mut().zip(&self.0).zip(values) {
            *found = bounds.bucket(value);
        }
        found
    }

    pub(super) fn sizes(&self) -> [usize; FAMILIES] {
        self.0.each_ref().map(|bounds| bounds.le.len())
    }
}

impl Bounds {
    /// Upper bounds without the infinite one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(in crate::metrics) fn new(bounds: &[f64]) -> Result<Self, &'static str> {
        if bounds.is_empty() || bounds.len() > MAX_BOUNDS {
            return Err("there must be 1 to 50 of them");
        }
        if !bounds
            .iter()
            .all(|bound| bound.is_finite() && *bound >= 0.0)
        {
            return Err("each must be a finite number of at least 0");
        }
        if !bounds.is_sorted_by(|one, next| one < next) {
            return Err("each must be more than the one before");
        }
        Ok(Self::made(bounds))
    }

    /// Of bounds that are known to be good.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the whole number below; a number that is too large becomes the largest"
    )]
    pub(in crate::metrics) fn made(bounds: &[f64]) -> Self {
        let le = bounds.iter().map(ToString::to_string);
        Self {
            bounds: bounds.into(),
            whole: bounds.iter().map(|bound| *bound as u64).collect(),
            le: le.chain(["+Inf".to_owned()]).collect(),
        }
    }

    /// The first bucket whose bound is not below the value.
    fn bucket(&self, value: u64) -> usize {
        self.whole.iter().filter(|bound| **bound < value).count()
    }

    /// `1` and not `1.0`, as Envoy writes it: with another spelling, the series would differ from a
    /// sidecar's.
    pub(in crate::metrics) fn le(&self) -> impl Iterator<Item = &str> {
        self.le.iter().map(String::as_str)
    }

    /// Without the infinite one.
    #[cfg_attr(
        not(any(
            feature = "prometheus-client",
            all(feature = "otlp", feature = "server", feature = "client")
        )),
        allow(dead_code, reason = "text prints the bounds")
    )]
    pub(in crate::metrics) fn bounds(&self) -> &[f64] {
        &self.bounds
    }
}

const ENVOYS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// The request families that are histograms.
pub(in crate::metrics) const FAMILIES: usize = 3;

/// As many as OpenTelemetry's and Envoy's users need, and few enough to bound the cells.
pub(super) const MAX_BOUNDS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_make_no_buckets_are_refused() {
        for wrong in [
            &[][..],
            &[1.0, 1.0],
            &[2.0, 1.0],
            &[f64::NAN],
            &[1.0, f64::INFINITY],
            &[-1.0],
            &[1.0; 51],
        ] {
            assert!(Bounds::new(wrong).is_err(), "{wrong:?}");
        }
        assert!(Bounds::new(&[0.0, 0.5, 1e9]).is_ok());
    }

    #[test]
    fn a_prefix_names_histograms_as_envoy_or_prometheus_does() {
        let bounds = Bounds::new(&[1.0, 2.5]).unwrap();
        for (prefix, expected) in [
            ("istiocustom", [3, 3, 3]),
            ("istio_request_duration", [3, 20, 20]),
            ("istiocustom.istio_request", [3, 3, 20]),
            ("istio_response_bytes", [20, 20, 3]),
            ("cluster.", [20, 20, 20]),
        ] {
            let mut buckets = Buckets::usual().clone();
            let any = buckets.replace(prefix, &bounds);
            assert_eq!(buckets.sizes(), expected, "{prefix}");
            assert_eq!(any, expected != [20, 20, 20]);
        }
    }

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_not_below_it() {
        let bounds = Bounds::new(&[0.5, 1.5, 2.0]).unwrap();
        let found = [0, 1, 2, 3].map(|value| bounds.bucket(value));
        assert_eq!(found, [0, 1, 2, 3]);
        assert_eq!(bounds.le().collect::<Vec<_>>(), ["0.5", "1.5", "2", "+Inf"]);
    }
}
