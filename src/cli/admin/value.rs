//! Values of fields as text, and text as values of fields, by the descriptions of the proto files: there is
//! no code for any single setting here.
//!
//! Text is TOML's: what is printed can be given back. Enums are told by the last word of their names, as
//! `open`; the full name, as `VISITOR_IDENTITY_OPEN`, is taken too.

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

/// The word for a value of an enum.
pub(super) fn word(of: &EnumDescriptor, number: i32) -> String {
    match of.get_value(number) {
        Some(value) => short(of, value.name()),
        None => number.to_string(),
    }
}

/// The words that an enum knows, but the one for nothing told.
pub(super) fn words(of: &EnumDescriptor) -> Vec<String> {
    of.values().filter(|value| value.number() != 0).map(|value| short(of, value.name())).collect()
}

/// `open` for `VISITOR_IDENTITY_OPEN` of `VisitorIdentity`.
fn short(of: &EnumDescriptor, name: &str) -> String {
    let mut prefix = String::new();
    for character in of.name().chars() {
        if character.is_ascii_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(character.to_ascii_uppercase());
    }
    let rest = name.strip_prefix(&prefix).and_then(|rest| rest.strip_prefix('_'));
    rest.unwrap_or(name).to_ascii_lowercase()
}

/// Text in quotes on one line, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        escape(character, &mut quoted);
    }
    quoted.push('"');
    quoted
}

/// Text as it stands in a file: several lines stay several lines.
pub(super) fn quoted_lines(text: &str) -> String {
    if !text.contains('\n') {
        return quoted(text);
    }
    let mut quoted = String::from("\"\"\"\n");
    for character in text.chars() {
        match character {
            '\n' => quoted.push('\n'),
            other => escape(other, &mut quoted),
        }
    }
    quoted.push_str("\"\"\"");
    quoted
}

fn escape(character: char, into: &mut String) {
    match character {
        '"' | '\\' => into.extend(['\\', character]),
        '\n' => into.push_str("\\n"),
        '\r' => into.push_str("\\r"),
        '\t' => into.push_str("\\t"),
        control if control.is_control() => into.push_str(&format!("\\u{:04X}", u32::from(control))),
        other => into.push(other),
    }
}

