//! Explains the last decision, to whoever asks the leader.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use serde::{Serialize, de::DeserializeOwned};
use switchyard_core::{
    explain::{self, NodeExplanation, PoolExplanation, Unexplained},
    plan::{self, Plan},
    snapshot::Snapshot,
    survey::{Survey, survey},
};
use tokio::{
    io::copy_bidirectional,
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{api::WriteError, release::lead};

/// The port that the chart's pods serve on.
const PORT: u16 = 8080;
/// An explanation of a large site may take a second, and others may be ahead.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A node.
    Node(String),
    /// A pool.
    Pool(String),
}

impl Asked {
    /// As it is written in a query.
    fn query(&self) -> [(&'static str, &str); 1] {
        match self {
            Self::Node(name) => [("node", name)],
            Self::Pool(name) => [("pool", name)],
        }
    }
}

/// The facts of the last decision, kept for explanations; none while this replica does not lead.
#[derive(Clone)]
pub(crate) struct Explainer {
    facts: watch::Sender<Option<Arc<Snapshot>>>,
    /// One explanation at a time, so that questions never starve decisions.
    turn: Arc<Semaphore>,
    client: Client,
    lease: Arc<(String, String)>,
}

impl Explainer {
    /// An explainer that knows nothing yet; the Lease, by namespace and name, says who leads.
    pub(crate) fn new(client: Client, namespace: &str, lease: &str) -> Self {
        Self {
            facts: watch::Sender::new(None),
            turn: Arc::new(Semaphore::new(1)),
            client,
            lease: Arc::new((namespace.to_owned(), lease.to_owned())),
        }
    }

    /// Takes note of what was decided about; nothing, when others lead.
    pub(crate) fn note(&self, facts: Option<Arc<Snapshot>>) {
        self.facts.send_replace(facts);
    }

    /// Answers.
    pub(crate) async fn answer(&self, asked: Asked) -> Response {
        let Ok(_turn) = self.turn.acquire().await else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let Some(facts) = self.facts.borrow().clone() else {
            return (StatusCode::SERVICE_UNAVAILABLE, self.who_knows().await).into_response();
        };
        let explained = tokio::task::spawn_blocking(move || {
            let survey = survey(&facts);
            let plan = plan::decide(&survey);
            match &asked {
                Asked::Node(name) => told(&survey, &plan, name, explain::node),
                Asked::Pool(name) => told(&survey, &plan, name, explain::pool),
            }
        });
        explained.await.unwrap_or_else(|error| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        })
    }

    async fn who_knows(&self) -> String {
        let (namespace, lease) = &*self.lease;
        match lead(&self.client, namespace, lease).await {
            Ok(Some(lead)) => format!("only the leader can tell: ask {}\n", lead.holder),
            Ok(None) => "no replica leads yet: ask again in some seconds\n".into(),
            Err(error) => {
                format!("this replica does not lead, and who does is not known: {error}\n")
            }
        }
    }
}

