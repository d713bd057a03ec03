//! What each use of a node is worth, in numbers that can be checked by hand: a node of eight big GPUs
//! at 0.10 USD/kWh and PUE 1.10, where a watt costs 0.00011 USD/h.

#![allow(clippy::unwrap_used)]

use rstest::rstest;
use switchyard_api::{Decimal, ProfileRef};
use switchyard_core::{
    economics::ClassEconomics,
    quantity::{Measure, UsdPerHour},
    survey::survey,
};

use crate::support::{INCOME, World, etc, profile_yaml};

/// What the big class of a world says.
fn asked<T>(world: &World, question: impl FnOnce(&ClassEconomics) -> T) -> T {
    let snapshot = world.snapshot();
    let survey = survey(&snapshot);
    question(&survey.pools[0].classes[0])
}

fn close(found: Option<UsdPerHour>, wanted: f64) {
    let found = found.unwrap().number();
    assert!((found - wanted).abs() < 1e-9, "{found} instead of {wanted}");
}

fn usd(number: f64) -> UsdPerHour {
    UsdPerHour::new(number).unwrap()
}

/// Mining: 8 x 120 MH/s x 0.10 USD a day, less 350 + 8 x 290 W.
#[test]
fn mining_earns_by_hash_rate_and_pays_for_its_power() {
    let mut world = World::new();
    let value = |world: &World| asked(world, |class| class.mining(&class.profiles[0], 8));
    close(value(&world).value, 4.0 - 2670.0 * 0.00011);
    assert!(value(&world).trusted);
    world.profiles.get_mut(&etc()).unwrap().pool_fee_percent = Decimal::new(2.5).unwrap();
    close(value(&world).value, 4.0 * 0.975 - 2670.0 * 0.00011);
    world.profiles.get_mut(&etc()).unwrap().income.haircut_percent = Decimal::new(20.0).unwrap();
    close(value(&world).value, 4.0 * 0.8 * 0.975 - 2670.0 * 0.00011);
}

#[rstest]
#[case::full(8.0, 8, 8.0 - 2910.0 * 0.00011)]
#[case::three_busy(3.0, 3, 3.0 - 1435.0 * 0.00011)]
#[case::empty(0.0, 0, -550.0 * 0.00011)]
fn jobs_pay_and_idle_gpus_beside_them_cost(
    #[case] revenue: f64,
    #[case] busy: u32,
    #[case] wanted: f64,
) {
    close(asked(&World::new(), |class| class.hpc(usd(revenue), 8, busy)).value, wanted);
}

#[test]
fn a_node_that_does_nothing_costs_its_power() {
    close(asked(&World::new(), |class| class.idle(8)).value, -550.0 * 0.00011);
}

#[test]
fn a_job_adds_what_its_gpus_draw_beyond_idling() {
    close(asked(&World::new(), |class| class.job_power(4)).value, 4.0 * 295.0 * 0.00011);
}

fn second() -> ProfileRef {
    ProfileRef { namespace: "mining".into(), name: "second".into() }
}

/// A second profile, on a signal of its own that pays so many times as much.
fn with_second(times: f64) -> World {
    let mut world = World::new();
    let mut profile = profile_yaml();
    profile.income.signal = "second".into();
    world.profiles.insert(second(), profile);
    world.pool().mining.profiles.push(second());
    world.signal("second", Measure::HashIncome, times * INCOME * 1e-6);
    world
}

#[rstest]
#[case::it_pays_more(1.5, 2)]
#[case::it_pays_less(0.5, 1)]
#[case::of_equals_the_first(1.0, 1)]
fn the_best_profile_is_the_one_that_pays_most(#[case] times: f64, #[case] wanted: usize) {
    let best =
        asked(&with_second(times), |class| (*class.best_profile(8).unwrap().0.profile).clone());
    assert_eq!(best, [etc(), second()][wanted - 1]);
}

#[test]
fn a_profile_whose_income_is_not_trusted_is_not_chosen_but_counts_as_displaced() {
    let mut world = with_second(1.5);
    world.distrust("second");
    let best = asked(&world, |class| (*class.best_profile(8).unwrap().0.profile).clone());
    assert_eq!(best, etc());
    close(asked(&world, |class| class.displaced(8)), 6.0 - 2670.0 * 0.00011);
    world.signals.remove("second");
    assert_eq!(asked(&world, |class| class.displaced(8)), None);
}

#[test]
fn where_mining_does_not_pay_idling_is_displaced() {
    let mut world = World::new();
    world.set("mining", 0.0);
    close(asked(&world, |class| class.displaced(8)), -550.0 * 0.00011);
}

#[test]
fn a_price_in_another_unit_is_not_a_price() {
    let mut world = World::new();
    world.signal("power", Measure::GpuHour, 0.1);
    assert_eq!(asked(&world, |class| class.idle(8)).value, None);
}

#[rstest]
#[case::power("power")]
#[case::income("mining")]
fn what_rests_on_an_untrusted_price_is_not_trusted(#[case] signal: &str) {
    let mut world = World::new();
    world.distrust(signal);
    let quote = asked(&world, |class| class.mining(&class.profiles[0], 8));
    assert!(quote.value.is_some() && !quote.trusted && quote.if_trusted().is_none());
}

#[test]
fn a_fixed_price_is_trusted() {
    let mut world = World::new();
    world.pool().power.price.signal = None;
    world.pool().power.price.usd_per_kwh = Decimal::new(0.2);
    let idle = asked(&world, |class| class.idle(8));
    close(idle.if_trusted(), -550.0 * 0.00022);
}

#[rstest]
#[case::enough(16, 10, true)]
#[case::more_memory_than_there_is(25, 0, false)]
#[case::just_as_much_memory(24, 10, true)]
#[case::more_network_than_there_is(0, 11, false)]
fn a_class_serves_hpc_if_it_has_what_is_asked(
    #[case] memory: u32,
    #[case] network: u32,
    #[case] eligible: bool,
) {
    let mut world = World::new();
    world.pool().hpc.eligibility.memory_gib = memory;
    world.pool().hpc.eligibility.network_gbps = network;
    assert_eq!(asked(&world, |class| class.eligible), eligible);
}

#[test]
fn a_profile_is_found_by_the_label_that_its_nodes_have() {
    let label = switchyard_api::keys::profile_value("mining", "second");
    let world = with_second(1.0);
    let found = |label: Option<&str>| {
        asked(&world, |class| class.profile_of_label(label).map(|known| (*known.profile).clone()))
    };
    assert_eq!(found(Some(&label)), Some(second()));
    assert_eq!(found(Some("other")), None);
    assert_eq!(found(None), None);
}
