//! Round trips of generated messages, checked against prost and serde_json as independent readers.

mod commands;
mod json_form;
mod our_form;
mod replies;
mod schema;
