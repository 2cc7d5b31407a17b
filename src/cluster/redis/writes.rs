//! What this node tells of its visitors: the newest word on each, in batches, in the order of the first that waits.
//!
//! One batch is on its way at a time, so that words on a visitor arrive in order. A batch that fails may have been
//! taken: the node then begins a new epoch and tells everybody anew, and whatever was told of the old one counts for
//! nothing. So nothing has to be kept while Redis is away.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, LazyLock};

use futures_util::future::join_all;
use redis::Script;
use tokio::time::Instant;

use super::entry::{self, Keys};
use super::table::Term;
use super::{Inner, Standing};
use crate::cluster::Hint;
use crate::ids::{GroupId, VisitorKey};
use crate::limits;
use crate::model::visitor::{Snapshot, State};

static PUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/put.lua")));

/// The words that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<VisitorKey>,
    waiting: HashMap<VisitorKey, Word>,
    /// Everybody is told anew; settled once nothing waits.
    anew: bool,
}

/// A word that waits: that the visitor has gone, or how it is when its turn comes. Who is here no more by then and has not
/// gone was left to another node, which speaks for it.
#[derive(Debug, Clone, Default)]
struct Word {
    gone: Option<Arc<Snapshot>>,
    /// Who may be taken over for it.
    over: Option<Term>,
}

impl Queue {
    /// What waits will be told anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many words wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len().max(self.waiting.len())
    }

    fn push(&mut self, key: VisitorKey, word: Word) {
        if self.waiting.insert(key.clone(), word).is_none() {
            self.order.push_back(key);
        }
    }

    /// Puts back a word that was not taken, unless there is a newer one.
    fn put_back(&mut self, key: VisitorKey, word: Word) {
        if !self.waiting.contains_key(&key) {
            self.push(key, word);
        }
    }

    fn take(&mut self, count: usize) -> Vec<(VisitorKey, Word)> {
        let mut batch = Vec::new();
        while batch.len() < count
            && let Some(key) = self.order.pop_front()
        {
            if let Some(word) = self.waiting.remove(&key) {
                batch.push((key, word));
            }
        }
        if self.order.is_empty() {
            // A storm leaves no empty table behind.
            (self.order, self.waiting) = (VecDeque::new(), HashMap::new());
        }
        batch
    }
}

/// A word on its way.
struct Sent {
    key: VisitorKey,
    snapshot: Arc<Snapshot>,
    over: Option<Term>,
}

/// The writer's life.
pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        // Woken before the look, so that nothing is missed.
        let (queued, beaten) = (inner.queued.notified(), inner.beaten.notified());
        let Some(term) = inner.own.lock().sure_term(inner.pace.lease) else {
            beaten.await;
            continue;
        };
        let (batch, anew) = {
            let mut queue = inner.queue.lock();
            (queue.take(limits::DIRECTORY_BATCH), queue.anew)
        };
        if batch.is_empty() {
            if anew {
                inner.queue.lock().anew = false;
                inner.settle(term.epoch);
            }
            queued.await;
            continue;
        }
        inner.write(term, batch).await;
        if anew {
            tokio::time::sleep(limits::DIRECTORY_PACE).await;
        }
    }
}

impl Inner {
    /// Tells a visitor when its turn comes.
    pub(super) fn publish(&self, snapshot: &Arc<Snapshot>) {
        {
            let own = self.own.lock();
            // All that are here will be told, and who has gone is gone with the epoch.
            if own.is_failed() {
                return;
            }
            let gone = (snapshot.state() == State::Absent).then(|| Arc::clone(snapshot));
            let word = Word { gone, over: None };
            self.queue.lock().push(snapshot.key().clone(), word);
        }
        self.queued.notify_one();
    }

    /// Tells everybody who is here.
    pub(super) fn tell_anew(&self) {
        let keys = self.source().map(|source| source.keys()).unwrap_or_default();
        {
            let mut queue = self.queue.lock();
            queue.anew = true;
            for key in keys {
                queue.put_back(key, Word::default());
            }
        }
        self.queued.notify_one();
    }

    async fn write(&self, term: Term, batch: Vec<(VisitorKey, Word)>) {
        let Some(source) = self.source() else { return };
        let mut groups: BTreeMap<GroupId, Vec<Sent>> = BTreeMap::new();
        for (key, Word { gone, over }) in batch {
            let Some(snapshot) = gone.or_else(|| source.snapshot(&key).map(Arc::new)) else { continue };
            groups.entry(key.group.clone()).or_default().push(Sent { key, snapshot, over });
        }
        drop(source);
        let answers = join_all(groups.into_iter().map(async |(group, sent)| {
            let answer = self.put(term, &group, &sent).await;
            (sent, answer)
        }));
        let mut refused = Vec::new();
        for (sent, answer) in answers.await {
            match answer {
                Ok(answer) => {
                    let told = sent.into_iter().zip(answer).filter(|(_, answer)| !answer.is_empty());
                    refused.extend(told);
                }
                Err(error) => self.fail(&error),
            }
        }
        self.refused(refused).await;
    }

    async fn put(
        &self,
        term: Term,
        group: &GroupId,
        sent: &[Sent],
    ) -> Result<Vec<String>, redis::RedisError> {
        let keys = Keys(group);
        let mut call = PUT.key(keys.visitors());
        call.key(keys.floor())
            .arg(keys.presence())
            .arg(entry::node_name(term.node))
            .arg(term.epoch)
            .arg(group.as_str());
        for word in sent {
            call.arg(word.key.visitor.as_str())
                .arg(word.snapshot.version())
                .arg(entry::written(term, &word.snapshot))
                .arg(u8::from(word.snapshot.state() == State::Absent))
                .arg(word.over.map(|over| over.to_string()).unwrap_or_default());
        }
        self.meters.directory_batch.record(sent.len() as f64);
        self.run(&call).await
    }

    /// What was told above what this node said goes on from there; what was not taken is taken over from who is no
    /// more, or left to its new home.
    async fn refused(&self, refused: Vec<(Sent, String)>) {
        let (mut looked_at, now) = (HashSet::new(), Instant::now());
        for (sent, answer) in refused {
            if let Some(version) = answer.strip_prefix('>') {
                if let Ok(version) = version.parse() {
                    self.tell(Hint::ToldAs(sent.key, version));
                }
                continue;
            }
            let home = answer.split_once(':').and_then(|(node, epoch)| {
                Some(Term { node: entry::node_named(node)?, epoch: epoch.parse().ok()? })
            });
            let Some(home) = home else { continue };
            // One look at who is up serves all of a home's.
            let is_over = if looked_at.insert(home) {
                // Who cannot be sure will tell everybody anew.
                let Ok(is_over) = self.may_take(home, now).await else { return };
                is_over
            } else {
                let table = self.table.read();
                let is_gone = matches!(table.standing(home), Standing::Gone | Standing::Stranger);
                (is_gone || table.is_draining(home.node))
                    && self.source().is_some_and(|source| !source.facts().draining)
            };
            if is_over && sent.snapshot.state() != State::Absent {
                self.queue.lock().put_back(sent.key, Word { gone: None, over: Some(home) });
                self.queued.notify_one();
            } else if !is_over {
                self.meters.displaced.increment(1);
                self.tell(Hint::Displaced(sent.key));
            }
        }
    }
}
