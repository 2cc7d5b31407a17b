//! Feeds: who on this node follows which record, and what is pushed to them.
//!
//! Posts come from the event log, in its order, wherever they were made: while anybody of a group follows
//! anything here, one task reads the group's log and pushes what is posted. Posts that were missed, by a
//! connection that was away or a process that died, are read by `feed`. A session's own posts are written
//! in [`super::notes`], those of back ends here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::task::JoinHandle;

use super::Hub;
use super::registry::Connection;
use crate::ids::{AgentId, AgentKey, ConnectionId, EventId, GroupId};
use crate::limits;
use crate::model::event::{Actor, Event, Post, What};
use crate::model::feed::{Item, Place};
use crate::store::events::{After, Tail};
use crate::store::feed::{Follow, LeadRow, Posts, PostsQuery};
use crate::store::{EventLog, Feed, Leads, StoreError};
use crate::wire::agent::ToAgent;
use crate::wire::feed::{Author, FeedItem};
use crate::wire::message::Text;
use crate::wire::record::Record;

/// Where feeds and leads are kept, and the log that posts come from.
#[derive(Clone)]
pub struct FeedStores {
    /// Posts and follows.
    pub feed: Arc<dyn Feed>,
    /// Leads.
    pub leads: Arc<dyn Leads>,
    /// The log.
    pub log: Arc<dyn EventLog>,
}

/// The feeds as this node's agents see them.
pub(super) struct Feeds {
    stores: FeedStores,
    groups: DashMap<GroupId, Arc<Followers>>,
}

/// The agents of one group on this node, with what they follow.
#[derive(Default)]
struct Followers {
    /// Held over a change of the store and of the index, so that both end up the same.
    turn: tokio::sync::Mutex<()>,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    agents: HashMap<AgentId, SmallVec<[Arc<Connection>; 1]>>,
    records: HashMap<Place, BTreeSet<AgentId>>,
    /// Reads the log while anything is followed.
    reader: Option<Reader>,
}

/// The reading task; it does not outlive its handle.
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Index {
    fn follow(&mut self, agent: &AgentId, place: Place) {
        // Whoever went meanwhile would never be taken out again.
        if self.agents.contains_key(agent) {
            self.records.entry(place).or_default().insert(agent.clone());
        }
    }

    fn unfollow(&mut self, agent: &AgentId, place: &Place) {
        if let Some(followers) = self.records.get_mut(place) {
            followers.remove(agent);
            if followers.is_empty() {
                self.records.remove(place);
            }
        }
        self.rest();
    }

    fn leave(&mut self, agent: &AgentId, connection: ConnectionId) {
        let Some(connections) = self.agents.get_mut(agent) else { return };
        connections.retain(|other| other.id != connection);
        if connections.is_empty() {
            self.agents.remove(agent);
            self.records.retain(|_, followers| {
                followers.remove(agent);
                !followers.is_empty()
            });
        }
        self.rest();
    }

    /// Where nothing is followed nothing need be read.
    fn rest(&mut self) {
        if self.records.is_empty() {
            self.reader = None;
        }
    }

    /// Pushes a post to whoever follows its record.
    fn push(&self, item: &Item) {
        let Some(followers) = self.records.get(&Place::from(&item.record)) else { return };
        let text = Text::of(&ToAgent::FeedItem { item: told(item) });
        for connection in followers.iter().filter_map(|agent| self.agents.get(agent)).flatten() {
            connection.outbox.push(text.clone());
        }
    }
}

impl Feeds {
    pub(super) fn new(stores: FeedStores) -> Self {
        Self { stores, groups: DashMap::new() }
    }

    /// An agent is here on one more connection: it hears of what it follows.
    async fn arrive(&self, key: &AgentKey, connection: &Arc<Connection>) -> Result<(), StoreError> {
        let followers = Arc::clone(&self.groups.entry(key.group.clone()).or_default());
        let _turn = followers.turn.lock().await;
        let first = {
            let mut index = followers.index.lock();
            let connections = index.agents.entry(key.agent.clone()).or_default();
            connections.push(Arc::clone(connection));
            connections.len() == 1
        };
        if first {
            let places = self.stores.feed.followed(key).await?;
            let mut index = followers.index.lock();
            for place in places {
                index.follow(&key.agent, place);
            }
        }
        self.read(&key.group, &followers).await
    }

    /// It is gone from there.
    fn leave(&self, key: &AgentKey, connection: ConnectionId) {
        if let Some(followers) = self.groups.get(&key.group).map(|followers| Arc::clone(&followers)) {
            followers.index.lock().leave(&key.agent, connection);
        }
    }

    async fn follow(&self, key: &AgentKey, place: Place) -> Result<Follow, StoreError> {
        let followers = Arc::clone(&self.groups.entry(key.group.clone()).or_default());
        let _turn = followers.turn.lock().await;
        let follow = self.stores.feed.follow(key, &place).await?;
        if follow == Follow::Follows {
            followers.index.lock().follow(&key.agent, place);
            self.read(&key.group, &followers).await?;
        }
        Ok(follow)
    }

    async fn unfollow(&self, key: &AgentKey, place: &Place) -> Result<(), StoreError> {
        let followers = Arc::clone(&self.groups.entry(key.group.clone()).or_default());
        let _turn = followers.turn.lock().await;
        self.stores.feed.unfollow(key, place).await?;
        followers.index.lock().unfollow(&key.agent, place);
        Ok(())
    }

