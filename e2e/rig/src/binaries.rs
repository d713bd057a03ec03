//! Finds the programs of a control plane, and builds those this machine lacks.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::build::Build;
use crate::tool::{Module, Tool, Version};

/// Where the programs are that a control plane consists of.
///
/// ```no_run
/// use switchyard_rig::{Binaries, Tool};
///
/// let all = Binaries::resolve()?;
/// let for_chart_checks = Binaries::resolve_only(&[Tool::Helm])?;
/// # Ok::<(), switchyard_rig::BinariesError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binaries {
    paths: BTreeMap<Tool, PathBuf>,
}

impl Binaries {
    /// Resolves [every tool that a control plane takes](Tool::ALL). The first time on a machine this takes about ten minutes.
    pub fn resolve() -> Result<Self, BinariesError> {
        Self::resolve_only(&Tool::ALL)
    }

    /// Resolves these tools and no others.
    pub fn resolve_only(tools: &[Tool]) -> Result<Self, BinariesError> {
        Search::from_env()?.resolve(tools)
    }

    /// Where a tool is.
    pub fn path(&self, tool: Tool) -> Result<&Path, BinariesError> {
        self.paths.get(&tool).map(PathBuf::as_path).ok_or(BinariesError::NotResolved { tool })
    }

    /// A command that runs the tool as this process would, with its environment.
    pub fn command(&self, tool: Tool) -> Result<Command, BinariesError> {
        self.path(tool).map(Command::new)
    }

    /// Every tool that was resolved.
    pub fn iter(&self) -> impl Iterator<Item = (Tool, &Path)> {
        self.paths.iter().map(|(tool, path)| (*tool, path.as_path()))
    }
}

/// Where programs are looked for. [`Binaries::resolve`] asks the environment; a test states it.
#[derive(Clone, Debug)]
pub struct Search {
    /// `KUBEBUILDER_ASSETS`: a folder that is looked into first.
    pub assets: Option<PathBuf>,
    /// `PATH`: looked through next, for the tools and for Go.
    pub path: OsString,
    /// Where programs are built that were not found.
    pub cache: PathBuf,
}

impl Search {
    /// What the environment says.
    pub fn from_env() -> Result<Self, BinariesError> {
        Ok(Self {
            assets: folder("KUBEBUILDER_ASSETS"),
            path: env::var_os("PATH").unwrap_or_default(),
            cache: cache().ok_or(BinariesError::NoCache)?.join("rig"),
        })
    }

    /// Finds each tool in a version that fits, or builds it.
    pub fn resolve(&self, tools: &[Tool]) -> Result<Binaries, BinariesError> {
        let mut binaries = Binaries::default();
        for &tool in tools {
            let path = match self.installed(tool) {
                Some(path) => path,
                None => self.built(tool)?,
            };
            binaries.paths.insert(tool, path);
        }
        Ok(binaries)
    }

    /// The first installed program that fits; others are passed over.
    fn installed(&self, tool: Tool) -> Option<PathBuf> {
        self.named(tool.name())
            .find(|path| version(tool, path).is_some_and(|found| tool.accepts(found)))
    }

    fn built(&self, tool: Tool) -> Result<PathBuf, BinariesError> {
        let build = Build::new(tool.source(), &self.cache);
        if !build.is_done() {
            self.explain(tool);
        }
        Ok(build.folder(self.go().as_deref(), &self.path)?.join(tool.name()))
    }

    /// Tells who has the program why that does not spare them a build.
    fn explain(&self, tool: Tool) {
        for path in self.named(tool.name()) {
            if let Some(found) = version(tool, &path) {
                let (path, wanted) = (path.display(), tool.accepted());
                eprintln!("switchyard: {path} is {tool} {found}, but {wanted} is needed");
            }
        }
    }

    fn go(&self) -> Option<PathBuf> {
        self.named("go").next()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let folders = self.assets.iter().cloned().chain(env::split_paths(&self.path));
        // Absolute, since a program may later be run from another folder.
        folders
            .filter_map(move |folder| std::path::absolute(folder.join(name)).ok())
            .filter(|path| path.is_file())
    }
}

/// What a program says its version is.
fn version(tool: Tool, path: &Path) -> Option<Version> {
    let output =
        Command::new(path).args(tool.version_arguments()).stdin(Stdio::null()).output().ok()?;
    Version::find(&String::from_utf8_lossy(&output.stdout))
}

fn cache() -> Option<PathBuf> {
    folder("SWITCHYARD_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("switchyard")))
        .or_else(|| Some(folder("HOME")?.join(".cache/switchyard")))
}

fn folder(variable: &str) -> Option<PathBuf> {
    let value = env::var_os(variable).filter(|value| !value.is_empty())?;
    std::path::absolute(value).ok()
}

/// Why a program could not be found or built.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// There is nowhere to build.
    #[error("no folder to build in: set SWITCHYARD_CACHE (or XDG_CACHE_HOME, or HOME)")]
    NoCache,
    /// A program is missing, and so is Go to build it with.
    #[error(
        "there is no Go on PATH to build {module} {release} with: install Go {go} or newer, \
         or put these on PATH or into the folder KUBEBUILDER_ASSETS names: {wanted}"
    )]
    NoGo {
        /// What would be built.
        module: &'static str,
        /// In which version.
        release: &'static str,
        /// The oldest Go that builds it.
        go: &'static str,
        /// What would do instead.
        wanted: String,
    },
    /// `go build` failed.
    #[error(
        "building {module} {release} failed ({status}); once that is mended, run the same again. \
         Its log {} ends with:\n{tail}", log.display()
    )]
    Build {
        /// What was built.
        module: &'static str,
        /// In which version.
        release: &'static str,
        /// How `go` ended.
        status: ExitStatus,
        /// The last lines of its output.
        tail: String,
        /// All of its output.
        log: PathBuf,
    },
    /// A Debian package could not be fetched or unpacked.
    #[error(
        "{package} could not be taken from Debian's packages ({status}): run `apt-get update`, or put \
         {package} and its tools on PATH or into the folder KUBEBUILDER_ASSETS names. \
         The log {} ends with:\n{tail}", log.display()
    )]
    Fetch {
        /// The package.
        package: &'static str,
        /// How fetching it ended.
        status: ExitStatus,
        /// The last lines of its output.
        tail: String,
        /// All of its output.
        log: PathBuf,
    },
    /// A tool was asked for that was never resolved.
    #[error(
        "{tool} was not resolved: name it in `Binaries::resolve_only`, or use `Binaries::resolve`"
    )]
    NotResolved {
        /// The missing tool.
        tool: Tool,
    },
    /// The file system refused something.
    #[error("{action} {}: {source}; is there space, and may this user write there?", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BinariesError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn no_go(module: &Module) -> Self {
        let wanted = module.programs.iter().map(|(tool, _)| format!("{tool} {}", tool.accepted()));
        Self::NoGo {
            module: module.name,
            release: module.release(),
            go: module.go_version(),
            wanted: wanted.collect::<Vec<_>>().join(", "),
        }
    }
}
