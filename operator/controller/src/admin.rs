//! `/metrics`, `/livez`, `/readyz` and `/explain`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    explain::{Asked, Explainer},
    tell::Metrics,
    watch::Caches,
};

/// A loop that has not come round for so long is stuck.
const STUCK_AFTER_SECONDS: i64 = 120;

/// When the operator last showed that it is alive, in seconds since 1970.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicI64);

impl Heartbeat {
    /// It is alive now.
    pub fn beat(&self) {
        self.0.store(Timestamp::now().as_second(), Ordering::Relaxed);
    }

    fn age_seconds(&self) -> i64 {
        Timestamp::now().as_second() - self.0.load(Ordering::Relaxed)
    }
}

/// What is served.
#[derive(Clone)]
pub struct Admin {
    /// At `/metrics`.
    pub metrics: Metrics,
    /// At `/readyz`: ready once they are filled.
    pub caches: Caches,
    /// At `/livez`.
    pub heartbeat: Arc<Heartbeat>,
    /// At `/explain`.
    pub explainer: Explainer,
}

/// The admin server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: choose another address with --listen")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Opens the port, so that a port that is taken is an error at once.
pub async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, ListenError> {
    let listener = tokio::net::TcpListener::bind(address).await;
    listener.map_err(|source| ListenError { address, source })
}

/// Serves until `stop`.
pub async fn serve(
    listener: tokio::net::TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/explain", get(explain))
        .with_state(admin);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn show_metrics(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.metrics.render() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn livez(State(admin): State<Admin>) -> (StatusCode, String) {
    let age = admin.heartbeat.age_seconds();
    if age > STUCK_AFTER_SECONDS {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("nothing was looked at for {age} s\n"));
    }
    (StatusCode::OK, "ok\n".into())
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let unsynced = admin.caches.unsynced();
    if unsynced.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    let text = format!("waiting for the first list of {}\n", unsynced.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn explain(
    State(admin): State<Admin>,
    asked: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Response {
    let asked = asked.ok().and_then(|Query(mut asked)| {
        match (asked.remove("node"), asked.remove("pool")) {
            (Some(node), None) => Some(Asked::Node(node)),
            (None, Some(pool)) => Some(Asked::Pool(pool)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    });
    match asked {
        Some(asked) => admin.explainer.answer(asked).await,
        None => {
            let usage = "ask /explain?node=NAME or /explain?pool=NAME\n";
            (StatusCode::BAD_REQUEST, usage).into_response()
        }
    }
}
