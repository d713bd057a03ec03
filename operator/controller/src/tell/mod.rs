//! What people and Prometheus are told.

mod events;
mod maker;
mod metrics;
mod statuses;

pub use events::Announcer;
pub use maker::Described;
pub use metrics::Metrics;
pub use statuses::Said;
