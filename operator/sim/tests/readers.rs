//! A site that somebody wrote: what is wrong with it is said with file, line, field and remedy, and
//! nothing that a file may hold makes the reader panic.
#![allow(clippy::unwrap_used)]

use std::{fs, io::Write};

use flate2::{Compression, write::GzEncoder};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rstest::rstest;
use switchyard_sim::{
    engine::{self, Activity},
    example,
    outcome::Outcome,
    policy::{Fixed, Rules, Serve, Switch},
    site::{Site, SiteError},
};
use tempfile::TempDir;

/// The example, with one of its files as it is given here.
fn with(file: &str, content: impl AsRef<[u8]>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    example::write(dir.path()).unwrap();
    fs::write(dir.path().join(file), content).unwrap();
    dir
}

/// The example, with one text in a file replaced.
fn with_change(file: &str, from: &str, to: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    example::write(dir.path()).unwrap();
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    dir
}

fn read(dir: &TempDir) -> Result<Site, SiteError> {
    Site::read(dir.path(), None)
}

/// What is said of a site that cannot be read, from the folder on, and why.
fn refusal(dir: &TempDir) -> String {
    let error = read(dir).unwrap_err();
    let why = std::error::Error::source(&error).map_or(String::new(), |why| format!(": {why}"));
    let folder = format!("{}/", dir.path().display());
    format!("{error}{why}").replace(&folder, "")
}

fn zipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const POWER: &str = "signals/power.csv";
const JOBS: &str = "submit,gpus,duration_s,usd_per_gpu_hour";

#[rstest]
// Tables.
#[case(
    POWER,
    "time,value\n2024-01-08T00:00:00Z,1\n2024-01-07T00:00:00Z,2\n",
    "signals/power.csv:3: time \"2024-01-07T00:00:00Z\" is before the line above: sort the file by time"
)]
#[case(
    POWER,
    "time,value\n2024-01-08T00:00:00Z,NaN\n",
    "signals/power.csv:2: value \"NaN\" is no number up to 1e12: write it as 0.065"
)]
#[case(
    POWER,
    "time,value\n2024-01-08T00:00:00Z,inf\n",
    "signals/power.csv:2: value \"inf\" is no number up to 1e12: write it as 0.065"
)]
#[case(
    POWER,
    "time,value\n2024-01-08T00:00:00Z,1e300\n",
    "signals/power.csv:2: value \"1e300\" is no number up to 1e12: write it as 0.065"
)]
#[case(
    POWER,
    "time,value\n2024-01-08T00:00:00Z,\n",
    "signals/power.csv:2: value is empty: give a value"
)]
#[case(
    POWER,
    "time,value\n2024-01-08,1\n",
    "signals/power.csv:2: time \"2024-01-08\" is no time: write it as 2021-02-14T00:00:00Z"
)]
#[case(
    POWER,
    "time,value\n2024-01-08T01:00:00Z,1\n",
    "signals/power.csv:2: time is after the start of the window: add an earlier value, or choose a \
     later spec.start of the Site"
)]
#[case(POWER, "time,value\n", "signals/power.csv: there is no value: a signal needs at least one")]
#[case(
    POWER,
    "",
    "signals/power.csv:1: the column time is missing: the first line names the columns"
)]
#[case(
    POWER,
    "time,value,note\n2024-01-08T00:00:00Z,1,\n",
    "signals/power.csv:1: the column \"note\" is not known: the columns are time, value"
)]
#[case(
    POWER,
    "time,value\n2024-01-08T00:00:00Z,1,2\n",
    "signals/power.csv:2: has 3 fields where the first line has 2: one for each column"
)]
#[case(
    POWER,
    b"time,value\n\xff\xfe,1\n",
    "signals/power.csv:2: is not UTF-8: save the file as plain text"
)]
#[case(
    "signals/gpu-hour.csv",
    "time,value\n2024-01-08T00:00:00Z,-0.1\n",
    "signals/gpu-hour.csv:2: value \"-0.1\" must not be negative"
)]
#[case(
    "signals/etc-income.csv",
    "time,value\n2024-01-08T00:00:00Z,-0.1\n",
    "signals/etc-income.csv:2: value \"-0.1\" must not be negative"
)]
#[case(
    "nodes.csv",
    "name,gpu_model\na,b\n",
    "nodes.csv:1: the column gpus is missing: the first line names the columns"
)]
#[case(
    "nodes.csv",
    "name,gpu_model,gpus\n",
    "nodes.csv: there is no node: a site needs at least one"
)]
#[case(
    "nodes.csv",
    "name,gpu_model,gpus\na,NVIDIA-GeForce-RTX-3090,0\n",
    "nodes.csv:2: gpus \"0\" is no whole number from 1 to 16"
)]
#[case(
    "nodes.csv",
    "name,gpu_model,gpus\na,GTX,8\n",
    "nodes.csv:2: the GPU model GTX is not in spec.classes of the GPUPool: add it there"
)]
#[case(
    "nodes.csv",
    "name,gpu_model,gpus\na,NVIDIA-GeForce-RTX-3090,8\na,NVIDIA-GeForce-RTX-3090,8\n",
    "nodes.csv:3: the node a was there before: give every node its own name"
)]
#[case("jobs.csv", format!("{JOBS}\n2024-01-08T00:00:00Z,1,-5,\n"),
    "jobs.csv:2: duration_s \"-5\" must not be negative")]
