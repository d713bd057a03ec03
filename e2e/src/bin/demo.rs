//! `cargo xtask demo`, behind the task runner.

use std::process::ExitCode;

use clap::Parser;
use switchyard_e2e::demo::{Args, run};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    match run(&Args::parse()).await {
        Ok(report) if report.ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("demo: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}
