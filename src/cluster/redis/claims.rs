//! Who speaks for a visitor: claims, taking over, giving up.

use std::sync::{Arc, LazyLock};

use redis::Script;
use tokio::time::Instant;

use super::entry::{self, Entry, Keys};
use super::table::{Standing, Term};
use super::{Away, Inner, SWEEP, unreachable};
use crate::cluster::{DirectoryError, Home, Inherited, NodeId};
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::visitor::{VisitorView, next_version};

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/claim.lua")));
static OUTBID: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/outbid.lua")));

/// Who may speak for a visitor, as a claim was answered.
enum Claimed {
    Here(Inherited),
    Held(Term),
}

impl Inner {
    pub(super) async fn claim(&self, key: &VisitorKey) -> Result<Home, DirectoryError> {
        let (mut over, mut keeps) = (None, false);
        // Who loses a race for a dead node's visitor finds the winner.
        for _ in 0..3 {
            match self.claim_once(key, over, keeps).await? {
                Claimed::Here(inherited) => {
                    self.meters.claim(if over.is_some() { "taken_over" } else { "here" });
                    return Ok(Home::Here(inherited));
                }
                Claimed::Held(term) if self.may_take(term, Instant::now()).await? => {
                    let table = self.table.read();
                    // A node that drains has not said that its visitors are gone; one that is no more has.
                    let is_up = matches!(table.standing(term), Standing::Sure | Standing::Doubt(_));
                    (over, keeps) = (Some(term), is_up && table.is_draining(term.node));
                }
                Claimed::Held(term) => {
                    self.meters.claim("there");
                    return Ok(Home::There(term.node));
                }
            }
        }
        Err(DirectoryError("a visitor's home changes all the time".into()))
    }

    /// With `keeps` the visitor stays shown as it is until this node says otherwise.
    async fn claim_once(
        &self,
        key: &VisitorKey,
        over: Option<Term>,
        keeps: bool,
    ) -> Result<Claimed, DirectoryError> {
        let term = self.own.lock().term().ok_or_else(|| unreachable(Away))?;
        let keys = Keys(&key.group);
        let mut call = CLAIM.key(keys.visitors());
        call.key(keys.floor())
            .arg(key.visitor.as_str())
            .arg(entry::node_name(term.node))
            .arg(term.epoch)
            .arg(over.map(|over| over.to_string()).unwrap_or_default())
            .arg(u8::from(keeps));
        let (here, found, version): (bool, Vec<u8>, String) = self.run(&call).await.map_err(|error| {
            self.trip();
            unreachable(error)
        })?;
        let found = Entry::read(&found);
        if here {
            let shown = found.and_then(|entry| entry.visitor());
            let session = shown.as_ref().and_then(|visitor| visitor.view().session);
            let word = shown.filter(|visitor| keeps && visitor.key() == key).map(Arc::new);
            return Ok(Claimed::Here(Inherited { version: version.parse().unwrap_or(0), session, word }));
        }
        let held = found.ok_or_else(|| DirectoryError("a visitor's entry is none of ours".into()))?;
        Ok(Claimed::Held(held.home))
    }

    /// Whether a visitor may be taken over from another node: it is up no more, or wants to be rid of it. Nobody knows
    /// who has not just heard who is up.
    pub(super) async fn may_take(&self, term: Term, since: Instant) -> Result<bool, DirectoryError> {
        if self.source().is_none_or(|source| source.facts().draining) {
            return Ok(false);
        }
        if !self.refresh(since).await {
            return Err(unreachable(Away));
        }
        let table = self.table.read();
        Ok(match table.standing(term) {
            Standing::Sure | Standing::Doubt(_) => table.is_draining(term.node),
            Standing::Gone | Standing::Stranger => true,
        })
    }

    /// The other node that speaks for a visitor.
    pub(super) async fn home(&self, key: &VisitorKey) -> Result<Option<NodeId>, DirectoryError> {
        let mut look = redis::pipe();
        look.cmd("HGET").arg(Keys(&key.group).visitors()).arg(key.visitor.as_str());
        let (found,): (Option<Vec<u8>>,) = self.read(&look).await?;
        let home = found.and_then(|bytes| Entry::read(&bytes).map(|entry| entry.home));
        let Some(term) = home.filter(|term| self.me().is_none_or(|me| me.node != term.node)) else {
            return Ok(None);
        };
        if matches!(self.table.read().standing(term), Standing::Sure | Standing::Doubt(_)) {
            return Ok(Some(term.node));
        }
        // It may be newer than the last look at who is up.
        if !self.refresh(Instant::now()).await {
            return Err(unreachable(Away));
        }
        let standing = self.table.read().standing(term);
        Ok(matches!(standing, Standing::Sure | Standing::Doubt(_)).then_some(term.node))
    }

    /// Lets homes go on above what was told of their visitors.
    pub(super) async fn outbid(&self, group: &GroupId, told: &[(VisitorId, u64)]) {
        let keys = Keys(group);
        for told in told.chunks(limits::DIRECTORY_BATCH) {
            let mut call = OUTBID.key(keys.visitors());
            call.key(keys.floor()).arg(group.as_str());
            for (visitor, version) in told {
                call.arg(visitor.as_str()).arg(version);
            }
            if let Err(error) = self.run::<()>(&call).await {
                tracing::debug!(%group, %error, "homes are not told of greater versions");
                return;
            }
        }
    }

    /// Gives up a claim that nothing came of.
    pub(super) async fn release(&self, key: &VisitorKey) {
        let Some(term) = self.own.lock().term() else { return };
        let keys = Keys(&key.group);
        let mut call = SWEEP.key(keys.visitors());
        call.key(keys.floor()).arg("1").arg(key.visitor.as_str()).arg(term.to_string());
        match self.run::<u64>(&call).await {
            Ok(0) => self.let_down(term, key).await,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "can't give up a claim"),
        }
    }

    /// Who was taken over as it was shown elsewhere, and did not come, is absent.
    async fn let_down(&self, term: Term, key: &VisitorKey) {
        let mut look = redis::pipe();
        look.cmd("HGET").arg(Keys(&key.group).visitors()).arg(key.visitor.as_str());
        let Ok((Some(found),)) = self.read::<(Option<Vec<u8>>,)>(&look).await else { return };
        let Some(entry) = Entry::read(&found).filter(|entry| entry.home == term) else { return };
        if self.source().is_some_and(|source| !source.is_home(key)) {
            let version = next_version(entry.version, (self.wall)());
            self.publish(&Arc::new(VisitorView::absent(key, (self.wall)(), version).snapshot()));
        }
    }
}
