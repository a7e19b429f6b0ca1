//! Documents in, resources or problems out.

use super::*;

mod authorizers;
mod bad;
mod bounds;
mod good;
mod groups;
mod telemetry;
#[cfg(feature = "routing")]
mod traffic;

/// The single problem of a text that is wrong in one place, without the file's name.
fn only_problem(text: &str) -> String {
    let Err(problems) = parse("f", text, "foo") else {
        panic!("nothing is wrong with\n{text}")
    };
    assert_eq!(problems.as_slice().len(), 1, "{text}\n{problems}");
    problems.to_string().split_off("f:".len())
}
