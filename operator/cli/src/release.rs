//! `switchyard release`.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{ArgGroup, Args as ClapArgs};
use switchyard_controller::{
    api::connect,
    release::{Scope, lead, release, take_over},
};

#[derive(ClapArgs)]
#[command(group(ArgGroup::new("what").required(true).args(["all", "pool"])))]
pub struct Args {
    /// Release everything.
    #[arg(long)]
    all: bool,
    /// Release what belongs to this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Do it even while an operator leads: take the lead from it, and keep it from every operator for
    /// ten minutes, so that none puts back what is taken off. `helm uninstall` does that.
    #[arg(long)]
    take_over: bool,
    /// Namespace of the operator's Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "switchyard-system")]
    namespace: String,
    /// Name of the operator's Lease.
    #[arg(long, default_value = "switchyard")]
    lease: String,
    /// The name under which the lead is taken.
    #[arg(long, env = "POD_NAME", default_value = "switchyard-release", hide = true)]
    identity: String,
}

/// For how long the lead is kept from operators: longer than an uninstall takes.
const KEEP: Duration = Duration::from_secs(600);

pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    runtime.block_on(async {
        let client = connect().await?;
        let lease = (args.namespace.as_str(), args.lease.as_str());
        let lead = lead(&client, lease.0, lease.1).await?;
        if let Some(lead) = lead.filter(|lead| lead.holder != args.identity) {
            ensure!(
                args.take_over,
                "{} leads and would put everything back. Delete the pool and it gives its nodes back \
                 by itself; or stop the operator (kubectl -n {} scale deployment switchyard \
                 --replicas=0) and wait until its Lease has run out; or say --take-over",
                lead.holder,
                args.namespace,
            );
            take_over(&client, lease, &args.identity, KEEP).await?;
            let notices = lead.duration.min(KEEP);
            say(&format!(
                "took the lead from {}; waiting {} s until it must have noticed",
                lead.holder,
                notices.as_secs()
            ));
            tokio::time::sleep(notices).await;
        } else if args.take_over {
            take_over(&client, lease, &args.identity, KEEP).await?;
        }
        let scope = args.pool.map_or(Scope::All, Scope::Pool);
        release(&client, &scope, say).await?;
        if let Scope::Pool(pool) = &scope {
            say(&format!(
                "an operator that runs again adopts the nodes of {pool} anew: delete the pool, or \
                 set its spec.shifting.mode to DryRun"
            ));
        }
        Ok(())
    })
}

fn say(text: &str) {
    eprintln!("switchyard: {text}");
}
