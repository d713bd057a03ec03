//! Real sites, where there are any beside the project. They stay where they are, and have no site.yaml:
//! the reader drafts it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use switchyard_sim::site::{Placement, Site};

/// The names of the real sites, and when their windows start and end.
pub const SITES: [(&str, &str, &str); 3] = [
    ("germany-2021h1", "2021-03-01T00:00:00Z", "2021-06-28T00:00:00Z"),
    ("newyork-2020q1", "2020-01-06T00:00:00Z", "2020-03-23T00:00:00Z"),
    ("texas-2021q1", "2021-01-04T00:00:00Z", "2021-03-29T00:00:00Z"),
];

/// Reads a real site, if it is there.
pub fn read((name, start, end): (&str, &str, &str), placement: Placement) -> Option<Site> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/sites").join(name);
    if !folder.exists() {
        return None;
    }
    let site = Site::read(&folder, Some(placement)).unwrap();
    assert_eq!(site.start.to_string(), start);
    let length = site.start.until(end.parse::<jiff::Timestamp>().unwrap()).unwrap();
    assert!((site.length - length.total(jiff::Unit::Second).unwrap()).abs() < 1e-9, "{name}");
    Some(site)
}
