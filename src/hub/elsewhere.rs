//! Visitors of other nodes: what this node's agents and operators were last told of them, and what is done with the
//! directory's hints.
//!
//! Keeps the last word on each remote visitor that somebody here watches. A word is told on only if it is news, so
//! that versions never go back and nobody is told the same twice; what was missed is read again and held against what
//! was told. Who has a tab here is not here: this node's own machine speaks for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

mod reread;

use self::reread::Rereads;
use super::Hub;
use crate::clock::Wall;
use crate::cluster::{DirectoryError, Hint, PresenceSource, Sight};
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::presence::Input;
use crate::model::visitor::{Snapshot, State, VisitorView};
use crate::wire::close::{Close, CloseCode};
use crate::wire::message::Text;
use crate::wire::visitor::ToVisitor;

/// What was last told of a visitor, and when.
#[derive(Debug, Clone)]
struct Known {
    word: Arc<Snapshot>,
    heard: Moment,
}

/// Orders what is heard and when readings begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// The last words on visitors of other nodes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    known: DashMap<GroupId, HashMap<VisitorId, Known>>,
    moments: AtomicU64,
    rereads: Rereads,
}

/// What came of a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// What holds now.
    pub(super) word: Arc<Snapshot>,
    /// Whether somebody was told otherwise before.
    pub(super) is_news: bool,
}

impl Elsewhere {
    /// A reading begins now.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.moments.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a word that was told just now. True if it is news.
    fn hear(&self, word: &Arc<Snapshot>) -> bool {
        let heard = self.moment();
        let key = word.key();
        let mut group = self.known.entry(key.group.clone()).or_default();
        match group.get_mut(&key.visitor) {
            Some(known) if is_stale(word, &known.word) => false,
            Some(known) => {
                *known = Known { word: Arc::clone(word), heard };
                true
            }
            None => {
                group.insert(key.visitor.clone(), Known { word: Arc::clone(word), heard });
                true
            }
        }
    }

    /// Takes a word as a reading found it that began then. What was heard since wins unless it is older: a
    /// reading may find in doubt what its node has just told anew. What was told before the reading is over even if its version is greater: Redis may
    /// have forgotten that version.
    fn read(&self, began: Moment, word: Arc<Snapshot>) -> Taken {
        let key = word.key().clone();
        let mut group = self.known.entry(key.group.clone()).or_default();
        let Some(known) = group.get_mut(&key.visitor) else {
            group.insert(key.visitor, Known { word: Arc::clone(&word), heard: began });
            return Taken { word, is_news: false };
        };
        let word = if known.heard > began && known.word.version() >= word.version() {
            return Taken { word: Arc::clone(&known.word), is_news: false };
        } else if word.version() >= known.word.version() {
            word
        } else {
            let view = word.view();
            Arc::new(VisitorView { version: known.word.version(), ..view }.snapshot())
        };
        // Of one who is absent nothing else is new.
        let is_later = word.state() != State::Absent && word.version() > known.word.version();
        let is_news = is_later || word.state() != known.word.state();
        if is_news {
            *known = Known { word: Arc::clone(&word), heard: began };
        }
        Taken { word: Arc::clone(&known.word), is_news }
    }

    /// Notes what this node's own machine told last.
    pub(super) fn note(&self, word: &Arc<Snapshot>) {
        let heard = self.moment();
        let key = word.key();
        let mut group = self.known.entry(key.group.clone()).or_default();
        group.insert(key.visitor.clone(), Known { word: Arc::clone(word), heard });
    }

    /// The last word on a visitor.
    pub(super) fn get(&self, key: &VisitorKey) -> Option<Arc<Snapshot>> {
        self.known.get(&key.group)?.get(&key.visitor).map(|known| Arc::clone(&known.word))
    }

    /// The last words on a group's visitors.
    fn all(&self, group: &GroupId) -> Vec<Arc<Snapshot>> {
        self.known
            .get(group)
            .map(|known| known.values().map(|known| Arc::clone(&known.word)).collect())
            .unwrap_or_default()
    }

    fn groups(&self) -> Vec<GroupId> {
        self.known.iter().map(|group| group.key().clone()).collect()
    }

