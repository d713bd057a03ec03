//! `cargo xtask e2e install`.

use std::process::ExitCode;

use clap::Parser;
use switchyard_e2e::install::{Args, trial};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match Box::pin(trial(&args)).await {
        Ok(report) => {
            for (fence, tried) in &report.fences {
                println!("{fence}: {} allowed, {} refused", tried.allowed, tried.refused);
            }
            println!(
                "expressions: {} of {} with a value {:?}",
                report.expressions.with_value, report.expressions.total, report.expressions.without
            );
            println!("leftovers: {} {:?}", report.leftovers, report.left);
            println!("rights that were not reviewed: {}", report.rbac_growth);
            println!("{:?}", report.upgrade);
            println!("{}", report.day.verdict());
            let verdict = if report.ok() { "ok" } else { "FAILED" };
            println!("install: {verdict}, {:.0} s, {}", report.seconds, args.report.display());
            if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("install: {error:#}");
            ExitCode::FAILURE
        }
    }
}
