//! Placeholder while the rest compiles.
fn main() {}