    /// Forgets whom nobody wants to hear of, and who has been absent for longer than any reading takes.
    fn tidy(
        &self,
        now: Wall,
        is_wanted: impl Fn(&VisitorKey) -> bool,
        is_named: impl Fn(&VisitorKey) -> bool,
    ) {
        let old = now.before(limits::ELSEWHERE_TIDY);
        for mut group in self.known.iter_mut() {
            group.retain(|_, known| {
                let key = known.word.key();
                let is_over = known.word.state() == State::Absent && known.word.since() < old;
                is_wanted(key) && (!is_over || is_named(key))
            });
        }
        self.known.retain(|_, group| !group.is_empty());
    }
}

/// Whether a word says nothing new to who has heard another: it is older, or the same. The same version in another
/// state is news, the directory's doubt or its end.
fn is_stale(word: &Snapshot, known: &Snapshot) -> bool {
    word.version() < known.version() || (word.version() == known.version() && word.state() == known.state())
}

/// Whether who was told to be absent is told to be here by a word that should be older: absences that nobody spoke of
/// are told in versions of other visitors, and clocks differ. Reading tells.
fn contradicts(word: &Snapshot, known: &Snapshot) -> bool {
    known.state() == State::Absent && word.state() != State::Absent
}

impl Hub {
    /// What the directory says.
    pub(super) fn hear(self: &Arc<Self>, hint: Hint) {
        match hint {
            Hint::Visitor(snapshot) => {
                let key = snapshot.key();
                // Who has a tab here as well is told of by this node's own machine.
                if self.is_here(key) || !self.is_watched(key) {
                    return;
                }
                if self.elsewhere.hear(&snapshot) {
                    self.tell_here(&snapshot);
                } else if self.elsewhere.get(key).is_some_and(|known| contradicts(&snapshot, &known)) {
                    self.look_again(key.clone());
                }
            }
            Hint::Reread(Some(group)) => self.reread([group]),
            Hint::Reread(None) | Hint::Back => self.reread_all(),
            Hint::Displaced(key) => self.displaced(key),
            Hint::Raise(key, above) => {
                self.presence(&key, Input::Raised { above });
            }
            Hint::Term(epoch) => self.begin_term(epoch),
            Hint::NodeGone(node) => self.wires_lost(node),
            Hint::Session(group, session) => self.hear_of_session(group, session),
            Hint::Message(key, message) => self.message_of(&key, &Text::from_bytes(message)),
            Hint::Away(since) => self.all_unknown(since),
        }
    }

    /// Whether anybody here wants to hear of a visitor.
    pub(super) fn is_watched(&self, key: &VisitorKey) -> bool {
        self.watchers.has_any(key) || self.operators.concern(key)
    }

    fn is_named(&self, key: &VisitorKey) -> bool {
        self.watchers.is_named(key) || self.operators.is_named(key)
    }

    fn is_here(&self, key: &VisitorKey) -> bool {
        self.tracker.look(key, |_| ()).is_some()
    }

    /// Forgets what nobody wants to hear of any more.
    pub(super) fn tidy_elsewhere(&self) {
        let now = self.clock.now().wall;
        self.tidy_far_sessions();
        self.elsewhere.tidy(now, |key| self.is_watched(key) && !self.is_here(key), |key| self.is_named(key));
    }

    // ── Readings ───────────────────────────────────────────────────────────────────────────────

    /// Visitors as the agents of a group are told, in the order asked: this node's own word first, and
    /// otherwise what other nodes say. Where those cannot be asked, what is known, and otherwise nothing is certain.
    pub async fn lookup(self: &Arc<Self>, group: &GroupId, visitors: &[VisitorId]) -> Vec<Arc<Snapshot>> {
        let key = |visitor: &VisitorId| VisitorKey { group: group.clone(), visitor: visitor.clone() };
        let missing: Vec<VisitorId> =
            visitors.iter().filter(|visitor| !self.is_here(&key(visitor))).cloned().collect();
        let mut elsewhere = HashMap::new();
        if !missing.is_empty() {
            let began = self.elsewhere.moment();
            let sight = self.directory.lookup(self.node, group, &missing).await;
            for (at, visitor) in missing.iter().enumerate() {
                let word = self.word(&key(visitor), &sight, at);
                elsewhere.insert(visitor.clone(), self.take_read(began, word));
            }
        }
        let find = |visitor: &VisitorId| {
            let key = key(visitor);
            let here = self.tracker.snapshot(&key).map(Arc::new);
            here.or_else(|| elsewhere.get(visitor).cloned())
                .unwrap_or_else(|| Arc::new(Self::absent(&key, self.clock.now().wall)))
        };
        visitors.iter().map(find).collect()
    }

