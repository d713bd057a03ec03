//! The best that one node can do by itself, when HPC pays a rent for its GPUs.
//!
//! A node in transit draws what an idle one draws, so both are *rest* here, and everything is counted
//! as a gain over resting through the whole window. What is left is to choose stays in Mining and HPC
//! with rests between them that are no shorter than the transit takes.
//!
//! Rates are constant within a cell. For a given order of stays the value is then linear in each
//! transit's place as long as neither of its ends crosses a border; so in some best plan every transit
//! starts or ends on a border, and every longer rest does both. The borders, and the borders moved by
//! each transit's time to either side, are therefore all the points in time that have to be looked
//! at, and the search over them is exact. It does not matter whether a transit is longer than a cell.

use switchyard_api::Use;

use super::grid::Grid;
use crate::site::{Class, Site, Transit};

/// Times closer than this are one: seconds. It errs to the node's advantage.
const INSTANT: f64 = 1e-6;

/// The points in time at which a best plan may change course, and the rests it has to keep.
#[derive(Debug, Clone)]
pub struct Timetable {
    points: Vec<Point>,
    rests: Vec<Rest>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    time: f64,
    /// Of the stretch from the point before it.
    hours: f64,
    cell: usize,
}

/// The least rest between two stays.
#[derive(Debug, Clone, Copy)]
struct Rest {
    from: Use,
    to: Use,
    seconds: f64,
}

/// Between stays in HPC nothing is gained by a rest: rents are not negative.
const ROUTES: [(Use, Use); 5] = [
    (Use::Mining, Use::Mining),
    (Use::Mining, Use::Hpc),
    (Use::Hpc, Use::Mining),
    (Use::Idle, Use::Mining),
    (Use::Idle, Use::Hpc),
];

impl Timetable {
    /// The timetable for nodes that take so long from use to use.
    pub fn new(transit: &Transit, grid: &Grid) -> Self {
        let rests =
            ROUTES.map(|(from, to)| Rest { from, to, seconds: shortest(transit, from, to) });
        let end = grid.borders().last().copied().unwrap_or(0.0);
        let moved = |border: f64| {
            let sides = rests.iter().flat_map(move |rest| [rest.seconds, -rest.seconds]);
            sides.map(move |seconds| border + seconds).chain([border])
        };
        let mut times: Vec<f64> = grid.borders().iter().copied().flat_map(moved).collect();
        times.retain(|time| *time >= 0.0 && *time <= end);
        times.sort_by(f64::total_cmp);
        times.dedup();
        Self { points: points(grid, &times), rests: rests.into() }
    }
}

fn points(grid: &Grid, times: &[f64]) -> Vec<Point> {
    let (mut before, mut cell) = (0.0, 0);
    let points = times.iter().map(|time| {
        while grid.borders()[cell + 1] < *time {
            cell += 1;
        }
        let hours = (time - before) / 3600.0;
        before = *time;
        Point { time: *time, hours, cell }
    });
    points.collect()
}

/// The shortest way from one use to another, by stops that may take no time at all.
fn shortest(transit: &Transit, from: Use, to: Use) -> f64 {
    let leg = |from, to| transit.seconds(from, to);
    let stops = [Use::Mining, Use::Hpc, Use::Idle].into_iter();
    let one = stops.clone().filter(|stop| *stop != from && *stop != to);
    let one = one.map(|stop| leg(from, stop) + leg(stop, to));
    let others = move |first: Use| stops.clone().filter(move |stop| *stop != first);
    let two = others(from).flat_map(|first| {
        let seconds = others(first).filter(|second| *second != to);
        seconds.map(move |second| leg(from, first) + leg(first, second) + leg(second, to))
    });
    let direct = leg(from, to);
    one.chain(two).fold(direct, f64::min)
}

/// What a node of a class gains by each use, over resting.
#[derive(Debug, Clone)]
pub struct Yield {
    /// Resting through the whole window, USD.
    rest: f64,
    mining: Vec<Mining>,
    /// GPUs that earn a rent, if it may serve HPC.
    gpus: Option<f64>,
}

