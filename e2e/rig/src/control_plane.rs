//! A whole control plane, from start to end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::binaries::{Binaries, BinariesError};
use crate::child::Child;
use crate::component::Component;
use crate::components::Components;
use crate::error::StartError;
use crate::guardian::Guardian;
use crate::kubeconfig::User;
use crate::layout::Layout;
use crate::options::Options;
use crate::tool::Tool;

/// A running control plane. Dropping it ends it and removes its directory; if its owner is killed,
/// its [`Guardian`] does the same.
///
/// When a test panics, the directory stays for its logs, and stderr says where it is.
#[derive(Debug)]
pub struct ControlPlane {
    components: Components,
}

/// What is left of a control plane that outlives its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Everything the control plane has on disk.
    pub dir: PathBuf,
    /// A script that ends all processes and removes the directory.
    pub stop: PathBuf,
}

impl ControlPlane {
    /// Starts a control plane and returns when it is ready to be worked with: every component says
    /// so, and pods can be created in the namespace `default`.
    ///
    /// When that fails, nothing runs any more, and the directory stays for its logs.
    pub fn start(binaries: &Binaries, options: Options) -> Result<Self, StartError> {
        let mut components = Components::new(binaries.clone(), options)?;
        let started = components.start();
        if started.is_err() {
            components.guardian.spare_dir();
        }
        started.map(|()| Self { components })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout().kubeconfig("admin")
    }

    /// Writes a kubeconfig that speaks with a bearer token, such as a service account's.
    pub fn kubeconfig_for_token(&self, name: &str, token: &str) -> io::Result<PathBuf> {
        let name = format!("token-{name}");
        self.layout().write_kubeconfig(&name, &self.server_url(), &User::Token(token))?;
        Ok(self.layout().kubeconfig(&name))
    }

    /// Where the API server is, `https://127.0.0.1:…`.
    pub fn server_url(&self) -> String {
        self.components.server_url()
    }

    /// Where a component serves health and metrics; etcd has only its socket.
    ///
    /// `kubectl --server URL get --raw /metrics` reads them as the administrator.
    pub fn url(&self, component: Component) -> Option<String> {
        self.components.url(component)
    }

    /// The authority that signed the API server's certificate.
    pub fn ca_pem(&self) -> io::Result<String> {
        fs::read_to_string(self.layout().certificate("ca"))
    }

    /// The directory of everything the control plane has on disk.
    pub fn dir(&self) -> &Path {
        self.layout().dir()
    }

    /// One JSON object a line for every write request of every user, written when the request was
    /// answered; with [`Options::audit`] only. A request may be answered a moment before its line
    /// is there.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.components.options.audit.then(|| self.layout().audit_log())
    }

    /// Where the output of a component is.
    pub fn log(&self, component: Component) -> PathBuf {
        self.guardian().log(component.tool().name())
    }

    /// Ends processes with this one: give it those that belong to the test.
    pub fn guardian(&self) -> &Guardian {
        &self.components.guardian
    }

    /// Starts a process that ends with this one, with `KUBECONFIG` set to the administrator's
    /// unless `command` sets it. See [`Guardian::spawn`].
    pub fn spawn(&self, name: &str, command: &mut Command) -> io::Result<Child> {
        if !command.get_envs().any(|(key, _)| key == "KUBECONFIG") {
            command.env("KUBECONFIG", self.kubeconfig());
        }
        self.guardian().spawn(name, command)
    }

    /// kubectl as the administrator, blind to what this user has configured.
    pub fn kubectl(&self) -> Command {
        self.components.kubectl()
    }

    /// Helm as the administrator, blind to what this user has configured.
    pub fn helm(&self) -> Result<Command, BinariesError> {
        let mut helm = self.components.binaries.command(Tool::Helm)?;
        helm.env("KUBECONFIG", self.kubeconfig())
            .env("HELM_CACHE_HOME", self.layout().path("helm/cache"))
            .env("HELM_CONFIG_HOME", self.layout().path("helm/config"))
            .env("HELM_DATA_HOME", self.layout().path("helm/data"));
        Ok(helm)
    }

    /// Ends a component with SIGKILL, as a crash would.
    pub fn kill(&mut self, component: Component) -> io::Result<()> {
        self.components.kill(component)
    }

    /// Ends a component with SIGKILL if it runs, and starts it again on the same port.
    pub fn restart(&mut self, component: Component) -> Result<(), StartError> {
        self.components.restart(component)
    }

    /// Leaves everything running after this process has ended, and its directory in place.
    ///
    /// That includes the processes started by [`ControlPlane::spawn`].
    pub fn keep(self) -> io::Result<Kept> {
        Ok(Kept {
            stop: self.guardian().keep()?,
            kubeconfig: self.kubeconfig(),
            dir: self.dir().to_path_buf(),
        })
    }

    fn layout(&self) -> &Layout {
        &self.components.layout
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if thread::panicking() {
            self.guardian().spare_dir();
            eprintln!("switchyard: the control plane's logs are in {}", self.dir().display());
        }
    }
}
