//! Tells a person who waits what for, and how long it usually takes.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Nobody needs to hear about a shorter wait.
const PATIENCE: Duration = Duration::from_secs(2);
const TERMINAL_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// One wait, told on stderr: a line that is rewritten on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    what: String,
    started: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            started: Instant::now(),
            shown: None,
            terminal: stderr().is_terminal(),
        }
    }

    /// Call this often; it decides when there is something to say.
    pub(crate) fn tick(&mut self) {
        let due = match self.shown {
            None => self.started + PATIENCE,
            Some(shown) if self.terminal => shown + TERMINAL_INTERVAL,
            Some(shown) => shown + LOG_INTERVAL,
        };
        if Instant::now() >= due {
            self.shown = Some(Instant::now());
            self.show(if self.terminal { "" } else { "\n" });
        }
    }

    fn show(&self, end: &str) {
        let start = if self.terminal { "\r\x1b[2K" } else { "" };
        let elapsed = minutes(self.started.elapsed());
        // A closed stderr is no reason to stop.
        let _ = write!(stderr().lock(), "{start}switchyard: {} … {elapsed}{end}", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            self.show("\n");
        }
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_minutes_and_seconds() {
        assert_eq!(minutes(Duration::from_secs(5)), "0:05");
        assert_eq!(minutes(Duration::from_secs(274)), "4:34");
    }
}
