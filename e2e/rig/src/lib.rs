//! A real Kubernetes control plane on this machine: built once, started in seconds, gone with its
//! owner.
//!
//! The rig runs etcd, kube-apiserver, kube-controller-manager and kube-scheduler as plain processes
//! in a temporary directory, without containers and without root. Nodes and pods are real API
//! objects; [kwok](https://kwok.sigs.k8s.io) plays their kubelets, so a laptop carries 5,000 nodes.
//!
//! ```no_run
//! use switchyard_rig::{Binaries, ControlPlane, Options};
//!
//! let binaries = Binaries::resolve()?; // ten minutes once per machine, then nothing
//! let control_plane = ControlPlane::start(&binaries, Options::default())?; // three seconds
//! control_plane.kubectl().args(["get", "namespaces"]).status()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The parts
//!
//! - [`Binaries`] finds the programs, or builds them from Go modules whose versions are written in
//!   the `go.mod` files beside this crate and nowhere else.
//! - [`ControlPlane`] starts them, hands out kubeconfigs, kubectl and Helm, and can
//!   [`kill`](ControlPlane::kill) and [`restart`](ControlPlane::restart) each [`Component`].
//!   [`Options`] say what a benchmark, an audit or a test of faults needs to be different.
//! - [`Guardian`] sees to it that no process and no file outlives its owner, not even after
//!   `kill -9`. A test gives it its own processes with [`ControlPlane::spawn`].
//!
//! # Nodes and pods
//!
//! A node belongs to kwok if it is created with the annotation `kwok.x-k8s.io/node: fake`; it
//! becomes Ready and keeps the capacity that its status was created with. Any other node belongs to
//! nobody. These annotations tell kwok how to play:
//!
//! | annotation, prefixed `rig.switchyard.dev/` | on | means | without it |
//! |---|---|---|---|
//! | `ready: "false"` | node | it is not Ready until the annotation is gone | it is Ready |
//! | `start-after: 3s` | pod | it runs this long after it was bound to its node | within 0.2 s |
//! | `run-for: 20s` | pod of a Job | it succeeds this long after its start | it runs for ever |
//! | `fail-after: 20s` | pod | it fails this long after its start, whatever `run-for` says | it does not |
//! | `stop-after: 2s` | pod | it is gone this long after its deletion, or at the end of its grace period | within 0.1 s |
//! | `never-stops: "true"` | pod | it stays Terminating until the annotation is gone | |
//!
//! Durations are written as in Go, `1m30s`; kwok's log tells of one that it cannot read. Kubernetes
//! keeps times in whole seconds, so `run-for`, `fail-after` and `stop-after` may take up to a second
//! longer, and never less.

mod binaries;
mod build;
mod child;
mod component;
mod components;
mod control_plane;
mod error;
mod guardian;
mod kubeconfig;
mod layout;
mod log;
mod options;
mod pki;
mod port;
mod progress;
mod tool;

pub use binaries::{Binaries, BinariesError, Search};
pub use child::Child;
pub use component::Component;
pub use control_plane::{ControlPlane, Kept};
pub use error::StartError;
pub use guardian::Guardian;
pub use options::{Options, RequestRate};
pub use pki::PkiError;
pub use port::free_port;
pub use tool::Tool;
