//! Bounds by prices, repair, and branches.

use std::collections::BTreeSet;

use switchyard_api::Use;

use super::{Class, Limits, Lot, Outlet, Problem};
use crate::quantity::UsdPerHour;

/// What is limited: watts, nodes in HPC, nodes that mine.
const AXES: usize = 3;
pub(super) type Prices = [f64; AXES];
pub(super) type Amounts = [i64; AXES];

/// How much there may be of something, and what a unit less or more costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) less: f64,
    pub(super) more: f64,
}

impl Axis {
    fn outside(self, amount: i64) -> f64 {
        let (less, more) = ((self.min - amount).max(0) as f64, (amount - self.max).max(0) as f64);
        self.less * less + self.more * more
    }
}

/// Which nodes do what, and which lots are housed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) counts: Vec<Vec<i64>>,
    pub(super) lots: Vec<bool>,
}

/// Some of all splits: the least and most nodes per option, and lots that are decided. Counts are
/// bounded only once every lot is decided.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) counts: Vec<Vec<(i64, i64)>>,
    pub(super) lots: Vec<Option<bool>>,
}

/// A branch as if everything that is limited could be had at a price.
pub(super) struct Relaxed {
    pub(super) prices: Prices,
    /// What no split of the branch exceeds.
    pub(super) bound: f64,
    /// What each lot then gains.
    profits: Vec<f64>,
    pub(super) lots: Vec<bool>,
    used: Amounts,
}

pub(super) struct Solver<'p> {
    problem: &'p Problem,
    pub(super) axes: [Axis; AXES],
}

impl<'p> Solver<'p> {
    pub(super) fn new(problem: &'p Problem) -> Self {
        let of_class = |class: &Class| {
            let most = class.options.iter().map(|option| option.value.number().abs());
            f64::from(class.nodes) * most.fold(0.0, f64::max)
        };
        let all = problem.classes.iter().map(of_class).sum::<f64>()
            + problem.lots.iter().map(|lot| lot.value.number().abs()).sum::<f64>();
        // More than anybody could earn by breaking a limit.
        let forbidden = 1.0 + 2.0 * all;
        let limits = |limits: &Limits| Axis {
            min: i64::from(limits.min),
            max: i64::from(limits.max),
            less: limits.penalty.map_or(forbidden, UsdPerHour::number),
            more: forbidden,
        };
        let mut solver = Self {
            problem,
            axes: [
                Axis { min: 0, max: UNLIMITED, less: 0.0, more: 0.0 },
                limits(&problem.hpc),
                limits(&problem.mining),
            ],
        };
        if let Some(cap) = problem.watts {
            let [least, ..] = solver.used(&solver.frugal());
            let nodes: u32 = problem.classes.iter().map(|class| class.nodes).sum();
            let more = forbidden * f64::from(nodes.max(1)) * 4.0;
            let max = i64::try_from(cap).unwrap_or(UNLIMITED).max(least);
            solver.axes[0] = Axis { max, more, ..solver.axes[0] };
        }
        solver
    }

    pub(super) fn root(&self) -> Branch {
        let classes = self.problem.classes.iter();
        Branch {
            counts: classes
                .map(|class| vec![(0, i64::from(class.nodes)); class.options.len()])
                .collect(),
            lots: vec![None; self.problem.lots.len()],
        }
    }

    /// All nodes where they draw least, and no lot.
    pub(super) fn frugal(&self) -> Point {
        let lots = vec![false; self.problem.lots.len()];
        self.fill(&self.root(), FRUGAL, &lots).unwrap_or_else(|| Point { counts: Vec::new(), lots })
    }

    pub(super) fn used(&self, point: &Point) -> Amounts {
        let options = self.problem.classes.iter().zip(&point.counts).flat_map(|(class, counts)| {
            class.options.iter().zip(counts).map(|(option, count)| (amounts(option), *count))
        });
        let lots = self.problem.lots.iter().zip(&point.lots).filter(|(_, housed)| **housed);
        options.chain(lots.map(|(lot, _)| (lot_amounts(lot), 1))).fold([0; AXES], plus)
    }

    pub(super) fn value(&self, point: &Point) -> f64 {
        let options = self.problem.classes.iter().zip(&point.counts).flat_map(|(class, counts)| {
            class.options.iter().zip(counts).map(|(option, count)| {
                let count = *count as f64;
                option.value.number() * count
            })
        });
        let lots = self.problem.lots.iter().zip(&point.lots).filter(|(_, housed)| **housed);
        options.sum::<f64>() + lots.map(|(lot, _)| lot.value.number()).sum::<f64>()
            - self.outside(self.used(point))
    }

    fn outside(&self, used: Amounts) -> f64 {
        self.axes.iter().zip(used).map(|(axis, amount)| axis.outside(amount)).sum()
    }

