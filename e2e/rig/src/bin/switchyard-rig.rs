//! A control plane to play with: `switchyard-rig`, until Ctrl-C.

use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use switchyard_rig::{Binaries, ControlPlane, Options};

const USAGE: &str = "usage: switchyard-rig [binaries | keep]
  (nothing)  starts a control plane and ends it on Ctrl-C
  keep       starts a control plane and leaves it running
  binaries   finds or builds the programs and says where they are";

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None => run(false),
        Some("keep") => run(true),
        Some("binaries") => binaries(),
        Some(_) => Err(USAGE.into()),
    };
    done.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn binaries() -> Result<(), Box<dyn Error>> {
    for (_, path) in Binaries::resolve()?.iter() {
        println!("{}", path.display());
    }
    Ok(())
}

fn run(keep: bool) -> Result<(), Box<dyn Error>> {
    let binaries = Binaries::resolve()?;
    let started = Instant::now();
    let control_plane = ControlPlane::start(&binaries, Options::default())?;
    eprintln!(
        "ready after {:.1} s; logs are in {}",
        started.elapsed().as_secs_f32(),
        control_plane.dir().join("logs").display()
    );
    println!("export KUBECONFIG={}", control_plane.kubeconfig().display());
    if keep {
        eprintln!("to end it: sh {}", control_plane.keep()?.stop.display());
        return Ok(());
    }
    eprintln!("Ctrl-C ends it");
    loop {
        thread::park();
    }
}
