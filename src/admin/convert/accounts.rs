//! Groups, agents and keys.

use super::timestamp;
use crate::auth::permissions::Permissions;
use crate::hub::accounts::{Description, Group};
use crate::pb::v1;
use crate::store::{Agent, AgentRow, ApiKeyRow};

pub(in super::super) fn group_message(group: &Group) -> v1::Group {
    v1::Group {
        group: group.id.to_string(),
        created_at: Some(timestamp(group.created_at)),
        settings_version: group.version,
        presence_enabled: group.settings.presence_enabled,
    }
}

pub(in super::super) fn api_key_message(row: ApiKeyRow) -> v1::ApiKey {
    let ApiKeyRow { group: _, id, label, created_at, revoked_at, last_used_at } = row;
    v1::ApiKey {
        key_id: id.to_string(),
        label,
        created_at: Some(timestamp(created_at)),
        revoked_at: revoked_at.map(timestamp),
        last_used_at: last_used_at.map(timestamp),
    }
}

/// An agent with what it may do, which is no part of its row.
pub(in super::super) fn agent_message(row: AgentRow, permissions: Permissions) -> v1::Agent {
    let AgentRow { agent, password, generation: _, created_at } = row;
    let Agent { key, address, partner_user_id, name, profile, subscription, fixed_key } = agent;
    let Permissions { user, admin, agent_video } = permissions;
    v1::Agent {
        agent_id: key.agent.to_string(),
        address,
        partner_user_id: partner_user_id.unwrap_or_default(),
        name,
        profile: profile.unwrap_or_default(),
        subscription: subscription.unwrap_or_default(),
        permissions: Some(v1::Permissions { user, admin, agent_video }),
        has_password: password.is_some(),
        created_at: Some(timestamp(created_at)),
        fixed_session_key: fixed_key.is_some(),
    }
}

/// An agent as described by a caller, with its new password; what the server tells of it is passed over.
pub(in super::super) fn described(agent: v1::Agent, password: String) -> Description {
    let v1::Agent {
        agent_id, address, partner_user_id, name, profile, subscription, fixed_session_key, ..
    } = agent;
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Description {
        id: agent_id,
        address,
        partner_user_id: some(partner_user_id),
        name,
        profile: some(profile),
        subscription: some(subscription),
        fixed_key: fixed_session_key,
        password: some(password).map(Into::into),
    }
}