    /// Every visitor of a group, on all nodes.
    pub async fn all_visitors(
        self: &Arc<Self>,
        group: &GroupId,
    ) -> Result<Vec<Arc<Snapshot>>, DirectoryError> {
        let mut all = self.list_elsewhere(group).await?;
        all.extend(PresenceSource::snapshots(&**self, group));
        Ok(all)
    }

    /// Every visitor of a group that is on other nodes only.
    async fn list_elsewhere(self: &Arc<Self>, group: &GroupId) -> Result<Vec<Arc<Snapshot>>, DirectoryError> {
        let began = self.elsewhere.moment();
        let sight = self.directory.list(self.node, group).await?;
        let mut all: Vec<_> = sight
            .visitors
            .iter()
            .flatten()
            .filter(|word| !self.is_here(word.key()))
            .map(|word| self.take_read(began, Arc::clone(word)))
            .collect();
        if let Some(since) = sight.doubt {
            // Who was there and is not found may still be there.
            let found: HashSet<VisitorId> = all.iter().map(|word| word.key().visitor.clone()).collect();
            for known in self.elsewhere.all(group) {
                let key = known.key();
                if known.state() != State::Absent && !found.contains(&key.visitor) && !self.is_here(key) {
                    all.push(Arc::new(known.view().unknown(since).snapshot()));
                }
            }
        }
        all.retain(|word| word.state() != State::Absent);
        Ok(all)
    }