/// A value on one line.
pub(super) fn text(kind: &Kind, value: &Value) -> String {
    match (value, kind) {
        (Value::Bool(value), _) => value.to_string(),
        (Value::I32(value), _) => value.to_string(),
        (Value::I64(value), _) => value.to_string(),
        (Value::U32(value), _) => value.to_string(),
        (Value::U64(value), _) => value.to_string(),
        (Value::F32(value), _) => value.to_string(),
        (Value::F64(value), _) => value.to_string(),
        (Value::String(value), _) => quoted(value),
        (Value::EnumNumber(number), Kind::Enum(of)) => quoted(&word(of, *number)),
        (Value::List(values), _) => {
            let values: Vec<String> = values.iter().map(|value| text(kind, value)).collect();
            format!("[{}]", values.join(", "))
        }
        (Value::Message(message), _) => {
            let fields = message.descriptor();
            let fields = fields.fields().map(|field| {
                format!("{} = {}", field.name(), text(&field.kind(), &message.get_field(&field)))
            });
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        (other, _) => quoted(&format!("{other:?}")),
    }
}

/// A value as protobuf's JSON mapping has it.
pub(super) fn json(kind: &Kind, value: &Value) -> serde_json::Value {
    match (value, kind) {
        (Value::Bool(value), _) => (*value).into(),
        (Value::I32(value), _) => (*value).into(),
        (Value::U32(value), _) => (*value).into(),
        // JSON's numbers are doubles to many a reader.
        (Value::I64(value), _) => value.to_string().into(),
        (Value::U64(value), _) => value.to_string().into(),
        (Value::String(value), _) => value.as_str().into(),
        (Value::EnumNumber(number), Kind::Enum(of)) => {
            of.get_value(*number).map_or_else(|| (*number).into(), |value| value.name().into())
        }
        (Value::List(values), _) => values.iter().map(|value| json(kind, value)).collect(),
        (Value::Message(message), _) => crate::pb::dynamic_json(message),
        (other, _) => format!("{other:?}").into(),
    }
}

/// The names of a message's fields, for people who mistyped one.
fn known(of: &MessageDescriptor) -> String {
    of.fields().map(|field| field.name().to_owned()).collect::<Vec<_>>().join(", ")
}

/// The path of a field below another.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Sets the fields that a table names and leaves the others. Notes every key that can't be taken.
pub(super) fn merge(
    message: &mut DynamicMessage,
    table: &toml::Table,
    path: &str,
    problems: &mut Vec<String>,
) {
    let of = message.descriptor();
    for (key, value) in table {
        let path = below(path, key);
        let Some(field) = of.get_field_by_name(key) else {
            problems.push(format!("{path}: there is no such key; there are {}", known(&of)));
            continue;
        };
        match value {
            toml::Value::Table(table) if matches!(field.kind(), Kind::Message(_)) && !field.is_list() => {
                let inner = message.get_field_mut(&field).as_message_mut();
                merge(inner.expect("a message's field holds a message"), table, &path, problems);
            }
            _ => {
                if let Some(value) = field_value(&field, value, &path, problems) {
                    message.set_field(&field, value);
                }
            }
        }
    }
}

fn field_value(
    field: &FieldDescriptor,
    value: &toml::Value,
    path: &str,
    problems: &mut Vec<String>,
) -> Option<Value> {
    if !field.is_list() {
        return single(&field.kind(), value, path, problems);
    }
    let toml::Value::Array(values) = value else {
        problems.push(format!("{path}: must be a list"));
        return None;
    };
    let mut read = Vec::new();
    for (at, value) in values.iter().enumerate() {
        read.push(single(&field.kind(), value, &format!("{path}[{at}]"), problems)?);
    }
    Some(Value::List(read))
}

fn single(kind: &Kind, value: &toml::Value, path: &str, problems: &mut Vec<String>) -> Option<Value> {
    let read = match (kind, value) {
        (Kind::Bool, toml::Value::Boolean(value)) => Ok(Value::Bool(*value)),
        (Kind::String, toml::Value::String(text)) => Ok(Value::String(text.clone())),
        (Kind::Enum(of), toml::Value::String(text)) => enum_value(of, text),
        (Kind::Uint32 | Kind::Uint64 | Kind::Int32 | Kind::Int64, toml::Value::Integer(number)) => {
            integer(kind, *number)
        }
        (Kind::Message(of), toml::Value::Table(table)) => {
            let mut message = DynamicMessage::new(of.clone());
            merge(&mut message, table, path, problems);
            Ok(Value::Message(message))
        }
        _ => Err(format!("must be {}", wanted(kind))),
    };
    read.map_err(|problem| problems.push(format!("{path}: {problem}"))).ok()
}

fn enum_value(of: &EnumDescriptor, text: &str) -> Result<Value, String> {
    let found = of.values().find(|value| value.name() == text || short(of, value.name()) == text);
    found
        .map(|value| Value::EnumNumber(value.number()))
        .ok_or_else(|| format!("{} is none of {}", quoted(text), words(of).join(", ")))
}

fn integer(kind: &Kind, number: i64) -> Result<Value, String> {
    let value = match kind {
        Kind::Uint32 => u32::try_from(number).ok().map(Value::U32),
        Kind::Uint64 => u64::try_from(number).ok().map(Value::U64),
        Kind::Int32 => i32::try_from(number).ok().map(Value::I32),
        _ => Some(Value::I64(number)),
    };
    value.ok_or_else(|| format!("{number} is out of range"))
}

fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::String => "text in quotes".to_owned(),
        Kind::Enum(of) => format!("one of {}", words(of).join(", ")),
        Kind::Message(_) => "a table".to_owned(),
        _ => "a whole number".to_owned(),
    }
}

/// Sets one field by `path=text`, as typed in a shell, and answers with the path.
///
/// Text needs no quotes, a list of words may be separated by commas; lists of tables are TOML.
pub(super) fn assign(message: &mut DynamicMessage, assignment: &str) -> Result<String, String> {
    let Some((path, text)) = assignment.split_once('=') else {
        return Err(format!("{}: must be PATH=VALUE", quoted(assignment)));
    };
    let mut names = path.split('.').peekable();
    let mut message = message;
    while let Some(name) = names.next() {
        let of = message.descriptor();
        let field = of.get_field_by_name(name);
        let field = field.ok_or_else(|| format!("{path}: there is no {name}; there are {}", known(&of)))?;
        if names.peek().is_none() {
            let value = typed(&field, text).map_err(|problem| format!("{path}: {problem}"))?;
            message.set_field(&field, value);
            break;
        }
        if field.is_list() || !matches!(field.kind(), Kind::Message(_)) {
            return Err(format!("{path}: {name} has no parts that can be set by themselves"));
        }
        message = message.get_field_mut(&field).as_message_mut().expect("a message's field holds a message");
    }
    Ok(path.to_owned())
}

fn typed(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let kind = field.kind();
    let listed = field.is_list() && !text.trim_start().starts_with('[');
    let value = match &kind {
        Kind::Message(_) => toml_value(text)?,
        _ if listed => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            toml::Value::Array(words.map(|word| scalar(&kind, word)).collect::<Result<_, _>>()?)
        }
        _ if field.is_list() => toml_value(text)?,
        _ => scalar(&kind, text)?,
    };
    let mut problems = Vec::new();
    let read = field_value(field, &value, "", &mut problems);
    let problems: Vec<&str> = problems.iter().map(|problem| problem.trim_start_matches(": ")).collect();
    match read {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems.join("; ")),
    }
}

