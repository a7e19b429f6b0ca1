//! Warm-up: new hosts begin with a part of their weight.

use std::time::Duration;

/// How the weight of a host grows after it appears: DestinationRule `warmup`, Envoy's slow start.
/// Round robin and least request know it.
///
/// For [`duration`](Self::duration) after a host appeared, its weight is multiplied by
/// `max(minimum_percent / 100, (t / duration)^(1 / aggression))`, where `t` is its age, and at least
/// one millisecond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// How long it takes. Zero: there is none.
    pub duration: Duration,
    /// The part of the weight that a host has at least, in percent. Istio's default is 10.
    pub minimum_percent: f64,
    /// 1, Istio's default, grows evenly; more grows faster at first. One that is not positive is 1.
    pub aggression: f64,
}

impl WarmUp {
    /// Warm-up with Istio's defaults.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self {
            duration,
            minimum_percent: 10.0,
            aggression: 1.0,
        }
    }

    /// The part of its weight that a host of this age has, more than 0 and at most 1.
    #[must_use]
    pub fn factor(&self, age: Duration) -> f64 {
        if age >= self.duration {
            return 1.0;
        }
        let age = age.max(Duration::from_millis(1));
        let time = (age.as_secs_f64() / self.duration.as_secs_f64()).min(1.0);
        let is_even = self.aggression.is_nan() || self.aggression <= 0.0 || self.aggression == 1.0;
        let grown = if is_even {
            time
        } else {
            time.powf(1.0 / self.aggression)
        };
        // A minimum that is no number leaves what has grown.
        grown
            .max(self.minimum_percent / 100.0)
            .clamp(f64::MIN_POSITIVE, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_grows_from_the_minimum() {
        let warm_up = WarmUp::new(Duration::from_secs(100));
        for (age, factor) in [
            (0, 0.1),
            (5, 0.1),
            (10, 0.1),
            (50, 0.5),
            (99, 0.99),
            (100, 1.0),
        ] {
            let age = Duration::from_secs(age);
            assert!((warm_up.factor(age) - factor).abs() < 1e-9, "{age:?}");
        }
    }

    #[test]
    fn aggression_grows_faster_at_first() {
        let warm_up = WarmUp {
            aggression: 2.0,
            ..WarmUp::new(Duration::from_secs(100))
        };
        let factor = warm_up.factor(Duration::from_secs(25));
        assert!((factor - 0.5).abs() < 1e-9, "{factor}");
    }

    #[test]
    fn a_host_has_some_weight_from_the_first_millisecond_whatever_is_set() {
        for (minimum_percent, aggression) in
            [(0.0, 1.0), (f64::NAN, f64::NAN), (-5.0, -1.0), (0.0, 0.001)]
        {
            let warm_up = WarmUp {
                minimum_percent,
                aggression,
                ..WarmUp::new(Duration::from_secs(10))
            };
            let factor = warm_up.factor(Duration::ZERO);
            assert!(
                factor > 0.0 && factor <= 1.0,
                "{minimum_percent} {aggression} {factor}"
            );
        }
        let first = WarmUp {
            minimum_percent: 0.0,
            ..WarmUp::new(Duration::from_secs(10))
        };
        assert!((first.factor(Duration::ZERO) - 0.0001).abs() < 1e-9);
        assert_eq!(WarmUp::new(Duration::ZERO).factor(Duration::ZERO), 1.0);
    }
}
