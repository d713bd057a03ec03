//! Stories on a real control plane: real API server, scheduler and controllers, and the real binary
//! under the chart's own ServiceAccount. Each starts a control plane of its own.

#![allow(clippy::unwrap_used)]

mod adoption;
mod api;
mod at_rest;
mod bad_input;
mod endpoints;
mod explain;
mod fences;
mod gates;
mod install;
mod leadership;
mod miners;
mod neighbours;
mod placement;
mod scene;
mod shifts;
