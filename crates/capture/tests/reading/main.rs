//! Captures made by hand, in every container, with every layer, and damaged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod containers;
mod hostile;
mod layers;
mod made;
