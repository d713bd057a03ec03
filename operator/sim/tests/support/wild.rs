//! Policies that stop at nothing.

use switchyard_sim::{
    engine::{Activity, run},
    outcome::Outcome,
    policy::{Decision, Fixed, Move, Policy, Rules, Serve, Switch, View},
    site::Site,
};

use super::random::Chance;

/// It opens, closes, refuses by chance.
pub struct Wild {
    chance: Chance,
    /// How likely a node is moved when it is asked.
    restless: f64,
    picky: f64,
}

impl Wild {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance(seed ^ 0x5eed);
        let restless = chance.pick(&[0.002, 0.02, 0.2]);
        let picky = chance.pick(&[0.0, 0.05]);
        Self { chance, restless, picky }
    }

    fn any(&mut self, site: &Site) -> Activity {
        match self.chance.below(4) {
            0 => Activity::Idle,
            1 => Activity::Mining(self.chance.below(site.profiles.len())),
            _ => Activity::Hpc,
        }
    }
}

impl Policy for Wild {
    fn name(&self) -> &'static str {
        "wild"
    }

    fn start(&self, site: &Site) -> Vec<Activity> {
        let mut own = Self { chance: self.chance.clone(), ..*self };
        let nodes = site.nodes.iter().map(|node| match own.any(site) {
            Activity::Hpc if !site.classes[node.class].eligible => Activity::Idle,
            any => any,
        });
        nodes.collect()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let mut decision = Decision::default();
        for node in 0..view.nodes.len() {
            if self.chance.hits(self.restless) {
                decision.moves.push(Move { node, to: self.any(view.site) });
            }
        }
        for job in view.waiting {
            if self.chance.hits(self.picky) {
                decision.refuse.push(*job);
            }
        }
        decision
    }
}

/// Rules of every kind.
pub fn rules() -> impl Iterator<Item = Rules> {
    let serves = [Serve::Always, Serve::IfPays(0.5), Serve::IfPays(1.0), Serve::IfPays(2.0)];
    let switches = [
        Switch::Mine,
        Switch::Percent(0.0),
        Switch::Percent(0.12),
        Switch::Average(86_400.0),
        Switch::SkiRental,
        Switch::Thresholds { enter: 0.1, leave: 0.1 },
    ];
    let pairs = serves.into_iter().flat_map(move |serve| switches.map(|switch| (serve, switch)));
    pairs.enumerate().map(|(number, (serve, switch))| {
        let mut rules = Rules::new(format!("{serve:?} {switch:?}"), serve, switch);
        rules.refuse = number % 2 == 0;
        rules.idle_after = [0.0, 300.0, 3600.0][number % 3];
        rules.dwell = [0.0, 600.0][number / 2 % 2];
        rules
    })
}

/// Every policy there is, and some wild ones.
pub fn policies(site: &Site, seed: u64) -> Vec<Box<dyn Policy>> {
    let fixed = [Fixed::mining(site), Fixed::hpc(site), idle(site)];
    let fixed = fixed.into_iter().map(|policy| Box::new(policy) as Box<dyn Policy>);
    let rules = rules().map(|policy| Box::new(policy) as Box<dyn Policy>);
    let wild = (0..4).map(|number| Box::new(Wild::new(seed * 4 + number)) as Box<dyn Policy>);
    fixed.chain(rules).chain(wild).collect()
}

pub fn idle(site: &Site) -> Fixed {
    Fixed::new("always-idle", vec![Activity::Idle; site.nodes.len()])
}

/// The best of them.
pub fn best(site: &Site, seed: u64) -> Outcome {
    let outcomes = policies(site, seed).into_iter().map(|mut policy| run(site, policy.as_mut()));
    outcomes.max_by(|one, other| one.usd_net.total_cmp(&other.usd_net)).unwrap()
}
