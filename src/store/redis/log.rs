//! Events, posts and leads as keys of Redis: what the scripts are given and what they answer.
//!
//! An entry that is no event of its group, or whose number is not that of its place, was written by somebody
//! else: it is passed over and said in the log of the process. Whatever is missing between two entries is told
//! to whoever reads on from before it.

use std::sync::Arc;

use prost::Message as _;
use redis::{Cmd, FromRedisValue, Script, ScriptInvocation, Value};

use super::super::StoreError;
use super::super::events::protobuf::{decode, encode};
use super::super::events::{After, Page, Retention};
use super::super::feed::{LeadRow, Posts, PostsQuery};
use super::keys::Keys;
use crate::clock::Wall;
use crate::ids::{EventId, GroupId, SessionId};
use crate::limits;
use crate::model::event::{Actor, Event, Logged, What};
use crate::model::feed::{Item, Place};
use crate::model::lead::folded;
use crate::pb::v1::SessionEvent;
use crate::redis::Link;

/// Sequences with the bytes of their events.
type Entries = Vec<(u64, Vec<u8>)>;

/// An entry of a stream as Redis tells it: id, fields and values.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// The scripts, each behind what all of them know.
struct Scripts {
    append: Script,
    read: Script,
    timeline: Script,
    trim: Script,
    posts: Script,
}

/// Events, posts and leads in a Redis. A clone is the same one.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) link: Link,
    scripts: Arc<Scripts>,
}

impl Log {
    pub(super) fn new(link: Link) -> Self {
        macro_rules! script {
            ($name:literal) => {
                Script::new(concat!(
                    include_str!("lua/stream.lua"),
                    include_str!(concat!("lua/", $name, ".lua"))
                ))
            };
        }
        let scripts = Scripts {
            append: script!("append"),
            read: script!("read"),
            timeline: script!("timeline"),
            trim: script!("trim"),
            posts: script!("posts"),
        };
        Self { link, scripts: Arc::new(scripts) }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        Ok(self.link.run(call).await?)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        Ok(self.link.ask(command).await?)
    }

    /// Appends events of a group, all or none; none gets a sequence up to `known`.
    pub(super) async fn append(
        &self,
        group: &GroupId,
        events: &[Event],
        known: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let keys = Keys(group);
        let mut call = self.scripts.append.prepare_invoke();
        for key in [keys.stream(), keys.ids(), keys.posts(), keys.posted(), keys.leads(), keys.emails()] {
            call.key(key);
        }
        call.arg(known).arg(limits::FEED_POSTS).arg(keys.live());
        let mut named: Vec<String> = Vec::new();
        for event in events {
            let mut place_of = |key: Option<String>| {
                let Some(key) = key else { return 0 };
                let at = named.iter().position(|known| *known == key).unwrap_or_else(|| {
                    named.push(key);
                    named.len() - 1
                });
                FIXED_KEYS + at + 1
            };
            let timeline = place_of(event.session.map(|session| keys.timeline(session)));
            let (feed, once, only) = match (&event.what, &event.record) {
                (What::FeedPosted(_), record) => {
                    let feed = record.as_ref().map(|record| keys.feed(&Place::from(record)));
                    (place_of(feed), "post", on_session(event).unwrap_or_default())
                }
                (What::LeadCreated(lead), _) => (0, "lead", folded(&lead.email)),
                _ => (0, "", String::new()),
            };
            let message = encode(&Logged { sequence: 0, event: event.clone() });
            call.arg(&event.id.bytes()[..])
                .arg(event.what.kind().as_str())
                .arg(&message.session_id)
                .arg(message.encode_to_vec())
                .arg(timeline)
                .arg(feed)
                .arg(once)
                .arg(only);
        }
        for key in named {
            call.key(key);
        }
        self.run(&call).await
    }

    /// Reads on from a place. What a later version appended is passed over, and nothing is missing for it.
    pub(super) async fn read(&self, group: &GroupId, after: After) -> Result<Page, StoreError> {
        let (mut page, mut begun) = self.read_some(group, after).await?;
        // A page of which nothing is known here is not the end.
        while page.events.is_empty() && page.cursor > begun {
            let recovered = page.recovered;
            (page, begun) = self.read_some(group, After::Sequence(page.cursor)).await?;
            page.recovered &= recovered;
        }
        Ok(page)
    }

