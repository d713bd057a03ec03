//! Room on nodes, to place waiting pods into and to take them out again.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use foldhash::fast::FixedState;
use itertools::Itertools;
use smallvec::SmallVec;
use switchyard_api::{Reason, Use};

use crate::{snapshot::Resources, survey::NodeId};

/// How a node comes to take work; better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// It is open.
    Open,
    /// A running shift will open it.
    Coming,
    /// This plan opens it.
    Opened,
    /// This plan could open it.
    Fresh,
}

/// The order of rooms of a tier: free GPUs (zero for fresh ones), then the index.
type Rank = (u32, usize);

const TIERS: [Tier; 4] = [Tier::Open, Tier::Coming, Tier::Opened, Tier::Fresh];

/// All that a pod asks of a node but for what is free there: nodes of one kind are judged alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// The pool.
    pub(crate) pool: usize,
    /// The class.
    pub(crate) class: Option<usize>,
    /// How many GPUs the whole node has.
    pub(crate) gpus: u32,
    /// What it is in use for.
    pub(crate) node_use: Use,
    /// Who may go there: a list of the [`crate::admission::Admissions`].
    pub(crate) list: usize,
}

/// A node with room.
#[derive(Debug)]
struct Room<'s> {
    id: NodeId,
    tier: Tier,
    free: Cow<'s, Resources>,
    /// Index of the shelf that it is on.
    shelf: usize,
    /// Of the resource that counts its GPUs, what is free.
    gpus: u32,
}

/// The rooms of a kind.
#[derive(Debug)]
struct Shelf {
    kind: Kind,
    /// The resource that counts their GPUs: index of [`Rooms::resources`].
    resource: usize,
    /// Those that take work anyway, by tier and free GPUs.
    taking: BTreeSet<(Tier, u32, usize)>,
    /// Those that are fresh or were, in the order of adding; before `next` none is any more.
    fresh: Vec<usize>,
    next: usize,
}

/// All rooms, ordered so that the best one for a pod is found first: by tier; then, among nodes that
/// take work anyway, the fullest that still fits, which keeps whole nodes free for whole-node jobs;
/// among fresh ones, the one that was added first.
#[derive(Debug, Default)]
pub(crate) struct Rooms<'s> {
    all: Vec<Room<'s>>,
    shelves: Vec<Shelf>,
    by_kind: HashMap<Kind, usize, FixedState>,
    /// For each tier and shelf, the most GPUs that are free in a room; of fresh ones, that may be.
    most: [Vec<u32>; 4],
    resources: Vec<&'s str>,
}

/// The best room of a shelf for a pod that wants so many GPUs.
struct First<'r> {
    rank: Rank,
    shelf: &'r Shelf,
    wanted: u32,
}

/// A change that can be taken back.
#[derive(Debug)]
pub(crate) struct Placement<'s> {
    /// The node.
    pub(crate) id: NodeId,
    /// The tier that it had before.
    pub(crate) tier: Tier,
    room: usize,
    requests: &'s Resources,
}

impl<'s> Rooms<'s> {
    /// Adds a node whose GPUs are counted by `resource`, which is the same for the whole kind.
    pub(crate) fn add(
        &mut self,
        id: NodeId,
        tier: Tier,
        kind: Kind,
        free: &'s Resources,
        resource: &'s str,
    ) {
        let gpus = free.extended(resource);
        let resource = self.intern(resource);
        let shelf = *self.by_kind.entry(kind).or_insert_with(|| {
            self.shelves.push(Shelf {
                kind,
                resource,
                taking: BTreeSet::new(),
                fresh: Vec::new(),
                next: 0,
            });
            self.most.iter_mut().for_each(|most| most.push(0));
            self.shelves.len() - 1
        });
        let index = self.all.len();
        if let Some(shelf) = self.shelves.get_mut(shelf) {
            shelf.put(tier, gpus, index);
        }
        if let Some(most) = self.most.get_mut(tier as usize).and_then(|most| most.get_mut(shelf)) {
            *most = gpus.max(*most);
        }
        self.all.push(Room { id, tier, free: Cow::Borrowed(free), shelf, gpus });
    }

    fn intern(&mut self, resource: &'s str) -> usize {
        let known = self.resources.iter().position(|known| *known == resource);
        known.unwrap_or_else(|| {
            self.resources.push(resource);
            self.resources.len() - 1
        })
    }

    /// The best room for a pod of those whose kind `judge` lets it have, and what that said. `judge`
    /// is asked in order; if it refuses all: the first refusal. It is known that none is better than
    /// those of the tier `from`.
    pub(crate) fn find<T>(
        &self,
        (from, requests): (Tier, &Resources),
        admitted: impl Fn(&Kind) -> bool,
        judge: impl Fn(Tier, &Kind) -> Result<T, Reason>,
    ) -> Result<(usize, T), Option<Reason>> {
        let mut obstacle = None;
        for tier in TIERS.into_iter().filter(|tier| *tier >= from) {
            let holds = |(_, room): &Rank| self.holds(*room, tier, requests);
            let mut firsts = self.firsts(tier, requests, &admitted);
            while let Some(best) = firsts.iter().position_min_by_key(|first| first.rank) {
                let first = firsts.swap_remove(best);
                if !holds(&first.rank) {
                    let next = first.shelf.ranks(tier, first.wanted).find(holds);
                    firsts.extend(next.map(|rank| First { rank, ..first }));
                    continue;
                }
                match judge(tier, &first.shelf.kind) {
                    Ok(said) => return Ok((first.rank.1, said)),
                    Err(reason) => obstacle = obstacle.or(Some(reason)),
                }
            }
        }
        Err(obstacle)
    }

