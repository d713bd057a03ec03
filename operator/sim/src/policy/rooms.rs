//! Where waiting jobs would go, by the scheduler's own rules.

use crate::{
    engine::Activity,
    policy::View,
    site::{Placement, Site},
};

/// Room on nodes that are open, are coming, or could be opened.
pub struct Rooms<'s> {
    site: &'s Site,
    rooms: Vec<Room>,
}

/// Room on a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// The node.
    pub node: usize,
    /// Free GPUs.
    pub free: u32,
    /// GPUs of the node.
    pub gpus: u32,
    /// Would it have to be opened?
    pub fresh: bool,
    /// What the jobs that were put on it here pay, USD per hour, their power paid.
    pub pays: f64,
    /// The GPUs of jobs that were put on it here.
    pub taken: u32,
}

impl<'s> Rooms<'s> {
    /// The rooms that there are now: nodes open to jobs, and such that will be.
    pub fn of(view: &View<'s>) -> Self {
        let rooms = view
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.activity == Activity::Hpc && !node.closed);
        let rooms = rooms.map(|(index, node)| Room {
            node: index,
            free: node.free,
            gpus: view.site.classes[node.class].gpus,
            fresh: false,
            pays: 0.0,
            taken: 0,
        });
        Self { site: view.site, rooms: rooms.collect() }
    }

    /// Adds nodes that could be opened; earlier ones are taken first.
    pub fn add_fresh(&mut self, view: &View<'_>, nodes: impl IntoIterator<Item = usize>) {
        for node in nodes {
            let gpus = view.site.classes[view.nodes[node].class].gpus;
            let room = Room { node, free: gpus, gpus, fresh: true, pays: 0.0, taken: 0 };
            self.rooms.push(room);
        }
    }

    /// Puts a job where it fits: on nodes that are open or coming, else on such as were opened for
    /// others before it, else on fresh ones. If it fits nowhere, nothing changes.
    pub fn place(&mut self, gpus: u32, pays: f64) {
        let chosen = self.choose(gpus).unwrap_or_default();
        let share = pays / chosen.len() as f64;
        for index in chosen {
            let room = &mut self.rooms[index];
            let taken = gpus.min(room.free);
            room.free -= taken;
            room.taken += taken;
            room.pays += share;
        }
    }

    fn choose(&self, gpus: u32) -> Option<Vec<usize>> {
        let per_node = self.site.model.gpus_per_node;
        if gpus <= per_node {
            return Some(vec![self.host(gpus)?]);
        }
        let wanted = gpus.div_ceil(per_node) as usize;
        let whole = self.rooms.iter().enumerate().filter(|(_, room)| room.free == room.gpus);
        let mut whole: Vec<_> = whole.map(|(index, room)| (room.fresh, index)).collect();
        whole.sort_unstable();
        whole.truncate(wanted);
        (whole.len() == wanted).then(|| whole.into_iter().map(|(_, index)| index).collect())
    }

    fn host(&self, gpus: u32) -> Option<usize> {
        let standing = self.rooms.iter().enumerate().filter(|(_, room)| room.free >= gpus);
        let (open, fresh): (Vec<_>, Vec<_>) = standing.partition(|(_, room)| !room.fresh);
        let best = match self.site.model.placement {
            Placement::LeastAllocated => {
                open.iter().min_by_key(|(_, room)| std::cmp::Reverse(room.free))
            }
            Placement::MostAllocated => open.iter().min_by_key(|(_, room)| room.free),
        };
        let begun =
            || fresh.iter().filter(|(_, room)| room.taken > 0).min_by_key(|(_, room)| room.free);
        best.or_else(begun).or_else(|| fresh.first()).map(|(index, _)| *index)
    }

    /// All rooms.
    pub fn all(&self) -> &[Room] {
        &self.rooms
    }
}
