//! The OpenAPI document of the server API, made from the table of methods.

use serde_json::{Map, Value, json};

use super::batch;
use super::table::{Field, Kind, METHODS};
use crate::admin::VERSION;

/// OpenAPI 3.1.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = METHODS
        .iter()
        .map(|entry| {
            let result = json!({ "properties": { "result": object(entry.result), "error": error() } });
            (
                format!("/api/{}", entry.name),
                operation(entry.name, entry.summary, object(entry.params), result),
            )
        })
        .collect();
    let commands = json!({
        "type": "array",
        "items": { "type": "object", "minProperties": 1, "maxProperties": 1 },
        "description": "a method each, with its parameters: {\"publish\": {...}}",
    });
    let replies = json!({ "type": "array", "items": { "type": "object" } });
    paths.insert(
        format!("/api/{}", batch::METHOD),
        operation(
            batch::METHOD,
            "Carry out many commands, in order",
            json!({ "type": "object", "required": ["commands"], "properties": { "commands": commands } }),
            json!({ "type": "object", "required": ["replies"], "properties": { "replies": replies } }),
        ),
    );
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Roadstead server API", "version": VERSION },
        "paths": paths,
        "security": [{ "key": [] }],
        "components": {
            "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" } },
        },
    })
}

fn operation(name: &str, summary: &str, params: Value, answer: Value) -> Value {
    let of = |schema: Value| json!({ "application/json": { "schema": schema } });
    json!({ "post": {
        "operationId": name,
        "summary": summary,
        "requestBody": { "required": true, "content": of(params) },
        "responses": {
            "200": { "description": "it was understood", "content": of(answer) },
            "400": { "description": "the body is not such JSON" },
            "401": { "description": "the key is missing or wrong" },
            "413": { "description": "the body is too large" },
            "503": { "description": "too many bodies come at once; try again" },
        },
    } })
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.into(), schema(field))).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn schema(field: &Field) -> Value {
    let mut schema = match field.kind {
        Kind::Any => json!({}),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole => json!({ "type": "integer", "minimum": 0 }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::TextMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Object => json!({ "type": "object" }),
        Kind::Objects => json!({ "type": "array", "items": { "type": "object" } }),
    };
    schema["description"] = field.doc.into();
    schema
}

fn error() -> Value {
    json!({
        "type": "object",
        "properties": { "code": { "type": "integer" }, "message": { "type": "string" } },
        "required": ["code", "message"],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::methods;
    use super::*;

    #[test]
    fn every_method_is_told_of_and_nothing_else() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let told: BTreeSet<&str> = paths.keys().map(|path| path.trim_start_matches("/api/")).collect();
        let mut served: BTreeSet<&str> = METHODS.iter().map(|entry| entry.name).collect();
        served.insert(batch::METHOD);
        assert_eq!(told, served);
        assert_eq!(METHODS.len() + 1, served.len(), "no name stands twice");
        for name in told.into_iter().filter(|name| *name != batch::METHOD) {
            assert!(methods::find(name).is_some(), "{name}");
            let body = &paths[&format!("/api/{name}")]["post"]["requestBody"]["content"]["application/json"];
            assert_eq!(body["schema"]["type"], "object", "{name}");
        }
    }
}