    /// The lowest bound that prices give: each price is searched for in turn, from those of the
    /// branch above, until what is used fits its limits. Nothing, if the branch is empty.
    pub(super) fn relax(&self, branch: &Branch, prices: Prices) -> Option<Relaxed> {
        const SWEEPS: usize = 3;
        const HALVINGS: usize = 64;
        let mut best = self.priced(branch, [0.0; AXES])?;
        let above = self.priced(branch, prices)?;
        best = if above.bound < best.bound { above } else { best };
        for _ in 0..SWEEPS {
            let before = best.bound;
            for axis in 0..AXES {
                let Axis { min, max, less, more } = self.axes[axis];
                let mut prices = best.prices;
                prices[axis] = 0.0;
                let free = self.priced(branch, prices)?;
                let (mut low, mut high) = match free.used[axis] {
                    used if used > max => (0.0, more),
                    used if used < min => (-less, 0.0),
                    _ => (0.0, 0.0),
                };
                best = if free.bound < best.bound { free } else { best };
                for _ in 0..if low < high { HALVINGS } else { 0 } {
                    prices[axis] = f64::midpoint(low, high);
                    let priced = self.priced(branch, prices)?;
                    let target = if prices[axis] > 0.0 { max } else { min };
                    if priced.used[axis] > target {
                        low = prices[axis];
                    } else {
                        high = prices[axis];
                    }
                    best = if priced.bound < best.bound { priced } else { best };
                }
            }
            if best.bound >= before {
                break;
            }
        }
        Some(best)
    }

    /// What a branch is worth at most if its limits are prices. Nothing, if it is empty.
    pub(super) fn priced(&self, branch: &Branch, prices: Prices) -> Option<Relaxed> {
        let firm: Vec<bool> = branch.lots.iter().map(|lot| *lot == Some(true)).collect();
        let filled = self.fill(branch, prices, &firm)?;
        // A lot takes its nodes from the best that they could do: as long as one is open, counts are
        // not bounded.
        let best: Vec<Option<&Outlet>> = self
            .problem
            .classes
            .iter()
            .map(|class| {
                let options = class.options.iter();
                options.max_by(|one, other| reduced(prices, one).total_cmp(&reduced(prices, other)))
            })
            .collect();
        let displaced = |lot: &Lot| {
            let nodes = lot.nodes.iter().filter_map(|(class, nodes)| Some((best[*class]?, *nodes)));
            nodes.fold((0.0, [0; AXES]), |(value, used), (option, nodes)| {
                let more = plus(used, (amounts(option), i64::from(nodes)));
                (value + reduced(prices, option) * f64::from(nodes), more)
            })
        };
        let mut bound = self.limits(prices);
        let filled_options = self.problem.classes.iter().zip(&filled.counts);
        for (class, counts) in filled_options {
            for (option, count) in class.options.iter().zip(counts) {
                bound += reduced(prices, option) * *count as f64;
            }
        }
        let mut used = self.used(&filled);
        let (mut profits, mut lots) = (Vec::new(), Vec::new());
        for (lot, decided) in self.problem.lots.iter().zip(&branch.lots) {
            let own = lot.value.number() - paid(prices, lot_amounts(lot));
            let (displaced, instead) = displaced(lot);
            let profit = own - displaced;
            match decided {
                Some(true) => bound += own,
                None if profit > 0.0 => {
                    bound += profit;
                    used = plus(plus(used, (lot_amounts(lot), 1)), (instead, -1));
                }
                Some(false) | None => {}
            }
            profits.push(profit);
            lots.push(decided.unwrap_or(profit > 0.0));
        }
        Some(Relaxed { prices, bound, profits, lots, used })
    }

    /// What the limits themselves are worth at the prices.
    fn limits(&self, prices: Prices) -> f64 {
        let axes = self.axes.iter().zip(prices);
        axes.map(|(axis, price)| price * (if price > 0.0 { axis.max } else { axis.min }) as f64)
            .sum()
    }

    /// The best counts of a branch for the prices, with the lots that are housed. Nothing, if these
    /// or the bounds take more nodes than there are.
    fn fill(&self, branch: &Branch, prices: Prices, lots: &[bool]) -> Option<Point> {
        let left = self.left(lots);
        let mut counts = Vec::with_capacity(left.len());
        for ((class, bounds), nodes) in self.problem.classes.iter().zip(&branch.counts).zip(left) {
            let mut filled: Vec<i64> = bounds.iter().map(|(least, _)| *least).collect();
            let mut left = nodes - filled.iter().sum::<i64>();
            if left < 0 {
                return None;
            }
            let worth = |index: &usize| reduced(prices, &class.options[*index]);
            let mut order: Vec<usize> = (0..filled.len()).collect();
            order.sort_by(|one, other| worth(other).total_cmp(&worth(one)));
            for index in order {
                let more = left.min(bounds[index].1 - filled[index]).max(0);
                filled[index] += more;
                left -= more;
            }
            if left > 0 {
                return None;
            }
            counts.push(filled);
        }
        Some(Point { counts, lots: lots.to_vec() })
    }

