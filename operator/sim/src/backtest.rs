//! Policies by name, and what each of them would have earned.

use std::borrow::Cow;

use serde::Serialize;
use strum::{Display, EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

use crate::{
    bound,
    engine::{self, Money},
    forecast::Told,
    outcome::Outcome,
    policy::{Fixed, Policy, Rules, Serve, Switch, Switchyard},
    search,
    site::{Model, Site, Transit},
    timeline::Timeline,
};

/// A policy by name.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumIter,
    EnumString,
    IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Named {
    /// Every node mines, come what may.
    AlwaysMining,
    /// Every node that may is open for jobs.
    AlwaysHpc,
    /// The best fixed split, chosen in hindsight ([`search::best_static`]).
    BestStatic,
    /// Jobs get nodes whenever they ask; else the nodes mine. What priority preemption does.
    HpcWheneverAsked,
    /// At every step what earns most at that moment.
    Greedy,
    /// Moves for a lead of 12 %, and not more often than every 10 minutes.
    #[strum(serialize = "percent-12")]
    Percent12,
    /// Moves for a lead of 3 %, and not more often than every 10 minutes.
    #[strum(serialize = "percent-3")]
    Percent3,
    /// By the averages of the last 24 hours.
    #[strum(serialize = "average-24h")]
    Average24h,
    /// Moves when what was missed adds up to what a move costs.
    SkiRental,
    /// Thresholds tuned in hindsight on what a policy can know ([`search::causal_ceiling`]).
    CausalCeiling,
    /// The product's own.
    Switchyard,
    /// The same, told nothing of the future.
    SwitchyardWithoutForecast,
    /// The same, with forecasts upside down.
    SwitchyardInvertedForecast,
    /// The same, with forecasts that come six hours late.
    SwitchyardLaggedForecast,
    /// The same, with forecasts a thousand times too high.
    #[strum(serialize = "switchyard-1000-fold-forecast")]
    SwitchyardThousandfoldForecast,
    /// The same where switches take no time and prices are known within a minute, to see what any timing
    /// of switches could win.
    SwitchyardFreeSwitches,
}

impl Named {
    /// Every policy, in the order of tables.
    pub fn all() -> Vec<Self> {
        Self::iter().collect()
    }

    /// What a person who has no time wants to compare.
    pub fn usual() -> Vec<Self> {
        vec![Self::AlwaysMining, Self::BestStatic, Self::HpcWheneverAsked, Self::Switchyard]
    }

    /// The policy, as it would run a site.
    pub fn policy(self, site: &Site) -> Box<dyn Policy> {
        let name = <&str>::from(self);
        let rules = |serve, switch| Rules::new(name, serve, switch);
        let told = |told| -> Box<dyn Policy> { Box::new(Switchyard::told(name, site, told)) };
        let mut rules = match self {
            Self::AlwaysMining => return Box::new(Fixed::mining(site)),
            Self::AlwaysHpc => return Box::new(Fixed::hpc(site)),
            Self::BestStatic => return Box::new(search::best_static(site)),
            Self::CausalCeiling => return Box::new(search::causal_ceiling(site)),
            Self::Switchyard => return told(Told::Published),
            Self::SwitchyardFreeSwitches => return Box::new(Switchyard::impatient(name, site)),
            Self::SwitchyardWithoutForecast => return told(Told::Nothing),
            Self::SwitchyardInvertedForecast => return told(Told::Inverted),
            Self::SwitchyardLaggedForecast => return told(Told::Lagged),
            Self::SwitchyardThousandfoldForecast => return told(Told::Thousandfold),
            Self::HpcWheneverAsked => rules(Serve::Always, Switch::Mine),
            Self::Greedy => rules(Serve::IfPays(1.0), Switch::Percent(0.0)),
            Self::Percent12 => rules(Serve::IfPays(1.12), Switch::Percent(0.12)),
            Self::Percent3 => rules(Serve::IfPays(1.03), Switch::Percent(0.03)),
            Self::Average24h => rules(Serve::IfPays(1.0), Switch::Average(86_400.0)),
            Self::SkiRental => rules(Serve::IfPays(1.0), Switch::SkiRental),
        };
        rules.refuse = self != Self::HpcWheneverAsked;
        if matches!(self, Self::Percent12 | Self::Percent3) {
            rules.dwell = 600.0;
        }
        Box::new(rules)
    }

    /// Could anybody run it without knowing the future?
    fn is_baseline(self) -> bool {
        !matches!(self, Self::CausalCeiling | Self::Switchyard) && !self.is_study()
    }

    /// The site as this policy finds it.
    fn site(self, site: &Site) -> Cow<'_, Site> {
        if self != Self::SwitchyardFreeSwitches {
            return Cow::Borrowed(site);
        }
        let model = Model { step: 60.0, transit: Transit::NONE, ..site.model.clone() };
        Cow::Owned(Site { model, ..site.clone() })
    }

    /// Is it only there to judge the product by? Where nothing is forecast there is nothing to study.
    fn is_study(self) -> bool {
        matches!(
            self,
            Self::SwitchyardFreeSwitches
                | Self::SwitchyardWithoutForecast
                | Self::SwitchyardInvertedForecast
                | Self::SwitchyardLaggedForecast
                | Self::SwitchyardThousandfoldForecast
        )
    }
}

