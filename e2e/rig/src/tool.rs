//! The programs of a control plane, the Go modules they are built from, and which versions fit.

use std::fmt;

/// A program the rig runs or hands to its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// The store behind the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The built-in controllers: Deployments, `DaemonSets`, Jobs, garbage collection, …
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// The command line client.
    Kubectl,
    /// Plays the kubelet for nodes that do not exist.
    Kwok,
    /// Installs charts.
    Helm,
    /// Scrapes and keeps metrics, and evaluates rules.
    Prometheus,
    /// Checks and tests rules.
    Promtool,
}

impl Tool {
    /// What a control plane takes, and what is done with one.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Kwok,
        Self::Helm,
    ];

    /// What checks metrics, alerts and dashboards.
    pub const MONITORING: [Self; 2] = [Self::Prometheus, Self::Promtool];

    /// The file name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Helm => "helm",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
        }
    }

    /// The arguments that make the program say its version.
    pub(crate) fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kubectl => &["version", "--client"],
            Self::Helm => &["version"],
            _ => &["--version"],
        }
    }

    /// Where the program comes from if the machine lacks it.
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Etcd => Source::Module(&ETCD),
            Self::Kwok => Source::Module(&KWOK),
            Self::Helm => Source::Module(&HELM),
            Self::Prometheus | Self::Promtool => Source::Package("prometheus"),
            _ => Source::Module(&KUBERNETES),
        }
    }

    /// Whether a program of this version can stand in for the one we would build.
    pub(crate) fn accepts(self, found: Version) -> bool {
        let Source::Module(module) = self.source() else {
            return OLDEST_PROMETHEUS <= found.major;
        };
        let ours = module.version();
        match self {
            // One minor release of skew is what Kubernetes promises for its client.
            Self::Kubectl => {
                found.major == ours.major && (found.minor..=found.minor + 1).contains(&ours.minor)
            }
            Self::Helm => found.major == ours.major,
            _ => found == ours,
        }
    }

    /// The versions that fit, for messages.
    pub(crate) fn accepted(self) -> String {
        let Source::Module(module) = self.source() else {
            return format!("{OLDEST_PROMETHEUS} or newer");
        };
        let Version { major, minor } = module.version();
        match self {
            Self::Kubectl => format!("{major}.{} or {major}.{minor}", minor - 1),
            Self::Helm => format!("{major}"),
            _ => format!("{major}.{minor}"),
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Prometheus' rules and queries that we use are the same ever since.
const OLDEST_PROMETHEUS: u32 = 2;

/// Where a program comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// It is built from Go modules.
    Module(&'static Module),
    /// It is taken out of a Debian package: Prometheus does not build as a Go module alone.
    Package(&'static str),
}

/// One of our `go.mod` files: the only place where a version is written.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: &'static str,
    /// The Go module that decides the version.
    path: &'static str,
    pub(crate) go_mod: &'static str,
    pub(crate) go_sum: &'static str,
    /// What is built, and from which package.
    pub(crate) programs: &'static [(Tool, &'static str)],
    /// How long a first build takes on two cores.
    pub(crate) takes: &'static str,
}

static KUBERNETES: Module = Module {
    name: "kubernetes",
    path: "k8s.io/kubernetes",
    go_mod: include_str!("../go/kubernetes/go.mod"),
    go_sum: include_str!("../go/kubernetes/go.sum"),
    programs: &[
        (Tool::KubeApiserver, "k8s.io/kubernetes/cmd/kube-apiserver"),
        (Tool::KubeControllerManager, "k8s.io/kubernetes/cmd/kube-controller-manager"),
        (Tool::KubeScheduler, "k8s.io/kubernetes/cmd/kube-scheduler"),
        (Tool::Kubectl, "k8s.io/kubernetes/cmd/kubectl"),
    ],
    takes: "5 minutes",
};

static ETCD: Module = Module {
    name: "etcd",
    path: "go.etcd.io/etcd/server/v3",
    go_mod: include_str!("../go/etcd/go.mod"),
    go_sum: include_str!("../go/etcd/go.sum"),
    programs: &[(Tool::Etcd, "go.etcd.io/etcd/server/v3")],
    takes: "a minute",
};