    /// The same; where the others cannot be asked, what is known of them.
    pub(super) async fn known_elsewhere(self: &Arc<Self>, group: &GroupId) -> Vec<Arc<Snapshot>> {
        self.list_elsewhere(group).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the live list may lack other nodes' visitors");
            let mut known = self.elsewhere.all(group);
            known.retain(|word| word.state() != State::Absent && !self.is_here(word.key()));
            known
        })
    }

    /// What a reading says of a visitor.
    fn word(&self, key: &VisitorKey, sight: &Result<Sight, DirectoryError>, at: usize) -> Arc<Snapshot> {
        let unknown = |since: Wall| {
            let known = self.elsewhere.get(key);
            // Whatever comes is above it.
            let blank = || VisitorView::absent(key, since, 0).unknown(since).snapshot();
            known.map_or_else(blank, |known| match known.state() {
                State::Unknown => Snapshot::clone(&known),
                _ => known.view().unknown(since).snapshot(),
            })
        };
        match sight {
            Ok(sight) => match (sight.visitors.get(at).cloned().flatten(), sight.doubt) {
                (Some(word), _) => word,
                (None, Some(since)) => Arc::new(unknown(since)),
                (None, None) => {
                    Arc::new(VisitorView::absent(key, self.clock.now().wall, sight.floor).snapshot())
                }
            },
            Err(error) => {
                tracing::debug!(%error, "remote presence is not read");
                // What was told a moment ago stands until the directory says that it is away.
                let known = self.elsewhere.get(key);
                known.unwrap_or_else(|| Arc::new(unknown(self.clock.now().wall)))
            }
        }
    }

    /// Takes a word that was read, tells whoever was told otherwise, and returns what holds.
    fn take_read(self: &Arc<Self>, began: Moment, word: Arc<Snapshot>) -> Arc<Snapshot> {
        if !self.is_watched(word.key()) {
            return word;
        }
        if word.state() == State::Absent && self.is_arriving(word.key()) {
            // It is claimed, and nothing was told yet.
            return self.elsewhere.get(word.key()).unwrap_or(word);
        }
        let taken = self.elsewhere.read(began, word);
        if taken.is_news && !self.is_here(taken.word.key()) {
            self.tell_here(&taken.word);
        }
        taken.word
    }

    /// The directory is away: nothing is known of other nodes' visitors.
    fn all_unknown(self: &Arc<Self>, since: Wall) {
        for group in self.elsewhere.groups() {
            for known in self.elsewhere.all(&group) {
                let key = known.key();
                let is_told = known.state() != State::Absent || self.is_named(key);
                if known.state() != State::Unknown && is_told && self.is_watched(key) && !self.is_here(key) {
                    let unknown = Arc::new(known.view().unknown(since).snapshot());
                    if self.elsewhere.hear(&unknown) {
                        self.tell_here(&unknown);
                    }
                }
            }
        }
    }

    // ── Homes ──────────────────────────────────────────────────────────────────────────────────

    /// Another node speaks for a visitor: its tabs here come back through the claim, and this node forgets it
    /// without a word, since it has not gone.
    pub(super) fn displaced(self: &Arc<Self>, key: VisitorKey) {
        if let Some((last, connections)) = self.tracker.forget(&key) {
            tracing::info!(group = %key.group, "a visitor has its home on another node");
            let reconnect = Text::of(&ToVisitor::Reconnect { after_ms: 0, reason: CloseCode::Drain.name() });
            for tab in connections.into_iter().filter_map(|connection| self.registry.get(connection)) {
                tab.outbox.push(reconnect.clone());
                tab.outbox.close(Close::new(CloseCode::Drain, "this visitor is served elsewhere"));
            }
            self.forget_code(&key);
            if self.is_watched(&key) {
                self.elsewhere.note(&Arc::new(last));
            }
        }
        if self.is_watched(&key) {
            self.look_again(key);
        }
    }

    /// Reads one visitor again.
    fn look_again(self: &Arc<Self>, key: VisitorKey) {
        let hub = Arc::clone(self);
        self.runtime.spawn(async move { hub.lookup(&key.group, std::slice::from_ref(&key.visitor)).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(version: u64, state: State) -> Arc<Snapshot> {
        let key = VisitorKey { group: GroupId::new("g").unwrap(), visitor: VisitorId::new("C-1").unwrap() };
        let view = VisitorView { state, ..VisitorView::absent(&key, Wall(1), version) };
        Arc::new(view.snapshot())
    }

    #[test]
    fn only_news_is_told() {
        let elsewhere = Elsewhere::default();
        for (version, state, is_news) in [
            (5, State::Present, true),
            (5, State::Present, false),
            (4, State::Absent, false),
            (5, State::Unknown, true),
            (5, State::Present, true),
            (6, State::Absent, true),
            (5, State::Present, false),
            (7, State::Present, true),
        ] {
            assert_eq!(elsewhere.hear(&word(version, state)), is_news, "{version} {state:?}");
        }
    }

    #[test]
    fn a_reading_gives_way_to_what_was_heard_since_and_corrects_what_was_told_before() {
        let elsewhere = Elsewhere::default();
        elsewhere.hear(&word(5, State::Present));
        let began = elsewhere.moment();
        elsewhere.hear(&word(9, State::Hidden));
        let taken = elsewhere.read(began, word(6, State::Absent));
        assert_eq!((taken.word.state(), taken.is_news), (State::Hidden, false));
        let taken = elsewhere.read(began, word(9, State::Unknown));
        assert_eq!((taken.word.state(), taken.is_news), (State::Hidden, false), "told anew meanwhile");
        // Redis has forgotten all versions, and the visitor is gone.
        let taken = elsewhere.read(elsewhere.moment(), word(0, State::Absent));
        assert_eq!((taken.word.state(), taken.word.version(), taken.is_news), (State::Absent, 9, true));
        let taken = elsewhere.read(elsewhere.moment(), word(12, State::Absent));
        assert_eq!((taken.word.version(), taken.is_news), (9, false), "absent is absent");
        let taken = elsewhere.read(elsewhere.moment(), word(13, State::Present));
        assert_eq!((taken.word.version(), taken.is_news), (13, true));
    }

    #[test]
    fn what_nobody_wants_is_forgotten() {
        let elsewhere = Elsewhere::default();
        elsewhere.hear(&word(5, State::Absent));
        let key = word(1, State::Absent).key().clone();
        elsewhere.tidy(Wall(1), |_| true, |_| false);
        assert!(elsewhere.get(&key).is_some());
        elsewhere.tidy(Wall(1_000_000), |_| true, |_| true);
        assert!(elsewhere.get(&key).is_some());
        elsewhere.tidy(Wall(1_000_000), |_| true, |_| false);
        assert!(elsewhere.get(&key).is_none());
    }
}
