//! Rows as texts of Redis: what is written into a key, and what is read out of it.

use serde::{Deserialize, Serialize};

use super::super::{Agent, AgentRow, CallKey, CallRow, SettingsChange, StoreError};
use crate::auth::password::PasswordHash;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, BadId, GroupId};
use crate::limits;

/// An agent as the scripts answer: id, description, password, generation.
pub(super) type RawAgent = (String, String, String, u64);

/// What is kept of an agent beside its password and its generation, behind the time of its creation. The script
/// that changes it reads the names that must be unique.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partner_user_id: Option<String>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fixed_key: Option<Wall>,
}

impl From<&Agent> for Described {
    fn from(agent: &Agent) -> Self {
        let Agent { key: _, address, partner_user_id, name, profile, subscription, fixed_key } =
            agent.clone();
        Self { address, partner_user_id, name, profile, subscription, fixed_key }
    }
}

pub(super) fn agent_row(
    group: &GroupId,
    (id, text, password, generation): RawAgent,
) -> Result<AgentRow, StoreError> {
    let (created, text) = text.split_once('\n').unwrap_or_default();
    let Described { address, partner_user_id, name: own, profile, subscription, fixed_key } =
        read("agent", text)?;
    let key = AgentKey { group: group.clone(), agent: name(&id, AgentId::new)? };
    let password = Some(password).filter(|text| !text.is_empty());
    let password = password
        .map(|text| PasswordHash::parse(&text))
        .transpose()
        .map_err(|error| unreadable(&format!("password of {id}"), &error))?;
    Ok(AgentRow {
        agent: Agent { key, address, partner_user_id, name: own, profile, subscription, fixed_key },
        password,
        generation,
        created_at: Wall(number("agent", created)?),
    })
}

pub(super) fn change(version: u64, text: &str) -> Result<SettingsChange, StoreError> {
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (at, by, before, after) = (part(), part(), part(), part());
    Ok(SettingsChange {
        version,
        at: Wall(number("change of settings", at)?),
        by: read("change of settings", by)?,
        before: Some(before)
            .filter(|text| !text.is_empty())
            .map(|text| read("settings", text))
            .transpose()?,
        after: read("settings", after)?,
    })
}

pub(super) fn call_name(key: &CallKey) -> String {
    json(&(&key.caller, &key.request_id))
}

pub(super) fn call_row(key: &CallKey, text: &[u8]) -> Result<CallRow, StoreError> {
    let broken = || unreadable("call", &"it is none");
    let space = text.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
    let (digest, answer) = text[space + 1..].split_first_chunk().ok_or_else(broken)?;
    let at = Wall(number("call", &String::from_utf8_lossy(&text[..space]))?);
    Ok(CallRow { key: key.clone(), digest: *digest, answer: answer.to_vec(), at })
}

/// What a script said was in the way.
pub(super) fn refused(why: &str, group: &GroupId) -> StoreError {
    match why {
        "address" => StoreError::Taken { what: "address" },
        "partner user id" => StoreError::Taken { what: "partner user id" },
        "key id" => StoreError::Taken { what: "key id" },
        "full" => StoreError::Full { what: "good api keys", most: limits::API_KEYS },
        _ => StoreError::NoGroup(group.clone()),
    }
}

pub(super) fn name<T>(text: &str, read: fn(&str) -> Result<T, BadId>) -> Result<T, StoreError> {
    read(text).map_err(|error| unreadable(&format!("name {text:?}"), &error))
}

pub(super) fn number(what: &str, text: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|error| unreadable(what, &error))
}

pub(super) fn read<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(what, &error))
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names, numbers and texts have a JSON form")
}

pub(super) fn unreadable(what: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { what: what.to_owned(), why: why.to_string() }
}
