/// Declares an enum whose variants are all known, each with its name in metrics and logs, and,
/// where the set has them, with a sentence.
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
