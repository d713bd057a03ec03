//! `switchyard controller`.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use switchyard_controller::{Settings, api::connect};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[derive(ClapArgs)]
#[command(args_override_self = true)]
pub struct Args {
    /// Namespace of the Lease, and of Secrets that signals may name.
    #[arg(long, env = "POD_NAMESPACE", default_value = "switchyard-system")]
    namespace: String,
    /// Name of this replica in the Lease: in a pod, the pod's name.
    #[arg(long, env = "POD_NAME", default_value = "switchyard")]
    identity: String,
    /// Name of the Lease.
    #[arg(long, default_value = "switchyard")]
    lease: String,
    /// How long a leader that is not heard of leads on, at least 3s.
    #[arg(long, value_parser = duration, default_value = "15s")]
    lease_duration: Duration,
    /// Address of /metrics, /livez, /readyz and /explain.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How often it is looked whether prices or time alone change the plan; changes in the cluster are looked
    /// at at once.
    #[arg(long, value_parser = duration, default_value = "10s")]
    decide_every: Duration,
    /// Priority class of miners whose template names none.
    #[arg(long, default_value = "switchyard-miners")]
    miner_priority_class: String,
    /// How many ended NodeShifts to keep per pool, besides those that its breaker looks at.
    #[arg(long, default_value_t = 50)]
    keep_shifts: usize,
    /// What to log: a level, or directives such as `info,switchyard_controller=debug`.
    #[arg(long, env = "SWITCHYARD_LOG", default_value = "info")]
    log: String,
    /// How to log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

fn duration(text: &str) -> Result<Duration, switchyard_api::ParseValueError> {
    text.parse::<switchyard_api::Period>().map(switchyard_api::Period::duration)
}

pub fn run(args: Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.lease_duration >= Duration::from_secs(3),
        "--lease-duration is shorter than 3s: a busy API server would cost the lead"
    );
    start_log(&args)?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    runtime.block_on(async {
        let client = connect().await?;
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        switchyard_controller::run(client, settings(args), stop).await?;
        Ok(())
    })
}

fn settings(args: Args) -> Settings {
    Settings {
        namespace: args.namespace,
        identity: args.identity,
        lease: args.lease,
        lease_duration: args.lease_duration,
        listen: args.listen,
        decide_every: args.decide_every,
        miner_priority_class: args.miner_priority_class,
        keep_shifts: args.keep_shifts,
    }
}

fn start_log(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("--log {:?}: write a level such as info or debug", args.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// A second signal ends the process at once, as people expect of Ctrl-C.
async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for again in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if again {
            std::process::exit(1);
        }
        tracing::info!("stopping; what was begun is finished");
        stop.cancel();
    }
}
