//! `switchyard version`.

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use switchyard_controller::BUILD;

#[derive(ClapArgs)]
pub struct Args {
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How something is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

pub fn show(args: &Args) -> anyhow::Result<String> {
    let built = json!({
        "version": BUILD.version, "commit": BUILD.commit, "features": BUILD.features,
    });
    Ok(match args.output {
        Output::Text => {
            format!(
                "switchyard {}, commit {}, features {}\n",
                BUILD.version, BUILD.commit, BUILD.features
            )
        }
        Output::Json => serde_json::to_string_pretty(&built)? + "\n",
    })
}
