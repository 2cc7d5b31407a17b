//! Visitors of other nodes: what this node's agents and operators were last told of them, and what is done with the
//! directory's hints.
//!
//! Keeps the last word on each remote visitor that somebody here watches. A word is told on only if it is news, so
//! that versions never go back and nobody is told the same twice; what was missed is read again and held against what
//! was told. Who has a tab here is not here: this node's own machine speaks for it.
//!
//! Knows of its hub only what [`Near`] says, so that simulations run the same rules.

mod here;
mod reread;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use self::reread::{Rereads, reread_later};
use crate::clock::Wall;
use crate::cluster::{Directory, DirectoryError, NodeId, Sight};
use crate::ids::{GroupId, VisitorId, VisitorKey};
use crate::limits;
use crate::model::visitor::{Snapshot, State, VisitorView};

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
    known: DashMap<GroupId, BTreeMap<VisitorId, Known>>,
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
    /// The greater version that was told of who is here all the same: its home knows nothing of it.
    pub(super) ahead: Option<u64>,
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

    /// Takes a word as a reading found it that began then. What was heard since wins unless it is older: a reading may
    /// find in doubt what its node has just told anew. What was told before the reading is over even if its version is
    /// greater: Redis may have forgotten that version.
    fn read(&self, began: Moment, word: Arc<Snapshot>) -> Taken {
        let key = word.key().clone();
        let mut group = self.known.entry(key.group.clone()).or_default();
        let Some(known) = group.get_mut(&key.visitor) else {
            group.insert(key.visitor, Known { word: Arc::clone(&word), heard: began });
            return Taken { word, is_news: false, ahead: None };
        };
        let is_behind = is_there(&word) && word.version() < known.word.version();
        let ahead = is_behind.then(|| known.word.version());
        let word = if known.heard > began && known.word.version() >= word.version() {
            return Taken { word: Arc::clone(&known.word), is_news: false, ahead: None };
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
        Taken { word: Arc::clone(&known.word), is_news, ahead }
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

    fn groups(&self) -> BTreeSet<GroupId> {
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

/// Whether a word says otherwise than what was told in a greater version. Absences that nobody spoke of are told in
/// versions of other visitors, what a node told while nobody heard it is known to its own agents alone, and clocks
/// differ. Reading tells.
fn contradicts(word: &Snapshot, known: &Snapshot) -> bool {
    known.version() > word.version()
}

/// Whether somebody speaks for a visitor.
fn is_there(word: &Snapshot) -> bool {
    matches!(word.state(), State::Present | State::Hidden)
}

/// What is asked of the hub whose agents and operators are told.
pub(super) trait Near: Send + Sync + 'static {
    /// What they were told.
    fn elsewhere(&self) -> &Elsewhere;

    /// Where other nodes' visitors are found.
    fn directory(&self) -> &Arc<dyn Directory>;

    /// The node.
    fn node(&self) -> NodeId;

    /// Its wall clock.
    fn wall(&self) -> Wall;

    /// Whether a visitor has a tab here, or is within grace.
    fn is_here(&self, key: &VisitorKey) -> bool;

    /// Whether the home of a visitor is being made here: that it is not found is no news.
    fn is_arriving(&self, key: &VisitorKey) -> bool;

    /// What this node's own machine says of a visitor.
    fn own(&self, key: &VisitorKey) -> Option<Snapshot>;

    /// Whether anybody here wants to hear of a visitor.
    fn is_watched(&self, key: &VisitorKey) -> bool;

    /// Whether anybody wants to hear of this very visitor.
    fn is_named(&self, key: &VisitorKey) -> bool;

    /// The visitors of a group that somebody wants to hear of by name.
    fn named(&self, group: &GroupId) -> BTreeSet<VisitorId>;

    /// Whether somebody wants to hear of all of a group.
    fn has_whole(&self, group: &GroupId) -> bool;

    /// The groups of which somebody wants to hear anything.
    fn wanted(&self) -> BTreeSet<GroupId>;

    /// Whether the node is on its way out and has nothing of a visitor but its tabs, which may go before their turn.
    fn is_leaving(&self, key: &VisitorKey) -> bool;

    /// Forgets a visitor of this node without a word, since it has not gone: its tabs are to come back elsewhere.
    fn forget(self: &Arc<Self>, key: &VisitorKey);

    /// Tells whoever wants to hear of a visitor.
    fn tell_here(self: &Arc<Self>, word: &Arc<Snapshot>);

    /// A group is about to be read again: reads whatever else of other nodes is watched there. False where that fails.
    fn rereads(self: &Arc<Self>, group: &GroupId) -> impl Future<Output = bool> + Send;

    /// Lets something run that waits.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static);
}

/// Another node told of a visitor.
pub(super) fn hear<N: Near>(near: &Arc<N>, word: &Arc<Snapshot>) {
    let key = word.key();
    if keeps(near, word) || !near.is_watched(key) {
        return;
    }
    if near.elsewhere().hear(word) {
        near.tell_here(word);
    } else if near.elsewhere().get(key).is_some_and(|known| contradicts(word, &known)) {
        look_again(near, key.clone());
    }
}

/// Whether this node's own machine tells of a visitor of whom another node says this. Who is here is told of by it, but
/// who has moved from a node that drains is forgotten there at once: agents would hear nothing of it before its turn.
fn keeps<N: Near>(near: &Arc<N>, word: &Snapshot) -> bool {
    let key = word.key();
    if !near.is_here(key) {
        return false;
    }
    let is_newer = || near.own(key).is_some_and(|own| own.version() < word.version());
    let has_moved = is_there(word) && near.is_leaving(key) && is_newer();
    if has_moved {
        near.forget(key);
    }
    !has_moved
}

/// Another node speaks for a visitor.
pub(super) fn displaced<N: Near>(near: &Arc<N>, key: VisitorKey) {
    near.forget(&key);
    if near.is_watched(&key) {
        look_again(near, key);
    }
}

/// This node's own machine tells of a visitor.
pub(super) fn tell_own<N: Near>(near: &Arc<N>, word: &Arc<Snapshot>, is_draining: bool) {
    let key = word.key();
    if word.state() == State::Absent {
        // Another node may have taken it over from this one; if nobody has, the directory says so. Until then it is not
        // known, and whatever is told is not below what was told here.
        if is_draining && near.directory().confirms(near.node(), &key.group) {
            near.elsewhere().note(&Arc::new(word.view().unknown(near.wall()).snapshot()));
            return;
        }
        near.elsewhere().note(word);
    }
    near.tell_here(word);
}

/// Lets go of those visitors of this node that other nodes speak for by now.
pub(super) async fn let_go<N: Near>(near: &Arc<N>, keys: Vec<VisitorKey>) -> Result<(), DirectoryError> {
    let mut groups: BTreeMap<GroupId, Vec<VisitorId>> = BTreeMap::new();
    for key in keys {
        groups.entry(key.group).or_default().push(key.visitor);
    }
    for (group, visitors) in groups {
        for visitors in visitors.chunks(limits::DIRECTORY_BATCH) {
            let sight = near.directory().lookup(near.node(), &group, visitors).await?;
            let found = visitors.iter().zip(sight.visitors);
            for (visitor, _) in found.filter(|(_, word)| word.as_deref().is_some_and(is_there)) {
                displaced(near, VisitorKey { group: group.clone(), visitor: visitor.clone() });
            }
        }
    }
    Ok(())
}

/// The greatest version of a visitor that anybody here was told, as far as is known.
pub(super) fn told<N: Near>(near: &N, key: &VisitorKey) -> u64 {
    near.elsewhere().get(key).map_or(0, |known| known.version())
}

// ── Readings ───────────────────────────────────────────────────────────────────────────────

/// Visitors as the agents of a group are told, in the order asked: this node's own word first, and
/// otherwise what other nodes say. Where those cannot be asked, what is known, and otherwise nothing is certain.
pub(super) async fn lookup<N: Near>(
    near: &Arc<N>,
    group: &GroupId,
    visitors: &[VisitorId],
) -> Vec<Arc<Snapshot>> {
    let key = |visitor: &VisitorId| VisitorKey { group: group.clone(), visitor: visitor.clone() };
    let missing: Vec<VisitorId> =
        visitors.iter().filter(|visitor| may_be_elsewhere(&**near, &key(visitor))).cloned().collect();
    let mut elsewhere = HashMap::new();
    if !missing.is_empty() {
        let began = near.elsewhere().moment();
        let sight = near.directory().lookup(near.node(), group, &missing).await;
        if sight.is_err() && missing.iter().any(|visitor| near.is_watched(&key(visitor))) {
            // Who is told that nothing is certain hears what is as soon as it is.
            reread_later(near, group.clone());
        }
        let mut told = Vec::new();
        for (at, visitor) in missing.iter().enumerate() {
            let word = word(near, &key(visitor), &sight, at);
            if keeps(near, &word) {
                continue;
            }
            elsewhere.insert(visitor.clone(), take_read(near, began, word, &mut told));
        }
        near.directory().outbid(group, told);
    }
    let find = |visitor: &VisitorId| {
        let key = key(visitor);
        let here = near.own(&key).map(Arc::new);
        here.or_else(|| elsewhere.get(visitor).cloned())
            .unwrap_or_else(|| Arc::new(super::Hub::absent(&key, near.wall())))
    };
    visitors.iter().map(find).collect()
}

/// Whether other nodes are to be asked of a visitor: it is not here, or may have left a node that drains.
fn may_be_elsewhere<N: Near>(near: &N, key: &VisitorKey) -> bool {
    !near.is_here(key) || near.is_leaving(key)
}

/// Every visitor of a group that is on other nodes only.
async fn list_elsewhere<N: Near>(
    near: &Arc<N>,
    group: &GroupId,
) -> Result<Vec<Arc<Snapshot>>, DirectoryError> {
    let began = near.elsewhere().moment();
    let sight = near.directory().list(near.node(), group).await?;
    let mut told = Vec::new();
    let mut all: Vec<_> = sight
        .visitors
        .iter()
        .flatten()
        .filter(|word| !keeps(near, word))
        .map(|word| take_read(near, began, Arc::clone(word), &mut told))
        .collect();
    near.directory().outbid(group, told);
    if let Some(since) = sight.doubt {
        // Who was there and is not found may still be there.
        let found: HashSet<VisitorId> = all.iter().map(|word| word.key().visitor.clone()).collect();
        for known in near.elsewhere().all(group) {
            let key = known.key();
            if known.state() != State::Absent && !found.contains(&key.visitor) && !near.is_here(key) {
                all.push(Arc::new(known.view().unknown(since).snapshot()));
            }
        }
    }
    all.retain(|word| word.state() != State::Absent);
    Ok(all)
}

/// The same; where the others cannot be asked, what is known of them.
pub(super) async fn known_elsewhere<N: Near>(near: &Arc<N>, group: &GroupId) -> Vec<Arc<Snapshot>> {
    list_elsewhere(near, group).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the live list may lack other nodes' visitors");
        reread_later(near, group.clone());
        let mut known = near.elsewhere().all(group);
        known.retain(|word| word.state() != State::Absent && !near.is_here(word.key()));
        known
    })
}

