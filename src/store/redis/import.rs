//! What another store held, written into Redis as it was there: here log, posts, leads, receipts, sinks and runs,
//! in `accounts` and `records` the rest.
//!
//! Decides that a move may be made again after it died: whatever is there already stays, whatever is missing is
//! added, and nothing gets another sequence, number or time. No server works on the group meanwhile. Ends with what
//! was counted on both sides, which whoever asked for the move compares.

mod accounts;
mod count;
mod records;

use std::sync::Arc;

use prost::Message as _;
use redis::{Pipeline, Script};

use super::super::StoreError;
use super::super::events::protobuf::encode;
use super::super::events::{After, EventLog as _};
use super::super::migrate::Source as _;
use super::super::receipts::ReceiptLog as _;
use super::super::sqlite::SqliteStore;
use super::super::sync::{LaneKey, RunCursor, SinkBody, SinkRow, SyncStore as _};
use super::keys::{GROUPS, Keys};
use super::log::on_session;
use super::{RedisSync, receipts, sync};
use crate::ids::GroupId;
use crate::limits;
use crate::model::event::{Logged, What};
use crate::model::feed::Place;
use crate::model::lead::folded;
use crate::model::receipt::Link as Next;
use crate::model::sink::Lane;
use crate::redis::Link;

/// How many of something there are on the two sides of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Of what.
    pub what: &'static str,
    /// Where it was.
    pub from: u64,
    /// In Redis.
    pub to: u64,
}

/// Moves what a group has in SQLite into Redis.
pub struct Import {
    from: Arc<SqliteStore>,
    link: Link,
    entries: Script,
    end: Script,
    head: Script,
    runs: RedisSync,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").finish_non_exhaustive()
    }
}

/// An entry of a stream: its number, and its fields with their values.
type Entry<'a> = (u64, Vec<(&'static str, &'a [u8])>);

impl Import {
    /// A move from one store into a Redis.
    pub fn new(from: Arc<SqliteStore>, link: Link) -> Self {
        let runs = RedisSync::new(link.clone(), from.clone(), from.clone());
        macro_rules! script {
            ($name:literal) => {
                Script::new(concat!(
                    include_str!("lua/stream.lua"),
                    include_str!(concat!("lua/", $name, ".lua"))
                ))
            };
        }
        let (entries, end, head) = (script!("import"), script!("import_end"), script!("import_head"));
        Self { from, link, entries, end, head, runs }
    }

    /// Moves all that a group has, and counts.
    pub async fn group(&self, group: &GroupId) -> Result<Vec<Counted>, StoreError> {
        self.link.ask::<()>(redis::cmd("SADD").arg(GROUPS).arg(group.as_str())).await?;
        self.accounts(group).await?;
        self.calls(Some(group)).await?;
        self.events(group).await?;
        self.posts(group).await?;
        self.leads(group).await?;
        self.records(group).await?;
        self.receipts(group).await?;
        self.sinks(group).await?;
        self.runs(group).await?;
        self.settings(group).await?;
        self.count(Some(group)).await
    }

    /// Moves what operators of the server have, and counts.
    pub async fn operators(&self) -> Result<Vec<Counted>, StoreError> {
        self.calls(None).await?;
        self.count(None).await
    }

