//! `switchyard backtest` as people run it.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn switchyard(args: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchyard"));
    command.args(args).current_dir(folder).output().unwrap()
}

/// What it printed, if all went well.
fn printed(args: &[&str], folder: &Path) -> String {
    let output = switchyard(args, folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it complained about.
fn refused(args: &[&str], folder: &Path) -> String {
    let output = switchyard(args, folder);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_newcomer_gets_a_site_that_runs_and_the_same_bytes_every_time() {
    let folder = tempfile::tempdir().unwrap();
    printed(&["backtest", "init", "site"], folder.path());
    let args =
        ["backtest", "site", "--policy", "always-mining", "--policy", "switchyard", "-o", "json"];
    let first = printed(&args, folder.path());
    let rows: Vec<Value> = serde_json::from_str(&first).unwrap();
    let policies: Vec<_> = rows.iter().map(|row| row["policy"].as_str().unwrap()).collect();
    assert_eq!(policies, ["always-mining", "switchyard"]);
    let net = |row: &Value| row["usd_net"].as_f64().unwrap();
    assert!(net(&rows[0]) < net(&rows[1]), "the product earns more than mining alone");
    assert!(rows.iter().all(|row| net(row) <= row["usd_bound"].as_f64().unwrap()));
    assert_eq!(printed(&args, folder.path()), first);

    let again = refused(&["backtest", "init", "site"], folder.path());
    assert!(again.contains("site.yaml"), "{again}");
}

#[test]
fn a_folder_of_tables_is_read_as_it_is_and_can_get_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("tables");
    fs::create_dir_all(site.join("signals")).unwrap();
    let write = |name: &str, text: &str| fs::write(site.join(name), text).unwrap();
    write(
        "nodes.csv",
        "name,gpu_model,gpus,vram_gib,hashrate_hps_per_gpu,mining_w_per_gpu,hpc_w_per_gpu,\
         idle_w_per_gpu,host_w,hpc_eligible\n\
         a,big,8,24,120000000,290,320,25,350,yes\nb,big,8,24,120000000,290,320,25,350,yes\n",
    );
    write("jobs.csv", "submit,gpus,duration_s\n2026-01-01T06:00:00Z,4,7200\n");
    for (name, value) in
        [("power-usd-per-kwh", "0.1"), ("x-usd-per-mhps-day", "0.1"), ("y-usd-per-gpu-hour", "2")]
    {
        let text =
            format!("time,value\n2026-01-01T00:00:00Z,{value}\n2026-01-01T23:00:00Z,{value}\n");
        write(&format!("signals/{name}.csv"), &text);
    }
    let args = ["backtest", "tables", "--policy", "switchyard", "-o", "json"];
    let bare = printed(&args, folder.path());
    let row = &serde_json::from_str::<Vec<Value>>(&bare).unwrap()[0];
    assert_eq!(row["jobs_done"], 1);

    printed(&["backtest", "init", "tables"], folder.path());
    assert!(site.join("site.yaml").exists());
    assert_eq!(printed(&args, folder.path()), bare, "the manifest says what was read before");
}

#[test]
fn two_policies_are_compared_and_a_worse_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    printed(&["backtest", "init", "site"], folder.path());
    let manifest = fs::read_to_string(folder.path().join("site/site.yaml")).unwrap();
    let pool = manifest.split("---").find(|text| text.contains("kind: GPUPool")).unwrap();
    fs::write(folder.path().join("old.yaml"), pool).unwrap();
    let mut worse: serde_yaml::Value = serde_yaml::from_str(pool).unwrap();
    worse["spec"]["hpc"]["nodes"] = serde_yaml::from_str("{max: 0}").unwrap();
    fs::write(folder.path().join("new.yaml"), serde_yaml::to_string(&worse).unwrap()).unwrap();

    let compare = ["backtest", "site", "--compare", "old.yaml", "new.yaml", "-o", "markdown"];
    let table = printed(&compare, folder.path());
    assert!(table.contains("| old") && table.contains("| new"), "{table}");

    let strict = [&compare[..], &["--fail-below", "99"]].concat();
    let failed = switchyard(&strict, folder.path());
    assert_eq!(failed.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("less than 99 %"));

    let same = ["backtest", "site", "--compare", "old.yaml", "old.yaml", "--fail-below", "100"];
    printed(&same, folder.path());
}

#[test]
fn what_is_wrong_is_said_with_file_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = refused(&["backtest", "nowhere"], folder.path());
    assert!(missing.contains("nowhere") && missing.contains("backtest init DIR"), "{missing}");
    let unknown = refused(&["backtest", "nowhere", "--policy", "best"], folder.path());
    assert!(unknown.contains("the policies are always-mining"), "{unknown}");
}
