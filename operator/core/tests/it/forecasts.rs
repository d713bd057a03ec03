//! What a published forecast of the power price changes, and what it must not.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use switchyard_api::{Decimal, Reason, Use};
use switchyard_core::forecast::Forecast;

use crate::support::World;

const CHEAP: f64 = 0.1;
/// A node then loses more by mining than it costs to do nothing, but not much.
const DEAR: f64 = 2.2;

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// The power price by the hour: dear at noon of every day, and from a time on for so many hours.
fn price(begin: Timestamp, time: Timestamp, dear_from: i64, dear_for: i64) -> f64 {
    let hour = time.duration_since(begin).as_hours();
    let daily = hour < dear_from - 24 && hour % 24 == 12;
    if daily || (dear_from..dear_from + dear_for).contains(&hour) { DEAR } else { CHEAP }
}

const DAYS: i64 = 12;
const EVENT: i64 = DAYS * 24;

/// A mining node in a patient pool just as power becomes dear, after days in which a forecast was told
/// with an error that a person gives.
fn at_the_event(dear_for: i64, tell: fn(f64) -> f64) -> World {
    let mut world = World::mining(1);
    world.pool().shifting.patience = Decimal::new(2.0).unwrap();
    // A switch is dear: an hour there and an hour back.
    for (from, to) in [(Use::Mining, Use::Idle), (Use::Idle, Use::Mining)] {
        for _ in 0..40 {
            world.observer.measured(&"texas".into(), from, to, hours(1));
        }
    }
    let begin = world.now;
    let points = (0..EVENT + 48).map(|hour| {
        let time = begin + hours(hour);
        (time, tell(price(begin, time, EVENT, dear_for)))
    });
    let forecast = Forecast::new(points, begin + hours(EVENT + 48)).unwrap();
    world.forecasts.insert("power".into(), Arc::new(forecast));
    while world.now < begin + hours(EVENT) {
        let now = world.now;
        world.set("power", price(begin, now, EVENT, dear_for));
        world.tick(1800);
    }
    world.set("power", DEAR);
    world
}

fn as_it_is(price: f64) -> f64 {
    price
}

/// How many half hours of dear power it takes until the node idles.
fn waits(mut world: World) -> Option<usize> {
    (0..60).find(|_| {
        world.tick(1800);
        world.count(Use::Idle) == 1 || !world.shifts.is_empty()
    })
}

fn without(mut world: World) -> World {
    world.forecasts.clear();
    world
}

#[test]
fn a_node_goes_at_once_if_the_forecast_says_that_it_pays() {
    let plain = waits(without(at_the_event(30, as_it_is))).unwrap();
    assert!(plain > 3, "{plain}");
    assert_eq!(waits(at_the_event(30, as_it_is)), Some(0));
}

#[test]
fn a_node_stays_if_the_forecast_says_that_it_is_soon_over_but_not_for_good() {
    let plain = waits(without(at_the_event(1, as_it_is))).unwrap();
    let mut world = at_the_event(1, as_it_is);
    // But it is not over.
    let begin = world.now;
    let mut reasons = Vec::new();
    while world.shifts.is_empty() && world.count(Use::Mining) == 1 {
        reasons.push(world.decision("n000").reason);
        world.tick(1800);
        assert!(world.now < begin + hours(60), "held up for good: {reasons:?}");
    }
    assert!(reasons.len() > plain, "{} against {plain}", reasons.len());
    assert!(reasons.len() <= 3 * plain + 3, "{} against {plain}", reasons.len());
    assert!(reasons.contains(&Reason::SoonOver), "{reasons:?}");
}

#[rstest]
#[case::inverted(|price| CHEAP + DEAR - price)]
#[case::in_another_unit(|price| price * 1000.0)]
#[case::flat(|_| CHEAP)]
fn a_forecast_that_was_wrong_changes_nothing(#[case] tell: fn(f64) -> f64) {
    for dear_for in [1, 30] {
        let plain = waits(without(at_the_event(dear_for, tell)));
        assert_eq!(waits(at_the_event(dear_for, tell)), plain);
    }
}

proptest! {
    /// A forecast that says nothing new, or whose time has passed, is no forecast.
    #[test]
    fn a_forecast_without_future_values_is_none(values in prop::collection::vec(-1.0..1.0_f64, 0..5)) {
        let at = |hour: usize| Timestamp::UNIX_EPOCH + hours(i64::try_from(hour).unwrap());
        let points: Vec<_> = values.iter().enumerate().map(|(hour, value)| (at(hour), *value)).collect();
        let end = at(values.len());
        let forecast = Forecast::new(points.clone(), end);
        prop_assert_eq!(forecast.is_none(), values.is_empty());
        if let Some(forecast) = forecast {
            prop_assert_eq!(forecast.at(end), None);
            for (time, value) in points {
                prop_assert_eq!(forecast.at(time + SignedDuration::from_mins(59)), Some(value));
            }
        }
    }
}
