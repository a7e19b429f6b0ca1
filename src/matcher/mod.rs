//! Matchers for texts, paths, addresses and templates, exact to Envoy's byte.

mod cidr;
mod string;
mod template;

pub use cidr::{Cidr, CidrError};
pub use string::{StringMatcher, StringPattern};
pub use template::{PathTemplate, PathTemplateError};
