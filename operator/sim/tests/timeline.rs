//! The hours of a run add up to its outcome.

use switchyard_sim::{
    engine, example,
    policy::{Rules, Serve, Switch},
    site::Site,
};

#[test]
fn what_is_recorded_is_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    example::write(dir.path()).unwrap();
    let site = Site::read(dir.path(), None).unwrap();
    let policy = || Rules::new("asked", Serve::Always, Switch::SkiRental);

    let outcome = engine::run(&site, &mut policy());
    let (recorded, timeline) = engine::record(&site, &mut policy());
    assert_eq!(outcome, recorded, "recording changes nothing");

    assert_eq!(timeline.hours.len(), 28 * 24);
    let gpus = 24.0 * 8.0;
    assert!(timeline.hours.iter().all(|hour| (hour.gpus.total() - gpus).abs() < 1e-6));
    let free: f64 = timeline.hours.iter().map(|hour| hour.gpus.free).sum();
    assert!((free - outcome.idle_hpc_gpu_hours).abs() < 1e-3, "{free}");
    let last = timeline.hours.last().unwrap().usd;
    assert!((last - outcome.usd_net).abs() < 1e-6, "{last}");
}
