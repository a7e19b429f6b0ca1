//! The command line of tower-mesh.

fn main() {}
