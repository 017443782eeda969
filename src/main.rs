//! The `pools-manager` command.
fn main() {}