    /// A split of the branch that keeps the cap, near the relaxed one. Nothing, if there is none.
    pub(super) fn repair(&self, branch: &Branch, relaxed: &Relaxed) -> Option<(f64, Point)> {
        let mut lots = relaxed.lots.clone();
        loop {
            let crowded = self.crowded(&lots);
            let frugal = self.fill(branch, FRUGAL, &lots);
            if frugal.is_some_and(|point| self.used(&point)[0] <= self.axes[0].max) {
                break;
            }
            let open = (0..lots.len()).filter(|lot| lots[*lot] && branch.lots[*lot].is_none());
            let in_the_way = open.filter(|lot| {
                let mut nodes = self.problem.lots[*lot].nodes.iter();
                crowded.is_empty() || nodes.any(|(class, _)| crowded.contains(class))
            });
            let profit = |lot: &usize| relaxed.profits[*lot];
            let worst = in_the_way.min_by(|one, other| profit(one).total_cmp(&profit(other)))?;
            lots[worst] = false;
        }
        let mut point = self.fill(branch, relaxed.prices, &lots)?;
        let mut value = self.value(&point);
        // However sums are rounded, this ends.
        while self.improve(branch, &mut point) {
            let before = std::mem::replace(&mut value, self.value(&point));
            if value <= before {
                break;
            }
        }
        Some((value, point))
    }

    /// The classes of which the lots take more nodes than there are.
    fn crowded(&self, lots: &[bool]) -> BTreeSet<usize> {
        let left = self.left(lots).into_iter().enumerate();
        left.filter(|(_, nodes)| *nodes < 0).map(|(class, _)| class).collect()
    }

    /// How many nodes of each class the lots leave.
    fn left(&self, lots: &[bool]) -> Vec<i64> {
        let classes = self.problem.classes.iter();
        let mut left: Vec<i64> = classes.map(|class| i64::from(class.nodes)).collect();
        for (lot, _) in self.problem.lots.iter().zip(lots).filter(|(_, housed)| **housed) {
            for (class, nodes) in &lot.nodes {
                left[*class] -= i64::from(*nodes);
            }
        }
        left
    }

    /// Makes the one change of option that helps most: while the cap is exceeded, the one that costs
    /// least for each watt; then the one that gains most.
    pub(super) fn improve(&self, branch: &Branch, point: &mut Point) -> bool {
        let used = self.used(point);
        let over = (used[0] - self.axes[0].max).max(0);
        let now = self.outside(used);
        let mut best: Option<(f64, Change)> = None;
        for change in self.changes(branch, point) {
            for nodes in self.steps(&change, used) {
                let after = plus(used, (change.amounts, nodes));
                let gain = change.value * nodes as f64 - (self.outside(after) - now);
                let saved = over - (after[0] - self.axes[0].max).max(0);
                let merit = match over {
                    0 if saved == 0 && gain > 1e-9 => gain,
                    1.. if saved > 0 => (gain - self.axes[0].more * saved as f64) / saved as f64,
                    _ => continue,
                };
                if best.as_ref().is_none_or(|(known, _)| merit > *known) {
                    best = Some((merit, Change { nodes, ..change }));
                }
            }
        }
        let Some((_, change)) = best else {
            return false;
        };
        point.counts[change.class][change.from] -= change.nodes;
        point.counts[change.class][change.to] += change.nodes;
        true
    }

