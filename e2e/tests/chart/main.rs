//! The chart as Helm renders it and Prometheus reads it: what needs no control plane.

#![allow(clippy::unwrap_used)]

mod monitoring;
mod rendering;
mod rights;