static KWOK: Module = Module {
    name: "kwok",
    path: "sigs.k8s.io/kwok",
    go_mod: include_str!("../go/kwok/go.mod"),
    go_sum: include_str!("../go/kwok/go.sum"),
    programs: &[(Tool::Kwok, "sigs.k8s.io/kwok/cmd/kwok")],
    takes: "2 minutes",
};

static HELM: Module = Module {
    name: "helm",
    path: "helm.sh/helm/v4",
    go_mod: include_str!("../go/helm/go.mod"),
    go_sum: include_str!("../go/helm/go.sum"),
    programs: &[(Tool::Helm, "helm.sh/helm/v4/cmd/helm")],
    takes: "2 minutes",
};

impl Module {
    /// The version in full as `go.mod` has it, `v1.36.3`.
    pub(crate) fn release(&self) -> &'static str {
        self.go_mod
            .lines()
            .filter_map(|line| line.trim().split_once(' '))
            .find(|(path, _)| *path == self.path)
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap_or_default()
    }

    pub(crate) fn version(&self) -> Version {
        Version::find(self.release()).unwrap_or_default()
    }

    /// The version of Go that `go.mod` asks for.
    pub(crate) fn go_version(&self) -> &'static str {
        self.go_mod.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default()
    }

    /// What the linker is told. Without a version the API server calls itself v0.0.0 and clients
    /// refuse it.
    pub(crate) fn linker_flags(&self) -> String {
        let (release, Version { major, minor }) = (self.release(), self.version());
        let at = "k8s.io/component-base/version";
        match self.name {
            "kubernetes" => format!(
                "-s -w -X {at}.gitVersion={release} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"
            ),
            _ => "-s -w".to_owned(),
        }
    }
}

/// As much of a version as decides whether a program fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// The first `1.2` in what a program prints about itself.
    pub(crate) fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
            let mut parts = word.split('.').map(str::parse);
            Some(Self { major: parts.next()?.ok()?, minor: parts.next()?.ok()? })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_names_its_version_and_its_go() {
        for tool in Tool::ALL {
            let Source::Module(module) = tool.source() else { continue };
            assert!(module.release().starts_with('v'), "{}", module.name);
            assert_ne!(module.version(), Version::default(), "{}", module.name);
            assert!(!module.go_version().is_empty(), "{}", module.name);
            assert!(module.programs.iter().any(|(program, _)| *program == tool));
        }
    }

    #[test]
    fn versions_are_found_in_what_programs_print() {
        let printed = [
            ("etcd Version: 3.6.16\nGit SHA: Not provided", (3, 6)),
            ("Kubernetes v1.36.3", (1, 36)),
            ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32)),
            ("kwok version v0.8.0 go1.26.8 (linux/amd64)", (0, 8)),
            (r#"version.BuildInfo{Version:"v4.3", GitCommit:"", GoVersion:"go1.26.8"}"#, (4, 3)),
        ];
        for (text, (major, minor)) in printed {
            assert_eq!(Version::find(text), Some(Version { major, minor }), "{text}");
        }
        assert_eq!(Version::find("no version here"), None);
    }

    #[test]
    fn only_the_clients_may_differ_from_what_we_would_build() {
        let fits = |tool: Tool, major, minor| tool.accepts(Version { major, minor });
        let Version { major, minor } = KUBERNETES.version();
        assert!(fits(Tool::Kubectl, major, minor) && fits(Tool::Kubectl, major, minor - 1));
        assert!(!fits(Tool::Kubectl, major, minor - 2) && !fits(Tool::Kubectl, major, minor + 1));
        assert!(fits(Tool::KubeScheduler, major, minor));
        assert!(!fits(Tool::KubeScheduler, major, minor - 1));
        assert!(fits(Tool::Helm, HELM.version().major, 0));
        assert!(!fits(Tool::Helm, HELM.version().major - 1, 0));
    }
}
