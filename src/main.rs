//! Placeholder.
mod disk;
mod feed;
mod intake;
fn main() {}
