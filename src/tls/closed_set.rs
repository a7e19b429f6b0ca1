/// Declares an enum whose variants form a closed set, and gives each variant its name in metrics
/// and logs.
///
/// ```text
/// closed_set! {
///     /// Why a connection should end.
///     #[derive(Clone, Copy, Debug)]
///     pub enum CloseReason {
///         /// The connection has reached its maximum age.
///         Age = "age",
///     }
/// }
/// ```
///
/// The enum gets `ALL` (every variant in order), `as_str` (here `age`), `index` (the position in
/// `ALL`) and `Display`. If every variant has a sentence after its name, as in `Alpn = "alpn": "no
/// application protocol in common"`, the enum also gets the private method `sentence`.
macro_rules! closed_set {
    (
        $(#[$on_enum:meta])*
        pub enum $Set:ident {
            $($(#[$on_variant:meta])* $Variant:ident = $name:literal: $sentence:literal,)+
        }
    ) => {
        closed_set! {
            $(#[$on_enum])*
            pub enum $Set { $($(#[$on_variant])* $Variant = $name,)+ }
        }

        impl $Set {
            /// What is wrong and how to correct it, as far as the variant alone can say.
            fn sentence(self) -> &'static str {
                match self { $(Self::$Variant => $sentence,)+ }
            }
        }
    };
    (
        $(#[$on_enum:meta])*
        pub enum $Set:ident { $($(#[$on_variant:meta])* $Variant:ident = $name:literal,)+ }
    ) => {
        $(#[$on_enum])*
        #[non_exhaustive]
        pub enum $Set { $($(#[$on_variant])* $Variant,)+ }

        impl $Set {
            /// Every reason, in the order of [`index`](Self::index).
            pub const ALL: &'static [Self] = &[$(Self::$Variant,)+];

            /// The reason as metrics and logs write it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $name,)+ }
            }

            /// Its index in [`ALL`](Self::ALL).
            #[must_use]
            pub fn index(self) -> usize {
                self as usize
            }
        }

        impl std::fmt::Display for $Set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use closed_set;
