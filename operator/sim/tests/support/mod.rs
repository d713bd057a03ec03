//! Small random sites, and policies that try everything.

#![allow(dead_code, missing_docs)] // every test uses another part
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod random;
pub mod shared;
pub mod simplex;
pub mod tiny;
pub mod wild;
