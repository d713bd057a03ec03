//! What others do, none of it crippled.

use std::collections::VecDeque;

use crate::{
    engine::{Activity, NodeState},
    policy::{Decision, Move, Policy, View, Worth, rooms::Rooms},
    site::Site,
};

/// A fixed split that never changes.
#[derive(Debug, Clone)]
pub struct Fixed {
    name: String,
    start: Vec<Activity>,
}

impl Fixed {
    /// A split by what each node does.
    pub fn new(name: impl Into<String>, start: Vec<Activity>) -> Self {
        Self { name: name.into(), start }
    }

    /// Every node mines.
    pub fn mining(site: &Site) -> Self {
        let start = site.nodes.iter().map(|node| Activity::mining(&site.classes[node.class]));
        Self::new("always-mining", start.collect())
    }

    /// Every node that may serves HPC.
    pub fn hpc(site: &Site) -> Self {
        let start = site.nodes.iter().map(|node| {
            let class = &site.classes[node.class];
            if class.eligible { Activity::Hpc } else { Activity::mining(class) }
        });
        Self::new("always-hpc", start.collect())
    }
}

impl Policy for Fixed {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self, _site: &Site) -> Vec<Activity> {
        self.start.clone()
    }

    fn decide(&mut self, _view: &View<'_>) -> Decision {
        Decision::default()
    }
}

/// When a node is opened for jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Serve {
    /// Whenever a job asks that fits nowhere.
    Always,
    /// When its jobs pay so many times what the node earns otherwise, by the prices of now.
    IfPays(f64),
}

/// When a node without jobs changes between mining and doing nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Switch {
    /// Never: it mines.
    Mine,
    /// When the other is better by so many times the power that is at stake.
    Percent(f64),
    /// When the other was better on average over so many seconds.
    Average(f64),
    /// When the other has been better by as much as a switch costs, in sum.
    SkiRental,
    /// When mining beats doing nothing by more than `enter`, and when it falls behind by more than
    /// `leave`, USD per hour and node.
    Thresholds {
        /// To begin to mine.
        enter: f64,
        /// To stop.
        leave: f64,
    },
}

/// A policy of simple rules: one for jobs, one for the rest.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Its name.
    pub name: String,
    /// For jobs.
    pub serve: Serve,
    /// For the rest.
    pub switch: Switch,
    /// How long an open node must have been empty before it is taken back, s.
    pub idle_after: f64,
    /// How long a node stays where it is at least, jobs apart, s.
    pub dwell: f64,
    /// Sends jobs away that do not pay for their own power.
    pub refuse: bool,
    /// What each node has missed by being where it is, in sum, USD.
    regret: Vec<f64>,
    history: VecDeque<(f64, Vec<f64>)>,
    last: f64,
}

impl Rules {
    /// A policy of a name and two rules.
    pub fn new(name: impl Into<String>, serve: Serve, switch: Switch) -> Self {
        Self {
            name: name.into(),
            serve,
            switch,
            idle_after: 0.0,
            dwell: 0.0,
            refuse: false,
            regret: Vec::new(),
            history: VecDeque::new(),
            last: 0.0,
        }
    }

    /// By how much mining beats doing nothing on each class, USD per hour and node, as the rule sees
    /// it, and which profile is the best.
    fn lead(&mut self, view: &View<'_>, worths: &[Worth]) -> Vec<(usize, f64)> {
        let leads: Vec<(usize, f64)> = worths
            .iter()
            .map(|worth| {
                worth.mining.map_or((0, f64::MIN), |(profile, value)| (profile, value - worth.idle))
            })
            .collect();
        let Switch::Average(window) = self.switch else { return leads };
        self.history.push_back((view.now, leads.iter().map(|(_, lead)| *lead).collect()));
        while self.history.front().is_some_and(|(time, _)| *time < view.now - window) {
            self.history.pop_front();
        }
        let count = self.history.len() as f64;
        let sums = self.history.iter().fold(vec![0.0; leads.len()], |mut sums, (_, leads)| {
            sums.iter_mut().zip(leads).for_each(|(sum, lead)| *sum += lead);
            sums
        });
        leads.iter().zip(sums).map(|((profile, _), sum)| (*profile, sum / count)).collect()
    }

    /// What a node without jobs should do.
    fn rest(
        &self,
        view: &View<'_>,
        (index, node): (usize, &NodeState),
        worth: &Worth,
        lead: (usize, f64),
    ) -> Activity {
        let (profile, lead) = lead;
        let mines = matches!(node.activity, Activity::Mining(_));
        let mine = match self.switch {
            Switch::Mine => true,
            Switch::Average(_) => lead > 0.0,
            Switch::Percent(percent) => {
                let stake = worth.idle.abs() * percent;
                if mines { lead >= -stake } else { lead > stake }
            }
            Switch::Thresholds { enter, leave } => {
                if mines {
                    lead >= -leave
                } else {
                    lead > enter
                }
            }
            Switch::SkiRental => {
                let regret = self.regret.get(index).copied().unwrap_or(0.0);
                let cost = switch_cost(view.site, worth);
                if regret >= cost { !mines } else { mines }
            }
        };
        match (mine, node.activity) {
            (true, Activity::Mining(current)) if current == profile => node.activity,
            (true, _) => Activity::Mining(profile),
            (false, _) => Activity::Idle,
        }
    }

