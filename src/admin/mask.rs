//! Field masks: which fields of a message another replaces.
//!
//! Works on the descriptors, so that a setting added to the proto file can be changed without a line here.

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, ReflectMessage as _};

use super::bad;
use super::status::AdminError;
use crate::pb;

/// A message in which the fields that the mask names are those of another. Paths are the proto file's names
/// with dots between, `*` is all. A list is replaced as a whole; a path does not lead into one.
pub(super) fn merged<M: Message + Name + Default>(
    base: &M,
    asked: &M,
    paths: &[String],
) -> Result<M, AdminError> {
    if paths.is_empty() {
        return Err(bad("update_mask", "names nothing to change"));
    }
    let (from, mut into) = (pb::dynamic(asked), pb::dynamic(base));
    for path in paths {
        if path == "*" {
            into = from.clone();
            continue;
        }
        // The path is the caller's and may be long; its place says which it is.
        take(&from, &mut into, path).ok_or_else(|| {
            let told: String = path.chars().filter(|c| !c.is_control()).take(64).collect();
            bad("update_mask", format!("has a path that is no setting: {told:?}"))
        })?;
    }
    into.transcode_to().map_err(|error| {
        tracing::error!(%error, "a merged message is not of its own type");
        AdminError::Internal
    })
}

fn take(from: &DynamicMessage, into: &mut DynamicMessage, path: &str) -> Option<()> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let field = into.descriptor().get_field_by_name(first)?;
    match rest {
        None if from.has_field(&field) => into.set_field(&field, from.get_field(&field).into_owned()),
        None => into.clear_field(&field),
        Some(rest) => {
            if field.is_list() || field.is_map() {
                return None;
            }
            field.kind().as_message()?;
            let inner = from.get_field(&field);
            take(inner.as_message()?, into.get_field_mut(&field).as_message_mut()?, rest)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1;

    fn terms(version: &str, text: &str) -> v1::Settings {
        let terms = v1::Terms { version: version.into(), text: text.into(), ..Default::default() };
        v1::Settings { terms: Some(terms), grace_seconds: 7, ..Default::default() }
    }

    fn with(paths: &[&str]) -> Result<v1::Settings, AdminError> {
        let asked = v1::Settings {
            show_terms: true,
            grace_seconds: 0,
            visitor_origins: vec!["https://b.example".into()],
            ..terms("2", "new")
        };
        let base = v1::Settings { visitor_origins: vec!["https://a.example".into(); 2], ..terms("1", "old") };
        let asked = v1::Settings { grace_seconds: 0, ..asked };
        merged(&base, &asked, &paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_named_is_replaced_and_nothing_else() {
        let changed = with(&["terms.text", "show_terms"]).unwrap();
        let told = changed.terms.as_ref().unwrap();
        assert_eq!((told.version.as_str(), told.text.as_str(), changed.show_terms), ("1", "new", true));
        assert_eq!((changed.grace_seconds, changed.visitor_origins.len()), (7, 2));
        assert_eq!(with(&["grace_seconds"]).unwrap().grace_seconds, 0, "a value of nought is a value");
        assert_eq!(with(&["visitor_origins"]).unwrap().visitor_origins, ["https://b.example"]);
        assert_eq!(with(&["terms"]).unwrap().terms.unwrap().version, "2");
        assert_eq!(with(&["sso.enabled"]).unwrap().sso, Some(v1::Sso::default()), "unset on both sides");
        let all = with(&["*"]).unwrap();
        assert_eq!((all.grace_seconds, all.terms.unwrap().version.as_str()), (0, "2"));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for path in [
            "",
            ".",
            "nothing",
            "terms.",
            "terms.nothing",
            "terms.text.more",
            "showTerms",
            "profiles.name",
            "profiles[0].name",
            "visitor_origins.0",
            "terms.*",
            "show_terms ",
            "grace_seconds.x",
        ] {
            let refused = with(&["show_terms", path]);
            assert!(
                matches!(refused, Err(AdminError::BadField { ref field, .. }) if field == "update_mask"),
                "{path:?}: {refused:?}"
            );
        }
        assert!(with(&[]).is_err());
    }
}
