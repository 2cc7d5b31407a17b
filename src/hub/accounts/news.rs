//! What other nodes change: heard, read anew and told to the listeners.
//!
//! Decides what is read after which word, and that nothing is left unread. Every reading holds `writing`, like
//! every change made here: what is read is then at least as new as the word, and whatever is changed after it
//! makes another word. So an older row never stays over a newer one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::{Accounts, Changed, Group, Inner, Member, to_the_end};
use crate::ids::GroupId;
use crate::limits;
use crate::store::{News, StoreError, StoreNews};

/// Brings memory up to date with what other nodes change. What can't be read is read once it can.
pub(super) async fn listen(inner: Weak<Inner>, mut news: News) {
    while let Some(heard) = news.next().await {
        let mut pause = limits::NEWS_RETRY.0;
        loop {
            let Some(inner) = inner.upgrade() else { return };
            match (Accounts { inner }).catch_up(&heard).await {
                Ok(()) => break,
                Err(StoreError::Closed) => return,
                // What comes after it must not wait for a row that will never be read.
                Err(error) if !error.is_passing() => {
                    tracing::error!(%error, ?heard, "can't read what another node changed");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, ?heard, "can't read what another node changed, trying again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::NEWS_RETRY.1);
        }
    }
}

impl Accounts {
    /// Reads all groups and agents anew; listeners hear of each that differs.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let this = self.clone();
        to_the_end(async move { this.read_all().await }).await
    }

    async fn read_all(&self) -> Result<(), StoreError> {
        let _writing = self.inner.writing.lock().await;
        let rows = self.inner.store.groups().await?;
        // No call removes a group: a store without any has lost them, and what is known here is all that is left.
        if rows.is_empty() && !self.inner.groups.load().is_empty() {
            tracing::error!("the store has lost all groups, this node goes on by what it knows");
            return Ok(());
        }
        let mut loaded = HashMap::with_capacity(rows.len());
        let mut differ = Vec::new();
        for row in rows {
            let group = Arc::new(self.load_group(row).await?);
            differ.extend(self.load_members(&group.id).await?);
            loaded.insert(group.id.clone(), group);
        }
        let before = self.inner.groups.swap(Arc::new(loaded));
        let after = self.inner.groups.load_full();
        differ.extend(
            before
                .keys()
                .chain(after.keys().filter(|id| !before.contains_key(*id)))
                .filter(|id| !same(before.get(*id), after.get(*id)))
                .cloned()
                .map(Changed::Group),
        );
        self.tell(differ);
        Ok(())
    }

    /// Brings one group in memory up to date, without its agents; listeners hear if it differs. The caller holds
    /// `writing`.
    pub(super) async fn renew_group(&self, id: &GroupId) -> Result<(), StoreError> {
        let before = self.group(id);
        self.refresh_group(id).await?;
        if !same(before.as_ref(), self.group(id).as_ref()) {
            self.tell(vec![Changed::Group(id.clone())]);
        }
        Ok(())
    }

    /// Reads one group and its agents anew.
    pub async fn reload_group(&self, id: &GroupId) -> Result<(), StoreError> {
        let (this, id) = (self.clone(), id.clone());
        to_the_end(async move {
            let _writing = this.inner.writing.lock().await;
            let differ = this.load_members(&id).await?;
            this.tell(differ);
            this.renew_group(&id).await
        })
        .await
    }

    /// Reads what another node changed.
    async fn catch_up(&self, news: &StoreNews) -> Result<(), StoreError> {
        match news {
            StoreNews::All => self.reload().await,
            StoreNews::Agents(group) => {
                let (this, group) = (self.clone(), group.clone());
                to_the_end(async move {
                    let _writing = this.inner.writing.lock().await;
                    let differ = this.load_members(&group).await?;
                    this.tell(differ);
                    Ok(())
                })
                .await
            }
            StoreNews::Group(group) => {
                let (this, group) = (self.clone(), group.clone());
                to_the_end(async move {
                    let _writing = this.inner.writing.lock().await;
                    this.renew_group(&group).await
                })
                .await
            }
            StoreNews::Agent(key) => {
                let (this, key) = (self.clone(), key.clone());
                to_the_end(async move {
                    let _writing = this.inner.writing.lock().await;
                    let fresh = this.inner.store.agent(&key).await?.map(|row| Arc::new(Member::of(row)));
                    let before = match &fresh {
                        Some(member) => this.inner.members.insert(key.clone(), Arc::clone(member)),
                        None => this.inner.members.remove(&key).map(|(_, member)| member),
                    };
                    if before != fresh {
                        this.tell(vec![Changed::Agent(key)]);
                    }
                    Ok(())
                })
                .await
            }
        }
    }
}

fn same(before: Option<&Arc<Group>>, after: Option<&Arc<Group>>) -> bool {
    let face =
        |group: &Arc<Group>| (group.version, group.keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>());
    before.map(face) == after.map(face)
}
