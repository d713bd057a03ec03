//! Makes a source's programs in the cache, by building or fetching: once, whole or not at all.

use std::env::consts;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::binaries::BinariesError;
use crate::log;
use crate::progress::Progress;
use crate::tool::{Module, Source};

const POLL: Duration = Duration::from_millis(100);

/// The making of one source's programs, done or not.
pub(crate) struct Build<'a> {
    source: Source,
    cache: &'a Path,
    key: String,
}

impl<'a> Build<'a> {
    pub(crate) fn new(source: Source, cache: &'a Path) -> Self {
        Self { source, cache, key: key(source) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.home().is_dir()
    }

    /// The folder with the programs, made now if it was not there, with Go or with what is on `path`.
    pub(crate) fn folder(&self, go: Option<&Path>, path: &OsStr) -> Result<PathBuf, BinariesError> {
        let (cache, home) = (self.cache, self.home());
        if self.is_done() {
            return Ok(home);
        }
        if let (Source::Module(module), None) = (self.source, go) {
            return Err(BinariesError::no_go(module));
        }
        fs::create_dir_all(cache).map_err(BinariesError::io("cannot create", cache))?;
        let _lock = lock(self.source, &cache.join(format!("{}.lock", self.key)))?;
        if self.is_done() {
            return Ok(home); // another process made it while we waited
        }
        let scratch = self.scratch().map_err(BinariesError::io("cannot work in", cache))?;
        let log = cache.join(format!("{}.log", self.key));
        match (self.source, go) {
            (Source::Module(module), Some(go)) => {
                let status = run_go(module, go, scratch.path(), &log)
                    .map_err(BinariesError::io("cannot run", go))?;
                if !status.success() {
                    let (tail, release) = (log::tail(&log), module.release());
                    let module = module.name;
                    return Err(BinariesError::Build { module, release, status, tail, log });
                }
            }
            (Source::Module(module), None) => return Err(BinariesError::no_go(module)),
            (Source::Package(package), _) => {
                let status = fetch(package, path, scratch.path(), &log)
                    .map_err(BinariesError::io("cannot run apt-get for", scratch.path()))?;
                if !status.success() {
                    let tail = log::tail(&log);
                    return Err(BinariesError::Fetch { package, status, tail, log });
                }
            }
        }
        // The last step, and an atomic one: nobody ever sees half of it.
        fs::rename(scratch.path().join("bin"), &home)
            .map_err(BinariesError::io("cannot create", &home))?;
        Ok(home)
    }

    fn home(&self) -> PathBuf {
        self.cache.join(&self.key)
    }

    /// A new folder to build in, on the cache's file system. What killed builds of this key left
    /// there goes: the lock is ours, so nobody works in it.
    fn scratch(&self) -> io::Result<TempDir> {
        let prefix = format!(".building-{}-", self.key);
        for entry in fs::read_dir(self.cache)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        tempfile::Builder::new().prefix(&prefix).tempdir_in(self.cache)
    }
}

/// Names a build by everything that decides its outcome.
fn key(source: Source) -> String {
    let (os, arch) = (consts::OS, consts::ARCH);
    match source {
        Source::Module(module) => {
            let flags = module.linker_flags();
            let hash = fnv1a(&[module.go_mod, module.go_sum, &flags, os, arch]);
            format!("{}-{}-{hash:016x}", module.name, module.release())
        }
        Source::Package(package) => format!("{package}-debian-{arch}"),
    }
}

/// FNV-1a, which unlike the standard library's hasher stays the same from release to release.
fn fnv1a(parts: &[&str]) -> u64 {
    parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Holds the source's lock until it is dropped, or this process ends in whatever way.
fn lock(source: Source, path: &Path) -> Result<File, BinariesError> {
    let failed = || BinariesError::io("cannot lock", path);
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed())?;
    let what = match source {
        Source::Module(module) => format!("builds {} {}", module.name, module.release()),
        Source::Package(package) => format!("fetches {package}"),
    };
    let mut progress = Progress::new(format!("another process {what}, waiting for it"));
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => progress.tick(),
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
        }
        thread::sleep(POLL);
    }
}

/// Runs `go build` in `scratch`, its output in `log`, the programs in `scratch/bin`.
fn run_go(module: &Module, go: &Path, scratch: &Path, log: &Path) -> io::Result<ExitStatus> {
    fs::write(scratch.join("go.mod"), module.go_mod)?;
    fs::write(scratch.join("go.sum"), module.go_sum)?;
    fs::create_dir(scratch.join("bin"))?;
    // Go names a program after its package, and etcd's is called `server`.
    let output = match module.programs {
        [(tool, _)] => format!("bin/{tool}"),
        _ => "bin/".to_owned(),
    };
    let file = File::create(log)?;
    let mut child = Command::new(go)
        .args(["build", "-trimpath", "-ldflags", &module.linker_flags(), "-o", &output])
        .args(module.programs.iter().map(|(_, package)| package))
        .current_dir(scratch)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let mut progress = Progress::new(format!(
        "building {} {} from source, about {} the first time on two cores",
        module.name,
        module.release(),
        module.takes
    ));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        progress.tick();
        thread::sleep(POLL);
    }
}

/// Takes the programs out of a Debian package, without installing it: its output in `log`, the
/// programs in `scratch/bin`.
fn fetch(package: &str, path: &OsStr, scratch: &Path, log: &Path) -> io::Result<ExitStatus> {
    let file = File::create(log)?;
    let script = r#"
set -eu
mkdir package
cd package
apt-get download "$0" || { apt-get update; apt-get download "$0"; }
dpkg -x ./*.deb root
mv root/usr/bin ../bin
"#;
    let mut child = Command::new("/bin/sh")
        .args(["-c", script, package])
        .env("PATH", path)
        .current_dir(scratch)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let mut progress = Progress::new(format!("fetching Debian's package {package}"));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        progress.tick();
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a_and_tells_parts_apart() {
        assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
        assert_ne!(fnv1a(&["ab", "c"]), fnv1a(&["a", "bc"]));
    }
}
