//! Serves signals over HTTP: `GET /NAME` answers `{"value": …}`, or misbehaves as told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{Response, StatusCode},
    routing::get,
};
use tokio::net::TcpListener;

/// What a signal's address answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number.
    Value(f64),
    /// Times, in s since 1970, and values.
    Series(Vec<(i64, f64)>),
    /// An error status.
    Status(u16),
    /// A document without the value.
    Empty,
    /// `NaN`, spelt as a string.
    NaN,
    /// Ten megabytes.
    Huge,
    /// Nothing, ever.
    Silence,
    /// What no JSON parser reads.
    Garbage,
}

type Answers = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A server of signals.
#[derive(Debug, Clone)]
pub struct Prices {
    answers: Answers,
    address: SocketAddr,
}

impl Prices {
    /// Starts to serve on a free port of loopback, until the process ends.
    pub async fn serve() -> Result<Self> {
        let answers = Answers::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new().route("/{name}", get(answer)).with_state(answers.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { answers, address })
    }

    /// Sets the number that a signal answers.
    pub fn set(&self, name: &str, value: f64) {
        self.answer(name, Answer::Value(value));
    }

    /// Sets what a signal answers.
    pub fn answer(&self, name: &str, answer: Answer) {
        self.locked().insert(name.to_owned(), answer);
    }

    /// The number that a signal answers at present.
    pub fn value(&self, name: &str) -> Option<f64> {
        match self.locked().get(name) {
            Some(Answer::Value(value)) => Some(*value),
            _ => None,
        }
    }

    /// The address of a signal.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(answers): State<Answers>, Path(name): Path<String>) -> Response<Body> {
    let answer = answers.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    let (status, body) = match answer {
        Some(Answer::Value(value)) => (StatusCode::OK, format!("{{\"value\": {value}}}")),
        Some(Answer::Series(points)) => {
            let (times, values): (Vec<i64>, Vec<f64>) = points.into_iter().unzip();
            (StatusCode::OK, serde_json::json!({"times": times, "values": values}).to_string())
        }
        Some(Answer::Status(code)) => {
            (StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT), "secret".into())
        }
        Some(Answer::Empty) => (StatusCode::OK, "{}".into()),
        Some(Answer::NaN) => (StatusCode::OK, "{\"value\": \"NaN\"}".into()),
        Some(Answer::Huge) => {
            (StatusCode::OK, format!("{{\"value\": \"{}\"}}", "9".repeat(10 << 20)))
        }
        Some(Answer::Silence) => std::future::pending().await,
        Some(Answer::Garbage) => (StatusCode::OK, "<html>".into()),
        None => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
