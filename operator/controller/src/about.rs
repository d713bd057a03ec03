//! What this program was built from.

/// What a program was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
    /// The commit, as whoever built it said by `SWITCHYARD_COMMIT`.
    pub commit: &'static str,
    /// The optional parts that were built in.
    pub features: &'static str,
}

/// What this program was built from.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: match option_env!("SWITCHYARD_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
    // No part is optional yet.
    features: "none",
};
