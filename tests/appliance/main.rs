//! The appliance from outside: the real binary on a temporary directory and free ports, met over HTTP and by signals.

#![allow(clippy::unwrap_used)]

mod crash;
mod harness;
mod lifecycle;
mod settings;
mod writes;