/// One line of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The site.
    pub site: String,
    /// The placement.
    pub placement: String,
    /// The policy.
    pub policy: String,
    /// What it earned, power paid, USD.
    pub usd_net: f64,
    /// What nobody can earn more than, USD ([`bound`]).
    pub usd_bound: f64,
    /// What nobody can earn more than who lets no customer wait, USD ([`bound::prompt()`]).
    pub usd_prompt_bound: f64,
    /// What the best fixed split earned, USD; none where it was not asked for.
    pub usd_static: Option<f64>,
    /// Its share of the bound.
    pub of_bound: f64,
    /// How much of the way from the best fixed split to the bound it goes; none where there is no way.
    pub gap_over_static: Option<f64>,
    /// How much of the way from the best fixed split to the bound is open to those who let no customer
    /// wait; none where there is no way.
    pub gap_open_to_prompt: Option<f64>,
    /// How much of the way from the best baseline to the bound it goes.
    pub gap_over_best_baseline: Option<f64>,
    /// Its share of what tuned thresholds reach: 1 for as much, less for less, also where that is a loss.
    pub of_causal_ceiling: Option<f64>,
    /// What it misses to the bound, USD per node and day.
    pub regret_usd_per_node_day: f64,
    /// Nodes moved in a day.
    pub shifts_per_day: f64,
    /// Jobs that ended.
    pub jobs_done: usize,
    /// Jobs that waited too long or were refused.
    pub jobs_lost: usize,
    /// The 95th percentile of what started jobs waited, s.
    pub wait_p95_s: f64,
    /// GPU-hours of open nodes that no job used.
    pub idle_hpc_gpu_hours: f64,
    /// Energy at the meter, kWh.
    pub kwh: f64,
    /// Money by source, USD.
    pub usd_by_source: Money,
}

/// A site replayed: the bound, and how each policy did.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What nobody can earn more than, USD.
    pub usd_bound: f64,
    /// What nobody can earn more than who lets no customer wait, USD.
    pub usd_prompt_bound: f64,
    /// How each policy did, in the order asked for.
    pub runs: Vec<Run>,
}

/// A policy's run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The policy.
    pub policy: Named,
    /// How it went.
    pub outcome: Outcome,
    /// The same by the hour.
    pub timeline: Timeline,
}

impl Replay {
    /// Lets policies run a site. `say` is told what is begun.
    pub fn run(site: &Site, policies: &[Named], say: impl Fn(&str)) -> Self {
        say("bound");
        let usd_bound = bound::clairvoyant(site, bound::Effort::default()).usd;
        let usd_prompt_bound = bound::prompt(site).min(usd_bound);
        let foreseen = site.power_forecast.is_some();
        let policies = policies.iter().filter(|policy| foreseen || !policy.is_study());
        let runs = policies.map(|policy| {
            say(&policy.to_string());
            let site = &*policy.site(site);
            let (outcome, timeline) = engine::record(site, &mut *policy.policy(site));
            Run { policy: *policy, outcome, timeline }
        });
        Self { usd_bound, usd_prompt_bound, runs: runs.collect() }
    }

    /// The lines of the comparison.
    pub fn rows(&self) -> Vec<Row> {
        self.runs.iter().map(|run| self.row(&run.outcome)).collect()
    }