#[case("jobs.csv", format!("{JOBS}\n2024-01-08T00:00:00Z,1,5,-1\n"),
    "jobs.csv:2: usd_per_gpu_hour \"-1\" must not be negative")]
#[case("jobs.csv", format!("{JOBS}\n2024-01-08T00:00:00Z,-1,5,1\n"),
    "jobs.csv:2: gpus \"-1\" is no whole number from 1 to 1000000")]
// Manifests.
#[case(
    "site.yaml",
    "kind: Pod\n",
    "site.yaml: kind \"Pod\" has no place here: a site has Site, GPUPool, MiningProfile and \
     ProfitabilitySignal"
)]
#[case(
    "site.yaml",
    "",
    "site.yaml: there is no Site, which says the window and the model: add one"
)]
#[case(
    "site.yaml",
    "kind: Site\nspec: [\n",
    "site.yaml:3: this is not YAML: did not find expected node content"
)]
#[case("site.yaml", "a: ".to_owned() + &"x".repeat(2 << 20),
    "site.yaml: cannot be read: a site is a folder with a site.yaml; `switchyard backtest init DIR` \
     writes one: it has more than 1 MiB")]
fn what_is_wrong_is_said(
    #[case] file: &str,
    #[case] content: impl AsRef<[u8]>,
    #[case] expected: &str,
) {
    assert_eq!(refusal(&with(file, content)), expected);
}

#[rstest]
#[case("step: 5m", "step: 999ms", "site.yaml: spec.model.step is 999ms: it must be at least 1s")]
#[case(
    "backfill: 200",
    "backfill: 0",
    "site.yaml: spec.model.backfill is 0, so that no job would start: it must be at least 1"
)]
#[case(
    "backfill: 200",
    "backfil: 200",
    "site.yaml:31: Site: spec.model.backfil: unknown field `backfil`, \
     expected one of `step`, `patience`, `backfill`, `placement`, `transit`"
)]
#[case(
    "placement: leastAllocated",
    "placement: best",
    "site.yaml: spec.model.placement is \"best\": it is leastAllocated or mostAllocated"
)]
#[case(
    "end: 2024-02-05",
    "end: 2024-01-05",
    "site.yaml: spec.end of the Site is not after spec.start: give a later one"
)]
#[case(
    "end: 2024-02-05",
    "end: 2124-02-05",
    "site.yaml: spec.end of the Site is more than ten years after spec.start: give an earlier one"
)]
#[case(
    "idleAfter: 1m",
    "idelAfter: 5m",
    "site.yaml: GPUPool: there is no field spec.hpc.idelAfter: correct its name, or leave it out"
)]
#[case(
    "idleAfter: 1m",
    "idleAfter: soon",
    "site.yaml:68: GPUPool: spec.hpc.idleAfter: \"soon\" is \
     not a duration such as \"90s\", \"10m\" or \"1h30m\""
)]
#[case(
    "pue: \"1.10\"",
    "pue: \"0.5\"",
    "site.yaml: spec.power.pue is 0.5: it must be from 1 to 10"
)]
#[case(
    "poolFeePercent: \"1\"",
    "poolFeePercent: \"101\"",
    "site.yaml: spec.poolFeePercent is 101: it must be from 0 to 100"
)]
#[case(
    "income: {signal: etc-income}",
    "income: {signal: etc-income, haircutPercent: \"-5\"}",
    "site.yaml: spec.income.haircutPercent is -5: it must be from 0 to 100"
)]
#[case(
    "price: {signal: power}",
    "price: {}",
    "site.yaml: give either spec.power.price.signal or usdPerKWh of the GPUPool"
)]
#[case(
    "price: {signal: power}",
    "price: {signal: gpu-hour}",
    "site.yaml: spec.power.price.signal is \
     gpu-hour, a signal of HPC price (USDPerGPUHour): it must be one of energy price (USDPerKWh, \
     USDPerMWh)"
)]
#[case(
    "price: {signal: power}",
    "price: {signal: sun}",
    "site.yaml: spec.power.price.signal is sun, but there is no such ProfitabilitySignal"
)]
#[case(
    "name: etc}",
    "name: eth}",
    "site.yaml: spec.mining.profiles names mining/eth, but there is no such MiningProfile"
)]
fn what_is_wrong_in_a_manifest_is_said(
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: &str,
) {
    assert_eq!(refusal(&with_change("site.yaml", from, to)), expected);
}

