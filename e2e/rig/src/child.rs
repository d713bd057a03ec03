//! A process that ends with its owner.

use std::io;
use std::path::PathBuf;
use std::process::{self, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::guardian::Guardian;
use crate::log;

const POLL: Duration = Duration::from_millis(5);

/// A process that a [`Guardian`] started. Dropping it kills it.
///
/// While the process has not been waited for, the kernel does not give its pid to another one. As
/// soon as it has been, the guardian is told to forget the pid, so it never kills a stranger.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: process::Child,
    guardian: Guardian,
    ended: Option<ExitStatus>,
}

impl Child {
    pub(crate) fn new(name: &str, process: process::Child, guardian: Guardian) -> Self {
        Self { name: name.to_owned(), process, guardian, ended: None }
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid, which is its process group too.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its output is.
    pub fn log(&self) -> PathBuf {
        self.guardian.log(&self.name)
    }

    /// The last lines of its output.
    pub fn log_tail(&self) -> String {
        log::tail(&self.log())
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let status = self.process.try_wait()?;
            self.note(status);
        }
        Ok(self.ended)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait()?;
        self.note(Some(status));
        Ok(status)
    }

    /// Ends it at once with SIGKILL, and all it started.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        if self.signal("kill").is_err() {
            self.process.kill()?; // the guardian is gone: reach at least the process itself
        }
        self.wait()
    }

    /// Asks it to end with SIGTERM, and kills it if it has not after `patience`.
    pub fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        if self.try_wait()?.is_none() && self.signal("term").is_ok() {
            while Instant::now() < deadline && self.try_wait()?.is_none() {
                thread::sleep(POLL);
            }
        }
        self.kill()
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        self.guardian.tell(&format!("{signal} {}", self.id()))
    }

    fn note(&mut self, status: Option<ExitStatus>) {
        if status.is_some() && self.ended.is_none() {
            self.ended = status;
            // A guardian that is gone has nothing to forget.
            let _ = self.signal("forget");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.guardian.keeps() {
            let _ = self.kill();
        }
    }
}
