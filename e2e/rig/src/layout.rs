//! Which file of a control plane is where, and the files that do not depend on a port.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::kubeconfig::{self, User};
use crate::options::Options;
use crate::pki::{self, Pki, PkiError};

/// Our kwok stages.
const STAGES: [&str; 8] = [
    include_str!("../stages/kwok.yaml"),
    include_str!("../stages/node-ready.yaml"),
    include_str!("../stages/node-heartbeat.yaml"),
    include_str!("../stages/node-not-ready.yaml"),
    include_str!("../stages/pod-start.yaml"),
    include_str!("../stages/pod-complete.yaml"),
    include_str!("../stages/pod-fail.yaml"),
    include_str!("../stages/pod-stop.yaml"),
];

/// Writes every user's change, once it is done, and nothing that is only read.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
";

/// The clients of the control plane: file name, user, group.
const CLIENTS: [(&str, &str, Option<&str>); 4] = [
    ("admin", "admin", Some("system:masters")),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kwok", "kwok", Some("system:masters")),
];

/// The files below the control plane's directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Writes all that can be written before a port is known.
    pub(crate) fn create(dir: &Path, options: &Options) -> Result<Self, PkiError> {
        let layout = Self { dir: dir.to_path_buf() };
        let pki = Pki::create(layout.path("pki"))?;
        pki.serving("serving")?;
        pki.signing_key("service-account")?;
        for (name, user, group) in CLIENTS {
            pki.client(name, user, group)?;
        }
        fs::create_dir(layout.path("kubeconfig"))?;
        fs::write(layout.audit_policy(), AUDIT_POLICY)?;
        fs::write(layout.scheduler_config(), layout.scheduler_text(options))?;
        fs::write(layout.stages(), stages(&options.extra_stages))?;
        Ok(layout)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        pki::certificate_of(&self.path("pki"), name)
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        pki::key_of(&self.path("pki"), name)
    }

    pub(crate) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.path("kubeconfig").join(name)
    }

    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.path("audit-policy.yaml")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.path("logs/audit.jsonl")
    }

    pub(crate) fn scheduler_config(&self) -> PathBuf {
        self.path("scheduler.yaml")
    }

    pub(crate) fn stages(&self) -> PathBuf {
        self.path("stages.yaml")
    }

    pub(crate) fn etcd_socket(&self) -> PathBuf {
        self.path("etcd.sock")
    }

    pub(crate) fn etcd_url(&self) -> String {
        format!("unix://{}", self.etcd_socket().display())
    }

    /// Tells every client of the control plane where the API server is.
    pub(crate) fn write_kubeconfigs(&self, server: &str) -> io::Result<()> {
        CLIENTS.iter().try_for_each(|(name, ..)| {
            let (certificate, key) = (self.certificate(name), self.key(name));
            let user = User::Certificate { certificate: &certificate, key: &key };
            self.write_kubeconfig(name, server, &user)
        })
    }

    pub(crate) fn write_kubeconfig(
        &self,
        name: &str,
        server: &str,
        user: &User<'_>,
    ) -> io::Result<()> {
        kubeconfig::write(&self.kubeconfig(name), server, &self.certificate("ca"), user)
    }

    fn scheduler_text(&self, options: &Options) -> String {
        let kubeconfig = self.kubeconfig("kube-scheduler");
        let rate = options
            .request_rate
            .map(|rate| format!(", qps: {}, burst: {}", rate.qps, rate.burst))
            .unwrap_or_default();
        let backoff = options
            .pod_max_backoff_seconds
            .map(|seconds| format!("podMaxBackoffSeconds: {seconds}\n"))
            .unwrap_or_default();
        format!(
            "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {{kubeconfig: \"{}\"{rate}}}
leaderElection: {{leaderElect: false}}
{backoff}{}",
            kubeconfig.display(),
            options.extra_scheduler_config,
        )
    }
}

fn stages(extra: &str) -> String {
    STAGES.iter().copied().chain([extra]).collect::<Vec<_>>().join("\n---\n")
}