fn told<E: Serialize>(
    survey: &Survey<'_>,
    plan: &Plan,
    name: &str,
    explain: impl Fn(&Survey<'_>, &Plan, &str) -> Result<E, Unexplained>,
) -> Response {
    match explain(survey, plan, name) {
        Ok(explanation) => Json(explanation).into_response(),
        Err(unexplained) => (StatusCode::NOT_FOUND, format!("{unexplained}\n")).into_response(),
    }
}

/// Where a running operator is asked.
#[derive(Clone)]
pub enum Operator {
    /// At an address, such as `http://127.0.0.1:8080`.
    At(String),
    /// The leader of a cluster, by the namespace and name of its Lease, through the API server.
    Leading {
        /// The cluster.
        client: Client,
        /// The namespace of the operator.
        namespace: String,
        /// The name of its Lease.
        lease: String,
    },
}

/// No explanation.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The operator has an answer, but no explanation.
    #[error("{0}")]
    Unexplained(String),
    /// Nobody answers at the address.
    #[error(
        "no operator answers at {address}: start it or forward its port, as `switchyard explain --help` says"
    )]
    Unreachable {
        /// The address.
        address: String,
        /// What went wrong.
        #[source]
        source: Box<reqwest::Error>,
    },
    /// The Lease could not be read.
    #[error(
        "the Lease {namespace}/{lease} cannot be read: say where the operator is with --namespace and --lease, or give its --address"
    )]
    Lease {
        /// The namespace of the operator.
        namespace: String,
        /// The name of its Lease.
        lease: String,
        /// What went wrong.
        #[source]
        source: WriteError,
    },
    /// Nobody leads.
    #[error(
        "no operator leads by the Lease {namespace}/{lease}: see `kubectl -n {namespace} get pods`, or say \
         where it is with --namespace and --lease"
    )]
    NoLeader {
        /// The namespace of the operator.
        namespace: String,
        /// The name of its Lease.
        lease: String,
    },
    /// There is no way to the leader's pod.
    #[error(
        "no way to the leader's pod {namespace}/{pod}: it takes the right to create pods/portforward there. \
         Or let somebody who may run `kubectl -n {namespace} port-forward {pod} {PORT}`, and give \
         --address http://127.0.0.1:{PORT}"
    )]
    NoWay {
        /// The namespace of the operator.
        namespace: String,
        /// The pod.
        pod: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Asks a running operator about a node.
pub async fn ask_about_node(from: &Operator, name: &str) -> Result<NodeExplanation, AskError> {
    ask(from, &Asked::Node(name.to_owned())).await
}

/// Asks a running operator about a pool.
pub async fn ask_about_pool(from: &Operator, name: &str) -> Result<PoolExplanation, AskError> {
    ask(from, &Asked::Pool(name.to_owned())).await
}

async fn ask<E: DeserializeOwned>(from: &Operator, asked: &Asked) -> Result<E, AskError> {
    match from {
        Operator::At(address) => get(address, asked).await,
        Operator::Leading { client, namespace, lease } => {
            let found = lead(client, namespace, lease).await.map_err(|source| AskError::Lease {
                namespace: namespace.clone(),
                lease: lease.clone(),
                source,
            })?;
            let leader = found.ok_or_else(|| AskError::NoLeader {
                namespace: namespace.clone(),
                lease: lease.clone(),
            })?;
            let address = forward(client, namespace, &leader.holder).await?;
            get(&address, asked).await
        }
    }
}

/// Opens a port of this machine that leads to a pod, for one connection.
async fn forward(client: &Client, namespace: &str, pod: &str) -> Result<String, AskError> {
    let no_way = |source: Box<dyn std::error::Error + Send + Sync>| AskError::NoWay {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        source,
    };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut forwarder =
        pods.portforward(pod, &[PORT]).await.map_err(|error| no_way(Box::new(error)))?;
    let mut remote =
        forwarder.take_stream(PORT).ok_or_else(|| no_way("the stream is taken".into()))?;
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| no_way(Box::new(error)))?;
    let address = listener.local_addr().map_err(|error| no_way(Box::new(error)))?;
    tokio::spawn(async move {
        // Whoever reads here notices that the connection ended.
        if let Ok((mut local, _)) = listener.accept().await {
            let _ = copy_bidirectional(&mut local, &mut remote).await;
        }
        drop(forwarder);
    });
    Ok(format!("http://{address}"))
}

async fn get<E: DeserializeOwned>(address: &str, asked: &Asked) -> Result<E, AskError> {
    let unreachable = |error: reqwest::Error| AskError::Unreachable {
        address: address.to_owned(),
        source: Box::new(error.without_url()),
    };
    // For https; one that is installed already, by the way to the API server, is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build();
    let request =
        client.map_err(unreachable)?.get(format!("{address}/explain")).query(&asked.query());
    let answer = request.send().await.map_err(unreachable)?;
    if answer.status().is_success() {
        return answer.json().await.map_err(unreachable);
    }
    let status = answer.status();
    let text = answer.text().await.map_err(unreachable)?;
    Err(AskError::Unexplained(match text.trim_end() {
        "" => format!("{address} answers {status}"),
        text => text.to_owned(),
    }))
}
