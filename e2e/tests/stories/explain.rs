//! `switchyard explain`, asked of a running operator.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::Value;
use switchyard_api::Use;
use switchyard_e2e::{Cluster, switchyard};

use crate::scene::{Scene, big_nodes};

/// What the command line prints, or what it complains about.
fn explain(cluster: &Cluster, args: &[&str]) -> Result<Result<String, String>> {
    let output = switchyard(&cluster.plane, &[&["explain"], args].concat())?.output()?;
    let (said, complained) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(if output.status.success() { Ok(said) } else { Err(complained) })
}

/// The price of power at which a node would go to another use, and that use.
fn turning_point(told: &Value, from: f64) -> Result<(f64, String)> {
    let flips = told["flips"].as_array().context("no flips")?;
    let power = flips.iter().find_map(|flip| {
        let change = &flip["steps"][0]["price"];
        (change["signal"] == "power" && change["from"] == from).then_some((flip, change))
    });
    let (flip, change) = power.with_context(|| format!("power is not {from} yet: {told}"))?;
    ensure!(flip["moves"] == true, "its dwell is not over: {flip}");
    let to = flip["to"]["use"].as_str().context("it goes nowhere")?;
    Ok((change["to"].as_f64().context("no price")?, to.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_the_price_at_which_it_moves_and_then_moves() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    let address = scene.operator.as_ref().unwrap().address.clone();
    let asked = ["node/gpu-0", "--address", &address];
    scene.prices.set("power", 0.5);
    let (price, to) = scene
        .until("the price of power is explained", |cluster| {
            let told = explain(cluster, &[&asked[..], &["-o", "json"]].concat());
            async move {
                let told: Value = serde_json::from_str(&told?.map_err(anyhow::Error::msg)?)?;
                ensure!(told["use"] == "Mining" && told["decision"]["reason"] == "BestUse");
                turning_point(&told, 0.5)
            }
        })
        .await;
    assert_eq!(to, "Idle");
    let text = explain(&scene.cluster, &asked).unwrap().unwrap();
    assert!(text.contains("stays Mining. BestUse: "), "{text}");
    assert!(text.contains("would move to Idle if power rose by "), "{text}");
    let pool = explain(&scene.cluster, &["pool/pool", "--address", &address]).unwrap().unwrap();
    assert!(pool.contains("2 nodes, mode Active") && pool.contains("node/gpu-0"), "{pool}");

    scene.prices.set("power", price);
    scene.until_uses(&[(Use::Idle, 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_explain_says_who_can() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    let leader = scene.operator.as_ref().unwrap().pod().to_owned();
    let replicas = scene.cluster.replicas().await.unwrap();
    let other = replicas.iter().find(|pod| pod.name_any() != leader).unwrap();
    let follower = scene.cluster.operator_for(other, &["--decide-every", "1s"]).await.unwrap();
    let address = follower.address.clone();
    let complaint = scene
        .until("the follower answers", |cluster| {
            let answer = explain(cluster, &["node/gpu-0", "--address", &address]);
            async move {
                let complaint = answer?.err().context("a follower explains")?;
                ensure!(complaint.contains("only the leader can tell"), "{complaint}");
                Ok(complaint)
            }
        })
        .await;
    assert!(complaint.contains(&leader), "{complaint}");

    let refused = |args: &[&str]| explain(&scene.cluster, args).unwrap().unwrap_err();
    let address = &scene.operator.as_ref().unwrap().address;
    let unknown = refused(&["node/gpu-1", "--address", address]);
    assert!(unknown.contains("near: gpu-0"), "{unknown}");
    let nobody = refused(&["node/gpu-0", "--address", "127.0.0.1:1"]);
    assert!(nobody.contains("no operator answers"), "{nobody}");
    let elsewhere = refused(&["node/gpu-0", "--namespace", "default"]);
    assert!(elsewhere.contains("say where it is with --namespace"), "{elsewhere}");
    // The pods of this cluster have no kubelet that could forward a port.
    let no_way = refused(&["node/gpu-0"]);
    assert!(no_way.contains(&format!("port-forward {leader} 8080")), "{no_way}");
}
