use std::fmt;

/// Envoy's response flags: why a reply is not simply the application's. Empty prints `-`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResponseFlags(u32);

impl ResponseFlags {
    /// `DC`: the downstream went away before the reply had ended.
    pub const DOWNSTREAM_DISCONNECT: Self = Self(1);
    /// `UF`: no connection to the upstream could be made.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 1);
    /// `UO`: over a limit.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 2);
    /// `UC`: the upstream's connection ended before its reply had.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 3);
    /// `UT`: the upstream took too long.
    pub const UPSTREAM_TIMEOUT: Self = Self(1 << 4);
    /// `UAEX`: the external authorizer refused.
    pub const UNAUTHORIZED_EXTERNAL: Self = Self(1 << 5);
    /// `NR`: no route.
    pub const NO_ROUTE: Self = Self(1 << 6);

    /// No flag.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits; their places are ours and may change.
    #[cfg(feature = "metrics")]
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// The set of these [`bits`](Self::bits).
    #[cfg(feature = "metrics")]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let set = NAMES.iter().filter(|(flag, _)| self.0 & flag.0 != 0);
        for (index, (_, name)) in set.enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

const NAMES: [(ResponseFlags, &str); 7] = [
    (ResponseFlags::DOWNSTREAM_DISCONNECT, "DC"),
    (ResponseFlags::UPSTREAM_CONNECTION_FAILURE, "UF"),
    (ResponseFlags::UPSTREAM_OVERFLOW, "UO"),
    (ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, "UC"),
    (ResponseFlags::UPSTREAM_TIMEOUT, "UT"),
    (ResponseFlags::UNAUTHORIZED_EXTERNAL, "UAEX"),
    (ResponseFlags::NO_ROUTE, "NR"),
];
