//! Macros that write code which many types of the crate need.

/// Declares an error enum in which each variant has one sentence, and implements `Display` (which
/// writes the sentence) and `Error` for it.
///
/// A variant may hold values, and its sentence may name them:
///
/// ```text
/// errors! {
///     /// Why a claim cannot be used.
///     #[derive(Debug)]
///     pub enum ClaimError {
///         /// The token lacks the claim.
///         Missing(claim: &'static str) = "no claim {claim}",
///         /// The claim is empty.
///         Empty = "the claim is empty",
///     }
/// }
/// ```
///
/// `ClaimError::Missing("iss")` prints `no claim iss`. The enum gets exactly the derives that are
/// written, so write at least `Debug`. `source()` is always `None`.
macro_rules! errors {
    (
        $(#[$on_enum:meta])*
        $visible:vis enum $Error:ident {
            $(
                $(#[$on_variant:meta])*
                $Variant:ident $(($($value:ident: $Type:ty),+))? = $sentence:literal,
            )+
        }
    ) => {
        $(#[$on_enum])*
        $visible enum $Error {
            $($(#[$on_variant])* $Variant $(($($Type),+))?,)+
        }

        impl std::fmt::Display for $Error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$Variant $(($($value),+))? => write!(f, $sentence),)+
                }
            }
        }

        impl std::error::Error for $Error {}
    };
}

/// Implements `Debug` for a struct and shows only the listed fields, because the others are secret,
/// long or opaque. The output ends with `..`.
///
/// ```text
/// debug_fields!(Header { algorithm });
/// debug_fields!(SeenTokens<V> {});
/// debug_fields!(Chain(chain) { length = chain.certificates.len() });
/// ```
///
/// The first line shows the field `algorithm` as it is. The second line shows no field; the type
/// has one type parameter. The third line names the value `chain` and computes what `length` shows.
macro_rules! debug_fields {
    ($Type:ident $(<$Generic:ident>)? { $($field:ident),* }) => {
        debug_fields!($Type $(<$Generic>)? (this) { $($field = this.$field),* });
    };
    ($Type:ident $(<$Generic:ident>)? ($this:ident) { $($field:ident = $value:expr),* }) => {
        impl $(<$Generic>)? std::fmt::Debug for $Type $(<$Generic>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                #[allow(unused_variables, reason = "a type may show no field")]
                let $this = self;
                f.debug_struct(stringify!($Type))
                    $(.field(stringify!($field), &$value))*
                    .finish_non_exhaustive()
            }
        }
    };
}

/// Declares builder setters. Each one replaces the field with its name and returns the builder.
///
/// ```text
/// impl Acceptor {
///     setters! {
///         /// Limits how long each handshake may take.
///         timeouts: HandshakeTimeouts,
///     }
/// }
/// ```
///
/// This declares `pub fn timeouts(mut self, timeouts: HandshakeTimeouts) -> Self`, with
/// `#[must_use]`.
#[cfg(feature = "tls")]
macro_rules! setters {
    ($($(#[$on_setter:meta])* $field:ident: $Type:ty,)+) => {
        $(
            $(#[$on_setter])*
            #[must_use]
            pub fn $field(mut self, $field: $Type) -> Self {
                self.$field = $field;
                self
            }
        )+
    };
}
