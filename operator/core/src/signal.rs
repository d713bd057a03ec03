//! From what several sources say to one number, and whether it may be trusted.

use jiff::{SignedDuration, Timestamp};
use switchyard_api::Reason;

/// The median of the values, if there are at least `required` of them: of an odd number the middle
/// one, so that a minority may say anything; of an even number the mean of the two in the middle.
pub fn combine(values: &[f64], required: usize) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.is_empty() || sorted.len() < required {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(lower / 2.0 + upper / 2.0)
}

/// May a price-driven decision rest on a value that was last read at `time`? A value is held until
/// it is older than `max_age`, because one missed answer says nothing about the price.
pub fn judge(
    time: Option<Timestamp>,
    answered: bool,
    max_age: SignedDuration,
    now: Timestamp,
) -> (bool, Reason) {
    match time {
        None => (false, Reason::NeverRead),
        Some(time) if now.duration_since(time) > max_age => (false, Reason::Stale),
        Some(_) if answered => (true, Reason::Fresh),
        Some(_) => (true, Reason::Held),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], 0, None)]
    #[case(&[1.0], 1, Some(1.0))]
    #[case(&[1.0], 2, None)]
    #[case(&[1.0, 3.0], 2, Some(2.0))]
    #[case(&[9.0, 1.0, 2.0], 2, Some(2.0))]
    #[case(&[f64::NAN, 1.0, 2.0], 3, None)]
    #[case(&[f64::MAX, f64::MAX], 2, Some(f64::MAX))]
    fn medians(#[case] values: &[f64], #[case] required: usize, #[case] expected: Option<f64>) {
        assert_eq!(combine(values, required), expected);
    }

    proptest! {
        #[test]
        fn one_of_three_may_lie(one: f64, other in 0.0..1.0_f64, another in 0.0..1.0_f64) {
            let said = combine(&[one, other, another], 2).unwrap();
            prop_assert!((0.0..1.0).contains(&said));
        }
    }

    #[rstest]
    #[case(None, true, false, Reason::NeverRead)]
    #[case(Some(0), true, true, Reason::Fresh)]
    #[case(Some(60), false, true, Reason::Held)]
    #[case(Some(61), true, false, Reason::Stale)]
    fn trust(
        #[case] age: Option<i64>,
        #[case] answered: bool,
        #[case] trusted: bool,
        #[case] reason: Reason,
    ) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let time = age.map(|age| now - SignedDuration::from_secs(age));
        let minute = SignedDuration::from_secs(60);
        assert_eq!(judge(time, answered, minute, now), (trusted, reason));
    }
}
