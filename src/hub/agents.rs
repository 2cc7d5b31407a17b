//! The agent's door: what an agent's page may ask for, and what it hears of.

mod ends;
mod far;
mod feed;
mod join;
mod key;
mod show;
mod view;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Hub;
use super::accounts::{AgentIdentity, Group};
use super::changes::{SignedIn, agent_settings};
use super::registry::Connection;
use super::remote::edge::Far;
use super::visitors::Caller;
use super::watch::{LiveList, RecordWatch, raw};
use crate::cluster::post::JoinFacts;
use crate::cluster::{Follow, NodeId};
use crate::ids::{AgentKey, SessionId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::buttons;
use crate::model::event::Door;
use crate::model::live::{Cursor, Filter, LiveView, Pager};
use crate::model::session::Input;
use crate::model::settings::Audience;
use crate::wire::agent::{
    AgentView, Connect, FromAgent, OpenRecord, Record, RecordRef, ToAgent, VisitorIds, WatchLive,
};
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::Text;

/// An agent's connection that has shown its token. Dropping it takes back all its wishes.
pub struct AgentSeat {
    hub: Arc<Hub>,
    connection: Arc<Connection>,
    identity: AgentIdentity,
    /// The client's address; absent where its socket is on another node.
    from: Option<IpAddr>,
    watched: HashSet<VisitorId>,
    live: bool,
    /// Keeps other nodes' hints about the group coming, once anything of it was asked for.
    hears: Option<Follow>,
    records: HashMap<(Box<str>, Box<str>), Arc<RecordWatch>>,
    /// Sessions it asked for from this connection.
    asked: HashSet<SessionId>,
    /// What leads to the nodes of visitors and sessions that are not here.
    far: HashMap<NodeId, Far>,
}

impl Hub {
    /// An agent's page shows its token.
    pub fn agent_arrives(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        caller: &Caller,
        hello: &Connect,
        id: Option<u64>,
    ) -> Result<AgentSeat, Close> {
        let unauthorized = || Close::new(CloseCode::Unauthorized, "the token is wrong, expired or revoked");
        let identity = self.accounts.verify_agent(&hello.token).map_err(|_| unauthorized())?;
        let group = self.accounts.group(&identity.group).ok_or_else(unauthorized)?;
        let origin_fits = |origin: &str| group.settings.origin_allowed(Audience::Agent, origin);
        if !caller.origin.as_deref().is_none_or(origin_fits) {
            self.events.refused(&group.id, self.clock.now(), Door::Agent, "origin is not allowed");
            return Err(Close::new(CloseCode::Forbidden, "not allowed here"));
        }
        let connected = ToAgent::Connected {
            connection_id: connection.id,
            agent: AgentView {
                id: &identity.agent,
                name: &identity.name,
                profile: identity.profile.as_deref(),
                permissions: identity.permissions.names(),
            },
            group: &identity.group,
            settings: agent_settings(&group),
            heartbeat: self.limits.dead_after.as_secs(),
            server_time: self.clock.now().wall,
        };
        connection.outbox.push_first(Text::answer(id, &connected));
        let key = AgentKey { group: identity.group.clone(), agent: identity.agent.clone() };
        let token = hello.token.clone().into();
        self.agents.insert(connection.id, SignedIn { connection: Arc::clone(connection), key, token });
        // It may have been revoked since it was looked at, before there was an entry to be found by.
        if self.accounts.verify_agent(&hello.token).is_err() {
            self.agents.remove(&connection.id);
            return Err(unauthorized());
        }
        Ok(AgentSeat::new(self, connection, identity, Some(caller.from)))
    }
}

fn unsupported(what: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Unsupported, format!("{what} is not offered by this server"))
}