#[rstest]
#[case("nodes.csv", "nodes.csv: cannot be read: is the path right?")]
#[case("jobs.csv", "jobs.csv: cannot be read: is the path right?")]
#[case(POWER, "signals/power.csv: cannot be read: is the path right?")]
fn a_missing_file_is_named(#[case] file: &str, #[case] expected: &str) {
    let dir = with(file, "");
    fs::remove_file(dir.path().join(file)).unwrap();
    assert!(refusal(&dir).starts_with(expected), "{}", refusal(&dir));
}

#[test]
fn an_empty_folder_is_no_site() {
    let said = refusal(&tempfile::tempdir().unwrap());
    let expected = "site.yaml: cannot be read: a site is a folder with a site.yaml";
    assert!(said.starts_with(expected), "{said}");
}

/// A gap holds the last value, of equal times the last counts, and the end needs no value.
#[test]
fn gaps_and_equal_times_have_a_meaning() {
    let dir = with(
        POWER,
        "\u{feff}time,value\r\n2024-01-01T00:00:00Z,1\r\n2024-01-09T00:00:00Z,2\r\n\
         2024-01-09T00:00:00Z,-3\r\n",
    );
    let power = read(&dir).unwrap().power;
    let days = [0.0, 0.9, 1.0, 20.0].map(|days| power.at(days * 86_400.0));
    assert_eq!(days.to_vec(), [1.0, 1.0, -3.0, -3.0]);
}

/// Customers do not come in the order of a file, and those of other months do not matter.
#[test]
fn jobs_are_sorted_and_cut_to_the_window() {
    let rows = ["2024-01-09T00:00:00Z,1,60,", "2024-01-08T00:00:00Z,2,60,0.5"];
    let others = ["2023-12-31T00:00:00Z,4,60,", "2024-02-05T00:00:00Z,4,60,"];
    let text = format!("{JOBS}\n{}\n{}\n", rows.join("\n"), others.join("\n"));
    let jobs = read(&with("jobs.csv", text)).unwrap().jobs;
    assert_eq!(jobs.iter().map(|job| job.gpus).collect::<Vec<_>>(), [2, 1]);
}

fn run(site: &Site) -> [Outcome; 3] {
    let mut asked = Rules::new("asked", Serve::Always, Switch::SkiRental);
    [
        engine::run(site, &mut Fixed::mining(site)),
        engine::run(site, &mut Fixed::hpc(site)),
        engine::run(site, &mut asked),
    ]
}

#[test]
fn a_job_larger_than_the_site_waits_and_is_lost() {
    let dir = with("jobs.csv", format!("{JOBS}\n2024-01-08T00:00:00Z,1000000,60,\n"));
    for outcome in run(&read(&dir).unwrap()) {
        assert_eq!((outcome.lost, outcome.done), (1, 0), "{}", outcome.policy);
    }
}

#[test]
fn a_pool_that_mines_nothing_idles() {
    let dir = with_change(
        "site.yaml",
        "profiles:                       # the best paying one for a GPU model is mined\n    \
         - {namespace: mining, name: etc}",
        "profiles: []",
    );
    let site = read(&dir).unwrap();
    assert!(site.profiles.is_empty());
    for outcome in run(&site) {
        assert!(outcome.money.mining_income == 0.0, "{}", outcome.policy);
        assert!(outcome.money.mining_power == 0.0, "{}", outcome.policy);
    }
}

/// A node that no profile lists draws idle power; it does not mine for nothing.
#[test]
fn a_node_that_cannot_do_what_it_is_told_idles() {
    let listed = "  - {model: NVIDIA-GeForce-GTX-1080-Ti, hashrate: 45M, watts: 200}\n";
    let site = read(&with_change("site.yaml", listed, "")).unwrap();
    assert_eq!(Activity::mining(&site.classes[1]), Activity::Idle);
    let told = Fixed::new("told", vec![Activity::Mining(0); site.nodes.len()]);
    let [free, ..] = run(&site);
    let told = engine::run(&site, &mut { told });
    assert!(told.money == free.money && told.money.idle_power < 0.0);
}

