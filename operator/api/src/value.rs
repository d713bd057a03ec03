//! Values as people write them in manifests: decimals, hash rates, durations, counts.
//!
//! JSON numbers are avoided on purpose: a YAML `0.10` must not arrive as `0.1` or `1e-1`, and CEL
//! can compare what it can parse. Each type carries its own schema, so the API server refuses what
//! the operator could not read.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value that is not of the form its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseValueError {
    /// What was written.
    pub text: String,
    /// What would have been right, with an example.
    pub expected: &'static str,
}

impl ParseValueError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(40).collect(), expected }
    }
}

/// A finite decimal number written as a string, such as `"0.065"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Decimal(f64);

const DECIMAL_PATTERN: &str = r"^-?[0-9]{1,12}(\.[0-9]{1,12})?$";
const DECIMAL_FORM: &str = "a decimal number of up to 12 digits before and after the point, \
                            written as a string, such as \"0.065\"";

impl Decimal {
    /// The number, if it is finite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// The number itself.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Decimal {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed =
            text.len() <= 26 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
        let number = well_formed.then(|| text.parse().ok()).flatten();
        number.and_then(Self::new).ok_or_else(|| ParseValueError::new(text, DECIMAL_FORM))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nine digits hold a millionth of a cent and hide the noise of binary fractions.
        let text = format!("{:.9}", self.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

/// The hash rate of one GPU in hashes per second, written as a Kubernetes quantity such as `120M`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct HashRate(f64);

const HASH_RATE_PATTERN: &str = r"^[0-9]{1,12}(\.[0-9]{1,6})?(k|M|G|T|P|E)?$";
const HASH_RATE_FORM: &str =
    "a hash rate in H/s with an optional SI suffix k, M, G, T, P or E, such as \"120M\"";
const SI_SUFFIXES: [(char, f64); 6] =
    [('E', 1e18), ('P', 1e15), ('T', 1e12), ('G', 1e9), ('M', 1e6), ('k', 1e3)];

impl HashRate {
    /// Hashes per second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for HashRate {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let suffix = SI_SUFFIXES.iter().find(|(letter, _)| text.ends_with(*letter));
        let (digits, factor) = match suffix {
            Some((letter, factor)) => (text.strip_suffix(*letter).unwrap_or(text), *factor),
            None => (text, 1.0),
        };
        let well_formed = text.len() <= 20
            && digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        well_formed
            .then(|| digits.parse::<f64>().ok())
            .flatten()
            .map(|number| Self(number * factor))
            .ok_or_else(|| ParseValueError::new(text, HASH_RATE_FORM))
    }
}

impl fmt::Display for HashRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SI_SUFFIXES.iter().find(|(_, factor)| self.0 >= *factor) {
            Some((letter, factor)) => write!(f, "{}{letter}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A length of time in Go's notation, such as `90s`, `10m` or `1h30m`; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(std::time::Duration);

const PERIOD_PATTERN: &str = r"^([0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h))+$";
const PERIOD_FORM: &str = "a duration such as \"90s\", \"10m\" or \"1h30m\"";

impl Period {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The length of time.
    pub const fn duration(self) -> std::time::Duration {
        self.0
    }

    /// The length of time as a signed one, for arithmetic on timestamps.
    pub fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX)
    }
}

impl FromStr for Period {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known_form = text.len() <= 40 && text.starts_with(|c: char| c.is_ascii_digit());
        let parsed = known_form.then(|| text.parse::<kube::core::Duration>().ok()).flatten();
        match parsed {
            Some(duration) if !duration.is_negative() => Ok(Self(duration.into())),
            _ => Err(ParseValueError::new(text, PERIOD_FORM)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        if self.0.subsec_nanos() > 0 {
            return write!(f, "{:?}", self.0);
        }
        for (amount, unit) in [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')]
        {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A number of nodes: a count such as `4`, or a share of the pool such as `"10%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeCount {
    /// So many nodes.
    Count(u32),
    /// So many hundredths of the pool's nodes.
    Percent(u8),
}

const NODE_COUNT_FORM: &str =
    "a count of nodes such as 4, or a share of the pool from \"0%\" to \"100%\"";
const NODE_COUNT_RULE: &str = "type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')";

impl NodeCount {
    /// The number of nodes this means in a pool of `total`; a share is rounded up, as budgets of
    /// the cluster autoscalers are, so that 5% of 10 nodes is 1 and not never.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }
}

impl FromStr for NodeCount {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
        match percent {
            Some(percent) if percent <= 100 => Ok(Self::Percent(percent)),
            _ => Err(ParseValueError::new(text, NODE_COUNT_FORM)),
        }
    }
}

impl fmt::Display for NodeCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for NodeCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for NodeCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u32),
            Share(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Count(count) => Ok(Self::Count(count)),
            Written::Share(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for NodeCount {
    fn schema_name() -> Cow<'static, str> {
        "NodeCount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            // Bounds what the rule may cost.
            "maxLength": 4,
            "x-kubernetes-validations": [{
                "rule": NODE_COUNT_RULE,
                "message": format!("must be {NODE_COUNT_FORM}"),
            }],
        })
    }
}

/// Serde and schema of a type that is a string of a known pattern.
macro_rules! string_value {
    ($type:ident, $pattern:expr, $max_length:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "maxLength": $max_length })
            }
        }
    };
}

string_value!(Decimal, DECIMAL_PATTERN, 26);
string_value!(HashRate, HASH_RATE_PATTERN, 20);
string_value!(Period, PERIOD_PATTERN, 40);

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.065", Some(0.065))]
    #[case("-3.5", Some(-3.5))]
    #[case("12", Some(12.0))]
    #[case("NaN", None)]
    #[case("1e3", None)]
    #[case("inf", None)]
    #[case("", None)]
    #[case("1.2.3", None)]
    fn decimals(#[case] text: &str, #[case] expected: Option<f64>) {
        assert_eq!(text.parse::<Decimal>().ok().map(Decimal::value), expected);
    }

    #[rstest]
    #[case(0.1 + 0.2, "0.3")]
    #[case(100.0, "100")]
    #[case(-0.000_000_000_1, "0")]
    fn decimals_are_written_without_noise(#[case] number: f64, #[case] text: &str) {
        assert_eq!(Decimal::new(number).unwrap().to_string(), text);
    }

    #[rstest]
    #[case("120M", Some(120e6))]
    #[case("45.5k", Some(45_500.0))]
    #[case("7", Some(7.0))]
    #[case("M", None)]
    #[case("12MM", None)]
    #[case("12Mi", None)]
    fn hash_rates(#[case] text: &str, #[case] expected: Option<f64>) {
        assert_eq!(text.parse::<HashRate>().ok().map(HashRate::per_second), expected);
    }

    #[rstest]
    #[case("90s", Some(90))]
    #[case("1h30m", Some(5400))]
    #[case("-5s", None)]
    #[case("10", None)]
    fn periods(#[case] text: &str, #[case] seconds: Option<u64>) {
        let expected = seconds.map(std::time::Duration::from_secs);
        assert_eq!(text.parse::<Period>().ok().map(Period::duration), expected);
    }

    #[rstest]
    #[case("90s", "1m30s")]
    #[case("60m", "1h")]
    #[case("0s", "0s")]
    #[case("1.5s", "1.5s")]
    fn periods_are_written_shortly(#[case] written: &str, #[case] shown: &str) {
        assert_eq!(written.parse::<Period>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("\"10%\"", 25, Some(3))]
    #[case("\"100%\"", 25, Some(25))]
    #[case("4", 25, Some(4))]
    #[case("\"101%\"", 25, None)]
    #[case("\"4\"", 25, None)]
    #[case("-1", 25, None)]
    fn node_counts(#[case] json: &str, #[case] total: usize, #[case] expected: Option<usize>) {
        let count = serde_json::from_str::<NodeCount>(json).ok();
        assert_eq!(count.map(|count| count.of(total)), expected);
    }
}
