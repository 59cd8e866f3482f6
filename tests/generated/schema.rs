//! The JSON Schema of the configuration, for editors (draft 07, which they all know).

use serde_json::{Map, Value, json};

use super::keys::{Absent, Group, Key, Kind, ROOT};
use super::{keep_one, root};

/// What a text may be called whose value a person may write as a number.
const MAY_BE_NUMBERS: [&str; 3] = ["NAME", "ID", "KEY"];

fn schema() -> String {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Serialgate",
        "description": "The configuration of Serialgate, /etc/serialgate/serialgate.yaml. \
                        Made by `make generate`; what is written here by hand is lost.",
    });
    let root = of_group(&ROOT);
    schema.as_object_mut().unwrap().extend(root);
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

fn of_group(group: &Group) -> Map<String, Value> {
    let properties: Map<String, Value> =
        group.keys.iter().map(|key| (key.name.to_owned(), of_key(key))).collect();
    let required: Vec<&str> =
        group.keys.iter().filter(|key| key.default == Absent::Required).map(|key| key.name).collect();
    let needs: Map<String, Value> = group
        .keys
        .iter()
        .filter_map(|key| key.needs.map(|other| (key.name.to_owned(), json!([other]))))
        .collect();
    let mut schema = Map::new();
    // All keys may be comments.
    let may_be_empty = required.is_empty() && !group.is_choice;
    schema.insert("type".into(), if may_be_empty { json!(["object", "null"]) } else { json!("object") });
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if !needs.is_empty() {
        schema.insert("dependencies".into(), needs.into());
    }
    if group.is_choice {
        schema.insert("minProperties".into(), 1.into());
        schema.insert("maxProperties".into(), 1.into());
    }
    schema
}

fn of_key(key: &Key) -> Value {
    let mut schema = Map::new();
    schema.insert("description".into(), description(key).into());
    if let Absent::Value(value) = key.default
        && !value.starts_with(['[', '\''])
    {
        schema.insert("default".into(), scalar(value));
    }
    schema.extend(of_kind(&key.kind));
    schema.into()
}

/// A value as YAML understands it.
fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn of_kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Text { noun, pattern, right, .. } => {
            let kind =
                if MAY_BE_NUMBERS.contains(noun) { json!(["string", "number"]) } else { json!("string") };
            json!({"type": kind, "pattern": pattern, "examples": right})
        }
        Kind::Choice(words) => {
            let mut values: Vec<(Value, &str)> = Vec::new();
            for (word, meaning) in *words {
                values.push((scalar(word), meaning));
                if scalar(word).is_number() {
                    values.push((json!(word), meaning));
                }
            }
            let (words, meanings): (Vec<_>, Vec<_>) = values.into_iter().unzip();
            json!({"enum": words, "enumDescriptions": meanings})
        }
        Kind::Truth => json!({"type": "boolean"}),
        Kind::Number { from, to } => json!({"type": "integer", "minimum": from, "maximum": to}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": "^ *[0-9]+ *(ms|s|min|h|d)$"}),
        Kind::Size { .. } => json!({"type": "string", "pattern": "^ *[0-9]+ *([kMGT]?B|[KMGT]iB)$"}),
        Kind::Zero => json!({"const": 0}),
        Kind::Group(group) => of_group(group).into(),
        Kind::List { of, least, most } => {
            let kind = if *least == 0 { json!(["array", "null"]) } else { json!("array") };
            json!({"type": kind, "items": of_kind(of), "minItems": least, "maxItems": most})
        }
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
    };
    let Value::Object(schema) = schema else { panic!("{schema} is no schema") };
    schema
}

/// What the key is for, with its default and its limits.
fn description(key: &Key) -> String {
    let sentences = [Some(key.about.replace('`', "")), limits(&key.kind), default(key)];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `From 10ms to 1min.`
pub(crate) fn limits(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Number { from, to } => Some(format!("From {from} to {to}.")),
        Kind::Duration { from, to } | Kind::Size { from, to } => Some(format!("From {from} to {to}.")),
        Kind::List { most, .. } => Some(format!("At most {most} entries.")),
        Kind::Either(kinds) => kinds.iter().find_map(limits),
        _ => None,
    }
}

/// `Default: 250ms.`
pub(crate) fn default(key: &Key) -> Option<String> {
    match key.default {
        Absent::Unsaid => None,
        Absent::Required => Some("Required.".to_owned()),
        Absent::Value("''") => Some("Default: nothing.".to_owned()),
        Absent::Value(value) | Absent::Words(value) => Some(format!("Default: {value}.").replace('`', "")),
    }
}

#[test]
fn the_schema_is_kept() {
    keep_one(&root().join("config/serialgate.schema.json"), &schema());
}
