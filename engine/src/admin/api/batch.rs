//! Many commands in one request: `/api/batch`, and the lines of old libraries.
//!
//! Invariants: answers come in the order of the commands; publications of a batch are on their way together, and before anything else
//! that a batch has, everything before it is done.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use roadstead_protocol::ErrorCode;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::methods::{self, Method, Pending};
use super::{Api, Outcome, answer};
use crate::limits::API_COMMANDS_MAX;

/// Its name among the methods.
pub(super) const METHOD: &str = "batch";

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    commands: Vec<Command<'a>>,
}

/// `{"publish": {…}}`
struct Command<'a> {
    method: Cow<'a, str>,
    params: &'a RawValue,
}

/// `{"method": "publish", "params": {…}}`
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Command<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Command<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of one method and its parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let Some((method, params)) = map.next_entry::<Cow<'de, str>, &RawValue>()? else {
                    return Err(A::Error::custom("a command has no method"));
                };
                if map.next_key::<Cow<'de, str>>()?.is_some() {
                    return Err(A::Error::custom("a command has several methods"));
                }
                Ok(Command { method, params })
            }
        }
        from.deserialize_map(One)
    }
}

/// Commands that are on their way, in their order, and the answers before them.
struct Course<'a> {
    api: &'a Api,
    under_way: VecDeque<(String, Pending)>,
    answers: Vec<(String, Outcome)>,
}

impl<'a> Course<'a> {
    fn new(api: &'a Api) -> Self {
        Self { api, under_way: VecDeque::new(), answers: Vec::new() }
    }

    async fn take(&mut self, name: &str, params: &str) {
        let Some(method) = methods::find(name) else {
            return self.add(name, Pending::Ended(Err(ErrorCode::MethodNotFound)));
        };
        let is_publication = method == Method::Publish;
        if !is_publication {
            self.settle().await;
        }
        match self.api.begin(method, params).await {
            Ok(pending) => self.add(name, pending),
            Err(_) => self.add(name, Pending::Ended(Err(ErrorCode::BadRequest))),
        }
        if !is_publication {
            self.settle().await;
        }
    }

    fn add(&mut self, name: &str, pending: Pending) {
        self.under_way.push_back((name.to_owned(), pending));
    }

    async fn settle(&mut self) {
        while let Some((name, pending)) = self.under_way.pop_front() {
            self.answers.push((name, pending.end().await));
        }
    }
}

impl Api {
    /// `{"commands": […]}`; the answer is `{"replies": […]}`.
    pub(super) async fn batch(&self, body: &[u8]) -> serde_json::Result<String> {
        let Batch { commands } = serde_json::from_slice(body)?;
        let mut course = Course::new(self);
        if commands.len() > API_COMMANDS_MAX {
            return Err(serde_json::Error::custom(format!(
                "a batch has at most {API_COMMANDS_MAX} commands"
            )));
        }
        for Command { method, params } in &commands {
            course.take(method, params.get()).await;
        }
        course.settle().await;
        let reply = |(name, outcome): (String, Outcome)| match outcome {
            Ok(result) => Value::Object([(name, result)].into_iter().collect()),
            Err(code) => json!({ "error": answer::error(code) }),
        };
        let replies: Vec<Value> = course.answers.into_iter().map(reply).collect();
        Ok(json!({ "replies": replies }).to_string())
    }

    /// Commands one after the other, with or without line ends between them; the answers are one a line.
    pub(super) async fn lines(&self, body: &[u8]) -> serde_json::Result<String> {
        let lines = serde_json::Deserializer::from_slice(body).into_iter::<Line<'_>>();
        let lines = lines.take(API_COMMANDS_MAX + 1).collect::<serde_json::Result<Vec<_>>>()?;
        if lines.is_empty() || lines.len() > API_COMMANDS_MAX {
            return Err(serde_json::Error::custom(format!("1 to {API_COMMANDS_MAX} commands are wanted")));
        }
        let mut course = Course::new(self);
        for Line { method, params } in &lines {
            course.take(method, params.map_or("{}", RawValue::get)).await;
        }
        course.settle().await;
        let answers = course.answers.iter().map(|(_, outcome)| answer::value(outcome).to_string());
        Ok(answers.collect::<Vec<_>>().join("\n"))
    }
}
