//! CUSTOM: a mesh and a real Envoy with the filter that Istio gives it ask the same server, which answers both alike; callers, the
//! application and the server must see the same, but for what a row lists.

mod authorizer;
mod compare;
mod row;
mod setting;
mod table_changes;
mod table_grpc;
mod table_http;

use std::path::Path;

use self::compare::World;
use self::row::Row;

/// Compares every row; the differences.
pub(crate) async fn compare(program: &Path) -> Vec<String> {
    let rows = rows();
    let world = World::start(program, &rows).await;
    let mut differences = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        differences.extend(world.difference(number, row).await);
    }
    let listed = rows.iter().filter(|row| row.listed.is_some()).count();
    eprintln!(
        "CUSTOM: {} rows, {listed} listed, {} different",
        rows.len(),
        differences.len()
    );
    differences
}

/// All rows, each with its number in its path.
fn rows() -> Vec<Row> {
    let mut rows = table_grpc::rows();
    rows.extend(table_changes::rows());
    rows.extend(table_http::rows());
    for (number, row) in rows.iter_mut().enumerate() {
        row.call.path = row.call.path.replace('@', &number.to_string());
    }
    rows
}
