//! How the controller is to run.

use std::{net::SocketAddr, time::Duration};

/// How the controller is to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace it runs in; its Lease is there.
    pub namespace: String,
    /// The name of its pod, which the Lease names while it leads.
    pub identity: String,
    /// The name of the Lease.
    pub lease: String,
    /// For how long a leader leads without being heard of.
    pub lease_duration: Duration,
    /// Where `/metrics`, `/livez`, `/readyz` and `/explain` are served.
    pub listen: SocketAddr,
    /// How often it is looked whether prices or time alone change the plan; changes in the cluster are
    /// looked at at once.
    pub decide_every: Duration,
    /// The priority class of miners whose template names none.
    pub miner_priority_class: String,
    /// How many ended shifts are kept per pool, besides those that its breaker looks at.
    pub keep_shifts: usize,
}
