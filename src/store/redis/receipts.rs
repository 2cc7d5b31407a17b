//! Chains of receipts on Redis, to which several nodes append.
//!
//! Decides who takes a place: a receipt is sealed for the end of the chain as it was read, and one script adds
//! it if that is still the end. Whoever comes second is told the new end and seals again, so that a chain never
//! forks and no lock is needed. The appends of one process to one chain wait for each other, so that it contends
//! with other nodes alone.
//!
//! A group's chain is a stream whose ids are the numbers; beside it lie the number of each id, the end (number
//! and hash of the last line, which stays when the line is let go of), and what stands for the oldest.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use redis::{FromRedisValue, Script, Value};

use super::super::StoreError;
use super::super::receipts::{Beginning, Cut, ReceiptLog, Seal};
use crate::clock::Wall;
use crate::ids::{GroupId, ReceiptId, SessionId};
use crate::limits;
use crate::model::receipt::{Link as Place, Sealed};
use crate::redis::Link;

/// An entry of the stream as Redis tells it: id, fields and values.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// Others were quicker every time; a source of [`StoreError::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("others took each of {} places in the chain of receipts", limits::RECEIPT_TRIES)]
struct Crowded;

/// Chains of receipts in a Redis.
pub struct RedisReceipts {
    link: Link,
    append: Script,
    cut: Script,
    /// Whose turn it is to append, in this process.
    turns: DashMap<GroupId, Arc<tokio::sync::Mutex<()>>>,
}

impl std::fmt::Debug for RedisReceipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisReceipts").finish_non_exhaustive()
    }
}

/// The names of a group's keys.
pub(super) struct Keys {
    pub(super) chain: String,
    pub(super) ids: String,
    pub(super) end: String,
    pub(super) cut: String,
}

impl Keys {
    pub(super) fn of(group: &GroupId) -> Self {
        let named = |name: &str| format!("pl:{{{group}}}:receipts{name}");
        Self { chain: named(""), ids: named(":ids"), end: named(":end"), cut: named(":cut") }
    }
}

impl RedisReceipts {
    /// The chains in a Redis.
    pub fn new(link: Link) -> Self {
        Self {
            link,
            append: Script::new(include_str!("lua/receipt.lua")),
            cut: Script::new(include_str!("lua/receipts_cut.lua")),
            turns: DashMap::new(),
        }
    }

    /// Entries of a chain from an id on.
    async fn entries(&self, chain: &str, from: &str) -> Result<Vec<Sealed>, StoreError> {
        let mut look = redis::cmd("XRANGE");
        look.arg(chain).arg(from).arg("+").arg("COUNT").arg(limits::RECEIPT_PAGE);
        let entries: Vec<Entry> = self.link.ask(&look).await?;
        entries.iter().map(sealed).collect()
    }
}

#[async_trait]
impl ReceiptLog for RedisReceipts {
    async fn append_receipt(&self, group: &GroupId, seal: Seal) -> Result<Sealed, StoreError> {
        let keys = Keys::of(group);
        let turn = Arc::clone(&*self.turns.entry(group.clone()).or_default());
        let _turn = turn.lock().await;
        let mut place = self.next_receipt(group).await?;
        for _ in 0..limits::RECEIPT_TRIES {
            let sealed = seal(&place);
            let mut call = self.append.key(&keys.chain);
            call.key(&keys.ids).key(&keys.end);
            call.arg(place.number).arg(&place.previous);
            call.arg(&sealed.id.bytes()[..]).arg(&sealed.session.bytes()[..]).arg(sealed.at.0);
            call.arg(&sealed.line).arg(Place::behind(sealed.number, &sealed.line).previous);
            let mut answer = self.link.run::<Vec<Value>>(&call).await?.into_iter();
            match &*told::<String>(answer.next())? {
                "kept" => return Ok(sealed),
                "there" => return self::sealed(&told::<Entry>(answer.next())?),
                _ => place = Place { number: told(answer.next())?, previous: told(answer.next())? },
            }
        }
        Err(StoreError::Failed(Arc::new(Crowded)))
    }

