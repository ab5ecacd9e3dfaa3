//! The appliance from outside: the real binary on a temporary directory and free ports, met over HTTP and by signals.

#![allow(clippy::unwrap_used)]

mod crash;
mod disk_full;
mod freshness;
mod harness;
mod hostile;
mod lifecycle;
mod older_formats;
mod patterns;
mod pipelines;
mod pushes;
mod searches;
mod settings;
mod shape;
mod writes;
