//! Records of a CRM, as an agent's page tells of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
