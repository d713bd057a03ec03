//! The processes of a control plane: what they are called and how they are run.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::layout::Layout;
use crate::options::Options;
use crate::tool::Tool;

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    Apiserver,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// kwok, the kubelet of all nodes.
    Kwok,
}

impl Component {
    /// Every component, in the order in which they depend on each other.
    pub const ALL: [Self; 5] =
        [Self::Etcd, Self::Apiserver, Self::ControllerManager, Self::Scheduler, Self::Kwok];

    /// The program it runs, after which its log is named.
    pub fn tool(self) -> Tool {
        match self {
            Self::Etcd => Tool::Etcd,
            Self::Apiserver => Tool::KubeApiserver,
            Self::ControllerManager => Tool::KubeControllerManager,
            Self::Scheduler => Tool::KubeScheduler,
            Self::Kwok => Tool::Kwok,
        }
    }

    /// The path on its port that answers when it is ready.
    pub(crate) fn health(self) -> &'static str {
        match self {
            Self::Apiserver | Self::Scheduler => "/readyz",
            Self::ControllerManager | Self::Kwok | Self::Etcd => "/healthz",
        }
    }

    /// The command that runs it on `port`. etcd has none: it listens on a socket in the directory,
    /// which no other user can reach and no other process can take.
    pub(crate) fn command(
        self,
        program: &Path,
        layout: &Layout,
        options: &Options,
        port: u16,
    ) -> Command {
        let flags = match self {
            Self::Etcd => etcd(layout, options),
            Self::Apiserver => apiserver(layout, options, port),
            Self::ControllerManager => controller_manager(layout, options, port),
            Self::Scheduler => scheduler(layout, port),
            Self::Kwok => kwok(layout, options, port),
        };
        let extra = options.extra_flags.iter().filter(|(component, _)| *component == self);
        let mut command = Command::new(program);
        command.args(flags).args(extra.map(|(_, flag)| flag)).current_dir(layout.dir());
        command
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tool().fmt(f)
    }
}

fn etcd(layout: &Layout, options: &Options) -> Vec<String> {
    let clients = layout.etcd_url();
    let peers = format!("unix://{}", layout.path("etcd-peer.sock").display());
    let mut flags = vec![
        "--name=rig".to_owned(),
        format!("--data-dir={}", layout.path("etcd").display()),
        format!("--listen-client-urls={clients}"),
        // etcd wants a host and port to advertise, which nobody asks for.
        "--advertise-client-urls=http://localhost:2379".to_owned(),
        format!("--listen-peer-urls={peers}"),
        "--quota-backend-bytes=8589934592".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    if !options.fsync {
        flags.push("--unsafe-no-fsync".to_owned());
    }
    flags
}

fn apiserver(layout: &Layout, options: &Options, port: u16) -> Vec<String> {
    let mut flags = vec![
        format!("--etcd-servers={}", layout.etcd_url()),
        format!("--client-ca-file={}", layout.certificate("ca").display()),
        format!("--service-account-signing-key-file={}", layout.key("service-account").display()),
        format!("--service-account-key-file={}", layout.path("pki/service-account.pub").display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        // As every installer sets it; what is privileged is for admission to decide.
        "--allow-privileged=true".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        // Nobody reaches this server through a Service, and no address but loopback is listened on.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
    ];
    flags.extend(serving(layout, port));
    if options.audit {
        flags.extend([
            format!("--audit-policy-file={}", layout.audit_policy().display()),
            format!("--audit-log-path={}", layout.audit_log().display()),
            // Never rotated, so that a reader sees every line.
            "--audit-log-maxsize=1000000".to_owned(),
        ]);
    }
    flags
}

fn controller_manager(layout: &Layout, options: &Options, port: u16) -> Vec<String> {
    let kubeconfig = layout.kubeconfig("kube-controller-manager");
    let lease = options.node_lease_seconds;
    let mut flags = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--service-account-private-key-file={}", layout.key("service-account").display()),
        format!("--root-ca-file={}", layout.certificate("ca").display()),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        format!("--node-monitor-grace-period={}ms", u64::from(lease) * 1250),
        format!("--node-monitor-period={}ms", (u64::from(lease) * 250).clamp(500, 5000)),
    ];
    if let Some(rate) = options.request_rate {
        flags.push(format!("--kube-api-qps={}", rate.qps));
        flags.push(format!("--kube-api-burst={}", rate.burst));
    }
    flags.extend(serving(layout, port));
    flags.extend(delegating(layout, &kubeconfig));
    flags
}

fn scheduler(layout: &Layout, port: u16) -> Vec<String> {
    let mut flags = vec![format!("--config={}", layout.scheduler_config().display())];
    flags.extend(serving(layout, port));
    flags.extend(delegating(layout, &layout.kubeconfig("kube-scheduler")));
    flags
}

fn kwok(layout: &Layout, options: &Options, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", layout.kubeconfig("kwok").display()),
        format!("--config={}", layout.stages().display()),
        "--manage-all-nodes=false".to_owned(),
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
        format!("--node-lease-duration-seconds={}", options.node_lease_seconds),
        "--cidr=10.128.0.0/9".to_owned(),
        format!("--server-address=127.0.0.1:{port}"),
    ]
}

/// Listening on loopback, with the certificate all servers share.
fn serving(layout: &Layout, port: u16) -> [String; 4] {
    [
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", layout.certificate("serving").display()),
        format!("--tls-private-key-file={}", layout.key("serving").display()),
    ]
}

/// Knowing clients by their certificate, and asking the API server what they may read.
fn delegating(layout: &Layout, kubeconfig: &Path) -> [String; 4] {
    let kubeconfig = kubeconfig.display();
    [
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--client-ca-file={}", layout.certificate("ca").display()),
        "--authentication-skip-lookup=true".to_owned(),
    ]
}
