//! `switchyard explain`.

mod text;

use std::str::FromStr;

use anyhow::Context;
use clap::Args as ClapArgs;
use switchyard_controller::{
    api::connect,
    explain::{Operator, ask_about_node, ask_about_pool},
};

use crate::version::Output;

#[derive(ClapArgs)]
pub struct Args {
    /// What to explain: `node/NAME` or `pool/NAME`.
    #[arg(value_name = "node/NAME|pool/NAME")]
    subject: Subject,
    /// Ask the operator at this address, such as http://127.0.0.1:8080, and not through the API server.
    /// It must be the one that leads.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Namespace of the operator's Lease.
    #[arg(long, short, env = "POD_NAMESPACE", default_value = "switchyard-system")]
    namespace: String,
    /// Name of the operator's Lease.
    #[arg(long, default_value = "switchyard")]
    lease: String,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Node(String),
    Pool(String),
}

impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some(("node" | "nodes" | "no", name)) if !name.is_empty() => {
                Ok(Self::Node(name.into()))
            }
            Some(("pool" | "gpupool" | "gpupools" | "gpool", name)) if !name.is_empty() => {
                Ok(Self::Pool(name.into()))
            }
            _ => Err("write node/NAME or pool/NAME, such as node/gpu-0017"),
        }
    }
}

/// What is printed.
pub fn run(args: Args) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    runtime.block_on(async {
        let from = match args.address {
            Some(address) => Operator::At(with_scheme(&address)),
            None => Operator::Leading {
                client: connect().await?,
                namespace: args.namespace,
                lease: args.lease,
            },
        };
        let json = args.output == Output::Json;
        match &args.subject {
            Subject::Node(name) => {
                let told = ask_about_node(&from, name).await?;
                Ok(if json {
                    serde_json::to_string_pretty(&told)? + "\n"
                } else {
                    text::of_node(&told)?
                })
            }
            Subject::Pool(name) => {
                let told = ask_about_pool(&from, name).await?;
                Ok(if json {
                    serde_json::to_string_pretty(&told)? + "\n"
                } else {
                    text::of_pool(&told)?
                })
            }
        }
    })
}

/// People write `127.0.0.1:8080`, too.
fn with_scheme(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("node/gpu-0", Some(Subject::Node("gpu-0".into())))]
    #[case("pool/texas", Some(Subject::Pool("texas".into())))]
    #[case("gpupool/texas", Some(Subject::Pool("texas".into())))]
    #[case("gpu-0", None)]
    #[case("node/", None)]
    #[case("pod/gpu-0", None)]
    fn subjects(#[case] text: &str, #[case] subject: Option<Subject>) {
        assert_eq!(text.parse().ok(), subject);
    }
}
