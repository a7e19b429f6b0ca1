//! The macro for names that are checked texts.

/// Implements `FromStr`, `AsRef<str>`, `Display` and `Debug` for a type that holds a checked text.
///
/// The type must have `fn new(&str) -> Result<Self, Error>` and `fn as_str(&self) -> &str`. For
/// example, `as_text!(TrustDomain, TrustDomainError)` makes
/// `"cluster.local".parse::<TrustDomain>()` work. The value then displays as `cluster.local`, and
/// its `Debug` form is `TrustDomain(cluster.local)`.
macro_rules! as_text {
    ($Name:ident, $Error:ident) => {
        impl std::str::FromStr for $Name {
            type Err = $Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($Name))
            }
        }
    };
}

pub(super) use as_text;
