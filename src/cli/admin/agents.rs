//! Agents, their passwords, permissions and tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::super::{Failure, secret};
use super::Server;
use super::call::Next;
use super::rows::{AGENTS, USERS, table};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes an agent, or changes what is given of one; the rest stays.
    UpsertAgent(Description),
    /// Lists the agents.
    ListAgents,
    /// Removes an agent with its credentials, tokens and permissions.
    DeleteAgent {
        /// The agent's ID.
        agent: String,
    },
    /// Says what an agent may do from now on.
    SetPermissions {
        /// The agent's ID.
        agent: String,
        /// All that it may do.
        #[arg(required_unless_present = "none")]
        permissions: Vec<Permission>,
        /// It may do nothing.
        #[arg(long, conflicts_with = "permissions")]
        none: bool,
    },
    /// Lists the agents who sign in with an address and a password of their own.
    ListUsers,
    /// Deletes an agent's password and revokes its tokens; the agent stays.
    RemoveAssociation {
        /// The agent's ID.
        agent: String,
    },
    /// Makes the tokens of an agent useless and closes its connections.
    RevokeTokens {
        /// The agent's ID.
        #[arg(required_unless_present = "all")]
        agent: Option<String>,
        /// Those of all agents of the group.
        #[arg(long, conflicts_with = "agent")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Description {
    /// The agent's ID: letters, digits and `._~-`.
    agent: String,
    /// What it signs in with and what guests type.
    #[arg(long)]
    address: Option<String>,
    /// Its user ID in the CRM, which login keys name.
    #[arg(long, value_name = "ID")]
    partner_user_id: Option<String>,
    /// Its name for people; a new agent's ID if left out.
    #[arg(long)]
    name: Option<String>,
    /// Its profile in the CRM.
    #[arg(long)]
    profile: Option<String>,
    /// What it is subscribed to.
    #[arg(long)]
    subscription: Option<String>,
    /// Whether guests come into its sessions by the same key each time; taken off and set again, by another.
    #[arg(long, value_name = "BOOL")]
    fixed_session_key: Option<bool>,
    /// File that holds its new password; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Permission {
    /// May show, view and join.
    User,
    /// May change the group's settings.
    Admin,
    /// May send its camera.
    AgentVideo,
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::UpsertAgent(description) => upsert(server, description).await,
            Self::ListAgents => server.print_list(&agents(server, None).await?, &AGENTS),
            Self::DeleteAgent { agent } => delete(server, agent).await,
            Self::SetPermissions { agent, permissions, .. } => permit(server, agent, &permissions).await,
            Self::ListUsers => server.print_list(&users(server).await?, &USERS),
            Self::RemoveAssociation { agent } => remove_association(server, agent).await,
            Self::RevokeTokens { agent, .. } => revoke_tokens(server, agent.unwrap_or_default()).await,
        }
    }
}

fn one(agent: &v1::Agent) -> String {
    table(AGENTS.heading, &[(AGENTS.row)(agent)])
}

/// The group's agents; up to the page that holds the one looked for, if one is.
async fn agents(server: &Server, looked_for: Option<&str>) -> Result<Vec<v1::Agent>, Failure> {
    server
        .collect(async |page_token| {
            let message = v1::ListAgentsRequest { group: server.group.clone(), page_size: 0, page_token };
            let page =
                server.ask(message, async |mut client, request| client.list_agents(request).await).await?;
            let found = page.agents.iter().any(|agent| Some(agent.agent_id.as_str()) == looked_for);
            let next = if found { Next::Enough } else { Next::More };
            Ok((page.agents, page.next_page_token, next))
        })
        .await
}

async fn users(server: &Server) -> Result<Vec<v1::Agent>, Failure> {
    server
        .collect(async |page_token| {
            let message =
                v1::ListAssociatedUsersRequest { group: server.group.clone(), page_size: 0, page_token };
            let page = async |mut client: super::Client, request| client.list_associated_users(request).await;
            let page = server.ask(message, page).await?;
            Ok((page.agents, page.next_page_token, Next::More))
        })
        .await
}

