//! Matchers for texts, paths, addresses and templates that agree with Envoy byte for byte.
//!
//! Every matcher takes linear time in the text: neither a pattern in a resource nor a peer's
//! request can make it slow.
//!
//! # Example
//! ```
//! use tower_mesh::matcher::{Cidr, PathTemplate, StringMatcher, path};
//!
//! assert!(StringMatcher::prefix("/patients/").matches(b"/patients/7"));
//! assert!(PathTemplate::new("/patients/{*}/chart")?.matches(b"/patients/7/chart"));
//! assert!(Cidr::parse("10.0.0.0/8")?.contains("10.1.2.3".parse()?));
//! assert_eq!(path::normalize("/a/../patients/%37", path::Normalization::Base)?, "/patients/7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ascii;
pub mod authority;
mod cidr;
pub mod forwarded;
pub mod header;
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
pub(crate) mod mutation;
pub mod path;
#[cfg(feature = "access-log")]
pub(crate) mod path_redaction;
pub mod query;
mod referer;
mod regex;
mod string;
mod template;

pub use cidr::{Cidr, CidrError};
pub(crate) use regex::{Glob, contains};
pub use regex::{RegexError, SafeRegex};
pub use string::{StringMatcher, StringPattern};
pub use template::{PathTemplate, PathTemplateError};
