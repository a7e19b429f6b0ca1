//! Documents in, resources or problems out.

use super::*;

mod good;
