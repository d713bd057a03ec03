//! What can be wrong with a site, and what to do about it.

use std::{fmt, io, path::PathBuf};

/// A site that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file is not there, or cannot be read.
    #[error("{}: cannot be read: {remedy}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something in a file is wrong.
    #[error("{}{}: {problem}", .file.display(), Line(*.line))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line, from 1, if it is one line.
        line: Option<u64>,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl SiteError {
    /// Something in a file is wrong.
    pub(crate) fn wrong(
        file: impl Into<PathBuf>,
        line: Option<u64>,
        problem: impl Into<String>,
    ) -> Self {
        Self::Wrong { file: file.into(), line, problem: problem.into() }
    }
}

struct Line(Option<u64>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
