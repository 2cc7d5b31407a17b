//! The agents of a group, their permissions and credentials.

use super::convert::{agent_message, described};
use super::gate::Within;
use super::page::{self, Pages};
use super::service::Service;
use super::status::AdminError;
use super::{bad, refusal};
use crate::auth::permissions::Permissions;
use crate::ids::{AgentId, AgentKey};
use crate::pb::v1;
use crate::store::{AgentRow, AgentsPage};

pub(super) async fn upsert_agent(
    service: &Service,
    within: &Within,
    request: v1::UpsertAgentRequest,
) -> Result<v1::UpsertAgentResponse, AdminError> {
    let agent = request.agent.ok_or_else(|| bad("agent", "is missing"))?;
    let described = described(agent, request.password);
    let row = service.accounts.describe_agent(within.group(), described).await.map_err(refusal::of_agent)?;
    Ok(v1::UpsertAgentResponse { agent: Some(whole(service, within, row)?) })
}

pub(super) async fn list_agents(
    service: &Service,
    within: &Within,
    request: v1::ListAgentsRequest,
) -> Result<v1::ListAgentsResponse, AdminError> {
    let asked = Listed { call: "ListAgents", with_password: false, size: request.page_size };
    let (agents, next_page_token) = asked.page(service, within, &request.page_token).await?;
    Ok(v1::ListAgentsResponse { agents, next_page_token })
}

pub(super) async fn delete_agent(
    service: &Service,
    within: &Within,
    request: v1::DeleteAgentRequest,
) -> Result<v1::DeleteAgentResponse, AdminError> {
    let key = key(within, &request.agent_id)?;
    let by = within.caller().who().to_string();
    let removed = service.accounts.remove_agent(&key, &by).await.map_err(refusal::of_settings)?;
    if removed { Ok(v1::DeleteAgentResponse {}) } else { Err(AdminError::NotFound) }
}

pub(super) async fn set_permissions(
    service: &Service,
    within: &Within,
    request: v1::SetPermissionsRequest,
) -> Result<v1::SetPermissionsResponse, AdminError> {
    let key = key(within, &request.agent_id)?;
    let Some(v1::Permissions { user, admin, agent_video }) = request.permissions else {
        return Err(bad("permissions", "is missing"));
    };
    let permissions = Permissions { user, admin, agent_video };
    let by = within.caller().who().to_string();
    let granted = service.accounts.set_permissions(&key, permissions, &by).await;
    granted.map_err(refusal::of_permissions)?;
    let row = service.accounts.agent(&key).await?.ok_or(AdminError::NotFound)?;
    Ok(v1::SetPermissionsResponse { agent: Some(agent_message(row, permissions)) })
}

pub(super) async fn list_associated_users(
    service: &Service,
    within: &Within,
    request: v1::ListAssociatedUsersRequest,
) -> Result<v1::ListAssociatedUsersResponse, AdminError> {
    let asked = Listed { call: "ListAssociatedUsers", with_password: true, size: request.page_size };
    let (agents, next_page_token) = asked.page(service, within, &request.page_token).await?;
    Ok(v1::ListAssociatedUsersResponse { agents, next_page_token })
}

pub(super) async fn remove_association(
    service: &Service,
    within: &Within,
    request: v1::RemoveAssociationRequest,
) -> Result<v1::RemoveAssociationResponse, AdminError> {
    let row = service.accounts.remove_association(&key(within, &request.agent_id)?).await?;
    Ok(v1::RemoveAssociationResponse { agent: Some(whole(service, within, row)?) })
}

pub(super) async fn revoke_tokens(
    service: &Service,
    within: &Within,
    request: v1::RevokeTokensRequest,
) -> Result<v1::RevokeTokensResponse, AdminError> {
    let only = match request.agent_id.as_str() {
        "" => None,
        named => {
            let key = key(within, named)?;
            service.accounts.agent(&key).await?.ok_or(AdminError::NotFound)?;
            Some(key.agent)
        }
    };
    service.accounts.revoke_tokens(within.group(), only.as_ref()).await?;
    Ok(v1::RevokeTokensResponse {})
}

/// One of the two lists of agents.
struct Listed {
    call: &'static str,
    with_password: bool,
    size: u32,
}

impl Listed {
    async fn page(
        &self,
        service: &Service,
        within: &Within,
        token: &str,
    ) -> Result<(Vec<v1::Agent>, String), AdminError> {
        let pages = Pages { accounts: &service.accounts, call: self.call, of: within.group().as_str() };
        let after = pages.after(token)?.map(|last| AgentId::new(&last)).transpose();
        let after = after.map_err(|_| AdminError::Internal)?;
        let size = page::size(self.size);
        let page = AgentsPage { after, with_password: self.with_password, most: size + 1 };
        let mut rows = service.accounts.agents_page(within.group(), page).await?;
        let next = pages.cut(&mut rows, size, |row| row.agent.key.agent.to_string());
        let agents = rows.into_iter().map(|row| whole(service, within, row)).collect::<Result<_, _>>()?;
        Ok((agents, next))
    }
}

fn key(within: &Within, named: &str) -> Result<AgentKey, AdminError> {
    let agent = AgentId::new(named).map_err(|error| bad("agent_id", error))?;
    Ok(AgentKey { group: within.group().clone(), agent })
}

/// An agent with what it may do at this moment.
fn whole(service: &Service, within: &Within, row: AgentRow) -> Result<v1::Agent, AdminError> {
    let group = service.accounts.group(within.group()).ok_or(AdminError::NotFound)?;
    let permissions = group.settings.permissions_of(&row.agent.key.agent);
    Ok(agent_message(row, permissions))
}