    /// A page, and the sequence that it begins behind.
    async fn read_some(&self, group: &GroupId, after: After) -> Result<(Page, u64), StoreError> {
        let keys = Keys(group);
        let mut call = self.scripts.read.prepare_invoke();
        call.key(keys.stream()).key(keys.ids());
        match after {
            After::Start => call.arg("start").arg(""),
            After::End => call.arg("end").arg(""),
            After::Sequence(sequence) => call.arg("sequence").arg(sequence),
            After::Id(id) => call.arg("id").arg(&id.bytes()[..]),
        };
        call.arg(limits::EVENT_PAGE).arg(limits::EVENT_PAGE_BYTES);
        let mut answer = self.run::<Vec<Value>>(&call).await?.into_iter();
        let mut number = || answer.next().map(redis::from_redis_value::<u64>).transpose();
        let from = number().map_err(redis::RedisError::from)?.unwrap_or_default();
        let recovered = number().map_err(redis::RedisError::from)? == Some(1);
        let mut page = Page { events: Vec::new(), cursor: from, recovered };
        for (sequence, bytes) in pairs(answer)? {
            let told = self::told(group, sequence, &bytes);
            if told == Told::Foreign {
                continue;
            }
            if sequence != page.cursor + 1 {
                // What is missing is told by the page that begins behind it.
                if !page.events.is_empty() {
                    break;
                }
                page.recovered = false;
            }
            if let Told::Event(logged) = told {
                page.events.push(*logged);
            }
            page.cursor = sequence;
        }
        Ok((page, from))
    }

    /// The events of a session behind a sequence.
    pub(super) async fn timeline(
        &self,
        group: &GroupId,
        session: SessionId,
        after: u64,
    ) -> Result<Page, StoreError> {
        let keys = Keys(group);
        let mut call = self.scripts.timeline.prepare_invoke();
        call.key(keys.stream()).key(keys.timeline(session));
        call.arg(after).arg(limits::EVENT_PAGE).arg(limits::EVENT_PAGE_BYTES);
        let answer: Vec<Value> = self.run(&call).await?;
        let mut page = Page { events: Vec::new(), cursor: after, recovered: true };
        for (sequence, bytes) in pairs(answer.into_iter())? {
            page.cursor = sequence;
            page.events.extend(logged(group, sequence, &bytes));
        }
        Ok(page)
    }

    /// Lets go of the oldest events beyond the retention, at most [`limits::EVENT_TRIM`] of them.
    pub(super) async fn trim(&self, group: &GroupId, keep: Retention, now: Wall) -> Result<u64, StoreError> {
        let oldest = u64::try_from(keep.age.as_millis()).map_or(0, |age| now.0.saturating_sub(age));
        let keys = Keys(group);
        let head = self.read(group, After::End).await?.cursor;
        let kept = head.saturating_sub(keep.count);
        let mut look = redis::cmd("XRANGE");
        look.arg(keys.stream()).arg("-").arg("+").arg("COUNT").arg(limits::EVENT_TRIM);
        let entries: Vec<Entry> = self.ask(&look).await?;
        let mut call = self.scripts.trim.prepare_invoke();
        call.key(keys.stream()).key(keys.ids());
        let (mut low, mut ids, mut sessions) = (0, Vec::new(), std::collections::BTreeSet::new());
        for (id, fields) in entries {
            let Some(sequence) = id.split('-').next().and_then(|text| text.parse::<u64>().ok()) else {
                break;
            };
            let bytes = fields.iter().find(|(name, _)| name == "e").map_or(&[][..], |(_, bytes)| bytes);
            // Read as a message only: a newer server's kinds have a time as well.
            let event = SessionEvent::decode(bytes).unwrap_or_default();
            let time = event.time.unwrap_or_default();
            let at = time.seconds.unsigned_abs() * 1000 + u64::from(time.nanos.unsigned_abs()) / 1_000_000;
            if sequence > kept && at >= oldest {
                break;
            }
            low = sequence;
            ids.extend(EventId::parse(&event.id));
            sessions.extend(SessionId::parse(&event.session_id));
        }
        if low == 0 {
            return Ok(0);
        }
        for session in sessions {
            call.key(keys.timeline(session));
        }
        call.arg(low);
        for id in ids {
            call.arg(&id.bytes()[..]);
        }
        self.run(&call).await
    }

    /// Posts of a record.
    pub(super) async fn posts(
        &self,
        group: &GroupId,
        place: &Place,
        query: PostsQuery,
    ) -> Result<Option<Posts>, StoreError> {
        let keys = Keys(group);
        let most = query.most.clamp(1, limits::FEED_PAGE.0);
        let mut call = self.scripts.posts.prepare_invoke();
        call.key(keys.posts()).key(keys.feed(place));
        for id in [query.after, query.before] {
            match id {
                Some(id) => call.arg(&id.bytes()[..]),
                None => call.arg(""),
            };
        }
        // One more than asked for shows whether there is another page.
        call.arg(most + 1);
        let Some(messages) = self.run::<Option<Vec<Vec<u8>>>>(&call).await? else { return Ok(None) };
        let more = messages.len() > most;
        let mut items = messages[..messages.len().min(most)]
            .iter()
            .map(|bytes| item(bytes))
            .collect::<Result<Vec<_>, StoreError>>()?;
        if query.after.is_some() && query.before.is_none() {
            items.reverse();
        }
        Ok(Some(Posts { items, more }))
    }

