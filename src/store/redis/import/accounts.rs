//! Who is who: the group with its settings, agents, API keys, remembered calls, and what agents follow.

use redis::Pipeline;

use super::super::super::migrate::Source as _;
use super::super::super::{AgentsPage, Feed as _, Store as _, StoreError};
use super::super::keys::{Keys, calls};
use super::super::rows::{Described, call_name, json};
use super::{Import, hset};
use crate::ids::{AgentKey, GroupId};
use crate::limits;

impl Import {
    /// Writes them anew: what was written by a move that died is not kept.
    pub(super) async fn accounts(&self, group: &GroupId) -> Result<(), StoreError> {
        let keys = Keys(group);
        let [_, agents @ ..] = keys.agents();
        let mut forget = redis::pipe();
        for key in agents.iter().chain(&keys.api_keys()).chain([&keys.changes()]) {
            forget.cmd("UNLINK").arg(key).ignore();
        }
        self.link.ask_all::<()>(&forget).await?;
        self.agents(group).await?;
        self.generations(group).await?;
        self.follows(group).await?;
        self.api_keys(group).await?;
        self.changes(group).await
    }

    /// The group itself. Before it is written nobody sees any of it.
    pub(super) async fn settings(&self, group: &GroupId) -> Result<(), StoreError> {
        let row = self.from.group(group).await?.ok_or_else(|| StoreError::NoGroup(group.clone()))?;
        let (key, mut put) = (Keys(group).group(), redis::pipe());
        put.atomic();
        hset(&mut put, &key, b"version", &row.version.to_string());
        hset(&mut put, &key, b"settings", &json(&row.settings));
        hset(&mut put, &key, b"created", &row.created_at.0.to_string());
        self.put(&put).await
    }

    /// The calls that are not made again.
    pub(super) async fn calls(&self, group: Option<&GroupId>) -> Result<(), StoreError> {
        let [rows, order] = calls(group);
        let mut forget = redis::pipe();
        forget.cmd("UNLINK").arg(&rows).ignore().cmd("UNLINK").arg(&order).ignore();
        self.link.ask_all::<()>(&forget).await?;
        let mut after = 0;
        loop {
            let page = self.from.calls_behind(group, after).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            let mut put = redis::pipe();
            for (number, call) in &page {
                let name = call_name(&call.key);
                let mut text = format!("{} ", call.at.0).into_bytes();
                text.extend_from_slice(&call.digest);
                text.extend_from_slice(&call.answer);
                put.cmd("HSET").arg(&rows).arg(&name).arg(text).ignore();
                put.cmd("ZADD").arg(&order).arg(number).arg(&name).ignore();
            }
            for key in [&rows, &order] {
                put.cmd("EXPIRE").arg(key).arg(limits::CALL_MEMORY.as_secs()).ignore();
            }
            self.put(&put).await?;
        }
    }

    async fn agents(&self, group: &GroupId) -> Result<(), StoreError> {
        let [_, agents, names, passwords, _, addresses, partners] = Keys(group).agents();
        let mut after = None;
        loop {
            let page = AgentsPage { after, with_password: false, most: limits::MOVE_ROWS };
            let page = self.from.agents_page(group, page).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.agent.key.agent.clone());
            let mut put = redis::pipe();
            for row in &page {
                let (agent, id) = (&row.agent, row.agent.key.agent.as_str());
                let text = format!("{}\n{}", row.created_at.0, json(&Described::from(agent)));
                hset(&mut put, &agents, id.as_bytes(), &text);
                put.cmd("ZADD").arg(&names).arg(0).arg(id).ignore();
                hset(&mut put, &addresses, agent.address.as_bytes(), id);
                if let Some(partner) = &agent.partner_user_id {
                    hset(&mut put, &partners, partner.as_bytes(), id);
                }
                if let Some(password) = &row.password {
                    hset(&mut put, &passwords, id.as_bytes(), password.as_str());
                }
            }
            self.put(&put).await?;
        }
    }

    async fn generations(&self, group: &GroupId) -> Result<(), StoreError> {
        let [_, _, _, _, generations, _, _] = Keys(group).agents();
        let mut after = None;
        loop {
            let page = self.from.generations_behind(group, after.as_ref()).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut put = redis::pipe();
            for (agent, generation) in &page {
                hset(&mut put, &generations, agent.as_str().as_bytes(), &generation.to_string());
            }
            self.put(&put).await?;
        }
    }

    async fn follows(&self, group: &GroupId) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let followers = self.from.followers_behind(group, after.as_ref()).await?;
            let Some(last) = followers.last() else { return Ok(()) };
            after = Some(last.clone());
            for agent in followers {
                let key = Keys(group).follows(&agent);
                let mut put = redis::pipe();
                put.cmd("UNLINK").arg(&key).ignore();
                for place in self.from.followed(&AgentKey { group: group.clone(), agent }).await? {
                    put.cmd("SADD").arg(&key).arg(json(&(&place.object, &place.id))).ignore();
                }
                self.put(&put).await?;
            }
        }
    }

    async fn api_keys(&self, group: &GroupId) -> Result<(), StoreError> {
        let [keys, revoked, used] = Keys(group).api_keys();
        for rows in self.from.api_keys(group).await?.chunks(limits::MOVE_ROWS) {
            let mut put = redis::pipe();
            for row in rows {
                let id = row.id.as_str().as_bytes();
                hset(&mut put, &keys, id, &format!("{}\n{}", row.created_at.0, row.label));
                for (key, at) in [(&revoked, row.revoked_at), (&used, row.last_used_at)] {
                    if let Some(at) = at {
                        hset(&mut put, key, id, &at.0.to_string());
                    }
                }
            }
            self.put(&put).await?;
        }
        Ok(())
    }

    async fn changes(&self, group: &GroupId) -> Result<(), StoreError> {
        let (key, mut before) = (Keys(group).changes(), None);
        loop {
            let page = self.from.settings_changes(group, before, limits::SETTINGS_CHANGES).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.version);
            let mut put = redis::pipe();
            for change in &page {
                let was = change.before.as_ref().map(json).unwrap_or_default();
                let text = [change.at.0.to_string(), json(&change.by), was, json(&change.after)].join("\n");
                hset(&mut put, &key, change.version.to_string().as_bytes(), &text);
            }
            self.put(&put).await?;
        }
    }

    /// Runs commands on keys of one group, if there are any.
    pub(super) async fn put(&self, commands: &Pipeline) -> Result<(), StoreError> {
        if !commands.is_empty() {
            self.link.ask_all::<()>(commands).await?;
        }
        Ok(())
    }
}