/// What a reading says of a visitor.
fn word<N: Near>(
    near: &Arc<N>,
    key: &VisitorKey,
    sight: &Result<Sight, DirectoryError>,
    at: usize,
) -> Arc<Snapshot> {
    let unknown = |since: Wall| {
        let known = near.elsewhere().get(key);
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
            (None, None) => Arc::new(VisitorView::absent(key, near.wall(), sight.floor).snapshot()),
        },
        Err(error) => {
            tracing::debug!(%error, "remote presence is not read");
            // What was told a moment ago stands until the directory says that it is away.
            let known = near.elsewhere().get(key);
            known.unwrap_or_else(|| Arc::new(unknown(near.wall())))
        }
    }
}

/// Takes a word that was read, tells whoever was told otherwise, and returns what holds. Notes whose home is to go on
/// above what was told.
fn take_read<N: Near>(
    near: &Arc<N>,
    began: Moment,
    word: Arc<Snapshot>,
    told: &mut Vec<(VisitorId, u64)>,
) -> Arc<Snapshot> {
    if !near.is_watched(word.key()) {
        return word;
    }
    if word.state() == State::Absent
        && near.is_arriving(word.key())
        && let Some(known) = near.elsewhere().get(word.key())
    {
        // It is being claimed: nobody is told that it is gone.
        return known;
    }
    let is_first = near.elsewhere().get(word.key()).is_none();
    let taken = near.elsewhere().read(began, word);
    told.extend(taken.ahead.map(|ahead| (taken.word.key().visitor.clone(), ahead)));
    // Whoever hears of a whole group has asked for nobody by name: the first word on somebody is news, whoever read it.
    let is_found = || taken.word.state() != State::Absent && near.has_whole(&taken.word.key().group);
    if (taken.is_news || is_first && is_found()) && !near.is_here(taken.word.key()) {
        near.tell_here(&taken.word);
    }
    taken.word
}

