//! Looks for the rents at which the bound is lowest.
//!
//! Any rents give a bound, so nothing here can make it wrong, only loose. The bound is a convex
//! function of the rents, and the GPUs that are offered beyond those that are taken are its slope:
//! rents fall where nodes offer more than jobs take, and rise where jobs ask for more. Steps are as
//! long as Polyak's, towards a level at some distance below the best bound so far. When the bound comes
//! down halfway, the distance doubles; when it does not, the level was too low: the search goes back
//! to the best rents and aims at half the distance.

use super::relaxation::{Priced, Relaxation};

/// How far below the best bound the level is at first, as a part of it.
const FIRST_DISTANCE: f64 = 0.01;
/// Rounds in which the bound must come down by half the distance.
const PATIENCE: usize = 50;

/// Rents and what they come to.
#[derive(Debug, Clone)]
struct Found {
    rents: Vec<Vec<f64>>,
    priced: Priced,
}

impl Found {
    fn at(relaxation: &Relaxation, rents: Vec<Vec<f64>>) -> Self {
        Self { priced: relaxation.price(&rents), rents }
    }

    /// Goes down the slope as far as a straight line would have to go to come down by so much.
    fn step(&self, relaxation: &Relaxation, usd: f64) -> Self {
        let length = usd / relaxation.square(&self.priced.excess);
        let classes = self.rents.iter().zip(&self.priced.excess).map(|(rents, excess)| {
            let cells = rents.iter().zip(excess);
            cells.map(|(rent, excess)| (rent - length * excess).max(0.0)).collect()
        });
        Self::at(relaxation, classes.collect())
    }

    fn usd(&self) -> f64 {
        self.priced.usd
    }
}

/// The lowest bound that was found.
#[derive(Debug, Clone)]
pub struct Lowest {
    /// USD.
    pub usd: f64,
    /// Its rents, by class and cell.
    pub rents: Vec<Vec<f64>>,
    /// How often rents were tried.
    pub rounds: usize,
}

/// Looks for the lowest bound in at most so many rounds.
pub fn lowest(relaxation: &Relaxation, most: usize) -> Lowest {
    let mut now = Found::at(relaxation, relaxation.even_rents());
    let mut best = now.clone();
    let mut distance = now.usd().abs().max(1.0) * FIRST_DISTANCE;
    let (mut aim, mut tried) = (now.usd() - distance / 2.0, 0);
    let mut rounds = 1;
    while rounds < most {
        if relaxation.square(&now.priced.excess) <= 0.0 {
            // Nobody offers what nobody takes: no rents are better.
            break;
        }
        rounds += 1;
        now = now.step(relaxation, now.usd() - best.usd() + distance);
        if now.usd() < best.usd() {
            best.clone_from(&now);
        }
        tried += 1;
        if best.usd() < aim {
            distance *= 2.0;
            (aim, tried) = (best.usd() - distance / 2.0, 0);
        } else if tried >= PATIENCE {
            distance /= 2.0;
            (aim, tried) = (best.usd() - distance / 2.0, 0);
            now.clone_from(&best);
        }
    }
    Lowest { usd: best.usd(), rents: best.rents, rounds }
}
