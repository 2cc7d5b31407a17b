//! The hub as operators see it.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::{
    AdminError, AdminHub, ClientRow, Ended, LogRow, NodeRow, PageRow, ParticipantRow, SessionRow,
    SessionState, SignalRow, VisitorFilter, VisitorRow, bad,
};
use crate::cluster::{NodeFacts, PresenceSource as _};
use crate::hub::Hub;
use crate::hub::feed::NewPost;
use crate::hub::operators::{PresenceWatch, SessionWatch};
use crate::ids::{EventId, GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::feed::{Item, Place};
use crate::model::session::View;
use crate::model::visitor::Snapshot;
use crate::store::feed::{LeadRow, Posts, PostsQuery};
use crate::telemetry::{LogControl, LogError, Parent};
use crate::wire::agent::{Delivery, RequestState};
use crate::wire::error::ErrorCode;
use crate::wire::message::Raw;
use crate::wire::session::Here;

/// A hub that operators may call.
pub struct Operated {
    /// The hub.
    pub hub: Arc<Hub>,
    /// What lets the node go away, and tells that it does.
    pub stop: CancellationToken,
    /// The process's log, where it is the server's to change.
    pub log: Option<LogControl>,
}

#[async_trait]
impl AdminHub for Operated {
    async fn lookup_visitors(
        &self,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<Vec<VisitorRow>, AdminError> {
        self.known(group)?;
        Ok(self.hub.lookup(group, visitors).await.iter().map(|snapshot| visitor_row(snapshot)).collect())
    }

    async fn list_visitors(
        &self,
        group: &GroupId,
        filter: VisitorFilter,
    ) -> Result<BoxStream<'static, VisitorRow>, AdminError> {
        self.known(group)?;
        let all = self.hub.all_visitors(group).await.map_err(unavailable)?;
        let rows = all.into_iter().map(|snapshot| visitor_row(&snapshot));
        Ok(stream::iter(rows.filter(move |row| filter.admits(row))).boxed())
    }

    async fn list_sessions(
        &self,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<Vec<SessionRow>, AdminError> {
        self.known(group)?;
        let views = self.hub.session_views(group, visitor).await.map_err(unavailable)?;
        Ok(views.into_iter().map(session_row).collect())
    }

    async fn end_session(
        &self,
        group: &GroupId,
        session: SessionId,
        trace: Option<Parent>,
    ) -> Result<Ended, AdminError> {
        let ended = self.hub.end_anywhere(group, session, trace).await;
        let now = ended.map_err(|refusal| match refusal.code {
            ErrorCode::NotFound => AdminError::NotFound,
            _ => AdminError::Unavailable,
        })?;
        Ok(if now { Ended::Now } else { Ended::Before })
    }

    async fn watch_presence(
        &self,
        group: &GroupId,
        visitors: &[VisitorId],
    ) -> Result<BoxStream<'static, VisitorRow>, AdminError> {
        self.known(group)?;
        let watch = self.hub.watch_presence(group, visitors).await.map_err(unavailable)?;
        let next = |watch: PresenceWatch| async {
            let row = visitor_row(&*watch.next().await);
            Some((row, watch))
        };
        Ok(stream::unfold(watch, next).boxed())
    }

    async fn signal_visitor(
        &self,
        group: &GroupId,
        visitor: &VisitorId,
        signal: SignalRow,
    ) -> Result<Delivery, AdminError> {
        let enabled = self.hub.accounts().group(group).ok_or(AdminError::NotFound)?.settings.presence_enabled;
        if !enabled {
            return Err(AdminError::PresenceDisabled);
        }
        let encoded = |data| serde_json::value::to_raw_value(&data).expect("JSON values encode");
        let data = signal.data.map(|data| Raw(encoded(data).into()));
        let delivery =
            self.hub.signal_anywhere(&key(group, visitor), signal.name.into(), data, &signal.from).await;
        delivery.map_err(|refusal| match refusal.code {
            ErrorCode::VisitorNotPresent => AdminError::VisitorNotPresent,
            ErrorCode::BadValue => bad("name", refusal.message),
            ErrorCode::DataTooLarge => bad("data", refusal.message),
            // As many signals as may be held are held already; the visitor may be back in a moment.
            _ => AdminError::Unavailable,
        })
    }

    async fn disconnect_visitor(&self, group: &GroupId, visitor: &VisitorId) -> Result<u32, AdminError> {
        self.known(group)?;
        self.hub.disconnect_anywhere(&key(group, visitor)).await.map_err(unavailable)
    }

    async fn session(&self, group: &GroupId, session: SessionId) -> Result<SessionRow, AdminError> {
        let view = self.hub.session_view(group, session).await.map_err(unavailable)?;
        Ok(session_row(view.ok_or(AdminError::NotFound)?))
    }

    async fn watch_sessions(
        &self,
        group: &GroupId,
        visitor: Option<&VisitorId>,
    ) -> Result<BoxStream<'static, SessionRow>, AdminError> {
        self.known(group)?;
        let watch = self.hub.watch_sessions(group, visitor).await.map_err(unavailable)?;
        let next = |watch: SessionWatch| async {
            let row = session_row(watch.next().await);
            Some((row, watch))
        };
        Ok(stream::unfold(watch, next).boxed())
    }

    async fn feed(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, AdminError> {
        Ok(self.hub.feed(group, place, query).await?)
    }

    async fn feed_post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, AdminError> {
        Ok(self.hub.feed_post(group, id).await?)
    }

    async fn post_feed(&self, group: &GroupId, id: EventId, post: NewPost) -> Result<Item, AdminError> {
        Ok(self.hub.post_feed(group, id, post).await?)
    }

    async fn leads(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<LeadRow>, AdminError> {
        Ok(self.hub.leads(group, after, most).await?)
    }

    async fn node(&self) -> NodeRow {
        node_row(self.hub.facts())
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, AdminError> {
        let nodes = self.hub.nodes().await.map_err(unavailable)?;
        Ok(nodes.into_iter().map(node_row).collect())
    }

    fn drain(&self) {
        self.stop.cancel();
    }

    fn set_log_filter(&self, filter: Option<&str>, time: Option<Duration>) -> Result<LogRow, AdminError> {
        let log = self.log.as_ref().ok_or(AdminError::Unavailable)?;
        let configured = log.configured();
        let filter = filter.unwrap_or(&configured).to_owned();
        // Said while either filter lets it be heard.
        tracing::warn!(filter, ?time, "an operator changes the log filter");
        let changed = if filter == configured { log.configure(&configured) } else { log.hold(&filter, time) };
        match changed {
            Ok(()) => Ok(LogRow { filter, configured }),
            Err(LogError::Filter { source, .. }) => Err(bad("filter", source)),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn is_full(&self) -> bool {
        self.hub.room().refuses().is_some()
    }

    fn draining(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// The node can't answer in full, and does not answer in part.
fn unavailable(error: impl std::error::Error + 'static) -> AdminError {
    tracing::warn!(error = &error as &dyn std::error::Error, "an operator was not answered");
    AdminError::Unavailable
}

fn key(group: &GroupId, visitor: &VisitorId) -> VisitorKey {
    VisitorKey { group: group.clone(), visitor: visitor.clone() }
}

fn node_row(facts: NodeFacts) -> NodeRow {
    NodeRow {
        node: facts.node.to_string(),
        version: facts.version.into(),
        started: facts.started,
        draining: facts.draining,
        connections: facts.connections,
        visitors_present: facts.visitors,
        sessions: facts.sessions,
    }
}

impl Operated {
    fn known(&self, group: &GroupId) -> Result<(), AdminError> {
        self.hub.accounts().group(group).map(drop).ok_or(AdminError::NotFound)
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
        shows: view.shows,
        state,
        visitor: view.visitor,
        created: view.created,
        started: view.started,
        participants: participants.collect(),
        paused: view.paused,
    }
}