    /// Sums up what each class has missed by being where its nodes are.
    fn sum_regret(&mut self, view: &View<'_>, leads: &[(usize, f64)]) {
        if self.switch != Switch::SkiRental {
            return;
        }
        self.regret.resize(view.nodes.len(), 0.0);
        let hours = (view.now - self.last) / 3600.0;
        self.last = view.now;
        for (regret, node) in self.regret.iter_mut().zip(view.nodes) {
            let (_, lead) = leads[node.class];
            let missed = match node.activity {
                Activity::Mining(_) => -lead,
                Activity::Idle => lead,
                Activity::Hpc => f64::MIN,
            };
            *regret = (*regret + missed * hours).max(0.0);
        }
    }
}

/// What a change from mining to nothing and back costs, USD per node: what is forgone in transit.
pub fn switch_cost(site: &Site, worth: &Worth) -> f64 {
    let transit = &site.model.transit;
    let (_, value) = worth.without_jobs();
    let at_stake = (value - worth.idle).max(worth.idle.abs());
    at_stake * (transit.mining_to_idle + transit.idle_to_mining) / 3600.0
}

impl Policy for Rules {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let seen = view.seen();
        let worths: Vec<Worth> =
            (0..view.site.classes.len()).map(|class| Worth::of(view.site, class, &seen)).collect();
        let leads = self.lead(view, &worths);
        self.sum_regret(view, &leads);
        let mut decision = Decision::default();
        let opened = self.serve_jobs(view, &worths, seen.hpc, &mut decision);
        for (index, node) in view.nodes.iter().enumerate() {
            if node.in_transit || node.jobs > 0 || opened.contains(&index) {
                continue;
            }
            let rested = view.now - node.empty_since >= self.idle_after;
            if node.activity == Activity::Hpc
                && (!rested || !view.waiting.is_empty() && fits_somewhere(view))
            {
                continue;
            }
            if view.now - node.since < self.dwell {
                continue;
            }
            let to = match node.activity {
                Activity::Hpc => worths[node.class].without_jobs().0,
                _ => self.rest(view, (index, node), &worths[node.class], leads[node.class]),
            };
            if to != node.activity {
                decision.moves.push(Move { node: index, to });
                if self.switch == Switch::SkiRental {
                    self.regret[index] = 0.0;
                }
            }
        }
        decision
    }
}

/// Is there a job that the scheduler is about to start on an open node?
fn fits_somewhere(view: &View<'_>) -> bool {
    let most =
        view.nodes.iter().filter(|node| node.open()).map(|node| node.free).max().unwrap_or(0);
    view.waiting.iter().any(|job| view.site.jobs[*job].gpus <= most)
}

impl Rules {
    /// Opens nodes for jobs that fit nowhere, as the rule for jobs says.
    fn serve_jobs(
        &self,
        view: &View<'_>,
        worths: &[Worth],
        price: f64,
        decision: &mut Decision,
    ) -> Vec<usize> {
        let mut rooms = Rooms::of(view);
        let mut fresh: Vec<usize> = view
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| view.site.classes[node.class].eligible)
            .filter(|(_, node)| !node.in_transit && node.activity != Activity::Hpc)
            .map(|(index, _)| index)
            .collect();
        fresh.sort_by(|one, other| {
            let value = |node: &usize| worths[view.nodes[*node].class].without_jobs().1;
            value(one).total_cmp(&value(other)).then(one.cmp(other))
        });
        rooms.add_fresh(view, fresh);
        for job in view.waiting.iter().take(view.site.model.backfill) {
            let wanted = &view.site.jobs[*job];
            let pays =
                (wanted.price.unwrap_or(price) - worths[0].gpu_power) * f64::from(wanted.gpus);
            if self.refuse && pays <= 0.0 {
                decision.refuse.push(*job);
                continue;
            }
            rooms.place(wanted.gpus, pays);
        }
        let mut opened = Vec::new();
        for room in rooms.all().iter().filter(|room| room.fresh && room.taken > 0) {
            let worth = &worths[view.nodes[room.node].class];
            let displaced = worth.without_jobs().1 - worth.idle;
            let pays = match self.serve {
                Serve::Always => true,
                Serve::IfPays(times) => room.pays > times * displaced && room.pays > 0.0,
            };
            if pays {
                decision.moves.push(Move { node: room.node, to: Activity::Hpc });
                opened.push(room.node);
            }
        }
        opened
    }
}