    /// Every change of option that the branch allows, with as many nodes as it does.
    fn changes<'s>(&'s self, branch: &'s Branch, point: &'s Point) -> impl Iterator<Item = Change> {
        self.problem.classes.iter().enumerate().flat_map(move |(class, facts)| {
            let pairs = (0..facts.options.len())
                .flat_map(move |from| (0..facts.options.len()).map(move |to| (from, to)));
            pairs.filter_map(move |(from, to)| {
                let (counts, bounds) = (&point.counts[class], &branch.counts[class]);
                let nodes = (counts[from] - bounds[from].0).min(bounds[to].1 - counts[to]);
                let (old, new) = (&facts.options[from], &facts.options[to]);
                let value = new.value.number() - old.value.number();
                let amounts = plus(amounts(new), (amounts(old), -1));
                (from != to && nodes > 0).then_some(Change {
                    class,
                    from,
                    to,
                    nodes,
                    value,
                    amounts,
                })
            })
        })
    }

    /// Numbers of nodes at which a change is best: all, or where a limit is just reached.
    fn steps(&self, change: &Change, used: Amounts) -> impl Iterator<Item = i64> {
        let most = change.nodes;
        let reached =
            self.axes.iter().zip(change.amounts).zip(used).flat_map(|((axis, step), now)| {
                let to =
                    |limit: i64| (step != 0).then(|| limit.saturating_sub(now).div_euclid(step));
                [to(axis.min), to(axis.max)]
                    .into_iter()
                    .flatten()
                    .flat_map(|nodes| [nodes, nodes + 1])
            });
        let reached: Vec<i64> = reached.filter(|nodes| (1..most).contains(nodes)).collect();
        reached.into_iter().chain([most])
    }

    /// The parts of a branch, the most promising last: with and without a lot whose gain is the least
    /// clear; then around the count of the option that is the least clear.
    pub(super) fn split(
        &self,
        branch: &Branch,
        relaxed: &Relaxed,
        found: Option<&Point>,
    ) -> Vec<Branch> {
        let open = (0..branch.lots.len()).filter(|lot| branch.lots[*lot].is_none());
        let clear = |lot: &usize| relaxed.profits[*lot].abs();
        if let Some(lot) = open.min_by(|one, other| clear(one).total_cmp(&clear(other))) {
            let with = |housed: bool| {
                let mut part = branch.clone();
                part.lots[lot] = Some(housed);
                part
            };
            return vec![with(!relaxed.lots[lot]), with(relaxed.lots[lot])];
        }
        // All lots are decided: what keeps no cap then never will.
        let Some(point) = found else {
            return Vec::new();
        };
        let Some((class, option)) = self.least_clear(branch, relaxed.prices, point) else {
            return Vec::new();
        };
        let (least, most) = branch.counts[class][option];
        let count = point.counts[class][option];
        let parts = [(least, count - 1), (count + 1, most), (count, count)];
        let parts = parts.into_iter().filter(|(least, most)| least <= most);
        let with = |bounds| {
            let mut part = branch.clone();
            part.counts[class][option] = bounds;
            part
        };
        parts.map(with).collect()
    }

    /// The option, not yet decided, of which least is clear: first those with other counts than the
    /// prices alone would give, then those nearest to the best of their class.
    fn least_clear(
        &self,
        branch: &Branch,
        prices: Prices,
        point: &Point,
    ) -> Option<(usize, usize)> {
        let relaxed = self.fill(branch, prices, &point.lots)?;
        let options = self.problem.classes.iter().enumerate().flat_map(|(class, facts)| {
            let best =
                facts.options.iter().map(|option| reduced(prices, option)).max_by(f64::total_cmp);
            let best = best.unwrap_or_default();
            let options = facts.options.iter().enumerate();
            options.map(move |(index, option)| (class, index, best - reduced(prices, option)))
        });
        let open = options.filter(|(class, option, _)| {
            let (least, most) = branch.counts[*class][*option];
            least < most
        });
        let unclear = open.min_by(|one, other| {
            let rank = |(class, option, loss): &(usize, usize, f64)| {
                let same = relaxed.counts[*class][*option] == point.counts[*class][*option];
                (same, *loss)
            };
            let (one, other) = (rank(one), rank(other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
        });
        unclear.map(|(class, option, _)| (class, option))
    }
}

/// More than there is of anything, and far from where numbers end.
const UNLIMITED: i64 = i64::MAX / 4;

/// Prices at which nothing counts but watts.
const FRUGAL: Prices = [1e12, 0.0, 0.0];

/// Nodes of a class that take another option.
#[derive(Debug, Clone, Copy)]
struct Change {
    class: usize,
    from: usize,
    to: usize,
    nodes: i64,
    /// What a node gains, and what more it uses.
    value: f64,
    amounts: Amounts,
}

/// What a node is worth, less what it pays for all that is limited.
fn reduced(prices: Prices, option: &Outlet) -> f64 {
    option.value.number() - paid(prices, amounts(option))
}

fn paid(prices: Prices, amounts: Amounts) -> f64 {
    prices.iter().zip(amounts).map(|(price, amount)| price * amount as f64).sum()
}

pub(super) fn amounts(option: &Outlet) -> Amounts {
    [
        i64::try_from(option.watts).unwrap_or(UNLIMITED),
        i64::from(option.node_use == Use::Hpc),
        i64::from(option.node_use == Use::Mining),
    ]
}

fn lot_amounts(lot: &Lot) -> Amounts {
    let nodes = lot.nodes.iter().map(|(_, nodes)| i64::from(*nodes)).sum();
    [i64::try_from(lot.watts).unwrap_or(UNLIMITED), nodes, 0]
}

/// So many times as much more of everything.
fn plus(sum: Amounts, (each, times): (Amounts, i64)) -> Amounts {
    std::array::from_fn(|axis| sum[axis].saturating_add(each[axis].saturating_mul(times)))
}
