//! How much there is of what on both sides of a move.

use super::super::super::StoreError;
use super::super::super::migrate::{Counts, PARTS, Source as _};
use super::super::super::sync::SyncStore as _;
use super::super::keys::{Keys, calls};
use super::super::{receipts, sync};
use super::{Counted, Import};
use crate::ids::GroupId;

impl Import {
    /// Counts what a group, or the operator, has on both sides. Changes nothing.
    pub async fn count(&self, group: Option<&GroupId>) -> Result<Vec<Counted>, StoreError> {
        let from = self.from.counts(group).await?;
        let to = match group {
            Some(group) => self.counts_of(group).await?,
            None => self.operators_counts().await?,
        };
        let sides = from.into_iter().zip(to);
        Ok(PARTS.into_iter().zip(sides).map(|(what, (from, to))| Counted { what, from, to }).collect())
    }

    async fn counts_of(&self, group: &GroupId) -> Result<Counts, StoreError> {
        let keys = Keys(group);
        let [_, agents, _, passwords, generations, _, _] = keys.agents();
        let ([api_keys, ..], [calls, _]) = (keys.api_keys(), calls(Some(group)));
        let chain = receipts::Keys::of(group);
        let mut look = redis::pipe();
        look.cmd("HGET").arg(keys.group()).arg("version");
        for hash in [keys.changes(), agents, passwords, generations, api_keys, calls] {
            look.cmd("HLEN").arg(hash);
        }
        look.cmd("XLEN").arg(keys.stream());
        look.cmd("HLEN").arg(keys.posts());
        look.cmd("XLEN").arg(keys.leads());
        look.cmd("HLEN").arg(keys.records());
        look.cmd("ZCARD").arg(keys.ended());
        look.cmd("HGET").arg(chain.end).arg("number");
        look.cmd("XLEN").arg(chain.chain);
        look.cmd("HLEN").arg(sync::sinks_key(group));
        look.cmd("ZCARD").arg(sync::named(group, "runs"));
        let told: Vec<Option<u64>> = self.link.ask_all(&look).await?;
        let mut told = told.into_iter().map(Option::unwrap_or_default);
        let mut next = || told.next().unwrap_or_default();
        let accounts = [next(), next(), next(), next(), next(), next(), next()];
        let [version, changes, agents, passwords, generations, api_keys, calls] = accounts;
        let [events, posts, leads, records, ended] = [next(), next(), next(), next(), next()];
        let [newest_receipt, receipts, sinks, runs] = [next(), next(), next(), next()];
        let newest_event: u64 = self.link.run(&self.head.key(keys.stream())).await?;
        let (follows, dead) = (self.follows_there(group).await?, self.dead_there(group).await?);
        Ok([
            version,
            changes,
            agents,
            passwords,
            generations,
            api_keys,
            calls,
            follows,
            newest_event,
            events,
            posts,
            leads,
            records,
            ended,
            newest_receipt,
            receipts,
            sinks,
            dead,
            runs,
        ])
    }

    async fn operators_counts(&self) -> Result<Counts, StoreError> {
        let ([calls, _], mut counts) = (calls(None), Counts::default());
        let count = PARTS.iter().position(|part| *part == "remembered calls").expect("calls are a part");
        counts[count] = self.link.ask(redis::cmd("HLEN").arg(calls)).await?;
        Ok(counts)
    }

    async fn follows_there(&self, group: &GroupId) -> Result<u64, StoreError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let followers = self.from.followers_behind(group, after.as_ref()).await?;
            let Some(last) = followers.last() else { return Ok(count) };
            after = Some(last.clone());
            let mut look = redis::pipe();
            for agent in &followers {
                look.cmd("SCARD").arg(Keys(group).follows(agent));
            }
            count += self.link.ask_all::<Vec<u64>>(&look).await?.into_iter().sum::<u64>();
        }
    }

    async fn dead_there(&self, group: &GroupId) -> Result<u64, StoreError> {
        let mut count = 0;
        for row in self.from.sinks(Some(group)).await? {
            let (dead, _) = sync::dead_keys(group, &row.sink.id);
            count += self.link.ask::<u64>(redis::cmd("XLEN").arg(dead)).await?;
        }
        Ok(count)
    }
}
