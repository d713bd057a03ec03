//! What people say on nodes and in the hold, read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use switchyard_api::{Use, keys};

/// What a person says is shown to others up to this length.
const WORDS_MAX: usize = 200;

/// A person wants a node in one use: the annotation `switchyard.dev/pin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The use.
    pub node_use: Use,
    /// Until when; for good: none.
    pub until: Option<Timestamp>,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// A pin that cannot be read; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// A part is none of those that a pin has.
    #[error("{0:?} is none of use=, until= and reason=")]
    Part(String),
    /// No use is named.
    #[error("use= is missing")]
    NoUse,
    /// The use is not one.
    #[error("use={0} is none of Mining, HPC and Idle")]
    Use(String),
    /// The time cannot be read.
    #[error(transparent)]
    Until(#[from] UntilError),
}

/// A time that cannot be read; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("until={0} is no time with its zone, such as 2026-12-24T18:00Z")]
pub struct UntilError(String);

impl Pin {
    /// Reads the annotation: `use=HPC,until=2026-12-24T18:00Z,reason=words, to the end`.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let (terms, reason) = match text.split_once("reason=") {
            Some((terms, words)) => (terms, said(words)),
            None => (text, None),
        };
        let (mut node_use, mut until) = (None, None);
        for part in terms.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("use", value)) => node_use = Some(use_of(value)?),
                Some(("until", value)) => until = Some(time(value)?),
                _ => return Err(PinError::Part(shown(part))),
            }
        }
        Ok(Self { node_use: node_use.ok_or(PinError::NoUse)?, until, reason })
    }

    /// Is it in force?
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A person lets no shift begin: the ConfigMap `switchyard-hold`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hold {
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// Until when; none: until it is deleted.
    pub until: Option<Result<Timestamp, UntilError>>,
}

impl Hold {
    /// Reads the data of the ConfigMap: `reason` and `until`, both optional.
    pub fn read(data: &BTreeMap<String, String>) -> Self {
        Self {
            reason: data.get("reason").and_then(|words| said(words)),
            until: data.get("until").map(|text| time(text)),
        }
    }

    /// Is it in force? One whose end cannot be read is.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.ends().is_none_or(|until| now < until)
    }

    /// When it ends by itself.
    pub fn ends(&self) -> Option<Timestamp> {
        self.until.as_ref()?.as_ref().ok().copied()
    }
}

fn use_of(text: &str) -> Result<Use, PinError> {
    keys::parse_use(&text.trim().to_ascii_lowercase()).ok_or_else(|| PinError::Use(shown(text)))
}

fn time(text: &str) -> Result<Timestamp, UntilError> {
    text.trim().parse().map_err(|_| UntilError(shown(text)))
}

fn said(words: &str) -> Option<String> {
    let words = shown(words);
    (!words.is_empty()).then_some(words)
}

fn shown(text: &str) -> String {
    text.trim().chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("use=HPC", Use::Hpc, None, None)]
    #[case("use=hpc, until=2026-12-24T18:00Z", Use::Hpc, Some("2026-12-24T18:00:00Z"), None)]
    #[case(
        "until=2026-12-24T12:00-06:00,use=Mining,reason=new fans, see the board",
        Use::Mining,
        Some("2026-12-24T18:00:00Z"),
        Some("new fans, see the board")
    )]
    fn pins_are_read(
        #[case] text: &str,
        #[case] node_use: Use,
        #[case] until: Option<&str>,
        #[case] reason: Option<&str>,
    ) {
        let until = until.map(|time| time.parse().unwrap());
        let pin = Pin { node_use, until, reason: reason.map(str::to_owned) };
        assert_eq!(Pin::parse(text), Ok(pin));
    }

    #[rstest]
    #[case("", "use= is missing")]
    #[case("reason=because", "use= is missing")]
    #[case("HPC", "\"HPC\" is none of use=, until= and reason=")]
    #[case("use=Gaming", "use=Gaming is none of Mining, HPC and Idle")]
    #[case(
        "use=HPC,until=tomorrow",
        "until=tomorrow is no time with its zone, such as 2026-12-24T18:00Z"
    )]
    #[case(
        "use=HPC,until=2026-12-24T18:00",
        "until=2026-12-24T18:00 is no time with its zone, such as 2026-12-24T18:00Z"
    )]
    fn a_bad_pin_says_what_is_wrong(#[case] text: &str, #[case] message: &str) {
        assert_eq!(Pin::parse(text).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_hold_whose_end_cannot_be_read_holds() {
        let data = |until: &str| BTreeMap::from([("until".to_owned(), until.to_owned())]);
        let now: Timestamp = "2026-12-24T18:00:00Z".parse().unwrap();
        assert!(Hold::default().holds(now));
        assert!(Hold::read(&data("when I am back")).holds(now));
        assert!(Hold::read(&data("2026-12-24T18:01Z")).holds(now));
        assert!(!Hold::read(&data("2026-12-24T18:00Z")).holds(now));
    }
}
