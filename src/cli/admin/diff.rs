//! What differs between two messages of one kind, field by field.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};
use serde_json::json;

use super::rows;
use super::value::{self, below};

/// A field, or an entry of a list, that differs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// Its path: `terms.version`, `objects[Case].join`.
    pub(super) field: String,
    kind: Kind,
    /// What was; nothing for an entry that is new.
    before: Option<Value>,
    /// What is; nothing for an entry that is gone.
    after: Option<Value>,
}

impl Change {
    /// The field of the message itself that it is in, for a mask.
    pub(super) fn top(&self) -> &str {
        let end = self.field.find(['.', '[']).unwrap_or(self.field.len());
        &self.field[..end]
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let text = |value: &Value| value::text(&self.kind, value);
        match (&self.before, &self.after) {
            (None, Some(after)) => format!("+ {}: {}", self.field, text(after)),
            (Some(before), None) => format!("- {}: {}", self.field, text(before)),
            (before, after) => {
                let [before, after] =
                    [before, after].map(|value| value.as_ref().map_or_else(String::new, text));
                format!("  {}: {before} → {after}", self.field)
            }
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let [before, after] = [&self.before, &self.after]
            .map(|value| value.as_ref().map(|value| value::json(&self.kind, value)));
        json!({"field": self.field, "before": before, "after": after})
    }
}

/// Everything that differs.
pub(super) fn diff(before: &DynamicMessage, after: &DynamicMessage) -> Vec<Change> {
    let mut found = Vec::new();
    messages(before, after, "", &mut found);
    found
}

fn messages(before: &DynamicMessage, after: &DynamicMessage, path: &str, found: &mut Vec<Change>) {
    for field in before.descriptor().fields() {
        let path = below(path, field.name());
        let (before, after) = (before.get_field(&field), after.get_field(&field));
        match (&*before, &*after) {
            (Value::Message(before), Value::Message(after)) => messages(before, after, &path, found),
            (Value::List(before), Value::List(after)) => lists(&field, before, after, &path, found),
            (before, after) if before != after => found.push(change(&field, path, Some(before), Some(after))),
            _ => {}
        }
    }
}

fn change(field: &FieldDescriptor, path: String, before: Option<&Value>, after: Option<&Value>) -> Change {
    Change { field: path, kind: field.kind(), before: before.cloned(), after: after.cloned() }
}

/// What an entry of a list is known by: a text itself, a table's first field.
fn names(entries: &[Value]) -> Option<Vec<String>> {
    let name = |entry: &Value| match entry {
        Value::String(text) => Some(text.clone()),
        Value::Message(message) => {
            let first = message.descriptor().fields().next()?;
            message.get_field(&first).as_str().map(ToOwned::to_owned)
        }
        _ => None,
    };
    let names: Vec<String> = entries.iter().map(name).collect::<Option<_>>()?;
    let unique = names.iter().enumerate().all(|(at, name)| !names[..at].contains(name));
    unique.then_some(names)
}

fn lists(field: &FieldDescriptor, before: &[Value], after: &[Value], path: &str, found: &mut Vec<Change>) {
    // By what they say: a field that was set to nothing is as good as one that was not set.
    let text =
        |list: &[Value]| list.iter().map(|entry| value::text(&field.kind(), entry)).collect::<Vec<_>>();
    if text(before) == text(after) {
        return;
    }
    let whole = || {
        let [before, after] = [before, after].map(|list| Value::List(list.to_vec()));
        change(field, path.to_owned(), Some(&before), Some(&after))
    };
    let (Some(old), Some(new)) = (names(before), names(after)) else {
        found.push(whole());
        return;
    };
    let start = found.len();
    let is_text = matches!(field.kind(), Kind::String);
    let at = |name: &str| if is_text { path.to_owned() } else { format!("{path}[{}]", rows::plain(name)) };
    for (name, entry) in old.iter().zip(before) {
        match new.iter().position(|other| other == name) {
            None => found.push(change(field, at(name), Some(entry), None)),
            Some(place) => {
                if let (Value::Message(before), Value::Message(after)) = (entry, &after[place]) {
                    messages(before, after, &at(name), found);
                }
            }
        }
    }
    for (name, entry) in new.iter().zip(after) {
        if !old.contains(name) {
            found.push(change(field, at(name), None, Some(entry)));
        }
    }
    if found.len() == start {
        // The same entries in another order.
        found.push(whole());
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sample;
    use super::*;
    use crate::pb::{self, v1};

    fn lines(change: impl FnOnce(&mut v1::Settings)) -> Vec<String> {
        let mut after = sample();
        change(&mut after);
        diff(&pb::dynamic(&sample()), &pb::dynamic(&after)).iter().map(Change::line).collect()
    }

    #[test]
    fn each_difference_is_one_line() {
        type Edit = fn(&mut v1::Settings);
        let table: [(Edit, &[&str]); 8] = [
            (|_| (), &[]),
            (|s| s.presence_enabled = true, &["  presence_enabled: false → true"]),
            (
                |s| s.visitor_identity = v1::VisitorIdentity::Signed.into(),
                &["  visitor_identity: \"open\" → \"signed\""],
            ),
            (
                |s| s.terms.as_mut().unwrap().text = "a\nb".into(),
                &["  terms.text: \"We \\\"look\\\".\\nYou may stop.\\n\" → \"a\\nb\""],
            ),
            // An absent table is one with nothing in it.
            (|s| s.permission_set = None, &["- permission_set.user: \"alice\""]),
            (
                |s| s.visitor_origins = vec!["https://b.example".into(), "https://c.example".into()],
                &["- visitor_origins: \"https://a.example\"", "+ visitor_origins: \"https://c.example\""],
            ),
            (
                |s| s.visitor_origins.reverse(),
                &["  visitor_origins: [\"https://a.example\", \"https://b.example\"] → \
                   [\"https://b.example\", \"https://a.example\"]"],
            ),
            (
                |s| {
                    s.objects.remove(1);
                    s.objects[0].join = false;
                },
                &[
                    "  objects[Case].join: true → false",
                    "- objects[Lead]: { object = \"Lead\", show = false, join = false, view = false, \
                     visitor_id_object = \"\", visitor_id_field = \"id\", auto_join = false }",
                ],
            ),
        ];
        for (edit, wanted) in table {
            assert_eq!(lines(edit), wanted);
        }
    }

    #[test]
    fn a_field_set_to_nothing_is_no_difference() {
        let before = pb::dynamic(&sample());
        let mut after = before.clone();
        let objects = after.get_field_by_name_mut("objects").unwrap().as_list_mut().unwrap();
        objects[0].as_message_mut().unwrap().set_field_by_name("show", Value::Bool(false));
        assert_ne!(before, after);
        assert_eq!(diff(&before, &after), []);
    }

    #[test]
    fn entries_without_names_of_their_own_are_compared_as_a_whole() {
        let found = lines(|s| s.objects.push(s.objects[0].clone()));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("  objects: [{"), "{found:?}");
    }

    #[test]
    fn a_change_knows_its_mask_and_its_json() {
        let mut after = sample();
        after.terms.as_mut().unwrap().version = "2".into();
        after.objects.remove(0);
        after.visitor_identity = v1::VisitorIdentity::Signed.into();
        let found = diff(&pb::dynamic(&sample()), &pb::dynamic(&after));
        assert_eq!(
            found.iter().map(Change::top).collect::<Vec<_>>(),
            ["terms", "visitor_identity", "objects"]
        );
        assert_eq!(found[0].json(), json!({"field": "terms.version", "before": "2026-1", "after": "2"}));
        assert_eq!(found[1].json()["after"], "VISITOR_IDENTITY_SIGNED");
        assert_eq!(
            (&found[2].json()["before"]["object"], &found[2].json()["after"]),
            (&json!("Case"), &json!(null))
        );
    }
}
