//! Starts the components, waits until each is ready, and finds out why one is not.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::binaries::Binaries;
use crate::child::Child;
use crate::component::Component;
use crate::error::StartError;
use crate::guardian::Guardian;
use crate::layout::Layout;
use crate::options::Options;
use crate::port;
use crate::tool::Tool;

const POLL: Duration = Duration::from_millis(20);

/// How often a component may lose its port to another process.
const LOST_PORTS: u32 = 5;

/// The components of one control plane, and all that is needed to run them.
#[derive(Debug)]
pub(crate) struct Components {
    running: BTreeMap<Component, Child>,
    ports: BTreeMap<Component, u16>,
    kubectl: PathBuf,
    pub(crate) binaries: Binaries,
    pub(crate) options: Options,
    pub(crate) layout: Layout,
    pub(crate) guardian: Guardian,
}

impl Components {
    pub(crate) fn new(binaries: Binaries, options: Options) -> Result<Self, StartError> {
        let kubectl = binaries.path(Tool::Kubectl)?.to_path_buf();
        for component in Component::ALL {
            binaries.path(component.tool())?; // better now than half way
        }
        let guardian = Guardian::new().map_err(StartError::io("start the guardian"))?;
        let layout = Layout::create(guardian.dir(), &options)?;
        let (running, ports) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { running, ports, kubectl, binaries, options, layout, guardian })
    }

    /// Starts all: first what the others need, then the others side by side.
    pub(crate) fn start(&mut self) -> Result<(), StartError> {
        self.launch(&[Component::Etcd, Component::Apiserver])?;
        self.launch(&[Component::ControllerManager, Component::Scheduler, Component::Kwok])?;
        // The controller manager's first deed; before it no pod is admitted.
        self.wait_until(Component::ControllerManager, |this| {
            this.asks(&["get", "serviceaccount", "default", "--namespace=default"])
        })
    }

    /// Starts components together and waits for all.
    fn launch(&mut self, components: &[Component]) -> Result<(), StartError> {
        components.iter().try_for_each(|component| self.spawn(*component))?;
        components.iter().try_for_each(|component| self.settle(*component))
    }

    /// Waits for a component that was just started, and moves it if its port was taken meanwhile.
    fn settle(&mut self, component: Component) -> Result<(), StartError> {
        for _ in 0..LOST_PORTS {
            match self.wait_until_ready(component) {
                Err(error) if error.is_lost_port(component) && !self.has_fixed_port(component) => {
                    self.ports.remove(&component);
                    self.spawn(component)?;
                }
                result => return result,
            }
        }
        self.wait_until_ready(component)
    }

    /// Ends a component with SIGKILL if it runs, and starts it where it was.
    pub(crate) fn restart(&mut self, component: Component) -> Result<(), StartError> {
        self.kill(component).map_err(StartError::io(format!("end {component}")))?;
        if component == Component::Kwok {
            // A new kwok would wait until the Leases of the one that crashed have run out.
            self.asks(&["delete", "leases", "--all", "--namespace=kube-node-lease"]);
        }
        self.spawn(component)?;
        self.wait_until_ready(component)?;
        if component == Component::Etcd && self.running.contains_key(&Component::Apiserver) {
            self.wait_until_ready(Component::Apiserver)?;
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, component: Component) -> io::Result<()> {
        self.running.remove(&component).map_or(Ok(()), |mut child| child.kill().map(|_| ()))
    }

    fn spawn(&mut self, component: Component) -> Result<(), StartError> {
        let failed = || StartError::io(format!("start {component}"));
        let port = self.port(component).map_err(failed())?;
        if component == Component::Apiserver {
            self.layout.write_kubeconfigs(&self.server_url()).map_err(failed())?;
        }
        let program = self.binaries.path(component.tool())?;
        let command = component.command(program, &self.layout, &self.options, port);
        let child = self.guardian.spawn(component.tool().name(), &command).map_err(failed())?;
        self.running.insert(component, child);
        Ok(())
    }

    /// The component's port: the one it had, the one that was asked for, or a free one.
    fn port(&mut self, component: Component) -> io::Result<u16> {
        if let Some(port) = self.ports.get(&component) {
            return Ok(*port);
        }
        let port = match self.options.port {
            Some(port) if component == Component::Apiserver => port,
            _ => port::free_port()?,
        };
        self.ports.insert(component, port);
        Ok(port)
    }

    fn has_fixed_port(&self, component: Component) -> bool {
        component == Component::Apiserver && self.options.port.is_some()
    }

    /// Where a component serves health and metrics; etcd has its socket and no port.
    pub(crate) fn url(&self, component: Component) -> Option<String> {
        let scheme = match component {
            Component::Etcd => return None,
            Component::Kwok => "http",
            _ => "https",
        };
        self.ports.get(&component).map(|port| format!("{scheme}://127.0.0.1:{port}"))
    }

    pub(crate) fn server_url(&self) -> String {
        self.url(Component::Apiserver).unwrap_or_default()
    }

    fn wait_until_ready(&mut self, component: Component) -> Result<(), StartError> {
        self.wait_until(component, |this| this.is_ready(component))
    }

    /// Waits for `component` to bring about `condition`, as long as all it needs runs.
    fn wait_until(
        &mut self,
        component: Component,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            self.check_runs(component)?;
            if condition(self) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.not_ready(component));
            }
            thread::sleep(POLL);
        }
    }

    /// Fails if the component, or one that it needs, has ended.
    fn check_runs(&mut self, component: Component) -> Result<(), StartError> {
        for (&component, child) in self.running.range_mut(..=component) {
            let ended =
                child.try_wait().map_err(StartError::io(format!("wait for {component}")))?;
            if let Some(status) = ended {
                let (tail, log) = (child.log_tail(), child.log());
                return Err(StartError::Ended { component, status, tail, log });
            }
        }
        Ok(())
    }

    fn not_ready(&self, component: Component) -> StartError {
        let log = self.guardian.log(component.tool().name());
        let tail = crate::log::tail(&log);
        StartError::NotReady { component, patience: self.options.patience, tail, log }
    }

    fn is_ready(&self, component: Component) -> bool {
        let (Some(port), Some(url)) = (self.ports.get(&component), self.url(component)) else {
            return UnixStream::connect(self.layout.etcd_socket()).is_ok();
        };
        // Knocking is cheap; kubectl is not, and speaks TLS.
        TcpStream::connect(("127.0.0.1", *port)).is_ok()
            && self.asks(&["get", "--server", &url, "--raw", component.health()])
    }

    pub(crate) fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl
            .env("KUBECONFIG", self.layout.kubeconfig("admin"))
            .env("KUBECACHEDIR", self.layout.path("kubectl-cache"))
            .env("KUBECTL_KUBERC", "false");
        kubectl
    }

    /// Whether kubectl gets what it asks for.
    fn asks(&self, arguments: &[&str]) -> bool {
        let mut kubectl = self.kubectl();
        kubectl.args(arguments).arg("--request-timeout=5s");
        kubectl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        kubectl.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Components {
    fn drop(&mut self) {
        // From the last to the first, so that none complains about a missing one.
        while self.running.pop_last().is_some() {}
    }
}
