//! What many types of the crate would otherwise write out.

/// Declares an error whose variants have one sentence each, which `Display` writes.
///
/// A variant may hold values, and its sentence may name them:
/// `Missing(claim: &'static str) = "no claim {claim}"`.
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

/// Implements `Debug` for a type, by these fields alone: the others are secret, long or opaque.
///
/// Where a field does not show as it is, a value takes its place:
/// `debug_fields!(Chain(chain) { length = chain.certificates.len() })`.
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

/// The setters of a builder, each of which replaces the field of its name.
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
