//! What the cluster holds: watches, caches of facts, and the snapshot that is taken of them.

pub mod cache;
pub mod caches;
pub mod gather;
mod quantity;
pub mod read;

pub use caches::{Caches, Written};
pub use gather::Memory;
