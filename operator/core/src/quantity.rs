//! Rates and powers that are finite by construction.
//!
//! A NaN cannot be made and an overflow stops at the largest number, so every comparison and every
//! sort in this crate has one answer.

use std::{
    cmp::Ordering,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub},
};

use jiff::SignedDuration;
use switchyard_api::{HashRate, Unit};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name(f64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0.0);

            /// The quantity, if the number is finite.
            pub fn new(number: f64) -> Option<Self> {
                number.is_finite().then_some(Self::clamped(number))
            }

            /// The number, in the unit of the type's name.
            pub fn number(self) -> f64 {
                self.0
            }

            /// So many times as much.
            #[must_use]
            pub fn times(self, count: u32) -> Self {
                Self::clamped(self.0 * f64::from(count))
            }

            // Adding zero turns -0.0 into 0.0, which sorts differently.
            fn clamped(number: f64) -> Self {
                Self(number.clamp(f64::MIN, f64::MAX) + 0.0)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self::clamped(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self::clamped(self.0 - other.0)
            }
        }

        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self::clamped(-self.0)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:.*} {}", f.precision().unwrap_or(2), self.0, $unit)
            }
        }
    };
}

quantity!(
    /// Money earned (or, negative, spent) in an hour.
    UsdPerHour,
    "USD/h"
);
quantity!(
    /// An amount of money.
    Usd,
    "USD"
);
quantity!(
    /// What a GPU-hour is sold for.
    UsdPerGpuHour,
    "USD/GPU-h"
);
quantity!(
    /// What energy costs.
    UsdPerKwh,
    "USD/kWh"
);
quantity!(
    /// What a network pays for one hash per second, kept up for a day.
    UsdPerHashrateDay,
    "USD/(H/s)/day"
);
quantity!(
    /// Electric power.
    Watts,
    "W"
);

impl Watts {
    /// What an hour at this power costs, with `pue` watts at the meter for each of these.
    pub fn cost(self, price: UsdPerKwh, pue: f64) -> UsdPerHour {
        UsdPerHour::clamped(self.0 / 1000.0 * pue * price.0)
    }
}

impl Usd {
    /// So many times as much.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self::clamped(self.0 * factor)
    }
}

impl UsdPerHour {
    /// What it comes to in a time.
    pub fn over(self, time: SignedDuration) -> Usd {
        Usd::clamped(self.0 * time.as_secs_f64() / 3600.0)
    }
}

impl UsdPerGpuHour {
    /// What so many GPUs earn.
    pub fn of(self, gpus: u32) -> UsdPerHour {
        UsdPerHour::clamped(self.0 * f64::from(gpus))
    }
}

impl UsdPerHashrateDay {
    /// What so many GPUs of a hash rate earn of which a share (0 to 1) arrives.
    pub fn of(self, rate: HashRate, gpus: u32, arriving: f64) -> UsdPerHour {
        UsdPerHour::clamped(rate.per_second() * f64::from(gpus) * self.0 / 24.0 * arriving)
    }
}

/// What kind of thing a unit measures; signals of one kind can stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Measure {
    /// An energy price.
    #[strum(serialize = "energy price (USDPerKWh, USDPerMWh)")]
    Energy,
    /// An HPC price.
    #[strum(serialize = "HPC price (USDPerGPUHour)")]
    GpuHour,
    /// A mining income.
    #[strum(serialize = "mining income (USDPerMHsDay, USDPerGHsDay, USDPerTHsDay)")]
    HashIncome,
}

/// The kind of a unit, and how many of this crate's units one of it is.
pub fn measure(unit: Unit) -> (Measure, f64) {
    match unit {
        Unit::USDPerKWh => (Measure::Energy, 1.0),
        Unit::USDPerMWh => (Measure::Energy, 1e-3),
        Unit::USDPerGPUHour => (Measure::GpuHour, 1.0),
        Unit::USDPerMHsDay => (Measure::HashIncome, 1e-6),
        Unit::USDPerGHsDay => (Measure::HashIncome, 1e-9),
        Unit::USDPerTHsDay => (Measure::HashIncome, 1e-12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilowatt_for_an_hour_is_a_kilowatt_hour() {
        let price = UsdPerKwh::new(0.20).unwrap();
        let cost = Watts::new(1000.0).unwrap().cost(price, 1.5).number();
        assert!((cost - 0.30).abs() < 1e-12, "{cost}");
    }

    #[test]
    fn mining_income_is_per_day_and_after_the_fee() {
        // 8 GPUs x 120 MH/s x 0.10 USD per MH/s and day = 96 USD a day; 1% stays with the pool.
        let (_, factor) = measure(Unit::USDPerMHsDay);
        let income = UsdPerHashrateDay::new(0.10 * factor).unwrap();
        let earned = income.of("120M".parse().unwrap(), 8, 0.99).number();
        assert!((earned - 96.0 * 0.99 / 24.0).abs() < 1e-9, "{earned}");
    }

    #[test]
    fn nothing_leaves_the_finite_numbers() {
        assert_eq!(UsdPerHour::new(f64::NAN), None);
        assert_eq!(UsdPerHour::new(f64::INFINITY), None);
        let huge = UsdPerHour::new(f64::MAX).unwrap();
        assert_eq!(huge + huge, huge);
        assert_eq!(-UsdPerHour::ZERO, UsdPerHour::ZERO);
    }
}
