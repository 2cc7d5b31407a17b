//! Settings as a TOML file: the names of the proto files, with their comments.
//!
//! A file may leave keys out: those stay as they are. A list that is there replaces the list that was.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

use super::value;

/// Columns of a comment.
const WIDTH: usize = 96;

/// A message as a file that [`read`] takes. `head` is its comment at the top.
pub(super) fn write(message: &DynamicMessage, head: &[String]) -> String {
    let mut text = String::new();
    for line in head {
        comment(line, &mut text);
    }
    let of = message.descriptor();
    // In TOML what follows a table's heading belongs to the table, hence the plain keys first.
    let (tables, plain): (Vec<_>, Vec<_>) = of.fields().partition(|field| is_table(message, field));
    for field in plain {
        text.push('\n');
        key(message, &field, &mut text);
    }
    for field in tables {
        text.push('\n');
        comment(&describe(&field), &mut text);
        match &*message.get_field(&field) {
            Value::List(entries) => {
                for (at, entry) in entries.iter().filter_map(Value::as_message).enumerate() {
                    if at > 0 {
                        text.push('\n');
                    }
                    text.push_str(&format!("[[{}]]\n", field.name()));
                    for field in entry.descriptor().fields() {
                        text.push_str(&format!("{} = {}\n", field.name(), literal(&field, entry)));
                    }
                }
            }
            Value::Message(inner) => {
                text.push_str(&format!("[{}]\n", field.name()));
                for field in inner.descriptor().fields() {
                    key(inner, &field, &mut text);
                }
            }
            _ => {}
        }
    }
    text
}

/// Whether a field is written as tables of its own.
fn is_table(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    let filled = |list: &[Value]| !list.is_empty();
    matches!(field.kind(), Kind::Message(_)) && message.get_field(field).as_list().is_none_or(filled)
}

fn key(message: &DynamicMessage, field: &FieldDescriptor, text: &mut String) {
    comment(&describe(field), text);
    text.push_str(&format!("{} = {}\n", field.name(), literal(field, message)));
}

fn literal(field: &FieldDescriptor, message: &DynamicMessage) -> String {
    match &*message.get_field(field) {
        Value::String(text) => value::quoted_lines(text),
        other => value::text(&field.kind(), other),
    }
}

/// What the proto file says of a field, and the words it takes.
fn describe(field: &FieldDescriptor) -> String {
    let file = field.parent_file();
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let place = source.and_then(|info| info.location.iter().find(|place| place.path == field.path()));
    let said = place.map(|place| place.leading_comments().split_whitespace().collect::<Vec<_>>().join(" "));
    let mut text = said.unwrap_or_default();
    if let Kind::Enum(of) = field.kind() {
        text.push_str(&format!(" One of: {}.", value::words(&of).join(", ")));
    }
    text
}

fn comment(text: &str, into: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            into.push_str(&line);
            into.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    into.push_str(&line);
    into.push('\n');
}

/// A message as a file would have it, beginning with how it is now; or everything that is wrong.
pub(super) fn read(text: &str, now: &DynamicMessage) -> Result<DynamicMessage, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut wanted = now.clone();
    let mut problems = Vec::new();
    value::merge(&mut wanted, &table, "", &mut problems);
    if problems.is_empty() { Ok(wanted) } else { Err(problems.join("\n  ")) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::diff::diff;
    use super::*;
    use crate::pb::{self, v1};

    pub(in super::super) fn sample() -> v1::Settings {
        v1::Settings {
            default_admin: "alice".into(),
            create_leads: v1::CreateLeads::NewEmailAndName.into(),
            sso: Some(v1::Sso { enabled: true, login_expiration_seconds: 3600, ..Default::default() }),
            terms: Some(v1::Terms {
                version: "2026-1".into(),
                text: "We \"look\".\nYou may stop.\n".into(),
                deadline_seconds: 60,
                ..Default::default()
            }),
            visitor_identity: v1::VisitorIdentity::Open.into(),
            visitor_origins: vec!["https://a.example".into(), "https://b.example".into()],
            objects: vec![
                v1::ObjectButtons { object: "Case".into(), join: true, ..Default::default() },
                v1::ObjectButtons {
                    object: "Lead".into(),
                    visitor_id_field: "id".into(),
                    ..Default::default()
                },
            ],
            permission_set: Some(v1::PermissionSet { user: vec!["alice".into()], ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn what_was_written_is_read_as_no_change() {
        for settings in [sample(), v1::Settings::default()] {
            let now = pb::dynamic(&settings);
            let text = write(&now, &["Settings.".to_owned()]);
            let read = read(&text, &now).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
            assert!(diff(&now, &read).is_empty(), "{text}");
            // Nothing depends on how it was before.
            let fresh = self::read(&text, &pb::dynamic(&v1::Settings::default())).unwrap();
            assert!(diff(&now, &fresh).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_file_explains_itself() {
        let text = write(&pb::dynamic(&sample()), &["Settings of acme.".to_owned()]);
        for line in [
            "# Settings of acme.\n",
            "# Whether visitors are tracked and Join signals shown.\npresence_enabled = false\n",
            "# Whether a visitor ID needs a token. One of: signed, open.\nvisitor_identity = \"open\"\n",
            "\n[terms]\n",
            "text = \"\"\"\nWe \\\"look\\\".\nYou may stop.\n\"\"\"\n",
            "[[objects]]\nobject = \"Case\"\n",
            "\nprofiles = []\n",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(text.lines().all(|line| !line.starts_with('#') || line.len() <= WIDTH), "{text}");
    }

    #[test]
    fn what_a_file_leaves_out_stays() {
        let now = pb::dynamic(&sample());
        let wanted = read("[terms]\nversion = \"2\"\n", &now).unwrap();
        let wanted: v1::Settings = wanted.transcode_to().unwrap();
        let mut expected = sample();
        expected.terms.as_mut().unwrap().version = "2".into();
        assert_eq!(wanted, expected);
    }

    #[test]
    fn every_key_that_is_wrong_is_named() {
        let now = pb::dynamic(&sample());
        let text = "presense_enabled = true\ngrace_seconds = \"5\"\n[terms]\nverison = \"2\"\n\
                    [[objects]]\nobject = \"Case\"\nauto = true\n";
        let problem = read(text, &now).unwrap_err();
        for key in [
            "presense_enabled: there is no",
            "grace_seconds: must be",
            "terms.verison: ",
            "objects[0].auto: ",
        ] {
            assert!(problem.contains(key), "{key} in {problem}");
        }
        assert!(read("a = ", &now).unwrap_err().contains("line 1"));
    }
}
