//! Records of a CRM, as an agent's page tells of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A row of a CRM object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Case, Contact, Lead, Opportunity, ….
    pub object: Box<str>,
    /// Its id there.
    pub id: Box<str>,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Box<str>>,
}

impl Record {
    /// The first field that can't be taken, and why. Its address goes to feeds, webhooks and pages of others,
    /// which make links of it.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let limit = limits::RECORD_NAME_BYTES;
        for (field, text) in [("object", &self.object), ("id", &self.id)] {
            if text.is_empty() || text.len() > limit {
                return Some((field, format!("must have 1 to {limit} bytes")));
            }
        }
        let limit = limits::POST_BYTES.1;
        for (field, text) in [("name", &self.name), ("url", &self.url)] {
            if text.as_ref().is_some_and(|text| text.len() > limit) {
                return Some((field, format!("is longer than {limit} bytes")));
            }
        }
        if self.url.as_ref().is_some_and(|url| !is_link(url)) {
            return Some(("url", NO_LINK.to_owned()));
        }
        None
    }
}

/// What is wrong with a link that is none.
pub const NO_LINK: &str = "must be an http or https address, or a path that begins with a slash";

/// Whether people may click on it: a place and no script; `//host` would be another's page in our clothes.
pub fn is_link(text: &str) -> bool {
    let plain = !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\');
    let is_path = text.starts_with('/') && !text.starts_with("//");
    plain && (is_path || text.starts_with("https://") || text.starts_with("http://"))
}

/// Fields of a record, as the agent's page reads them.
pub type Fields = BTreeMap<String, serde_json::Value>;

/// A record on the agent's screen.
#[derive(Debug, Deserialize)]
pub struct OpenRecord {
    /// Which one.
    pub record: Record,
    /// Its fields.
    #[serde(default)]
    pub fields: Fields,
    /// Fields of its parents, by object name.
    #[serde(default)]
    pub parents: BTreeMap<String, Fields>,
}

/// Names a record.
#[derive(Debug, Deserialize)]
pub struct RecordRef {
    /// Which one.
    pub record: Record,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_places() {
        for good in ["https://x.y/z?q#f", "http://localhost:1", "/s/1"] {
            assert!(is_link(good), "{good}");
        }
        for bad in
            ["", "javascript:alert(1)", "data:text/html,x", "//x.y", "/\\x.y", "x", " /s", "/a b", "/\n"]
        {
            assert!(!is_link(bad), "{bad}");
        }
    }

    #[test]
    fn records_have_names_and_may_have_addresses() {
        let case = || Record { object: "Case".into(), id: "500".into(), name: None, url: None };
        let named = |name: &str| Record { name: Some(name.into()), ..case() };
        let at = |url: &str| Record { url: Some(url.into()), ..case() };
        let field = |record: Record| record.fault().map(|(field, _)| field);
        for good in [case(), named(""), named("=1+1"), at("https://crm.example/500"), at("/500")] {
            assert_eq!(field(good), None);
        }
        let long = "x".repeat(limits::POST_BYTES.1 + 1);
        for (bad, wanted) in [
            (Record { object: "".into(), ..case() }, "object"),
            (Record { id: "x".repeat(limits::RECORD_NAME_BYTES + 1).into(), ..case() }, "id"),
            (named(&long), "name"),
            (at(&format!("/{long}")), "url"),
            (at("javascript:alert(1)"), "url"),
        ] {
            assert_eq!(field(bad), Some(wanted));
        }
    }
}
