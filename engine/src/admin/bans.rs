//! Bans and sources over HTTP: `GET /bans` lists the bans, `DELETE /bans?source=S` takes one back, `GET /sources` tells which
//! sources stand out.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Subject;
use super::metrics::Text;
use crate::counters::Kind;
use crate::guards::{Signal, Signals, Watched};
use crate::limits::{SOURCES_MEASURED_MAX, SOURCES_SHOWN_MAX};
use crate::prefix::Prefix;

#[derive(Debug, Deserialize)]
pub(super) struct Lift {
    source: String,
}

pub(super) async fn list(Shared(subject): Shared<Arc<Subject>>) -> Json<Value> {
    let (bans, count) = subject.guards.bans(now_ms(&subject));
    let shown = bans.iter().map(|ban| {
        json!({
            "source": ban.source.to_string(),
            "left_s": ban.left_ms.div_ceil(1_000),
            "times": ban.times,
            "since": counts(ban.signals),
        })
    });
    Json(json!({ "node": subject.name, "count": count, "bans": shown.collect::<Vec<_>>() }))
}

pub(super) async fn lift(
    Shared(subject): Shared<Arc<Subject>>,
    lift: Result<Query<Lift>, QueryRejection>,
) -> Response {
    let source = match lift {
        Ok(Query(lift)) => lift.source,
        Err(rejection) => return failed(rejection.status(), &rejection.body_text()),
    };
    let Ok(prefix) = source.parse::<Prefix>() else {
        return failed(
            StatusCode::BAD_REQUEST,
            "the source is an address, or a network such as 2001:db8::/64",
        );
    };
    match subject.guards.lift(prefix, now_ms(&subject)) {
        Some(lifted) => Json(json!({ "node": subject.name, "lifted": lifted.to_string() })).into_response(),
        None => failed(StatusCode::NOT_FOUND, "this source is not banned"),
    }
}

pub(super) async fn sources(Shared(subject): Shared<Arc<Subject>>) -> Json<Value> {
    let sources = subject.guards.sources(now_ms(&subject), SOURCES_SHOWN_MAX);
    let by = sources.by.iter().map(|(measure, top)| {
        (measure.to_string(), Value::from(top.iter().map(|(watched, _)| shown(watched)).collect::<Vec<_>>()))
    });
    let by: Map<String, Value> = by.collect();
    Json(json!({ "node": subject.name, "sources": sources.remembered, "banned": sources.banned, "by": by }))
}

fn shown(watched: &Watched) -> Value {
    json!({
        "source": watched.source.to_string(),
        "connections": watched.connections,
        "points": rounded(watched.points),
        "banned_s": watched.banned_ms.div_ceil(1_000),
        "lately": counts(watched.signals),
    })
}

/// The same as metrics: a few sources for each measure, so that there are few series at any time.
pub(super) fn measure(text: &mut Text, subject: &Subject) {
    let sources = subject.guards.sources(now_ms(subject), SOURCES_MEASURED_MAX);
    let name = "roadstead_guard_sources";
    text.name(name, "Sources that are remembered.", Kind::Gauge);
    text.sample(name, &[], sources.remembered);
    let name = "roadstead_guard_banned";
    text.name(name, "Sources that are banned.", Kind::Gauge);
    text.sample(name, &[], sources.banned);
    let name = "roadstead_guard_source";
    let help =
        "What the sources that stand out most do lately: half of a count is forgotten in each half-life.";
    if sources.by.iter().any(|(_, top)| !top.is_empty()) {
        text.name(name, help, Kind::Gauge);
    }
    for (measure, top) in &sources.by {
        for (watched, value) in top {
            let source = watched.source.to_string();
            text.sample(name, &[("measure", measure), ("source", &source)], rounded(*value));
        }
    }
}

fn counts(signals: Signals) -> Value {
    let counts =
        Signal::ALL.iter().zip(signals).map(|(signal, count)| (signal.word().into(), json!(rounded(count))));
    Value::Object(counts.collect())
}

/// To a tenth: what fades has no exact value.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

fn now_ms(subject: &Subject) -> u64 {
    subject.started.elapsed().as_millis() as u64
}

fn failed(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