impl Description {
    /// An agent as it shall be, beginning with how it is. One without a name for people goes by its ID.
    fn over(self, now: v1::Agent) -> v1::Agent {
        let name = if now.name.is_empty() { self.agent.clone() } else { now.name };
        v1::Agent {
            agent_id: self.agent,
            address: self.address.unwrap_or(now.address),
            partner_user_id: self.partner_user_id.unwrap_or(now.partner_user_id),
            name: self.name.unwrap_or(name),
            profile: self.profile.unwrap_or(now.profile),
            subscription: self.subscription.unwrap_or(now.subscription),
            fixed_session_key: self.fixed_session_key.unwrap_or(now.fixed_session_key),
            ..v1::Agent::default()
        }
    }
}

async fn upsert(server: &Server, description: Description) -> Result<(), Failure> {
    let file = description.password_file.as_deref();
    let password = file.map(secret::read).transpose().map_err(Failure::Settings)?.unwrap_or_default();
    // The call replaces the whole description; what is not given must not be lost by that.
    let known = agents(server, Some(&description.agent)).await?;
    let now = known.into_iter().find(|agent| agent.agent_id == description.agent).unwrap_or_default();
    let message = v1::UpsertAgentRequest {
        group: server.group.clone(),
        agent: Some(description.over(now)),
        password,
        request_id: server.request_id.clone(),
    };
    let done = server.change(message, async |mut client, request| client.upsert_agent(request).await).await?;
    server.print(&done.agent.unwrap_or_default(), one)
}

async fn delete(server: &Server, agent: String) -> Result<(), Failure> {
    let told = format!("{agent} is deleted\n");
    let request_id = server.request_id.clone();
    let message = v1::DeleteAgentRequest { group: server.group.clone(), agent_id: agent, request_id };
    let done = server.change(message, async |mut client, request| client.delete_agent(request).await).await?;
    server.print(&done, |_| told)
}

async fn permit(server: &Server, agent: String, permissions: &[Permission]) -> Result<(), Failure> {
    let held = |permission| permissions.contains(&permission);
    let permissions = v1::Permissions {
        user: held(Permission::User),
        admin: held(Permission::Admin),
        agent_video: held(Permission::AgentVideo),
    };
    let message = v1::SetPermissionsRequest {
        group: server.group.clone(),
        agent_id: agent,
        permissions: Some(permissions),
        request_id: server.request_id.clone(),
    };
    let done =
        server.change(message, async |mut client, request| client.set_permissions(request).await).await?;
    server.print(&done.agent.unwrap_or_default(), one)
}

async fn remove_association(server: &Server, agent: String) -> Result<(), Failure> {
    let request_id = server.request_id.clone();
    let message = v1::RemoveAssociationRequest { group: server.group.clone(), agent_id: agent, request_id };
    let call = async |mut client: super::Client, request| client.remove_association(request).await;
    let done = server.change(message, call).await?;
    server.print(&done.agent.unwrap_or_default(), one)
}

async fn revoke_tokens(server: &Server, agent: String) -> Result<(), Failure> {
    let whose = if agent.is_empty() { "all agents".to_owned() } else { agent.clone() };
    let request_id = server.request_id.clone();
    let message = v1::RevokeTokensRequest { group: server.group.clone(), agent_id: agent, request_id };
    let done =
        server.change(message, async |mut client, request| client.revoke_tokens(request).await).await?;
    server.print(&done, |_| format!("the tokens of {whose} are useless now\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let now = v1::Agent {
            agent_id: "alice".into(),
            address: "alice@example.com".into(),
            profile: "Support".into(),
            name: "Alice".into(),
            has_password: true,
            fixed_session_key: true,
            ..Default::default()
        };
        let given = Description {
            agent: "alice".into(),
            address: None,
            partner_user_id: Some("005".into()),
            name: None,
            profile: Some(String::new()),
            subscription: None,
            fixed_session_key: None,
            password_file: None,
        };
        let wanted = v1::Agent {
            agent_id: "alice".into(),
            address: "alice@example.com".into(),
            partner_user_id: "005".into(),
            name: "Alice".into(),
            fixed_session_key: true,
            ..Default::default()
        };
        assert_eq!(given.over(now), wanted);
        let new = Description {
            agent: "bob".into(),
            address: Some("bob".into()),
            partner_user_id: None,
            name: None,
            profile: None,
            subscription: None,
            fixed_session_key: None,
            password_file: None,
        };
        assert_eq!(new.over(v1::Agent::default()).name, "bob");
    }
}
