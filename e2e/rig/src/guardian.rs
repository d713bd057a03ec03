//! Makes sure that nothing outlives the process that started it.
//!
//! `Drop` does not run when a process is killed. So a [`Guardian`] is a process of its own: a small
//! shell script with a pipe on its stdin, in a process group of its own and deaf to Ctrl-C. As long
//! as its owner lives it only takes notes. When the owner is gone, even by `kill -9`, the kernel
//! closes the pipe, and the guardian kills every process group on its list and removes the
//! directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeWriter, Write};
use std::mem;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::child::Child;

/// Puts the child on the guardian's list before it runs anything: its stdin is the guardian's pipe.
/// If its parent did so, a `kill -9` in between would leave a child that nobody knows.
const REGISTER: &str = r#"echo "add $$" >&0 && exec "$@" </dev/null"#;

/// Owns a temporary directory and processes, and outlives its owner to clean up after it.
///
/// Clones share the same guardian. The last one that is dropped ends everything; see
/// [`Guardian::spawn`].
#[derive(Clone, Debug)]
pub struct Guardian {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// `None` only while dropping.
    pipe: Option<PipeWriter>,
    process: process::Child,
    /// Whether the directory stays.
    spared: AtomicBool,
    /// Whether the processes stay, and the directory with them.
    kept: AtomicBool,
}

impl Guardian {
    /// Creates the directory and starts to watch over this process.
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("switchyard-rig-").tempdir()?;
        let (stdin, pipe) = io::pipe()?;
        let process = Command::new("sh")
            .arg("-c")
            .arg(include_str!("guardian.sh"))
            .arg("switchyard-guardian")
            .arg(directory.path())
            .current_dir("/")
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let shared = Shared {
            directory: TempDir::keep(directory),
            pipe: Some(pipe),
            process,
            spared: AtomicBool::new(false),
            kept: AtomicBool::new(false),
        };
        fs::create_dir(shared.directory.join("logs"))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The temporary directory, readable by this user only.
    pub fn dir(&self) -> &Path {
        &self.shared.directory
    }

    /// Where the output of the child called `name` is.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir().join("logs").join(format!("{name}.log"))
    }

    /// Starts a process that ends with this one.
    ///
    /// It gets a process group of its own, so that Ctrl-C on the terminal does not reach it before
    /// its owner could end it in order. Its output is appended to [`Guardian::log`]. Program,
    /// arguments, environment and folder of `command` count; its stdio does not, nor does
    /// [`Command::env_clear`], which cannot be read back.
    pub fn spawn(&self, name: &str, command: &Command) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(name))?;
        let process = self.registering(name, command, log)?.spawn()?;
        Ok(Child::new(name, process, self.clone()))
    }

    /// The same command, run by a shell that registers itself first.
    fn registering(&self, name: &str, command: &Command, log: File) -> io::Result<Command> {
        let mut shell = Command::new("sh");
        shell.args(["-c", REGISTER, name]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        let pipe = self.shared.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        shell.process_group(0).stdin(pipe.try_clone()?).stdout(log.try_clone()?).stderr(log);
        Ok(shell)
    }

    /// Leaves the directory in place for somebody to read, whatever happens to the processes.
    pub fn spare_dir(&self) {
        self.shared.spared.store(true, Ordering::Relaxed);
        // Where the guardian is gone, `Drop` does its work and honours the flag.
        let _ = self.tell("spare");
    }

    /// Leaves everything as it is, for good: the processes run on and the directory stays.
    ///
    /// Returns a script that ends them and removes the directory.
    pub fn keep(&self) -> io::Result<PathBuf> {
        let stop = self.dir().join("stop.sh");
        fs::write(&stop, include_str!("stop.sh"))?;
        self.tell("keep")?;
        self.shared.kept.store(true, Ordering::Relaxed);
        Ok(stop)
    }

    pub(crate) fn keeps(&self) -> bool {
        self.shared.kept.load(Ordering::Relaxed)
    }

    /// Says one line. Lines this short are never mixed up with those of a registering child.
    pub(crate) fn tell(&self, line: &str) -> io::Result<()> {
        let mut pipe = self.shared.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        pipe.write_all(format!("{line}\n").as_bytes())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(mem::take(&mut self.pipe)); // the guardian's sign to do its work
        let done = self.process.wait().is_ok_and(|status| status.success());
        if !done && !self.kept.load(Ordering::Relaxed) && !self.spared.load(Ordering::Relaxed) {
            // Somebody ended the guardian itself. The children ended with their handles.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the guardian's script kills when it is told `lines`; its directory is removed or not.
    fn killed(lines: &str, directory: &Path) -> String {
        let recording = format!("kill() {{ echo \"$@\"; }}\n{}", include_str!("guardian.sh"));
        let mut script = Command::new("sh")
            .args(["-c", &recording, "guardian"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        script.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        String::from_utf8(script.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn at_the_end_every_group_is_killed_and_the_directory_removed() {
        let directory = TempDir::new().unwrap();
        let killed = killed("add 11\nadd 111\n", directory.path());
        assert_eq!(killed, "-s KILL -- -11\n-s KILL -- -111\n");
        assert!(!directory.path().exists());
    }

    #[test]
    fn a_group_that_has_ended_is_never_killed_again() {
        let directory = TempDir::new().unwrap();
        let lines = "add 11\nadd 1\nadd 111\nforget 11\nforget 5\nforget 111\n";
        assert_eq!(killed(lines, directory.path()), "-s KILL -- -1\n");
    }

    #[test]
    fn a_signal_is_passed_on_at_once() {
        let directory = TempDir::new().unwrap();
        let lines = "add 11\nterm 11\nkill 11\nforget 11\n";
        assert_eq!(killed(lines, directory.path()), "-s TERM -- -11\n-s KILL -- -11\n");
    }

    #[test]
    fn a_spared_directory_stays() {
        let directory = TempDir::new().unwrap();
        assert_eq!(killed("add 11\nspare\n", directory.path()), "-s KILL -- -11\n");
        assert!(directory.path().exists());
    }
}