#[test]
fn packed_jobs_are_read_member_by_member() {
    let dir = with("jobs.csv", "");
    fs::remove_file(dir.path().join("jobs.csv")).unwrap();
    let head = zipped(format!("{JOBS}\n2024-01-08T00:00:00Z,1,60,\n").as_bytes());
    let tail = zipped(b"2024-01-09T00:00:00Z,2,60,\n");
    let change = |content: &[u8]| {
        fs::write(dir.path().join("jobs.csv.gz"), content).unwrap();
        let text = fs::read_to_string(dir.path().join("site.yaml")).unwrap();
        fs::write(dir.path().join("site.yaml"), text.replace("  jobs: jobs.csv\n", "")).unwrap();
    };
    change(&[head.clone(), tail].concat());
    assert_eq!(read(&dir).unwrap().jobs.len(), 2);
    change(&head[..head.len() - 9]);
    assert!(
        refusal(&dir).starts_with("jobs.csv.gz: cannot be read to its end"),
        "{}",
        refusal(&dir)
    );
    change(b"no gzip");
    assert!(
        refusal(&dir).starts_with("jobs.csv.gz: cannot be read to its end"),
        "{}",
        refusal(&dir)
    );
}

/// 100 kB that unpack to 100 MB.
#[test]
fn a_file_that_unpacks_to_too_much_is_refused() {
    let dir = with_change("site.yaml", "jobs: jobs.csv", "jobs: jobs.csv.gz");
    let bomb = zipped(&[JOBS.as_bytes(), &b"\n".repeat(100_000_000)].concat());
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    fs::write(dir.path().join("jobs.csv.gz"), bomb).unwrap();
    let refused = refusal(&dir);
    assert!(refused.ends_with("it has more than 64 MiB unpacked"), "{refused}");
}

/// The example with short tables, and short windows.
fn tiny() -> TempDir {
    let dir = with("jobs.csv", format!("{JOBS}\n2024-01-08T01:00:00Z,1,600,\n"));
    let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
    write("nodes.csv", "name,gpu_model,gpus\na,NVIDIA-GeForce-RTX-3090,8\n");
    for signal in [POWER, "signals/gpu-hour.csv", "signals/etc-income.csv"] {
        write(signal, "time,value\n2024-01-08T00:00:00Z,0.1\n");
    }
    dir
}

/// Text that looks like the file that it stands for, with a few bytes changed.
fn nearly(file: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    example::write(dir.path()).unwrap();
    let whole = fs::read(dir.path().join(file)).unwrap();
    let head = whole[..whole.len().min(6000)].to_vec();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (changes, any::<prop::sample::Index>()).prop_map(move |(changes, end)| {
        let mut content = head.clone();
        for (place, byte) in changes {
            let place = place.index(content.len());
            content[place] = byte;
        }
        content.truncate(end.index(content.len()).max(content.len() / 2));
        content
    })
}

fn anything(file: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..300), nearly(file)]
}

/// Reads a file with the content, and lets what can be read run for a while.
fn survive(dir: &TempDir, file: &str, content: &[u8]) {
    fs::write(dir.path().join(file), content).unwrap();
    match read(dir) {
        Ok(mut site) => {
            site.length = site.length.min(6.0 * 3600.0);
            site.model.step = site.model.step.max(600.0);
            run(&site);
        }
        Err(error) => assert!(error.to_string().contains(file), "{error}"),
    }
}

/// Checks one kind of file with whatever it may hold.
fn check(dir: &TempDir, file: &'static str, packed: bool) {
    let mut runner = TestRunner::new(Config { cases: 256, ..Config::default() });
    let survives = |content: Vec<u8>| {
        survive(dir, file, &if packed { zipped(&content) } else { content });
        Ok(())
    };
    let looks_like = file.trim_end_matches(".gz");
    runner.run(&anything(looks_like), survives).unwrap();
}

#[rstest]
#[case("site.yaml")]
#[case("nodes.csv")]
#[case("jobs.csv")]
#[case(POWER)]
fn no_file_makes_it_panic(#[case] file: &'static str) {
    check(&tiny(), file, false);
}

#[rstest]
fn no_packed_file_makes_it_panic(#[values(false, true)] packed: bool) {
    let dir = tiny();
    let manifest = fs::read_to_string(dir.path().join("site.yaml")).unwrap();
    let named = manifest.replace("jobs: jobs.csv", "jobs: jobs.csv.gz");
    fs::write(dir.path().join("site.yaml"), named).unwrap();
    check(&dir, "jobs.csv.gz", packed);
}