#[derive(Debug, Clone)]
struct Mining {
    /// USD per hour, cell by cell.
    gains: Vec<f64>,
    /// A node may *start* with a profile that its class cannot mine with, but never come back to it.
    able: bool,
}

/// The best plan of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it brings, rents included, USD.
    pub usd: f64,
    /// How long it is open to jobs, in each cell, h.
    pub open_hours: Vec<f64>,
}

impl Yield {
    /// The yield of a class.
    pub fn new(site: &Site, grid: &Grid, class: &Class) -> Self {
        let power = grid.values(&site.power);
        let gpus = f64::from(class.gpus);
        let cost = |watts: f64| watts / 1000.0 * site.model.pue;
        let rest = cost(class.host_watts + gpus * class.idle_watts);
        let profiles = site.profiles.iter().zip(&class.hashrate).zip(&class.mining_watts);
        let mining = profiles.map(|((profile, hashrate), watts)| {
            let rate = hashrate.unwrap_or(0.0) * gpus * profile.arriving / 24.0;
            let draw = cost(gpus * (watts - class.idle_watts));
            let income = grid.values(&profile.income);
            let gains = income.iter().zip(&power);
            Mining {
                gains: gains.map(|(income, power)| income * rate - draw * power).collect(),
                able: hashrate.is_some(),
            }
        });
        Self {
            rest: -grid.hours().zip(&power).map(|(hours, power)| hours * rest * power).sum::<f64>(),
            mining: mining.collect(),
            gpus: class.eligible.then_some(gpus),
        }
    }

    /// The rents at which a node earns by HPC just what it can earn by mining, USD per GPU-hour.
    pub fn even_rents(&self, cells: usize) -> Vec<f64> {
        let best = |cell: usize| {
            let able = self.mining.iter().filter(|mining| mining.able);
            able.map(|mining| mining.gains[cell]).fold(0.0, f64::max)
        };
        (0..cells).map(|cell| best(cell) / self.gpus.unwrap_or(1.0)).collect()
    }

    /// The best plan at rents that are given cell by cell, USD per GPU-hour.
    pub fn best(&self, timetable: &Timetable, rents: &[f64]) -> Plan {
        let mut search = Search::new(self, timetable, rents);
        for point in 0..timetable.points.len() {
            search.stay(point);
            search.enter(point);
        }
        search.plan(rents.len())
    }
}

/// A search from point to point. Its states are stays: mining with each profile, then HPC.
struct Search<'y> {
    node: &'y Yield,
    timetable: &'y Timetable,
    rents: &'y [f64],
    /// The best value of being in each state at the point it has come to.
    values: Vec<f64>,
    /// How each state at each point is entered, where that is better than having stayed.
    entries: Vec<Option<Origin>>,
    /// The best that can be left behind at each point, by use.
    leaves: [Vec<Leave>; 3],
    /// For each rest, the best of the leaves that are long enough ago.
    doors: Vec<Door>,
}

/// Where a stay is entered from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// From a rest since the start of the window.
    Rest,
    /// From a stay that was left at a point.
    Stay { state: u32, point: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Leave {
    usd: f64,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, Default)]
struct Door {
    /// How many leaves were long enough ago so far.
    passed: usize,
    best: Option<Leave>,
}

fn place(of: Use) -> usize {
    match of {
        Use::Mining => 0,
        Use::Hpc => 1,
        Use::Idle => 2,
    }
}

impl<'y> Search<'y> {
    fn new(node: &'y Yield, timetable: &'y Timetable, rents: &'y [f64]) -> Self {
        let states = node.mining.len() + usize::from(node.gpus.is_some());
        Self {
            node,
            timetable,
            rents,
            // A node may start in any use.
            values: vec![0.0; states],
            entries: Vec::with_capacity(states * timetable.points.len()),
            leaves: [Vec::new(), Vec::new(), vec![Leave { usd: 0.0, origin: Origin::Rest }]],
            doors: vec![Door::default(); timetable.rests.len()],
        }
    }