/// Forgets what nobody wants to hear of any more.
fn tidy<N: Near>(near: &N) {
    let now = near.wall();
    near.elsewhere().tidy(now, |key| near.is_watched(key) && !near.is_here(key), |key| near.is_named(key));
}

/// The directory is away: nothing is known of other nodes' visitors.
fn all_unknown<N: Near>(near: &Arc<N>, since: Wall) {
    for group in near.elsewhere().groups() {
        for known in near.elsewhere().all(&group) {
            let key = known.key();
            let is_told = known.state() != State::Absent || near.is_named(key);
            if known.state() != State::Unknown && is_told && near.is_watched(key) && !near.is_here(key) {
                let unknown = Arc::new(known.view().unknown(since).snapshot());
                if near.elsewhere().hear(&unknown) {
                    near.tell_here(&unknown);
                }
            }
        }
    }
}

/// Reads one visitor again.
fn look_again<N: Near>(near: &Arc<N>, key: VisitorKey) {
    let hub = Arc::clone(near);
    near.spawn(async move {
        lookup(&hub, &key.group, std::slice::from_ref(&key.visitor)).await;
    });
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
        // Whoever is here was told of in a greater version, which its home is to hear of.
        let taken = elsewhere.read(elsewhere.moment(), word(12, State::Present));
        assert_eq!((taken.word.version(), taken.is_news, taken.ahead), (13, false, Some(13)));
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