fn scalar(kind: &Kind, text: &str) -> Result<toml::Value, String> {
    match kind {
        Kind::String | Kind::Enum(_) => Ok(toml::Value::String(text.to_owned())),
        Kind::Bool => text.parse().map(toml::Value::Boolean).map_err(|_| format!("must be {}", wanted(kind))),
        _ => text.parse().map(toml::Value::Integer).map_err(|_| format!("must be {}", wanted(kind))),
    }
}

fn toml_value(text: &str) -> Result<toml::Value, String> {
    let table: toml::Table =
        format!("value = {text}").parse().map_err(|_| "must be written as in TOML".to_owned())?;
    match <[_; 1]>::try_from(table.into_iter().collect::<Vec<_>>()) {
        Ok([(_, value)]) => Ok(value),
        Err(_) => Err("must be one value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{self, v1};

    fn settings() -> DynamicMessage {
        pb::dynamic(&v1::Settings::default())
    }

    fn assigned(assignment: &str) -> Result<v1::Settings, String> {
        let mut message = settings();
        assign(&mut message, assignment)?;
        Ok(message.transcode_to().unwrap())
    }

    #[test]
    fn each_kind_of_value_is_taken_as_typed() {
        assert!(assigned("presence_enabled=true").unwrap().presence_enabled);
        assert_eq!(assigned("terms.version=2026-2").unwrap().terms.unwrap().version, "2026-2");
        assert_eq!(assigned("terms.text=a = \"b\"").unwrap().terms.unwrap().text, "a = \"b\"");
        assert_eq!(assigned("grace_seconds=9").unwrap().grace_seconds, 9);
        assert_eq!(assigned("default_admin=").unwrap().default_admin, "");
        for name in ["open", "VISITOR_IDENTITY_OPEN"] {
            let set = assigned(&format!("visitor_identity={name}")).unwrap();
            assert_eq!(set.visitor_identity(), v1::VisitorIdentity::Open);
        }
        assert_eq!(
            assigned("sync_frequency=every_two_hours").unwrap().sync_frequency(),
            v1::SyncFrequency::EveryTwoHours
        );
        for list in ["https://a, https://b", r#"["https://a", "https://b"]"#] {
            let set = assigned(&format!("visitor_origins={list}")).unwrap();
            assert_eq!(set.visitor_origins, ["https://a", "https://b"]);
        }
        assert!(assigned("visitor_origins=").unwrap().visitor_origins.is_empty());
        let set = assigned(r#"objects=[{ object = "Case", join = true }]"#).unwrap();
        assert_eq!(
            (set.objects[0].object.as_str(), set.objects[0].join, set.objects[0].view),
            ("Case", true, false)
        );
        let set = assigned(r#"sso={ enabled = true }"#).unwrap();
        assert!(set.sso.unwrap().enabled);
    }

    #[test]
    fn what_is_mistyped_is_named() {
        for (assignment, told) in [
            ("presence_enabled", "must be PATH=VALUE"),
            ("presence=true", "presence: there is no presence; there are default_admin, create_leads"),
            ("terms.verson=1", "terms.verson: there is no verson; there are version, text"),
            ("presence_enabled=yes", "presence_enabled: must be true or false"),
            ("presence_enabled.x=1", "presence_enabled.x: presence_enabled has no parts"),
            ("objects.join=true", "objects.join: objects has no parts"),
            ("grace_seconds=-1", "grace_seconds: -1 is out of range"),
            ("grace_seconds=5s", "grace_seconds: must be a whole number"),
            ("visitor_identity=maybe", "visitor_identity: \"maybe\" is none of signed, open"),
            ("objects=Case", "objects: must be written as in TOML"),
            (r#"objects=[{ name = "Case" }]"#, "[0].name: there is no such key"),
            ("objects=1\nx = 2", "must be one value"),
        ] {
            let problem = assigned(assignment).unwrap_err();
            assert!(problem.contains(told), "{assignment}: {problem}");
        }
    }

    #[test]
    fn text_is_safe_to_print_and_reads_back() {
        for text in ["", "plain", "a \"b\" \\ c", "two\nlines\r\n\"\"\"\n", "\u{1b}[2J\u{9b}é", "tab\t'"] {
            for written in [quoted(text), quoted_lines(text)] {
                assert!(!written.chars().any(|c| c.is_control() && c != '\n'), "{written:?}");
                let read: toml::Table = format!("text = {written}").parse().unwrap();
                assert_eq!(read["text"].as_str(), Some(text), "{written}");
            }
        }
        assert!(!quoted("a\nb").contains('\n'));
    }
}
