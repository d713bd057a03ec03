//! Windows and budgets follow the site's clock in a backtest as they do live.

#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, tz::TimeZone};
use switchyard_sim::{
    engine::{self, Activity},
    example,
    policy::{Decision, Policy, Switchyard, View},
    site::Site,
};

/// Takes note of what the product moves when.
struct Watched {
    inner: Switchyard,
    /// The local hour, how many nodes go to mine or idle then, and how many are under way.
    moved: Vec<(i8, usize)>,
    zone: TimeZone,
}

impl Policy for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let decision = self.inner.decide(view);
        let passed = SignedDuration::try_from_secs_f64(view.now).unwrap();
        let local = (view.site.start + passed).to_zoned(self.zone.clone());
        let moves = decision.moves.iter().filter(|one| one.to != Activity::Hpc).count();
        if moves > 0 {
            let under_way =
                view.nodes.iter().filter(|node| node.in_transit && node.activity != Activity::Hpc);
            self.moved.push((local.hour(), moves + under_way.count()));
        }
        decision
    }
}

/// What is moved for money in four weeks of the example, by a change of its pool.
fn moved(shifting: &str) -> Vec<(i8, usize)> {
    let dir = tempfile::tempdir().unwrap();
    example::write(dir.path()).unwrap();
    let site = Site::read(dir.path(), None).unwrap();
    let mut pool = site.pool.clone();
    pool.shifting = serde_yaml::from_str(shifting).unwrap();
    let inner = Switchyard::with_pool("by the clock", &site, &pool);
    let zone = TimeZone::get("America/Chicago").unwrap();
    let mut watched = Watched { inner, moved: Vec::new(), zone };
    engine::run(&site, &mut watched);
    watched.moved
}

#[test]
fn a_window_is_a_window_of_the_sites_clock() {
    let anytime = moved("{budgets: []}");
    assert!(anytime.iter().any(|(hour, _)| !(20..24).contains(hour)), "{anytime:?}");
    let moved = moved(
        "{budgets: [], windows: [{schedule: 0 20 * * *, timeZone: America/Chicago, duration: 4h}]}",
    );
    assert!(!moved.is_empty());
    assert!(moved.iter().all(|(hour, _)| (20..24).contains(hour)), "{moved:?}");
}

#[test]
fn a_budget_applies_by_the_sites_clock() {
    let moved = moved(
        "{budgets: [{nodes: 1, schedule: 0 8 * * *, timeZone: America/Chicago, duration: 10h}]}",
    );
    let by_day = |(hour, _): &&(i8, usize)| (8..18).contains(hour);
    assert!(moved.iter().filter(by_day).all(|(_, nodes)| *nodes <= 1), "{moved:?}");
    assert!(moved.iter().any(|(_, nodes)| *nodes > 1), "{moved:?}");
}