    /// The first room of each shelf that may have one of the tier for a pod, in no order.
    fn firsts(
        &self,
        tier: Tier,
        requests: &Resources,
        admitted: impl Fn(&Kind) -> bool,
    ) -> SmallVec<[First<'_>; 64]> {
        let wanted: SmallVec<[u32; 2]> =
            self.resources.iter().map(|resource| requests.extended(resource)).collect();
        let most = self.most.get(tier as usize).into_iter().flatten();
        let shelves = most.zip(&self.shelves).filter(|(most, _)| **most > 0);
        let firsts = shelves.filter_map(|(most, shelf)| {
            let wanted = wanted.get(shelf.resource).copied().filter(|wanted| *wanted > 0)?;
            let asked = *most >= wanted && admitted(&shelf.kind);
            let rank = asked.then(|| shelf.first(tier, wanted))??;
            Some(First { rank, shelf, wanted })
        });
        firsts.collect()
    }

    fn holds(&self, room: usize, tier: Tier, requests: &Resources) -> bool {
        let room = self.all.get(room);
        room.is_some_and(|room| room.tier == tier && room.free.covers(requests))
    }

    /// Puts a pod into a room; a fresh room becomes an opened one.
    pub(crate) fn place(&mut self, index: usize, requests: &'s Resources) -> Option<Placement<'s>> {
        let room = self.all.get(index)?;
        let (id, tier) = (room.id, room.tier);
        let to = if tier == Tier::Fresh { Tier::Opened } else { tier };
        self.change(index, to, |free| free.take(requests));
        Some(Placement { id, tier, room: index, requests })
    }

    /// Takes a placement back. Placements are taken back last first.
    pub(crate) fn undo(&mut self, placement: &Placement<'s>) {
        self.change(placement.room, placement.tier, |free| free.give(placement.requests));
    }

    fn change(&mut self, index: usize, to: Tier, change: impl FnOnce(&mut Resources)) {
        let Some(room) = self.all.get_mut(index) else {
            return;
        };
        let (from, on) = (room.tier, room.shelf);
        let Some(shelf) = self.shelves.get_mut(on) else {
            return;
        };
        shelf.taking.remove(&(from, room.gpus, index));
        change(room.free.to_mut());
        room.tier = to;
        let resource = self.resources.get(shelf.resource).copied().unwrap_or_default();
        room.gpus = room.free.extended(resource);
        shelf.put(room.tier, room.gpus, index);
        let taken =
            |index: &usize| self.all.get(*index).is_some_and(|room| room.tier != Tier::Fresh);
        while shelf.fresh.get(shelf.next).is_some_and(taken) {
            shelf.next += 1;
        }
        for tier in [from, to] {
            let most = self.most.get_mut(tier as usize).and_then(|most| most.get_mut(on));
            if let Some(most) = most {
                *most = shelf.most(tier);
            }
        }
    }
}

impl Shelf {
    /// The most GPUs that are free in a room of a tier; of a fresh one, that may be.
    fn most(&self, tier: Tier) -> u32 {
        if tier == Tier::Fresh {
            return if self.next < self.fresh.len() { self.kind.gpus } else { 0 };
        }
        let mut rooms = self.taking.range((tier, 0, 0)..=(tier, u32::MAX, usize::MAX));
        rooms.next_back().map_or(0, |(_, gpus, _)| *gpus)
    }

    /// The best of its rooms with so many GPUs free.
    fn first(&self, tier: Tier, wanted: u32) -> Option<Rank> {
        match tier {
            Tier::Fresh => self.fresh.get(self.next).map(|index| (0, *index)),
            Tier::Open | Tier::Coming | Tier::Opened => self.ranks(tier, wanted).next(),
        }
    }

    /// Its rooms with so many GPUs free, the best first.
    fn ranks(&self, tier: Tier, wanted: u32) -> impl Iterator<Item = Rank> {
        let fresh = self.fresh.get(self.next..).filter(|_| tier == Tier::Fresh);
        let fresh = fresh.into_iter().flatten().map(|index| (0, *index));
        let range = (tier, wanted, 0)..=(tier, u32::MAX, usize::MAX);
        let taking = (tier != Tier::Fresh).then(|| self.taking.range(range));
        fresh.chain(taking.into_iter().flatten().map(|(_, gpus, index)| (*gpus, *index)))
    }

    fn put(&mut self, tier: Tier, gpus: u32, index: usize) {
        if tier != Tier::Fresh {
            self.taking.insert((tier, gpus, index));
            return;
        }
        // Rooms are added in their order, and come back to where they were.
        match self.fresh.binary_search(&index) {
            Ok(place) => self.next = self.next.min(place),
            Err(place) => self.fresh.insert(place, index),
        }
    }
}