    fn follows(&self, key: &AgentKey, place: &Place) -> bool {
        let followers = self.groups.get(&key.group).map(|followers| Arc::clone(&followers));
        followers.is_some_and(|followers| {
            followers.index.lock().records.get(place).is_some_and(|agents| agents.contains(&key.agent))
        })
    }

    /// Begins to read the log, if anything is followed and it is not being read: with what is appended from
    /// now on.
    async fn read(&self, group: &GroupId, followers: &Arc<Followers>) -> Result<(), StoreError> {
        let needed = |index: &Index| index.reader.is_none() && !index.records.is_empty();
        if !needed(&followers.index.lock()) {
            return Ok(());
        }
        let now = self.stores.log.read(group, After::End).await?.cursor;
        let tail = Tail::new(Arc::clone(&self.stores.log), group.clone(), After::Sequence(now));
        let mut index = followers.index.lock();
        if needed(&index) {
            let reading = read_all(tail, group.clone(), Arc::downgrade(followers));
            index.reader = Some(Reader(tokio::spawn(reading)));
        }
        Ok(())
    }
}

/// The reading task's life: until it is dropped, or the store is closed.
async fn read_all(mut tail: Tail, group: GroupId, followers: Weak<Followers>) {
    loop {
        match tail.next().await {
            Ok(page) => {
                let Some(followers) = followers.upgrade() else { return };
                let index = followers.index.lock();
                for item in page.events.iter().filter_map(|logged| Item::of(&logged.event)) {
                    index.push(&item);
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%group, %error, "can't read what was posted, trying again");
                tokio::time::sleep(limits::EVENT_RETRY.1).await;
            }
        }
    }
}

/// A post as agents are told of it.
pub(super) fn told(item: &Item) -> FeedItem<'_> {
    let (kind, id) = match &item.by {
        Actor::Server => ("server", None),
        Actor::Visitor(visitor) => ("visitor", Some(visitor.as_str())),
        // Named by its participation only.
        Actor::Guest(_) => ("guest", None),
        Actor::Agent(agent) => ("agent", Some(agent.as_str())),
        Actor::Operator => ("operator", None),
        Actor::ApiKey(key) => ("key", Some(key.as_str())),
    };
    FeedItem {
        id: item.id,
        record: &item.record,
        time: item.at,
        author: Author { kind, id, name: item.post.author.as_deref() },
        text: &item.post.text,
        link: item.post.link.as_deref(),
        session_id: item.session,
    }
}

/// A post that a back end makes.
#[derive(Debug, Clone)]
pub struct NewPost {
    /// Who.
    pub by: Actor,
    /// Its name for people.
    pub author: Option<String>,
    /// The record.
    pub record: Record,
    /// What it says.
    pub text: String,
    /// Where it leads.
    pub link: Option<String>,
}

impl Hub {
    /// A page of a record's feed; none when the post to read on from is not there.
    pub async fn feed(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, StoreError> {
        self.feeds.stores.feed.posts(group, place, query).await
    }

    /// One post.
    pub async fn feed_post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, StoreError> {
        self.feeds.stores.feed.post(group, id).await
    }

    /// Posts to a record's feed, once however often it is asked for with the same id.
    pub async fn post_feed(&self, group: &GroupId, id: EventId, new: NewPost) -> Result<Item, StoreError> {
        let NewPost { by, author, record, text, link } = new;
        let item = Item {
            id,
            record,
            at: self.clock.now().wall,
            by,
            session: None,
            post: Post { post: id.to_string(), text, link, author },
        };
        let event = Event {
            id,
            group: group.clone(),
            at: item.at,
            session: None,
            request: None,
            actor: item.by.clone(),
            record: Some(item.record.clone()),
            what: What::FeedPosted(item.post.clone()),
        };
        if let Err(error) = self.feeds.stores.log.append(vec![event]).await {
            self.meters.events_refused_post.increment(1);
            tracing::error!(
                %group, post = %id, error = &error as &dyn std::error::Error,
                "a post cannot be written, it is refused"
            );
            return Err(error);
        }
        Ok(item)
    }

    /// Leads of a group behind a place, oldest first, at most so many.
    pub async fn leads(&self, group: &GroupId, after: u64, most: usize) -> Result<Vec<LeadRow>, StoreError> {
        self.feeds.stores.leads.leads(group, after, most).await
    }

    pub(super) async fn feed_arrives(&self, agent: &AgentKey, connection: &Arc<Connection>) {
        if let Err(error) = self.feeds.arrive(agent, connection).await {
            // The agent's page says again what it follows.
            tracing::warn!(group = %agent.group, %error, "can't read what an agent follows");
        }
    }

    pub(super) fn feed_leaves(&self, agent: &AgentKey, connection: ConnectionId) {
        self.feeds.leave(agent, connection);
    }

    pub(super) async fn follow(&self, agent: &AgentKey, place: Place) -> Result<Follow, StoreError> {
        self.feeds.follow(agent, place).await
    }

    pub(super) async fn unfollow(&self, agent: &AgentKey, place: &Place) -> Result<(), StoreError> {
        self.feeds.unfollow(agent, place).await
    }

    pub(super) fn follows(&self, agent: &AgentKey, place: &Place) -> bool {
        self.feeds.follows(agent, place)
    }
}
