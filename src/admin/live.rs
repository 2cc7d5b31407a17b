//! The hub as operators see it.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;
use std::sync::Arc;

use super::{
    AdminError, AdminHub, ClientRow, Ended, NodeRow, PageRow, ParticipantRow, SessionRow, SessionState,
    VisitorFilter, VisitorRow,
};
use crate::hub::Hub;
use crate::ids::{GroupId, SessionId, VisitorId};
use crate::model::session::{EndReason, View};
use crate::model::visitor::Snapshot;
use crate::telemetry::SocketKind;
use crate::wire::agent::RequestState;
use crate::wire::session::Here;

/// A hub that operators may call.
pub struct Operated(pub Arc<Hub>);

#[async_trait]
impl AdminHub for Operated {
    async fn lookup_visitors(
        &self,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Vec<VisitorRow>, AdminError> {
        self.known(group)?;
        Ok(self.0.lookup(group, visitors).await.iter().map(|snapshot| visitor_row(snapshot)).collect())
    }

    async fn list_visitors(
        &self,
        group: &GroupId,
        filter: VisitorFilter,
    ) -> Result<BoxStream<'static, VisitorRow>, AdminError> {
        self.known(group)?;
        let all = self.0.all_visitors(group).await.map_err(|error| {
            tracing::warn!(%error, "an operator's list of visitors is incomplete, so it was not given");
            AdminError::Unavailable
        })?;
        let rows = all.into_iter().map(|snapshot| visitor_row(&snapshot));
        Ok(stream::iter(rows.filter(move |row| filter.admits(row))).boxed())
    }

    async fn list_sessions(
        &self,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<Vec<SessionRow>, AdminError> {
        self.known(group)?;
        let mut views: Vec<View> = self
            .0
            .sessions()
            .list(group)
            .iter()
            .map(|session| session.view())
            .filter(|view| view.ended.is_none() && visitor.is_none_or(|wanted| *wanted == view.visitor))
            .collect();
        views.sort_unstable_by_key(|view| view.id);
        Ok(views.into_iter().map(session_row).collect())
    }

    async fn end_session(&self, group: &GroupId, session: SessionId) -> Result<Ended, AdminError> {
        let session = self.0.sessions().get(group, session).ok_or(AdminError::NotFound)?;
        if session.view().ended.is_some() {
            return Ok(Ended::Before);
        }
        self.0.end_session(&session, EndReason::OperatorEnded);
        Ok(Ended::Now)
    }

    async fn node(&self) -> NodeRow {
        let count = |kind| self.0.registry().count(kind);
        NodeRow {
            node: self.0.node().to_string(),
            started: self.0.started(),
            draining: self.0.is_draining(),
            connections: [SocketKind::Visitor, SocketKind::Agent, SocketKind::Session].map(count),
            visitors_present: self.0.visitors() as u64,
            sessions: self.0.sessions().len() as u64,
        }
    }
}

impl Operated {
    fn known(&self, group: &GroupId) -> Result<(), AdminError> {
        self.0.accounts().group(group).map(drop).ok_or(AdminError::NotFound)
    }
}

/// The encoded facts of a visitor, read back.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Page {
    url: String,
    title: String,
    referrer: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Client {
    platform: String,
    language: String,
    screen: String,
    user_agent: String,
}

fn visitor_row(snapshot: &Snapshot) -> VisitorRow {
    let view = snapshot.view();
    let page: Page = decoded(view.page);
    let client: Client = decoded(view.client);
    VisitorRow {
        visitor: view.key.visitor.clone(),
        state: view.state,
        since: view.since,
        version: view.version,
        connections: view.connections,
        page: PageRow { url: page.url, title: page.title, referrer: page.referrer },
        client: ClientRow {
            platform: client.platform,
            language: client.language,
            screen: client.screen,
            user_agent: client.user_agent,
        },
        data: decoded(view.data),
        verified: view.verified,
        session: view.session,
    }
}

/// Facts as the presence rules encoded them; nothing was told where there is no text.
fn decoded<T: Default + for<'de> Deserialize<'de>>(encoded: &str) -> T {
    if encoded.is_empty() {
        return T::default();
    }
    serde_json::from_str(encoded).expect("the presence rules encode what they keep")
}

fn session_row(view: View) -> SessionRow {
    let state = match view.state {
        RequestState::Offered | RequestState::Displayed => SessionState::Requested,
        RequestState::Accepted | RequestState::Connecting => SessionState::Connecting,
        RequestState::Active => SessionState::Active,
        _ => SessionState::Ended,
    };
    let participants = view.participants.into_iter().map(|participant| ParticipantRow {
        participant: participant.participant_id,
        role: participant.role,
        agent: participant.agent_id,
        name: participant.name.to_string(),
        connected: participant.state == Here::Here,
    });
    SessionRow {
        session: view.id,
        kind: view.kind,
        state,
        visitor: Some(view.visitor),
        created: view.created,
        started: view.started,
        participants: participants.collect(),
        paused: view.paused,
    }
}
