//! The one client, and how every write is made.

use std::{future::Future, time::Duration};

use kube::{Client, Config, api::PostParams, core::Status};
use switchyard_api::keys;

/// No write takes longer than this; a client without a limit would wait for minutes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Watches are ended by the server after 290 s; what is silent for longer is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// No way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig and no service account.
    #[error("no cluster is configured: set KUBECONFIG, or run in a pod with a service account")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The configuration cannot be used.
    #[error("the cluster configuration cannot be used")]
    Client(#[source] Box<kube::Error>),
}

/// Connects as the environment says. The client does not retry by itself: an eviction that a
/// disruption budget refuses must come back at once and be seen as that, and everything else is
/// tried again with the next look at the facts.
pub async fn connect() -> Result<Client, ConnectError> {
    let inferred = Config::infer().await;
    let mut config = inferred.map_err(|error| ConnectError::Config(Box::new(error)))?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

/// A write that was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server said no.
    #[error("the API server refused it")]
    Refused(#[source] Box<Status>),
    /// It did not answer.
    #[error("the API server did not answer within {} s", WRITE_TIMEOUT.as_secs())]
    TimedOut,
    /// Another replica leads now, so it was not sent.
    #[error("this replica does not lead")]
    NotLeading,
    /// It could not be asked, or its answer not be read.
    #[error("the API server could not be asked")]
    Failed(#[source] Box<kube::Error>),
}

impl WriteError {
    /// The HTTP status code, if there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            Self::TimedOut | Self::NotLeading | Self::Failed(_) => None,
        }
    }

    /// The error as a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused(status) => match status.code {
                403 => "forbidden",
                404 => "not_found",
                409 => "conflict",
                422 => "invalid",
                429 => "too_many_requests",
                _ => "refused",
            },
            Self::TimedOut => "timed_out",
            Self::NotLeading => "not_leading",
            Self::Failed(_) => "failed",
        }
    }
}

/// Makes a write, within the time that a write may take.
pub async fn write<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(WriteError::Refused(status)),
        Ok(Err(error)) => Err(WriteError::Failed(Box::new(error))),
        Err(_) => Err(WriteError::TimedOut),
    }
}

/// A write is seen as ours.
pub(crate) fn params() -> PostParams {
    PostParams { field_manager: Some(keys::MANAGER.into()), ..PostParams::default() }
}
