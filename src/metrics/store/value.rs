use std::fmt;

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::metrics) enum Value {
    Whole(u64),
    Float(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

impl Value {
    #[cfg_attr(
        not(any(
            feature = "metrics-facade",
            feature = "prometheus-client",
            all(feature = "otlp", feature = "server", feature = "client")
        )),
        allow(dead_code, reason = "text prints either")
    )]
    pub(in crate::metrics) const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}
