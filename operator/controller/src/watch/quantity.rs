//! Kubernetes quantities as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The quantity times `scale`, rounded up, as the scheduler rounds; what cannot be read is zero,
/// because the API server has checked it.
pub fn whole(quantity: &Quantity, scale: f64) -> i64 {
    let text = quantity.0.trim();
    let suffix = SUFFIXES.iter().find_map(|(suffix, factor)| {
        let digits = text.strip_suffix(suffix)?;
        Some((digits, *factor))
    });
    let (digits, factor) = suffix.unwrap_or((text, 1.0));
    let number = digits.parse::<f64>().unwrap_or(0.0) * factor * scale;
    // Products of decimal fractions miss whole numbers by a hair.
    let rounded =
        if (number - number.round()).abs() < 1e-6 { number.round() } else { number.ceil() };
    #[allow(clippy::cast_possible_truncation)] // saturates
    {
        rounded as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("100m", 1000.0, 100)]
    #[case("2", 1000.0, 2000)]
    #[case("0.1", 1000.0, 100)]
    #[case("1.5Gi", 1.0, 1_610_612_736)]
    #[case("12e3", 1.0, 12_000)]
    #[case("1E", 1.0, 1_000_000_000_000_000_000)]
    #[case("1500u", 1000.0, 2)]
    #[case("nonsense", 1.0, 0)]
    fn quantities(#[case] text: &str, #[case] scale: f64, #[case] expected: i64) {
        assert_eq!(whole(&Quantity(text.into()), scale), expected);
    }
}
