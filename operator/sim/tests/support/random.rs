//! Small sites of every kind, from a seed.

use switchyard_sim::{
    series::Series,
    site::{Class, Job, Model, Node, Placement, Profile, Site, Transit},
};

/// A source of chance that gives the same from the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// One of so many.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Does it come to pass?
    pub fn hits(&mut self, probability: f64) -> bool {
        self.between(0.0, 1.0) < probability
    }
}

/// A site without jobs and with constant prices, for tests to change: one class of nodes with 8 GPUs,
/// one profile, a window of a day.
pub fn plain(nodes: usize) -> Site {
    Site {
        name: "small".into(),
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        length: 86_400.0,
        classes: vec![Class {
            model: "GPU".into(),
            gpus: 8,
            hashrate: vec![Some(100e6)],
            mining_watts: vec![250.0],
            hpc_watts: 350.0,
            idle_watts: 50.0,
            host_watts: 300.0,
            eligible: true,
        }],
        nodes: (0..nodes).map(|node| Node { name: format!("node-{node}"), class: 0 }).collect(),
        power: Series::constant(0.05),
        power_forecast: None,
        profiles: vec![profile(Series::constant(0.08e-6), 0.01)],
        hpc: Series::constant(0.5),
        jobs: Vec::new(),
        model: Model::default(),
        pool: serde_json::from_value(serde_json::json!({
            "nodeSelector": {"matchLabels": {"site": "small"}},
            "classes": [],
            "power": {"price": {"usdPerKWh": "0.05"}},
            "hpc": {"price": {"usdPerGPUHour": "0.5"}},
        }))
        .unwrap(),
    }
}

pub fn profile(income: Series, fee: f64) -> Profile {
    let spec = serde_json::json!({
        "coin": "coin", "algorithm": "ethash", "income": {"signal": "mining"}, "hardware": [],
    });
    Profile {
        name: switchyard_api::ProfileRef { namespace: "mining".into(), name: "coin".into() },
        spec: serde_json::from_value(spec).unwrap(),
        arriving: 1.0 - fee,
        income,
    }
}

pub fn job(submit: f64, gpus: u32, duration: f64) -> Job {
    Job { submit, gpus, duration, price: None }
}

/// Any small site.
pub fn site(seed: u64) -> Site {
    let mut chance = Chance(seed);
    let length =
        chance.pick(&[1.0, 2.0, 6.0, 12.0, 24.0]) * 3600.0 + chance.pick(&[0.0, 0.0, 7.0, 1234.5]);
    let profiles = 1 + chance.below(2);
    let classes = 1 + chance.below(3);
    let nodes = 1 + chance.below(6);
    Site {
        length,
        classes: (0..classes).map(|_| class(&mut chance, profiles)).collect(),
        nodes: (0..nodes)
            .map(|node| Node { name: format!("node-{node}"), class: chance.below(classes) })
            .collect(),
        power: power(&mut chance, length),
        power_forecast: None,
        profiles: (0..profiles)
            .map(|_| {
                profile(series(&mut chance, length, 0.0, 0.2e-6), chance.pick(&[0.0, 0.01, 0.1]))
            })
            .collect(),
        hpc: series(&mut chance, length, -0.05, 1.0),
        jobs: jobs(&mut chance, length),
        model: model(&mut chance),
        ..plain(0)
    }
}

fn class(chance: &mut Chance, profiles: usize) -> Class {
    Class {
        model: "GPU".into(),
        gpus: chance.pick(&[1, 2, 4, 8, 8, 8, 8]),
        hashrate: (0..profiles)
            .map(|_| chance.hits(0.8).then(|| chance.between(20e6, 150e6)))
            .collect(),
        mining_watts: (0..profiles).map(|_| chance.between(0.0, 350.0)).collect(),
        hpc_watts: chance.between(50.0, 400.0),
        idle_watts: chance.between(0.0, 80.0),
        host_watts: chance.between(0.0, 500.0),
        eligible: chance.hits(0.85),
    }
}