    fn use_of(&self, state: usize) -> Use {
        if state < self.node.mining.len() { Use::Mining } else { Use::Hpc }
    }

    /// USD per hour in a cell.
    fn gain(&self, state: usize, cell: usize) -> f64 {
        match self.node.mining.get(state) {
            Some(mining) => mining.gains[cell],
            None => self.rents[cell] * self.node.gpus.unwrap_or(0.0),
        }
    }

    /// Time passes up to a point, and there every stay may be left.
    fn stay(&mut self, point: usize) {
        let Point { hours, cell, .. } = self.timetable.points[point];
        let mut best = [None::<Leave>; 2];
        for state in 0..self.values.len() {
            self.values[state] += self.gain(state, cell) * hours;
            let (usd, best) = (self.values[state], &mut best[place(self.use_of(state))]);
            if best.is_none_or(|best| usd > best.usd) {
                *best = Some(Leave {
                    usd,
                    origin: Origin::Stay { state: index(state), point: index(point) },
                });
            }
        }
        for (leaves, best) in self.leaves.iter_mut().zip(best) {
            leaves.extend(best);
        }
    }

    /// Stays are entered at a point, from such as were left long enough ago.
    fn enter(&mut self, point: usize) {
        let points = &self.timetable.points;
        let mut best = [None::<Leave>; 2];
        for (rest, door) in self.timetable.rests.iter().zip(&mut self.doors) {
            let leaves = &self.leaves[place(rest.from)];
            let latest = points[point].time - rest.seconds + INSTANT;
            while door.passed < leaves.len() && points[door.passed].time <= latest {
                door.best = better(door.best, Some(leaves[door.passed]));
                door.passed += 1;
            }
            let to = &mut best[place(rest.to)];
            *to = better(*to, door.best);
        }
        for state in 0..self.values.len() {
            let able = self.node.mining.get(state).is_none_or(|mining| mining.able);
            let entry = best[place(self.use_of(state))]
                .filter(|entry| able && entry.usd > self.values[state]);
            self.values[state] = entry.map_or(self.values[state], |entry| entry.usd);
            self.entries.push(entry.map(|entry| entry.origin));
        }
    }

    /// The best plan, found by going back from its end. After the last stay it rests.
    fn plan(self, cells: usize) -> Plan {
        let best = self.leaves.iter().flatten().copied().map(Some).fold(None, better);
        let mut open_hours = vec![0.0; cells];
        let mut origin = best.map_or(Origin::Rest, |best| best.origin);
        while let Origin::Stay { state, point } = origin {
            origin = self.go_back(state as usize, point as usize, &mut open_hours);
        }
        Plan { usd: self.node.rest + best.map_or(0.0, |best| best.usd), open_hours }
    }
}

impl Search<'_> {
    /// Where the stay that was left at a point was entered from, its hours in HPC noted.
    fn go_back(&self, state: usize, left: usize, open_hours: &mut [f64]) -> Origin {
        for point in (1..=left).rev() {
            let Point { hours, cell, .. } = self.timetable.points[point];
            if self.use_of(state) == Use::Hpc {
                open_hours[cell] += hours;
            }
            if let Some(origin) = self.entries[(point - 1) * self.values.len() + state] {
                return origin;
            }
        }
        Origin::Rest
    }
}

fn better(one: Option<Leave>, other: Option<Leave>) -> Option<Leave> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.usd > one.usd { other } else { one }),
        (one, other) => one.or(other),
    }
}

fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
// Seconds are small whole numbers here.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tries everything that a node can do, second by second.
    struct Trial<'t> {
        transit: &'t Transit,
        node: &'t Yield,
        cells: &'t [usize],
        rents: &'t [f64],
    }

    /// What the node does: a stay, or resting.
    type Stay = Option<usize>;

    impl Trial<'_> {
        fn use_of(&self, stay: Stay) -> Use {
            match stay {
                Some(stay) if stay < self.node.mining.len() => Use::Mining,
                Some(_) => Use::Hpc,
                None => Use::Idle,
            }
        }

        fn gain(&self, second: usize, stay: Stay) -> f64 {
            let Some(stay) = stay else { return 0.0 };
            let cell = self.cells[second];
            let mining = self.node.mining.get(stay).map(|mining| mining.gains[cell]);
            mining.unwrap_or_else(|| self.rents[cell] * self.node.gpus.unwrap()) / 3600.0
        }

        /// The best from each stay on, going back from the end second by second.
        fn best(&self) -> f64 {
            let stays = || (0..=self.node.mining.len()).map(Some).chain([None]);
            let mut later = vec![vec![0.0; stays().count()]; self.cells.len() + 1];
            for second in (0..self.cells.len()).rev() {
                let on =
                    |stay: Stay, place: usize| self.gain(second, stay) + later[second + 1][place];
                later[second] = stays().enumerate().map(|(place, stay)| on(stay, place)).collect();
                // Moves that take no time may follow each other.
                for _ in 0..3 {
                    let moves = stays()
                        .enumerate()
                        .flat_map(|from| stays().enumerate().map(move |to| (from, to)));
                    for ((from, stay), (to, next)) in moves {
                        // A rest may be longer than the transit takes.
                        let arrival = later.iter().skip(second + self.seconds(stay, next));
                        let arrival = arrival.map(|values| values[to]);
                        let value = arrival.reduce(f64::max).unwrap_or(0.0);
                        if self.able(next) && value > later[second][from] {
                            later[second][from] = value;
                        }
                    }
                }
            }
            later[0].iter().copied().fold(f64::MIN, f64::max)
        }

        fn seconds(&self, from: Stay, to: Stay) -> usize {
            self.transit.seconds(self.use_of(from), self.use_of(to)) as usize
        }

        fn able(&self, to: Stay) -> bool {
            to.is_none_or(|to| self.node.mining.get(to).is_none_or(|to| to.able))
        }
    }

    prop_compose! {
        fn transits()(seconds in prop::array::uniform6(0u8..5)) -> Transit {
            let [mining_to_hpc, hpc_to_mining, idle_to_mining, mining_to_idle, idle_to_hpc, hpc_to_idle] =
                seconds.map(f64::from);
            Transit {
                mining_to_hpc, hpc_to_mining, idle_to_mining, mining_to_idle, idle_to_hpc, hpc_to_idle,
            }
        }
    }

    fn check(transit: &Transit, ends: &[bool], gains: [Vec<f64>; 2], able: bool, rents: &[f64]) {
        let mut cells = vec![0; ends.len()];
        let mut borders = vec![0.0];
        for (second, end) in ends.iter().enumerate() {
            cells[second] = borders.len() - 1;
            if *end && second + 1 < ends.len() {
                borders.push((second + 1) as f64);
            }
        }
        borders.push(ends.len() as f64);
        let grid = Grid::of_borders(borders);
        let [first, second] = gains;
        let mining = vec![Mining { gains: first, able }, Mining { gains: second, able: true }];
        let node = Yield { rest: 0.0, mining, gpus: Some(8.0) };
        let rents = &rents[..grid.hours().len()];
        let plan = node.best(&Timetable::new(transit, &grid), rents);
        let tried = Trial { transit, node: &node, cells: &cells, rents }.best();
        assert!((plan.usd - tried).abs() < 1e-9, "{} instead of {tried}", plan.usd);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn nothing_that_a_node_can_do_is_better(
            transit in transits(),
            ends in prop::collection::vec(any::<bool>(), 1..8),
            gains in prop::array::uniform2(prop::collection::vec(-9.0..9.0, 8)),
            able in any::<bool>(),
            rents in prop::collection::vec(0.0..2.0, 8),
        ) {
            check(&transit, &ends, gains, able, &rents);
        }
    }
}
