//! Posts of feeds, as an agent's page is told of them.

use serde::Serialize;

use super::record::Record;
use crate::clock::Wall;
use crate::ids::{EventId, SessionId};

/// A post in a record's feed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedItem<'a> {
    /// Its id.
    pub id: EventId,
    /// The record.
    pub record: &'a Record,
    /// When it was posted.
    pub time: Wall,
    /// Who posted it.
    pub author: Author<'a>,
    /// What it says.
    pub text: &'a str,
    /// Where it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<&'a str>,
    /// The session it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

/// Who posted.
#[derive(Debug, Serialize)]
pub struct Author<'a> {
    /// `agent`, `key`, `operator`, `server`, `visitor` or `guest`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id among its like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}
