//! The rig, tried out for real. The first run on a machine builds the control plane's programs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests, helpers included")]

mod binaries;
mod components;
mod control_plane;
mod guardian;
mod stages;
mod support;
