//! What a test may choose about its control plane.

use std::time::Duration;

use crate::component::Component;

/// How to start a control plane. The defaults suit a test; a benchmark wants `fsync` and Kubernetes'
/// own request rates.
///
/// ```
/// use switchyard_rig::Options;
///
/// let options = Options { audit: true, node_lease_seconds: 400, ..Options::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The API server's port; `None` takes a free one.
    pub port: Option<u16>,
    /// Whether etcd waits for the disk. Off, tests run faster and wear no disk.
    pub fsync: bool,
    /// Whether every write request of every user is recorded, see
    /// [`ControlPlane::audit_log`](crate::ControlPlane::audit_log).
    pub audit: bool,
    /// How fast the controller manager and the scheduler may ask; `None` leaves them at
    /// Kubernetes' defaults (20 and 50 requests a second), which a real site has.
    pub request_rate: Option<RequestRate>,
    /// How long a node stays Ready without a heartbeat. kwok sends one every quarter of it, so
    /// 5,000 nodes want 400; a test of a node's death wants 4. The controller manager waits a
    /// quarter longer.
    pub node_lease_seconds: u32,
    /// The longest the scheduler leaves a pod that fits nowhere alone; `None` is Kubernetes' 10.
    pub pod_max_backoff_seconds: Option<u32>,
    /// What the scheduler's configuration has besides, as YAML of top-level fields: `profiles: […]`.
    pub extra_scheduler_config: String,
    /// More kwok stages, as YAML documents. One with a `weight` wins over ours, which have none.
    pub extra_stages: String,
    /// More flags, each as `--name=value`. The last of equal flags counts.
    pub extra_flags: Vec<(Component, String)>,
    /// How long a component may take to become ready.
    pub patience: Duration,
}

/// How many requests a second a component makes at most, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// Requests a second.
    pub qps: u32,
    /// Requests at once.
    pub burst: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: None,
            fsync: false,
            audit: false,
            request_rate: Some(RequestRate { qps: 200, burst: 400 }),
            node_lease_seconds: 40,
            pod_max_backoff_seconds: None,
            extra_scheduler_config: String::new(),
            extra_stages: String::new(),
            extra_flags: Vec::new(),
            patience: Duration::from_mins(1),
        }
    }
}