    async fn receipt(&self, group: &GroupId, id: ReceiptId) -> Result<Option<Sealed>, StoreError> {
        let keys = Keys::of(group);
        let mut look = redis::cmd("HGET");
        look.arg(&keys.ids).arg(&id.bytes()[..]);
        let Some(number) = self.link.ask::<Option<u64>>(&look).await? else { return Ok(None) };
        let mut look = redis::cmd("XRANGE");
        look.arg(&keys.chain).arg(format!("{number}-0")).arg(format!("{number}-0"));
        self.link.ask::<Vec<Entry>>(&look).await?.first().map(sealed).transpose()
    }

    async fn receipts(&self, group: &GroupId, after: u64) -> Result<Vec<Sealed>, StoreError> {
        self.entries(&Keys::of(group).chain, &format!("{}-0", after.saturating_add(1))).await
    }

    async fn next_receipt(&self, group: &GroupId) -> Result<Place, StoreError> {
        let mut look = redis::cmd("HMGET");
        look.arg(Keys::of(group).end).arg("number").arg("hash");
        Ok(match self.link.ask(&look).await? {
            (Some::<u64>(number), Some(previous)) => Place { number: number.saturating_add(1), previous },
            _ => Place::first(),
        })
    }

    async fn beginning(&self, group: &GroupId) -> Result<Option<Beginning>, StoreError> {
        let mut look = redis::cmd("HMGET");
        look.arg(Keys::of(group).cut).arg("count").arg("at").arg("line");
        Ok(match self.link.ask(&look).await? {
            (Some(count), Some(at), Some(line)) => Some(Beginning { count, at: Wall(at), line }),
            _ => None,
        })
    }

    async fn let_receipts_go(&self, group: &GroupId, before: Wall, cut: Cut) -> Result<u64, StoreError> {
        let keys = Keys::of(group);
        // In the order of the chain: what stands behind a younger one stays, a clock that was set back or not.
        let mut gone = self.entries(&keys.chain, "-").await?;
        let count = gone.iter().take_while(|sealed| sealed.at < before).count();
        gone.truncate(count);
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return Ok(0) };
        let beginning = cut(&Place::behind(last.number, &last.line));
        let mut call = self.cut.key(&keys.chain);
        call.key(&keys.ids).key(&keys.cut);
        call.arg(first.number).arg(last.number).arg(beginning.at.0).arg(&beginning.line);
        for sealed in &gone {
            call.arg(&sealed.id.bytes()[..]);
        }
        // Where somebody else let go of some there is nothing left to do in this round.
        let done: bool = self.link.run(&call).await?;
        Ok(if done { count as u64 } else { 0 })
    }
}

fn told<T: FromRedisValue>(value: Option<Value>) -> Result<T, StoreError> {
    let value = redis::from_redis_value(value.unwrap_or(Value::Nil));
    Ok(value.map_err(redis::RedisError::from)?)
}