    /// Adds those entries to a stream that lie behind its end.
    async fn add(&self, stream: &str, entries: &[Entry<'_>]) -> Result<(), StoreError> {
        let mut call = self.entries.key(stream);
        for (number, fields) in entries {
            call.arg(number).arg(2 * fields.len());
            for (name, value) in fields {
                call.arg(name).arg(value);
            }
        }
        Ok(self.link.run(&call).await?)
    }

    /// Gives a stream the end it had, where that is no entry's any more.
    async fn end(&self, stream: &str, number: u64) -> Result<(), StoreError> {
        let mut call = self.end.key(stream);
        Ok(self.link.run(call.arg(number)).await?)
    }

    async fn events(&self, group: &GroupId) -> Result<(), StoreError> {
        let (keys, mut place) = (Keys(group), After::Start);
        loop {
            let page = self.from.read(group, place).await?;
            if page.events.is_empty() {
                break;
            }
            let (mut names, mut entries) = (redis::pipe(), Vec::new());
            names.atomic();
            let messages: Vec<_> = page.events.iter().map(encode).collect();
            let bytes: Vec<_> = messages.iter().map(prost::Message::encode_to_vec).collect();
            for ((logged, message), bytes) in page.events.iter().zip(&messages).zip(&bytes) {
                let kind = logged.event.what.kind().as_str().as_bytes();
                let fields = vec![("e", &bytes[..]), ("k", kind), ("s", message.session_id.as_bytes())];
                entries.push((logged.sequence, fields));
                hset(&mut names, &keys.ids(), &logged.event.id.bytes(), &logged.sequence.to_string());
                if let Some(session) = logged.event.session {
                    let add = names.cmd("ZADD").arg(keys.timeline(session));
                    add.arg(logged.sequence).arg(logged.sequence).ignore();
                }
            }
            self.add(&keys.stream(), &entries).await?;
            self.link.ask_all::<()>(&names).await?;
            place = After::Sequence(page.cursor);
        }
        self.end(&keys.stream(), self.from.ends(group).await?.head).await
    }

    async fn posts(&self, group: &GroupId) -> Result<(), StoreError> {
        let (keys, mut after) = (Keys(group), 0);
        loop {
            let posts = self.from.posts_behind(group, after).await?;
            let Some(last) = posts.last() else { return Ok(()) };
            after = last.sequence;
            let mut names = redis::pipe();
            names.atomic();
            for post in &posts {
                let Some(record) = &post.event.record else { continue };
                let feed = keys.feed(&Place::from(record));
                let only = on_session(&post.event).unwrap_or_default();
                let (message, id) = (encode(post).encode_to_vec(), post.event.id.bytes());
                let fields = vec![("e", &message[..]), ("i", &id[..]), ("o", only.as_bytes())];
                self.add(&feed, &[(post.sequence, fields)]).await?;
                hset(&mut names, &keys.posts(), &id, &format!("{} {feed}", post.sequence));
                if !only.is_empty() {
                    hset(&mut names, &keys.posted(), only.as_bytes(), &post.sequence.to_string());
                }
            }
            self.link.ask_all::<()>(&names).await?;
        }
    }

    async fn leads(&self, group: &GroupId) -> Result<(), StoreError> {
        let (keys, mut after) = (Keys(group), 0);
        loop {
            let leads: Vec<Logged> = self.from.leads_behind(group, after).await?;
            let Some(last) = leads.last() else { return Ok(()) };
            after = last.sequence;
            let mut names = redis::pipe();
            names.atomic();
            let bytes: Vec<_> = leads.iter().map(|lead| encode(lead).encode_to_vec()).collect();
            let entries: Vec<_> = leads
                .iter()
                .zip(&bytes)
                .map(|(lead, bytes)| (lead.sequence, vec![("e", &bytes[..])]))
                .collect();
            for lead in &leads {
                if let What::LeadCreated(made) = &lead.event.what {
                    let email = folded(&made.email);
                    hset(&mut names, &keys.emails(), email.as_bytes(), &lead.sequence.to_string());
                }
            }
            self.add(&keys.leads(), &entries).await?;
            self.link.ask_all::<()>(&names).await?;
        }
    }

    async fn receipts(&self, group: &GroupId) -> Result<(), StoreError> {
        let keys = receipts::Keys::of(group);
        let beginning = self.from.beginning(group).await?;
        let mut after = beginning.as_ref().map_or(0, |beginning| beginning.count);
        loop {
            let page = self.from.receipts(group, after).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            let mut names = redis::pipe();
            names.atomic();
            let ids: Vec<_> = page.iter().map(|sealed| (sealed.id.bytes(), sealed.session.bytes())).collect();
            let times: Vec<_> = page.iter().map(|sealed| sealed.at.0.to_string()).collect();
            let mut entries = Vec::new();
            for ((sealed, (id, session)), at) in page.iter().zip(&ids).zip(&times) {
                let (at, line) = (at.as_bytes(), sealed.line.as_bytes());
                entries
                    .push((sealed.number, vec![("i", &id[..]), ("s", &session[..]), ("t", at), ("l", line)]));
                hset(&mut names, &keys.ids, id, &sealed.number.to_string());
            }
            self.add(&keys.chain, &entries).await?;
            self.link.ask_all::<()>(&names).await?;
        }
        // Last, so that nobody appends behind a chain that is not whole.
        let mut ends = redis::pipe();
        ends.atomic();
        if let Some(beginning) = beginning {
            hset(&mut ends, &keys.cut, b"count", &beginning.count.to_string());
            hset(&mut ends, &keys.cut, b"at", &beginning.at.0.to_string());
            hset(&mut ends, &keys.cut, b"line", &beginning.line);
        }
        let next = self.from.next_receipt(group).await?;
        if next != Next::first() {
            hset(&mut ends, &keys.end, b"number", &(next.number - 1).to_string());
            hset(&mut ends, &keys.end, b"hash", &next.previous);
            self.link.ask_all::<()>(&ends).await?;
        }
        Ok(())
    }

    async fn sinks(&self, group: &GroupId) -> Result<(), StoreError> {
        for row in self.from.sinks(Some(group)).await? {
            self.sink(&row).await?;
        }
        Ok(())
    }

    async fn sink(&self, row: &SinkRow) -> Result<(), StoreError> {
        let (group, id) = (&row.sink.group, &row.sink.id);
        let (dead, times) = sync::dead_keys(group, id);
        let mut after = 0;
        loop {
            let letters = self.from.dead_letters(group, id, after, limits::MOVE_ROWS).await?;
            let Some(last) = letters.last() else { break };
            after = last.number;
            let mut names = redis::pipe();
            names.atomic();
            for letter in &letters {
                let at = letter.at.0.to_string();
                let fields = vec![
                    ("i", letter.id.as_bytes()),
                    ("b", letter.body.as_bytes()),
                    ("t", at.as_bytes()),
                    ("x", letter.error.as_bytes()),
                ];
                self.add(&dead, &[(letter.number, fields)]).await?;
                names.cmd("ZADD").arg(&times).arg(letter.at.0).arg(letter.number).ignore();
            }
            self.link.ask_all::<()>(&names).await?;
        }
        let mut put = redis::pipe();
        put.atomic();
        for lane in [Lane::Events, Lane::Records] {
            let key = LaneKey { group: group.clone(), sink: id.clone(), lane };
            let Some(progress) = self.from.progress(&key).await? else { continue };
            let (lanes, field) = (sync::lanes_key(group), sync::lane_field(id, lane));
            hset(&mut put, &lanes, field.as_bytes(), &progress.after.to_string());
            let wall = |at: crate::clock::Wall| at.0.to_string();
            for (part, value) in [
                ("failures", Some(progress.failures).filter(|many| *many > 0).map(|many| many.to_string())),
                ("since", progress.failing_since.map(wall)),
                ("retry", progress.retry_at.map(wall)),
                ("error", progress.error),
            ] {
                if let Some(value) = value {
                    hset(&mut put, &lanes, format!("{field}:{part}").as_bytes(), &value);
                }
            }
        }
        hset(&mut put, &sync::sinks_key(group), id.as_str().as_bytes(), &SinkBody::text(row));
        Ok(self.link.ask_all(&put).await?)
    }

    async fn runs(&self, group: &GroupId) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let runs = self.from.runs(group, before, limits::SYNC_RUN_PAGE).await?;
            let Some(last) = runs.last() else { return Ok(()) };
            before = Some(RunCursor { started_at: last.started_at, run: last.id });
            for run in &runs {
                self.runs.put_run(run).await?;
            }
        }
    }
}

fn hset(pipe: &mut Pipeline, key: &str, field: &[u8], value: &str) {
    pipe.cmd("HSET").arg(key).arg(field).arg(value).ignore();
}

#[cfg(test)]
mod tests;