/// Now and then it is dear, and now and then one is paid to take it.
fn power(chance: &mut Chance, length: f64) -> Series {
    let usual = series(chance, length, 0.0, 0.15);
    let spike = chance.pick(&[0.0, 0.0, 0.5, 5.0, -0.1]);
    let points = usual
        .points()
        .iter()
        .map(|(time, price)| (*time, if chance.hits(0.15) { price + spike } else { *price }));
    Series::new(points.collect::<Vec<_>>())
}

/// A series that changes at even or at odd times, or never.
fn series(chance: &mut Chance, length: f64, low: f64, high: f64) -> Series {
    let step = chance.pick(&[f64::INFINITY, 3600.0, 1800.0, 450.0, 0.0]);
    let mut time = chance.pick(&[0.0, 0.0, -500.0]);
    let mut points = Vec::new();
    while time < length {
        points.push((time, chance.between(low, high)));
        time += if step == 0.0 { chance.between(1.0, 5000.0) } else { step };
    }
    Series::new(points)
}

fn jobs(chance: &mut Chance, length: f64) -> Vec<Job> {
    let count = chance.pick(&[0, 1, 3, 10, 40]);
    let even = chance.hits(0.3);
    let sizes =
        chance.pick(&[&[1, 1, 1, 2, 4, 8][..], &[1, 5], &[5], &[8, 12, 16], &[1, 3, 8, 9, 24]]);
    let mut jobs: Vec<Job> = (0..count)
        .map(|_| {
            let submit = chance.between(0.0, length);
            let duration = chance.pick(&[0.0, 60.0, 1800.0, 3600.0, 7200.0, 40_000.0, 1e6]);
            Job {
                submit: if even { (submit / 900.0).floor() * 900.0 } else { submit },
                gpus: chance.pick(sizes),
                duration: if even { duration } else { duration * chance.between(0.2, 1.8) },
                price: chance.hits(0.2).then(|| chance.between(-0.1, 2.0)),
            }
        })
        .collect();
    jobs.sort_by(|one, other| one.submit.total_cmp(&other.submit));
    jobs
}

fn model(chance: &mut Chance) -> Model {
    let usual = Transit::default();
    let scale = chance.pick(&[1.0, 1.0, 0.0, 10.0, 60.0]);
    let odd = chance.hits(0.3);
    let mut seconds =
        |usual: f64| if odd { chance.pick(&[0.0, 10.0, 500.0, 4000.0]) } else { usual * scale };
    let transit = Transit {
        mining_to_hpc: seconds(usual.mining_to_hpc),
        hpc_to_mining: seconds(usual.hpc_to_mining),
        idle_to_mining: seconds(usual.idle_to_mining),
        mining_to_idle: seconds(usual.mining_to_idle),
        idle_to_hpc: seconds(usual.idle_to_hpc),
        hpc_to_idle: seconds(usual.hpc_to_idle),
    };
    Model {
        pue: chance.pick(&[1.0, 1.1, 1.5]),
        step: chance.pick(&[60.0, 300.0, 300.0, 1000.0]),
        patience: chance.pick(&[0.0, 60.0, 600.0, 7200.0, 7200.0, 1e6]),
        backfill: chance.pick(&[1, 5, 200]),
        transit,
        placement: chance.pick(&[Placement::LeastAllocated, Placement::MostAllocated]),
        gpus_per_node: chance.pick(&[8, 8, 8, 4]),
    }
}

/// Four nodes and more jobs of these sizes than they can take, for two days; mining pays little.
pub fn crowded(seed: u64, sizes: &[u32]) -> Site {
    let mut chance = Chance(seed);
    let mut site = plain(4);
    site.length = 2.0 * 86_400.0;
    site.profiles = vec![profile(Series::constant(0.02e-6), 0.01)];
    site.hpc = series(&mut chance, site.length, 0.3, 0.6);
    let mean = sizes.iter().sum::<u32>() / u32::try_from(sizes.len()).unwrap();
    let load = 1.5 * 4.0 * 8.0 * site.length / 5400.0 / f64::from(mean);
    let mut submits: Vec<f64> =
        (0..load as usize).map(|_| chance.between(0.0, site.length)).collect();
    submits.sort_by(f64::total_cmp);
    let jobs = submits.into_iter();
    site.jobs = jobs
        .map(|submit| job(submit, chance.pick(sizes), chance.between(1800.0, 9000.0)))
        .collect();
    site
}