impl AgentSeat {
    /// A seat that wishes for nothing yet; `from` is the client's address, where its socket is here.
    pub(super) fn new(
        hub: &Arc<Hub>,
        connection: &Arc<Connection>,
        identity: AgentIdentity,
        from: Option<IpAddr>,
    ) -> Self {
        Self {
            hub: Arc::clone(hub),
            connection: Arc::clone(connection),
            identity,
            from,
            watched: HashSet::new(),
            live: false,
            hears: None,
            records: HashMap::new(),
            asked: HashSet::new(),
            far: HashMap::new(),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &AgentIdentity {
        &self.identity
    }

    /// Takes one message, whose text it may pass on to another node, and returns its answer; none where the other
    /// node answers, later.
    pub async fn take(
        &mut self,
        message: FromAgent,
        id: Option<u64>,
        text: &str,
    ) -> Result<Option<Text>, Refusal> {
        let keyed;
        let (message, text) = match message {
            FromAgent::Join(join) if join.session_key.is_some() => {
                let join = self.keyed(join).await?;
                keyed = join.by_name(id);
                (FromAgent::Join(join), keyed.as_str())
            }
            message => (message, text),
        };
        if let Some(node) = self.node_of(&message).await {
            return self.pass_on(node, text, id, JoinFacts::default()).map(|()| None);
        }
        match message {
            FromAgent::Join(join) => self.join(join, id, text).await,
            message => self.take_here(message, id).await.map(Some),
        }
    }

    async fn take_here(&mut self, message: FromAgent, id: Option<u64>) -> Result<Text, Refusal> {
        match message {
            FromAgent::Connect(_) => {
                Err(Refusal::new(ErrorCode::WrongState, "this connection is connected already"))
            }
            FromAgent::Renew(hello) => self.renew(hello, id),
            FromAgent::Watch(wanted) => self.watch(wanted, id).await,
            FromAgent::Unwatch(VisitorIds { visitor_ids }) => {
                for visitor in &visitor_ids {
                    if self.watched.remove(visitor) {
                        self.hub.watchers.unwatch(&self.key(visitor), self.connection.id);
                    }
                }
                Ok(Text::answer(id, &ToAgent::Ok {}))
            }
            FromAgent::WatchLive(wanted) => self.watch_live(wanted, id).await,
            FromAgent::UnwatchLive(_) => {
                self.live = false;
                self.hub.watchers.unwatch_live(&self.identity.group, self.connection.id);
                Ok(Text::answer(id, &ToAgent::Ok {}))
            }
            FromAgent::Lookup(VisitorIds { visitor_ids }) => {
                self.check_count(visitor_ids.len())?;
                let found = self.hub.lookup(&self.identity.group, &visitor_ids).await;
                let visitors = found.iter().map(|snapshot| raw(snapshot)).collect();
                Ok(Text::answer(id, &ToAgent::Visitors { visitors }))
            }
            FromAgent::OpenRecord(open) => self.open_record(open, id).await,
            FromAgent::CloseRecord(RecordRef { record }) => {
                if let Some(open) = self.records.remove(&(record.object, record.id)) {
                    self.hub.watchers.close_record(&open);
                }
                Ok(Text::answer(id, &ToAgent::Ok {}))
            }
            FromAgent::Join(_) => Err(unsupported("joining here")),
            FromAgent::Cancel(cancel) => self.cancel(cancel, id),
            FromAgent::Signal(signal) => self.signal(signal, id),
            FromAgent::EndSession(end) => self.end_session(end, id),
            FromAgent::Show(show) => self.show(show, id).await,
            FromAgent::View(view) => self.view(view, id).await,
            FromAgent::Invite(invite) => self.invite(invite, id),
            FromAgent::Follow(RecordRef { record }) => self.follow(&record, id).await,
            FromAgent::Unfollow(RecordRef { record }) => self.unfollow(&record, id).await,
            FromAgent::Feed(wanted) => self.feed(wanted, id).await,
        }
    }

    /// Goes on with a newer token. One that is refused changes nothing: the last one holds until its end.
    fn renew(&mut self, hello: Connect, id: Option<u64>) -> Result<Text, Refusal> {
        let refused = || Refusal::new(ErrorCode::Unauthorized, "the token is wrong, expired or revoked");
        let verify = || self.hub.accounts.verify_agent(&hello.token).map_err(|_| refused());
        let identity = verify()?;
        if (&identity.group, &identity.agent) != (&self.identity.group, &self.identity.agent) {
            return Err(refused());
        }
        let mut signed_in = self.hub.agents.get_mut(&self.connection.id).ok_or_else(refused)?;
        let before = std::mem::replace(&mut signed_in.token, hello.token.clone().into());
        // It may have been revoked since it was looked at, and whoever looks for such had the old one.
        if let Err(refusal) = verify() {
            signed_in.token = before;
            return Err(refusal);
        }
        drop(signed_in);
        let expires_at = identity.expires_at;
        self.identity = identity;
        Ok(Text::answer(id, &ToAgent::Renewed { expires_at }))
    }

    fn key(&self, visitor: &VisitorId) -> VisitorKey {
        VisitorKey { group: self.identity.group.clone(), visitor: visitor.clone() }
    }

    fn check_count(&self, count: usize) -> Result<(), Refusal> {
        let limit = self.hub.limits.watched;
        if count > limit {
            return Err(Refusal::new(ErrorCode::TooMany, format!("{count} visitors exceed {limit}")));
        }
        Ok(())
    }

    fn me(&self) -> AgentKey {
        AgentKey { group: self.identity.group.clone(), agent: self.identity.agent.clone() }
    }

    fn group(&self) -> Result<Arc<Group>, Refusal> {
        self.hub.accounts.group(&self.identity.group).ok_or_else(|| Refusal::not_found("group"))
    }

    /// From now on hints about the group's visitors on other nodes come here.
    async fn hear_of_group(&mut self) {
        if self.hears.is_none() {
            self.hears = Some(self.hub.directory.follow(self.hub.node, &self.identity.group).await);
        }
    }

    // ── Presence ───────────────────────────────────────────────────────────────────────────────

    async fn watch(&mut self, wanted: VisitorIds, id: Option<u64>) -> Result<Text, Refusal> {
        let fresh = wanted.visitor_ids.iter().filter(|visitor| !self.watched.contains(*visitor)).count();
        self.check_count(self.watched.len() + fresh)?;
        self.hear_of_group().await;
        // Subscribe, then read: what changes in between is pushed, and its version tells which is newer.
        for visitor in &wanted.visitor_ids {
            if self.watched.insert(visitor.clone()) {
                self.hub.watchers.watch(self.key(visitor), &self.connection);
            }
        }
        let found = self.hub.lookup(&self.identity.group, &wanted.visitor_ids).await;
        let visitors = found.iter().map(|snapshot| raw(snapshot)).collect();
        Ok(Text::answer(id, &ToAgent::Watching { visitors }))
    }

    async fn watch_live(&mut self, wanted: WatchLive, id: Option<u64>) -> Result<Text, Refusal> {
        let cursor = match wanted.cursor.as_deref() {
            None => None,
            Some(text) => {
                let bad = || Refusal::new(ErrorCode::BadValue, "the cursor is not one of this list");
                Some(Cursor::parse(text).ok_or_else(bad)?)
            }
        };
        let filter = Filter::from(wanted.filter.unwrap_or_default());
        let group = self.identity.group.clone();
        let mut pager = Pager::new(wanted.limit.unwrap_or(limits::LIVE_PAGE), cursor);
        let list = Arc::new(LiveList {
            connection: Arc::clone(&self.connection),
            view: Mutex::new(LiveView::new(filter)),
        });
        self.hear_of_group().await;
        // Listen, then read; the view sorts out what it heard meanwhile.
        self.live = true;
        self.hub.watchers.watch_live(&group, Arc::clone(&list));
        let elsewhere = self.hub.known_elsewhere(&group).await;
        self.hub.tracker.each(&group, |visitor| {
            if list.view.lock().read(visitor) {
                pager.offer(visitor, || Arc::new(visitor.snapshot()));
            }
        });
        for snapshot in elsewhere {
            if self.hub.tracker.look(snapshot.key(), |_| ()).is_none()
                && list.view.lock().read(&snapshot.view())
            {
                pager.offer(&snapshot.view(), || Arc::clone(&snapshot));
            }
        }
        let next = {
            let mut view = list.view.lock();
            view.open();
            view.next_deadline()
        };
        if let Some(at) = next {
            self.hub.timers.at(at, super::timers::Due::Live(self.connection.id));
        }
        let page = pager.finish();
        let cursor = page.cursor.map(|cursor| cursor.to_string());
        let visitors = page.items.iter().map(|snapshot| raw(snapshot)).collect();
        let live = ToAgent::Live { visitors, total: page.total, cursor: cursor.as_deref() };
        Ok(Text::answer(id, &live))
    }

    fn signal(&self, signal: crate::wire::agent::Signal, id: Option<u64>) -> Result<Text, Refusal> {
        self.may_help()?;
        let key = self.key(&signal.visitor_id);
        let name = signal.name.into();
        let delivery = self.hub.signal_visitor(&key, name, signal.data.as_ref(), &self.identity.name)?;
        Ok(Text::answer(id, &ToAgent::Signalled { delivery }))
    }

    // ── Records ────────────────────────────────────────────────────────────────────────────────

    async fn open_record(&mut self, open: OpenRecord, id: Option<u64>) -> Result<Text, Refusal> {
        check_record(&open.record)?;
        let group = self.group()?;
        let place = (open.record.object.clone(), open.record.id.clone());
        if !self.records.contains_key(&place) && self.records.len() >= limits::OPEN_RECORDS {
            let limit = limits::OPEN_RECORDS;
            return Err(Refusal::new(ErrorCode::TooMany, format!("{limit} records are open already")));
        }
        let leads_to = buttons::visitor_of(&group.settings, &open).ok();
        let visitor: Vec<VisitorId> = leads_to.iter().cloned().collect();
        let record = Arc::new(RecordWatch {
            connection: Arc::clone(&self.connection),
            agent: self.me(),
            open,
            visitor: Mutex::new(leads_to),
        });
        self.hear_of_group().await;
        // Listen, then look, as with every subscription.
        self.hub.watchers.open_record(&record);
        if let Some(before) = self.records.insert(place, Arc::clone(&record)) {
            self.hub.watchers.close_record(&before);
        }
        let found = self.hub.lookup(&group.id, &visitor).await;
        Ok(self.hub.record_text(&group, &record, found.first(), id))
    }
}

impl Drop for AgentSeat {
    fn drop(&mut self) {
        self.hub.agents.remove(&self.connection.id);
        self.hub.feed_leaves(&self.me(), self.connection.id);
        for visitor in &self.watched {
            self.hub.watchers.unwatch(&self.key(visitor), self.connection.id);
        }
        if self.live {
            self.hub.watchers.unwatch_live(&self.identity.group, self.connection.id);
        }
        for record in self.records.values() {
            self.hub.watchers.close_record(record);
        }
        for id in &self.asked {
            if let Some(session) = self.hub.sessions.get(&self.identity.group, *id)
                && let Err(error) = self.hub.drive(&session, Input::AgentLost(self.connection.id))
            {
                tracing::debug!(session = %id, %error, "an agent was lost after the end");
            }
        }
    }
}

fn check_record(record: &Record) -> Result<(), Refusal> {
    match record.fault() {
        Some((field, problem)) => {
            Err(Refusal::new(ErrorCode::BadValue, format!("a record's {field} {problem}")))
        }
        None => Ok(()),
    }
}