    fn row(&self, outcome: &Outcome) -> Row {
        let net = outcome.usd_net;
        let of = |named| {
            let found = self.runs.iter().find(|run| run.policy == named);
            found.map(|run| run.outcome.usd_net)
        };
        let usd_static = of(Named::BestStatic);
        let best_baseline = self
            .runs
            .iter()
            .filter(|run| run.policy.is_baseline())
            .map(|run| run.outcome.usd_net)
            .reduce(f64::max);
        let way_of = |usd: f64, from: f64| {
            let way = self.usd_bound - from;
            (way > 0.0).then(|| (usd - from) / way)
        };
        let captured = |from| way_of(net, from);
        Row {
            site: outcome.site.clone(),
            placement: outcome.placement.clone(),
            policy: outcome.policy.clone(),
            usd_net: net,
            usd_bound: self.usd_bound,
            usd_prompt_bound: self.usd_prompt_bound,
            usd_static,
            of_bound: net / self.usd_bound,
            gap_over_static: usd_static.and_then(captured),
            gap_open_to_prompt: usd_static.and_then(|from| way_of(self.usd_prompt_bound, from)),
            gap_over_best_baseline: best_baseline.and_then(captured),
            of_causal_ceiling: of(Named::CausalCeiling).map(|ceiling| share_of(net, ceiling)),
            regret_usd_per_node_day: (self.usd_bound - net) / (outcome.nodes as f64 * outcome.days),
            shifts_per_day: outcome.shifts_per_day(),
            jobs_done: outcome.done,
            jobs_lost: outcome.lost,
            wait_p95_s: outcome.wait_p95_s,
            idle_hpc_gpu_hours: outcome.idle_hpc_gpu_hours,
            kwh: outcome.kwh,
            usd_by_source: outcome.money,
        }
    }
}

/// How much of what another earns a policy earns; beside one that loses, 0.9 is a loss greater by a
/// tenth.
fn share_of(net: f64, other: f64) -> f64 {
    1.0 + (net - other) / other.abs()
}

/// How a policy did over many sites of which no fixed split is nearly as good as the bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The policy.
    pub policy: String,
    /// On how many sites.
    pub sites: usize,
    /// Its median share of the bound.
    pub of_bound: f64,
    /// Its median way from the best fixed split to the bound.
    pub gap_over_static: f64,
    /// The median way that is open to those who let no customer wait.
    pub gap_open_to_prompt: f64,
    /// Its median share of what tuned thresholds reach.
    pub of_causal_ceiling: f64,
    /// The same where it did worst.
    pub worst_of_causal_ceiling: f64,
    /// What it earned of the best fixed split where it did worst.
    pub worst_of_static: f64,
    /// Its median of nodes moved in a day.
    pub shifts_per_day: f64,
}

/// A fixed split that reaches so much of the bound leaves nothing to decide.
const EASY: f64 = 0.95;

/// Sums rows up by policy, over the sites that are not easy.
pub fn summarize(rows: &[Row]) -> Vec<Summary> {
    let policies = Named::iter().map(|policy| policy.to_string());
    let summaries = policies.map(|policy| {
        let rows = rows.iter().filter(|row| row.policy == policy);
        let hard: Vec<&Row> = rows.filter(|row| row.is_hard()).collect();
        let all = |of: fn(&Row) -> Option<f64>| sorted(hard.iter().filter_map(|row| of(row)));
        let middle = |of| median(&all(of));
        let least = |of| all(of).first().copied().unwrap_or(f64::NAN);
        Summary {
            sites: hard.len(),
            of_bound: middle(|row| Some(row.of_bound)),
            gap_over_static: middle(|row| row.gap_over_static),
            gap_open_to_prompt: middle(|row| row.gap_open_to_prompt),
            of_causal_ceiling: middle(|row| row.of_causal_ceiling),
            worst_of_causal_ceiling: least(|row| row.of_causal_ceiling),
            worst_of_static: least(Row::of_static),
            shifts_per_day: middle(|row| Some(row.shifts_per_day)),
            policy,
        }
    });
    summaries.filter(|summary| summary.sites > 0).collect()
}

impl Row {
    /// Is there something to decide: is the bound positive, and no fixed split nearly as good?
    pub fn is_hard(&self) -> bool {
        self.usd_bound > 0.0 && self.usd_static.is_some_and(|fixed| fixed < EASY * self.usd_bound)
    }

    /// What it earned of what the best fixed split did.
    fn of_static(&self) -> Option<f64> {
        self.usd_static.map(|fixed| share_of(self.usd_net, fixed))
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}
