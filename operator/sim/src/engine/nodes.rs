//! Nodes and what they do.

use switchyard_api::Use;

use crate::{
    engine::{queue::Running, use_of},
    site::{Class, Placement, Site},
    timeline::Gpus,
};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It mines with a profile.
    Mining(usize),
    /// It is open to jobs.
    Hpc,
    /// Neither.
    Idle,
}

impl Activity {
    /// Mining with the first profile that lists a class, or else nothing.
    pub fn mining(class: &Class) -> Self {
        let first = (0..class.hashrate.len()).find(|profile| class.mines(*profile));
        first.map_or(Self::Idle, Self::Mining)
    }

    /// Can nodes of a class do so?
    pub fn suits(self, class: &Class) -> bool {
        match self {
            Self::Mining(profile) => class.mines(profile),
            Self::Hpc => class.eligible,
            Self::Idle => true,
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeState {
    /// Its class, an index of [`Site::classes`].
    pub class: usize,
    /// What it does, or will do when it has arrived.
    pub activity: Activity,
    /// The use it left last.
    pub from: Use,
    /// Is it on its way?
    pub in_transit: bool,
    /// Does it take no new jobs, although it is in use HPC?
    pub closed: bool,
    /// GPUs without a job, where it is open to jobs.
    pub free: u32,
    /// Its jobs.
    pub jobs: u32,
    /// Since when it does so, or will, s.
    pub since: f64,
    /// Since when it has had no job, s.
    pub empty_since: f64,
}

impl NodeState {
    /// Is it open to jobs now?
    pub fn open(&self) -> bool {
        self.activity == Activity::Hpc && !self.in_transit && !self.closed
    }
}

/// All nodes, and how many of each class do what, which is all the ledger has to know.
pub struct Nodes {
    all: Vec<NodeState>,
    /// By class and profile.
    pub mining: Vec<Vec<u32>>,
    /// Open nodes by class.
    pub hpc: Vec<u32>,
    /// GPUs with a job by class.
    pub busy: Vec<u32>,
    /// Idle nodes and such in transit, by class.
    pub resting: Vec<u32>,
    /// Of these, in transit.
    pub moving: Vec<u32>,
}

impl Nodes {
    /// The nodes of a site, each doing what it is to start with, or nothing if it cannot do that.
    pub fn new(site: &Site, start: &[Activity]) -> Self {
        let classes = site.classes.len();
        let mut nodes = Self {
            all: Vec::with_capacity(site.nodes.len()),
            mining: vec![vec![0; site.profiles.len()]; classes],
            hpc: vec![0; classes],
            busy: vec![0; classes],
            resting: vec![0; classes],
            moving: vec![0; classes],
        };
        for (node, activity) in site.nodes.iter().zip(start) {
            let able = activity.suits(&site.classes[node.class]);
            let activity = if able { activity } else { &Activity::Idle };
            nodes.all.push(NodeState {
                class: node.class,
                activity: *activity,
                from: use_of(*activity),
                in_transit: false,
                closed: false,
                free: site.classes[node.class].gpus,
                jobs: 0,
                // Long enough ago for every dwell to be over.
                since: -1e9,
                empty_since: -1e9,
            });
            nodes.count(node.class, *activity, false, 1);
        }
        nodes
    }

    /// What all GPUs do.
    pub fn gpus(&self, site: &Site) -> Gpus {
        let mut gpus = Gpus::default();
        for (class, facts) in site.classes.iter().enumerate() {
            let count = |nodes: u32| f64::from(nodes * facts.gpus);
            let busy = f64::from(self.busy[class]);
            gpus.mining += count(self.mining[class].iter().sum());
            gpus.busy += busy;
            gpus.free += count(self.hpc[class]) - busy;
            gpus.idle += count(self.resting[class] - self.moving[class]);
            gpus.transit += count(self.moving[class]);
        }
        gpus
    }

    /// Every node.
    pub fn all(&self) -> &[NodeState] {
        &self.all
    }

    /// Sends a node on its way. None, if it cannot go: it is on its way, it does that already, it has
    /// jobs, or its class may not serve them.
    pub fn depart(
        &mut self,
        site: &Site,
        node: usize,
        to: Activity,
        now: f64,
    ) -> Option<(Use, f64)> {
        let state = self.all.get(node)?;
        let able = to.suits(&site.classes[state.class]);
        if state.in_transit || state.activity == to || state.jobs > 0 || !able {
            return None;
        }
        let (class, before) = (state.class, state.activity);
        let from = use_of(before);
        let seconds = site.model.transit.seconds(from, use_of(to));
        self.count(class, before, false, -1);
        self.count(class, to, true, 1);
        let state = &mut self.all[node];
        state.activity = to;
        state.from = from;
        state.in_transit = true;
        state.closed = false;
        state.since = now + seconds;
        Some((from, seconds))
    }

    /// A node has arrived.
    pub fn arrive(&mut self, node: usize, now: f64) {
        let (class, activity) = (self.all[node].class, self.all[node].activity);
        self.count(class, activity, true, -1);
        self.count(class, activity, false, 1);
        let state = &mut self.all[node];
        state.in_transit = false;
        state.empty_since = now;
    }

    /// Shuts or opens the door of a node in use HPC.
    pub fn shut(&mut self, node: usize, closed: bool) {
        if let Some(state) = self.all.get_mut(node) {
            state.closed = closed && state.activity == Activity::Hpc && !state.in_transit;
        }
    }

    /// Puts a job on nodes, if it fits: on one, or on whole ones if it is larger than a node.
    pub fn place(&mut self, site: &Site, job: usize) -> Option<Vec<(usize, u32)>> {
        let gpus = site.jobs[job].gpus;
        let per_node = site.model.gpus_per_node;
        let chosen: Vec<(usize, u32)> = if gpus <= per_node {
            vec![(self.host(site, gpus)?, gpus)]
        } else {
            let wanted = gpus.div_ceil(per_node) as usize;
            let whole =
                self.all.iter().enumerate().filter(|(_, node)| node.open() && node.jobs == 0);
            let whole: Vec<_> =
                whole.take(wanted).map(|(index, node)| (index, node.free)).collect();
            (whole.len() == wanted).then_some(whole)?
        };
        for (node, taken) in &chosen {
            let state = &mut self.all[*node];
            state.free -= taken;
            state.jobs += 1;
            self.busy[state.class] += taken;
        }
        Some(chosen)
    }

    /// The node that the scheduler prefers for a job.
    fn host(&self, site: &Site, gpus: u32) -> Option<usize> {
        let fitting =
            self.all.iter().enumerate().filter(|(_, node)| node.open() && node.free >= gpus);
        let best = match site.model.placement {
            // Of equals, min_by_key takes the first.
            Placement::LeastAllocated => {
                fitting.min_by_key(|(_, node)| std::cmp::Reverse(node.free))
            }
            Placement::MostAllocated => fitting.min_by_key(|(_, node)| node.free),
        };
        best.map(|(index, _)| index)
    }

    /// A job has left its nodes.
    pub fn vacate(&mut self, running: &Running, now: f64) {
        for (node, taken) in &running.nodes {
            let state = &mut self.all[*node];
            state.free += taken;
            state.jobs -= 1;
            self.busy[state.class] -= taken;
            if state.jobs == 0 {
                state.empty_since = now;
            }
        }
    }

    /// The most GPUs that are free on one open node, and how many open nodes are empty.
    pub fn room(&self) -> (u32, usize) {
        let open = self.all.iter().filter(|node| node.open());
        open.fold((0, 0), |(most, empty), node| {
            (most.max(node.free), empty + usize::from(node.jobs == 0))
        })
    }

    fn count(&mut self, class: usize, activity: Activity, in_transit: bool, change: i32) {
        let slot = match (in_transit, activity) {
            (true, _) => {
                self.moving[class] = self.moving[class].wrapping_add_signed(change);
                &mut self.resting[class]
            }
            (false, Activity::Mining(profile)) => &mut self.mining[class][profile],
            (false, Activity::Hpc) => &mut self.hpc[class],
            (false, Activity::Idle) => &mut self.resting[class],
        };
        *slot = slot.wrapping_add_signed(change);
    }
}