    /// One post.
    pub(super) async fn post(&self, group: &GroupId, id: EventId) -> Result<Option<Item>, StoreError> {
        let mut look = redis::cmd("HGET");
        look.arg(Keys(group).posts()).arg(&id.bytes()[..]);
        let found: Option<String> = self.ask(&look).await?;
        let Some((sequence, feed)) = found.as_deref().and_then(|found| found.split_once(' ')) else {
            return Ok(None);
        };
        let mut look = redis::cmd("XRANGE");
        look.arg(feed).arg(format!("{sequence}-0")).arg(format!("{sequence}-0"));
        let entries: Vec<Entry> = self.ask(&look).await?;
        entries.first().map(|(_, fields)| item(message(fields))).transpose()
    }

    /// Leads behind a place, oldest first.
    pub(super) async fn leads(
        &self,
        group: &GroupId,
        after: u64,
        most: usize,
    ) -> Result<Vec<LeadRow>, StoreError> {
        let mut look = redis::cmd("XRANGE");
        let from = format!("{}-0", after.saturating_add(1));
        look.arg(Keys(group).leads()).arg(from).arg("+").arg("COUNT").arg(most);
        let entries: Vec<Entry> = self.ask(&look).await?;
        entries
            .iter()
            .map(|(_, fields)| {
                let Logged { sequence, event } = event_of(message(fields))?;
                let What::LeadCreated(lead) = event.what else {
                    return Err(unreadable("lead", &"another event"));
                };
                Ok(LeadRow { number: sequence, at: event.at, session: event.session, lead })
            })
            .collect()
    }
}

/// Keys of the append script that every append has.
const FIXED_KEYS: usize = 6;

/// The session and the agent of a post on a session: there is one for each pair.
pub(super) fn on_session(event: &Event) -> Option<String> {
    match (event.session, &event.actor) {
        (Some(session), Actor::Agent(agent)) => Some(format!("{session} {agent}")),
        _ => None,
    }
}

/// Sequences and messages that take turns.
fn pairs(mut values: impl Iterator<Item = Value>) -> Result<Entries, StoreError> {
    let mut entries = Vec::new();
    while let (Some(sequence), Some(message)) = (values.next(), values.next()) {
        let sequence = redis::from_redis_value(sequence).map_err(redis::RedisError::from)?;
        let message = redis::from_redis_value(message).map_err(redis::RedisError::from)?;
        entries.push((sequence, message));
    }
    Ok(entries)
}

fn message(fields: &[(String, Vec<u8>)]) -> &[u8] {
    fields.iter().find(|(name, _)| name == "e").map_or(&[], |(_, bytes)| bytes)
}

/// What an entry of the log is.
#[derive(PartialEq)]
enum Told {
    Event(Box<Logged>),
    /// An event of a kind, or with a value, that a later version knows.
    Later,
    /// Nothing of ours.
    Foreign,
}

fn told(group: &GroupId, sequence: u64, bytes: &[u8]) -> Told {
    let Ok(message) = SessionEvent::decode(bytes) else {
        tracing::error!(%group, sequence, "an entry of the log is no event, it is passed over");
        return Told::Foreign;
    };
    if message.sequence != sequence || message.group != group.as_str() || EventId::parse(&message.id).is_err()
    {
        tracing::error!(%group, sequence, "an entry of the log is out of its place, it is passed over");
        return Told::Foreign;
    }
    match decode(message) {
        Ok(logged) => Told::Event(Box::new(logged)),
        Err(error) => {
            tracing::debug!(%group, sequence, %error, "a later version's event is passed over");
            Told::Later
        }
    }
}

/// The event of an entry; none when it is not one that is known here.
fn logged(group: &GroupId, sequence: u64, bytes: &[u8]) -> Option<Logged> {
    match told(group, sequence, bytes) {
        Told::Event(logged) => Some(*logged),
        Told::Later | Told::Foreign => None,
    }
}

fn event_of(bytes: &[u8]) -> Result<Logged, StoreError> {
    let message = SessionEvent::decode(bytes).map_err(|error| unreadable("event", &error))?;
    decode(message).map_err(|error| unreadable("event", &error))
}

fn item(bytes: &[u8]) -> Result<Item, StoreError> {
    Item::of(&event_of(bytes)?.event).ok_or_else(|| unreadable("post", &"another event"))
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { what: what.to_owned(), why: why.to_string() }
}
