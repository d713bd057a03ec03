//! What the operator serves over HTTP.

use std::sync::Mutex;

use anyhow::{Context, ensure};
use switchyard_api::Use;

use crate::scene::{Scene, big_nodes};

async fn get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = reqwest::get(format!("http://{address}{path}")).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// The value of a metric with these labels.
fn value(metrics: &str, series: &str) -> anyhow::Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    Ok(line.with_context(|| format!("no {series}"))?.trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_and_metrics_agree_with_the_cluster() {
    let mut scene = Scene::mining(big_nodes(3)).await;
    let address = scene.operator.as_ref().unwrap().address.clone();
    for probe in ["/livez", "/readyz"] {
        assert_eq!(get(&address, probe).await.unwrap(), (200, "ok\n".to_owned()));
    }
    scene.prices.set("power", 9.0);
    scene.until_uses(&[(Use::Idle, 3)]).await;
    scene.until_at_rest().await;
    scene
        .until("the metrics say so", |_| {
            let address = address.clone();
            async move {
                let (_, metrics) = get(&address, "/metrics").await?;
                let wanted = [
                    ("switchyard_leader", 1.0),
                    ("switchyard_nodes{pool=\"pool\",use=\"idle\"}", 3.0),
                    ("switchyard_nodes{pool=\"pool\",use=\"mining\"}", 0.0),
                    ("switchyard_gpus{pool=\"pool\",state=\"idle\"}", 24.0),
                    ("switchyard_signal_value{signal=\"power\"}", 9.0),
                    ("switchyard_signal_trusted{signal=\"power\"}", 1.0),
                    ("switchyard_node_reasons{pool=\"pool\",reason=\"nothing_pays\"}", 3.0),
                    ("switchyard_overdue_shifts{pool=\"pool\"}", 0.0),
                ];
                for (series, wanted) in wanted {
                    let found = value(&metrics, series)?;
                    ensure!((found - wanted).abs() < 1e-9, "{series} is {found}");
                }
                let moved = "from=\"mining\",phase=\"Completed\",pool=\"pool\",to=\"idle\"";
                let moved = format!("switchyard_shifted_nodes_total{{cause=\"Price\",{moved}}}");
                ensure!(value(&metrics, &moved)? >= 3.0, "not all moves are counted");
                Ok(())
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_and_a_metric_say_what_was_built() {
    let scene = Scene::mining(big_nodes(1)).await;
    let mut command =
        switchyard_e2e::switchyard(&scene.cluster.plane, &["version", "-o", "json"]).unwrap();
    let built: serde_json::Value =
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let part = |name: &str| built[name].as_str().unwrap().to_owned();
    let series = format!(
        "switchyard_build_info{{commit=\"{}\",features=\"{}\",version=\"{}\"}}",
        part("commit"),
        part("features"),
        part("version")
    );
    let address = &scene.operator.as_ref().unwrap().address;
    let (_, metrics) = get(address, "/metrics").await.unwrap();
    assert!((value(&metrics, &series).unwrap() - 1.0).abs() < 1e-9);
}

/// Where nothing changes the operator looks, sees that its plan stands, and makes no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_stands_is_not_made_again() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    let address = scene.operator.as_ref().unwrap().address.clone();
    let look = async move || {
        let (_, metrics) = get(&address, "/metrics").await?;
        let plans = value(&metrics, "switchyard_passes_total")?;
        let looked = value(&metrics, "switchyard_last_pass_timestamp_seconds")?;
        anyhow::Ok((plans, looked))
    };
    let first = Mutex::new((0.0, 0.0));
    let plans = scene
        .until("some looks bring no plan", |_| async {
            let (plans, looked) = look().await?;
            let mut first = first.lock().unwrap();
            if first.0 < plans {
                *first = (plans, looked);
            }
            ensure!(looked - first.1 > 4.0, "plan {plans} was made a moment ago");
            Ok(plans)
        })
        .await;
    scene.prices.set("power", 0.07);
    scene
        .until("a new price brings one", |_| async {
            ensure!(look().await?.0 > plans, "no plan after the {plans}th");
            Ok(())
        })
        .await;
}