fn sealed((id, fields): &Entry) -> Result<Sealed, StoreError> {
    let unreadable =
        |why: &str| StoreError::Unreadable { what: format!("receipt {id}"), why: why.to_owned() };
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| &value[..]).ok_or_else(|| unreadable("a field is missing"))
    };
    let text = |name: &str| std::str::from_utf8(field(name)?).map_err(|_| unreadable("not text"));
    let bytes = |name: &str| field(name)?.try_into().map_err(|_| unreadable("not an id"));
    let number = |text: &str| text.parse().map_err(|_| unreadable("not a number"));
    Ok(Sealed {
        id: ReceiptId::from_bytes(bytes("i")?),
        number: number(id.split('-').next().unwrap_or_default())?,
        session: SessionId::from_bytes(bytes("s")?),
        at: Wall(number(text("t")?)?),
        line: text("l")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::server::Redis;
    use super::*;
    use crate::auth::signing::SigningKey;
    use crate::model::receipt::{Verified, head, verify};
    use crate::store::receipts::suite;

    async fn fresh() -> (RedisReceipts, Redis) {
        let redis = Redis::start().await;
        (open(&redis).await, redis)
    }

    async fn open(redis: &Redis) -> RedisReceipts {
        RedisReceipts::new(redis.link().await)
    }

    suite::obligations!(receipts, fresh);

    fn group() -> GroupId {
        GroupId::new("a").unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    /// The chain as somebody who exports it gets it, and the ids in it.
    async fn exported(log: &RedisReceipts) -> (Verified, Vec<ReceiptId>) {
        let (mut file, mut ids, mut after) = (String::new(), Vec::new(), 0);
        loop {
            let page = log.receipts(&group(), after).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.number;
            for sealed in &page {
                file.push_str(&format!("{}\n", sealed.line));
                ids.push(sealed.id);
            }
        }
        let end = head(&group(), &log.next_receipt(&group()).await.unwrap(), Wall(9), &key());
        file.push_str(&format!("{end}\n"));
        (verify(file.as_bytes(), &[key().public()]).unwrap(), ids)
    }

    #[tokio::test]
    async fn nodes_that_append_at_once_make_one_chain() {
        const NODES: u64 = 8;
        const EACH: u64 = 25;
        let redis = Redis::start().await;
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let log = open(&redis).await;
            nodes.push(tokio::spawn(async move {
                for number in 0..EACH {
                    // Every second one is appended by the next node too, as after an answer that was lost.
                    let number = node * EACH + number + number % 2;
                    let sealed = log.append_receipt(&group(), suite::seal("a", number)).await.unwrap();
                    assert_eq!(sealed.id, ReceiptId::from_u128(number.into()));
                }
            }));
        }
        for node in nodes {
            node.await.unwrap();
        }
        let wanted: std::collections::BTreeSet<_> = (0..NODES * EACH)
            .map(|number| number + number % EACH % 2)
            .map(|number| ReceiptId::from_u128(number.into()))
            .collect();
        let (verified, ids) = exported(&open(&redis).await).await;
        assert_eq!(verified.count, wanted.len() as u64);
        assert_eq!(ids.iter().copied().collect::<std::collections::BTreeSet<_>>(), wanted);
        assert_eq!(ids.len(), wanted.len(), "each once");
    }

    /// Another node takes the place while a receipt is sealed for it.
    #[tokio::test]
    async fn who_comes_second_seals_again() {
        let (log, redis) = fresh().await;
        log.append_receipt(&group(), suite::seal("a", 1)).await.unwrap();
        let (url, places) = (redis.url(), Arc::new(parking_lot::Mutex::new(Vec::new())));
        let ours = Arc::clone(&places);
        let seal: Seal = Arc::new(move |place: &Place| {
            let first = ours.lock().is_empty();
            ours.lock().push(place.number);
            if first {
                let url = url.clone();
                let quicker = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let other = RedisReceipts::new(Link::open(&url).await.unwrap());
                        other.append_receipt(&group(), suite::seal("a", 2)).await.unwrap();
                    });
                });
                quicker.join().unwrap();
            }
            suite::seal("a", 3)(place)
        });
        let sealed = log.append_receipt(&group(), seal).await.unwrap();
        assert_eq!((sealed.number, &**places.lock()), (3, &[2, 3][..]));
        assert_eq!(exported(&log).await.1, [1, 2, 3].map(ReceiptId::from_u128));
    }

    #[tokio::test]
    async fn two_that_let_go_at_once_leave_one_statement() {
        let (log, redis) = fresh().await;
        for number in 1..=9 {
            log.append_receipt(&group(), suite::seal("a", number)).await.unwrap();
        }
        let other = open(&redis).await;
        let cut = |at| suite::cut("a", at);
        let (one, two) = (group(), group());
        let (one, two) = tokio::join!(
            log.let_receipts_go(&one, Wall(5), cut(20)),
            other.let_receipts_go(&two, Wall(8), cut(30))
        );
        let gone = one.unwrap() + two.unwrap();
        assert!([4, 7].contains(&gone), "{gone}");
        let beginning = log.beginning(&group()).await.unwrap().unwrap();
        assert_eq!(beginning.count, gone);
        assert_eq!(log.receipts(&group(), 0).await.unwrap()[0].number, gone + 1);
    }
}
