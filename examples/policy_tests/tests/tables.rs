//! Every table in `tests/tables`, a test for each row. `POLICIES=broken cargo test` asks other policies.

use std::process::ExitCode;

use tower_mesh::testing::policy::Suite;

fn main() -> ExitCode {
    let suite = Suite::new("tests/tables");
    match std::env::var_os("POLICIES") {
        Some(path) => suite.config(path).run(),
        None => suite.run(),
    }
}
