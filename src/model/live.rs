//! The live list of a group, for one subscriber: its filter, its pages, its diffs.
//!
//! Decides who is on the list, what a page holds and what a diff says. Does not decide who may subscribe, and
//! does not read the directory: the hub's tracker offers it the group's visitors for a page, and each change
//! afterwards. A subscriber first listens, then reads; what it hears meanwhile goes into the view as well,
//! which drops what is older than what it read.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::facts::{self, PageText};
use super::visitor::{Snapshot, State, VisitorView};
use crate::clock::{Tick, Wall};
use crate::ids::VisitorId;
use crate::limits::{LIVE_DIFF, LIVE_DIFF_MAX, LIVE_PAGE_MAX};
use crate::wire::agent::LiveFilter;

/// Which visitors a subscriber wants to see. All conditions must hold; an empty one always does. Absent
/// visitors are on no list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    page: String,
    states: Vec<State>,
    data: BTreeMap<String, Value>,
    text: String,
}

impl From<LiveFilter> for Filter {
    fn from(wanted: LiveFilter) -> Self {
        let lower = |text: Option<String>| text.unwrap_or_default().to_lowercase();
        Self { page: lower(wanted.page), states: wanted.states, data: wanted.data, text: lower(wanted.text) }
    }
}

impl Filter {
    /// Whether a visitor is on the list. The cheap conditions are asked first; page and data are read only
    /// when a condition is about them.
    pub fn matches(&self, visitor: &VisitorView<'_>) -> bool {
        visitor.state != State::Absent
            && (self.states.is_empty() || self.states.contains(&visitor.state))
            && (self.page.is_empty() || holds(&PageText::read(visitor.page).url, &self.page))
            && (self.data.is_empty() || self.data_matches(visitor.data))
            && (self.text.is_empty() || self.text_matches(visitor))
    }

    fn data_matches(&self, data: &str) -> bool {
        let data = facts::parse(data);
        self.data.iter().all(|(key, wanted)| {
            let found = data.get(key).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
            found.is_some_and(|found| equal(&found, wanted))
        })
    }

    fn text_matches(&self, visitor: &VisitorView<'_>) -> bool {
        let text = self.text.as_str();
        let page = PageText::read(visitor.page);
        holds(visitor.key.visitor.as_str(), text)
            || holds(&page.url, text)
            || holds(&page.title, text)
            || visitor.code.is_some_and(|code| holds(&code.to_string(), text))
            || facts::parse(visitor.data).values().any(|raw| match serde_json::from_str(raw.get()) {
                Ok(Value::String(value)) => holds(&value, text),
                _ => holds(raw.get(), text),
            })
    }
}

/// Whether a text holds a part, which is lower case already. Nothing is allocated.
fn holds(text: &str, part: &str) -> bool {
    let starts_with = |rest: &str| {
        let mut lower = rest.chars().flat_map(char::to_lowercase);
        part.chars().all(|wanted| lower.next() == Some(wanted))
    };
    text.char_indices().any(|(at, _)| starts_with(&text[at..]))
}

fn equal(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => found == wanted || found.as_f64() == wanted.as_f64(),
        _ => found == wanted,
    }
}

// ── Pages ──────────────────────────────────────────────────────────────────────────────────────

/// A visitor's place on the list: the newest `since` first, then by visitor ID. Smaller is earlier.
type Rank = (Reverse<Wall>, VisitorId);

/// Where a page ended. A place on the list and not a count: visitors that come and go before it move nothing
/// after it. One who changes state moves to the front and is told by diffs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Rank);

impl Cursor {
    /// Reads what [`Self`] displays; nothing else is a cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let (since, visitor) = text.split_once('.')?;
        let since = u64::from_str_radix(since, 16).ok()?;
        Some(Self((Reverse(Wall(since)), VisitorId::new(visitor).ok()?)))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Reverse(since), visitor) = &self.0;
        write!(f, "{:x}.{visitor}", since.0)
    }
}

/// One page of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LivePage {
    /// The visitors, newest `since` first.
    pub items: Vec<Arc<Snapshot>>,
    /// How many are on the whole list.
    pub total: usize,
    /// Asks for the next page, if there is one.
    pub cursor: Option<Cursor>,
}

/// Gathers a page from visitors offered in any order, each once. It keeps no more than the page, and makes a
/// snapshot only of what enters it.
#[derive(Debug)]
pub struct Pager {
    limit: usize,
    after: Option<Cursor>,
    total: usize,
    more: bool,
    /// The last of the page on top.
    kept: BinaryHeap<Ranked>,
}

/// A snapshot by its place.
#[derive(Debug)]
struct Ranked(Rank, Arc<Snapshot>);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Pager {
    /// A page of up to `limit` visitors (1 to [`LIVE_PAGE_MAX`], else the nearest) behind a cursor.
    pub fn new(limit: usize, after: Option<Cursor>) -> Self {
        Self { limit: limit.clamp(1, LIVE_PAGE_MAX), after, total: 0, more: false, kept: BinaryHeap::new() }
    }

    /// Offers a visitor that matches the filter. `snapshot` is called if it enters the page: the directory
    /// hands out what it shares, a local machine makes one.
    pub fn offer(&mut self, visitor: &VisitorView<'_>, snapshot: impl FnOnce() -> Arc<Snapshot>) {
        self.total += 1;
        let rank = (Reverse(visitor.since), visitor.key.visitor.clone());
        if self.after.as_ref().is_some_and(|after| rank <= after.0) {
            return;
        }
        if self.kept.len() == self.limit {
            self.more = true;
            if self.kept.peek().is_some_and(|last| rank > last.0) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(Ranked(rank, snapshot()));
    }

    /// The page.
    pub fn finish(self) -> LivePage {
        let kept = self.kept.into_sorted_vec();
        let cursor = kept.last().filter(|_| self.more).map(|last| Cursor(last.0.clone()));
        LivePage { items: kept.into_iter().map(|ranked| ranked.1).collect(), total: self.total, cursor }
    }
}

/// The page of those snapshots that match.
pub fn page<'a>(
    visitors: impl IntoIterator<Item = &'a Arc<Snapshot>>,
    filter: &Filter,
    limit: usize,
    after: Option<Cursor>,
) -> LivePage {
    let mut pager = Pager::new(limit, after);
    for visitor in visitors {
        let view = visitor.view();
        if filter.matches(&view) {
            pager.offer(&view, || Arc::clone(visitor));
        }
    }
    pager.finish()
}

// ── Diffs ──────────────────────────────────────────────────────────────────────────────────────

/// What changed on the list since the diff before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// New on the list.
    pub joined: Vec<Arc<Snapshot>>,
    /// Still on it, with news.
    pub changed: Vec<Arc<Snapshot>>,
    /// No longer on it.
    pub left: Vec<VisitorId>,
    /// How many are on the list now.
    pub total: usize,
    /// Too much changed to be told: the lists are empty, and the subscriber must read the list again.
    pub reset: bool,
}

/// A version and a state in one number, the order of versions kept: versions end at 2⁵³.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64);

impl Stamp {
    fn of(visitor: &VisitorView<'_>) -> Self {
        Self(visitor.version << 2 | visitor.state as u64)
    }

    /// Whether what carries this stamp says nothing new to who has seen `other`. The same version in another
    /// state is news: the cluster's doubt, or its end.
    fn is_stale(self, other: Self) -> bool {
        self.0 >> 2 < other.0 >> 2 || self == other
    }
}

/// A visitor whose change waits to be told.
#[derive(Debug)]
struct Pending {
    /// Whether the subscriber has it on its list.
    was_on: bool,
    stamp: Stamp,
    /// What it is now, if it is on the list.
    now: Option<Arc<Snapshot>>,
}

/// One subscriber's view of the list: who is on it, and what it has not been told.
///
/// Made before the list is read, it hears every change from then on. [`Self::read`] takes what the subscriber
/// is answered with, [`Self::open`] ends the reading, and only then diffs are told.
///
/// After that it trusts that changes of a visitor who is not on the list arrive in order, as the directory
/// hands them out. It holds an ID and a number for each visitor on the list (about 30 bytes), so that Joined and Left
/// alternate whatever the order in which changes arrive.
#[derive(Debug)]
pub struct LiveView {
    filter: Filter,
    on: HashMap<VisitorId, Stamp>,
    pending: BTreeMap<VisitorId, Pending>,
    due: Option<Tick>,
    reset: Reset,
    /// Whether the list is still being read.
    reading: bool,
}

/// Whether diffs still add up to the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    No,
    /// They do not, and the subscriber is to be told.
    Due,
    /// It was told; nothing is gathered until the list is read again.
    Told,
}

impl LiveView {
    /// A view that hears already, and whose list is yet to be read.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            on: HashMap::new(),
            pending: BTreeMap::new(),
            due: None,
            reset: Reset::No,
            reading: true,
        }
    }

    /// The subscriber's filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Takes a visitor as it was read: every visitor of the group, also those beyond the first page. True if
    /// it was on the list. What was heard of it meanwhile and is newer stays to be told.
    pub fn read(&mut self, visitor: &VisitorView<'_>) -> bool {
        let (id, stamp) = (&visitor.key.visitor, Stamp::of(visitor));
        let on = self.filter.matches(visitor);
        match self.pending.get_mut(id) {
            Some(heard) if !heard.stamp.is_stale(stamp) => heard.was_on = on,
            _ => {
                self.pending.remove(id);
                if on {
                    self.on.insert(id.clone(), stamp)
                } else {
                    self.on.remove(id)
                };
            }
        }
        on
    }

    /// Ends the reading. To read again after a reset, make a new view.
    pub fn open(&mut self) {
        self.reading = false;
    }

    /// How many are on the list.
    pub fn total(&self) -> usize {
        self.on.len()
    }

    /// Takes a change of any visitor of the group. What is older than what is known is dropped.
    pub fn handle(&mut self, now: Tick, visitor: &Arc<Snapshot>) {
        if self.reset == Reset::Told {
            return;
        }
        let view = visitor.view();
        let id = &view.key.visitor;
        let stamp = Stamp::of(&view);
        let on = self.filter.matches(&view);
        let known = self.on.get(id).copied().or_else(|| self.pending.get(id).map(|pending| pending.stamp));
        if known.is_some_and(|known| stamp.is_stale(known)) {
            return;
        }
        let was_on = if on { self.on.insert(id.clone(), stamp) } else { self.on.remove(id) }.is_some();
        // While the list is read, even an absence must be kept: the reading may still say otherwise.
        if !on && !was_on && !self.reading && !self.pending.contains_key(id) {
            return;
        }
        self.due.get_or_insert(now.after(LIVE_DIFF));
        if self.reset == Reset::Due {
            return;
        }
        let news = on.then(|| Arc::clone(visitor));
        match self.pending.entry(id.clone()) {
            Entry::Occupied(mut entry) => {
                let pending = entry.get_mut();
                (pending.stamp, pending.now) = (stamp, news);
            }
            Entry::Vacant(entry) => {
                entry.insert(Pending { was_on, stamp, now: news });
            }
        }
        if self.pending.len() > LIVE_DIFF_MAX {
            self.pending = BTreeMap::new();
            self.reset = Reset::Due;
        }
    }

    /// When [`Self::on_deadline`] is due: [`LIVE_DIFF`] after the first untold change.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.due.filter(|_| !self.reading)
    }

    /// Tells what was gathered, if it is time and anything is left of it.
    pub fn on_deadline(&mut self, now: Tick, out: &mut Vec<Diff>) {
        if self.next_deadline().is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        let mut diff = Diff { total: self.on.len(), ..Diff::default() };
        if self.reset == Reset::Due {
            self.reset = Reset::Told;
            self.on = HashMap::new();
            out.push(Diff { reset: true, ..diff });
            return;
        }
        for (id, pending) in std::mem::take(&mut self.pending) {
            match (pending.was_on, pending.now) {
                (false, Some(visitor)) => diff.joined.push(visitor),
                (true, Some(visitor)) => diff.changed.push(visitor),
                (true, None) => diff.left.push(id),
                (false, None) => {}
            }
        }
        if !(diff.joined.is_empty() && diff.changed.is_empty() && diff.left.is_empty()) {
            out.push(diff);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ids::{GroupId, VisitorKey};
    use crate::model::codes::Code;

    fn key(visitor: &str) -> VisitorKey {
        VisitorKey { group: GroupId::new("demo").unwrap(), visitor: VisitorId::new(visitor).unwrap() }
    }

    fn snapshot(visitor: &str, version: u64, state: State, since: u64) -> Arc<Snapshot> {
        let key = key(visitor);
        let view = VisitorView { state, ..VisitorView::absent(&key, Wall(since), version) };
        Arc::new(view.snapshot())
    }

    fn filter(json: Value) -> Filter {
        serde_json::from_value::<LiveFilter>(json).unwrap().into()
    }

    #[test]
    fn filters_match_as_written() {
        let key = key("C-1001");
        let visitor = VisitorView {
            state: State::Present,
            page: r#"{"url":"https://shop.example/Cart?x=\"1\"","title":"Ihr MÜLLER-Korb"}"#,
            data: r#"{"name":"Ada","open":true,"plan":1.0}"#,
            code: Code::parse("004217"),
            ..VisitorView::absent(&key, Wall(0), 1)
        };
        for (wanted, matches) in [
            (json!({}), true),
            (json!({"page": "/cart?X=\"1"}), true),
            (json!({"page": "müller"}), false),
            (json!({"states": ["hidden", "present"]}), true),
            (json!({"states": ["hidden"]}), false),
            (json!({"data": {"name": "Ada", "open": true}}), true),
            (json!({"data": {"plan": 1}}), true),
            (json!({"data": {"plan": "1"}}), false),
            (json!({"data": {"name": "ada"}}), false),
            (json!({"data": {"none": 1}}), false),
            (json!({"text": "c-10"}), true),
            (json!({"text": "müller"}), true),
            (json!({"text": "ada"}), true),
            (json!({"text": "TRUE"}), true),
            (json!({"text": "0042"}), true),
            (json!({"text": "name"}), false),
            (json!({"page": "cart", "text": "nobody"}), false),
        ] {
            assert_eq!(filter(wanted.clone()).matches(&visitor), matches, "{wanted}");
        }
        assert!(!filter(json!({"states": ["absent"]})).matches(&VisitorView::absent(&key, Wall(0), 1)));
        assert!(serde_json::from_value::<LiveFilter>(json!({"states": ["here"]})).is_err());
    }

    #[test]
    fn cursors_survive_the_wire_and_nothing_else_is_one() {
        let cursor = Cursor((Reverse(Wall(0xabc)), VisitorId::new("a.b-c").unwrap()));
        assert_eq!(cursor.to_string(), "abc.a.b-c");
        assert_eq!(Cursor::parse("abc.a.b-c"), Some(cursor));
        for bad in ["", "abc", "abc.", ".a", "xyz.a", "abc.a b", "fffffffffffffffff.a"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn pages_start_with_the_newest() {
        let all: Vec<_> = [("a", 1), ("b", 3), ("c", 3), ("d", 2)]
            .map(|(visitor, since)| snapshot(visitor, 1, State::Present, since))
            .into();
        let names = |page: &LivePage| -> Vec<_> {
            page.items.iter().map(|item| item.key().visitor.to_string()).collect()
        };
        let first = page(&all, &Filter::default(), 3, None);
        assert_eq!((names(&first).join(""), first.total), ("bcd".into(), 4));
        let last = page(&all, &Filter::default(), 3, first.cursor);
        assert_eq!((names(&last).join(""), last.total, last.cursor), ("a".into(), 4, None));
    }

    #[test]
    fn a_page_makes_no_snapshot_that_cannot_enter() {
        let mut pager = Pager::new(2, None);
        let mut made = 0;
        for since in (0..100).rev() {
            let key = key(&format!("v{since}"));
            let view = VisitorView { state: State::Present, ..VisitorView::absent(&key, Wall(since), 1) };
            pager.offer(&view, || {
                made += 1;
                Arc::new(view.snapshot())
            });
        }
        assert_eq!((pager.finish().total, made), (100, 2));
    }

    /// A view that has read an empty list.
    fn opened(filter: Filter) -> LiveView {
        let mut view = LiveView::new(filter);
        view.open();
        view
    }

    fn flush(view: &mut LiveView, now: Tick) -> Option<Diff> {
        let mut out = Vec::new();
        view.on_deadline(now, &mut out);
        assert!(out.len() <= 1);
        out.pop()
    }

    #[test]
    fn changes_are_gathered_from_the_first_on() {
        let mut view = opened(Filter::default());
        let (a, b) = (snapshot("a", 1, State::Present, 1), snapshot("b", 1, State::Present, 1));
        view.handle(Tick(100), &a);
        view.handle(Tick(200), &b);
        view.handle(Tick(210), &snapshot("b", 2, State::Absent, 2));
        assert_eq!(view.next_deadline(), Some(Tick(350)));
        assert_eq!(flush(&mut view, Tick(349)), None);
        let diff = flush(&mut view, Tick(350)).unwrap();
        assert_eq!(diff, Diff { joined: vec![a], total: 1, ..Diff::default() });
        assert_eq!(view.next_deadline(), None);
        view.handle(Tick(400), &snapshot("a", 2, State::Absent, 2));
        let diff = flush(&mut view, Tick(650)).unwrap();
        assert_eq!(diff, Diff { left: vec![VisitorId::new("a").unwrap()], ..Diff::default() });
    }

    #[test]
    fn the_clusters_doubt_and_its_end_are_changes_of_the_same_version() {
        let mut view = opened(Filter::default());
        let (sure, doubt) = (snapshot("a", 5, State::Present, 1), snapshot("a", 5, State::Unknown, 9));
        view.handle(Tick(0), &sure);
        flush(&mut view, Tick(250)).unwrap();
        for (i, next) in (1..).zip([&doubt, &sure]) {
            view.handle(Tick(i * 1_000), next);
            view.handle(Tick(i * 1_000), next);
            let diff = flush(&mut view, Tick(i * 1_000 + 250)).unwrap();
            assert_eq!(diff.changed, [Arc::clone(next)]);
        }
        view.handle(Tick(9_000), &sure);
        view.handle(Tick(9_000), &snapshot("a", 4, State::Hidden, 1));
        assert_eq!(view.next_deadline(), None);
    }

    #[test]
    fn too_many_changes_ask_to_read_again() {
        let mut view = opened(Filter::default());
        for n in 0..=LIVE_DIFF_MAX {
            view.handle(Tick(0), &snapshot(&format!("v{n}"), 1, State::Present, 1));
        }
        let diff = flush(&mut view, Tick(250)).unwrap();
        assert_eq!(diff, Diff { reset: true, total: LIVE_DIFF_MAX + 1, ..Diff::default() });
        view.handle(Tick(300), &snapshot("w", 1, State::Present, 1));
        assert_eq!(view.next_deadline(), None);
    }

    #[test]
    fn what_is_heard_while_reading_wins_if_it_is_newer() {
        let id = |visitor| VisitorId::new(visitor).unwrap();
        let mut view = LiveView::new(Filter::default());
        // Heard: a left, b joined, c changed; d is older than what will be read.
        view.handle(Tick(0), &snapshot("a", 2, State::Absent, 2));
        view.handle(Tick(0), &snapshot("b", 2, State::Present, 2));
        view.handle(Tick(0), &snapshot("c", 2, State::Hidden, 2));
        view.handle(Tick(0), &snapshot("d", 1, State::Present, 1));
        assert_eq!(view.next_deadline(), None);
        for visitor in ["a", "c"] {
            assert!(view.read(&snapshot(visitor, 1, State::Present, 1).view()));
        }
        assert!(view.read(&snapshot("d", 2, State::Hidden, 2).view()));
        view.open();
        let diff = flush(&mut view, Tick(250)).unwrap();
        assert_eq!(diff.joined, [snapshot("b", 2, State::Present, 2)]);
        assert_eq!(diff.changed, [snapshot("c", 2, State::Hidden, 2)]);
        assert_eq!((diff.left, diff.total), (vec![id("a")], 3));
    }

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![Just(State::Present), Just(State::Hidden), Just(State::Absent), Just(State::Unknown)]
    }

    proptest! {
        #[test]
        fn joined_and_left_alternate_and_diffs_add_up(
            steps in prop::collection::vec((0usize..5, state(), any::<bool>(), 0u64..200), 1..80)
        ) {
            let mut view = opened(filter(json!({"states": ["present", "unknown"]})));
            let mut client = BTreeSet::new();
            let mut latest: BTreeMap<usize, Arc<Snapshot>> = BTreeMap::new();
            let mut now = Tick(0);
            let mut version = 0;
            for (n, state, twice, wait) in steps.into_iter().chain([(0, State::Absent, true, 10_000)]) {
                version += 1;
                let next = snapshot(&format!("v{n}"), version, state, version);
                let before = latest.insert(n, Arc::clone(&next));
                view.handle(now, &next);
                if twice {
                    let due = view.next_deadline();
                    view.handle(now, &next);
                    if view.filter().matches(&next.view()) && let Some(before) = before {
                        view.handle(now, &before);
                    }
                    prop_assert_eq!(view.next_deadline(), due);
                }
                now = Tick(now.0 + wait);
                let due = view.next_deadline().is_some_and(|due| due <= now);
                if let Some(diff) = flush(&mut view, now) {
                    prop_assert!(due);
                    for visitor in diff.joined {
                        prop_assert!(client.insert(visitor.key().visitor.clone()), "joined twice");
                    }
                    for visitor in diff.changed {
                        prop_assert!(client.contains(&visitor.key().visitor), "changed but not on the list");
                    }
                    for visitor in diff.left {
                        prop_assert!(client.remove(&visitor), "left twice");
                    }
                    prop_assert_eq!(diff.total, client.len());
                }
            }
            let right: BTreeSet<_> = latest.values()
                .filter(|visitor| view.filter().matches(&visitor.view()))
                .map(|visitor| visitor.key().visitor.clone())
                .collect();
            prop_assert_eq!(client, right);
        }

        #[test]
        fn joined_and_left_alternate_even_out_of_order(
            steps in prop::collection::vec((0usize..3, state(), 0u64..6, 0u64..400), 1..80)
        ) {
            let mut view = opened(Filter::default());
            let mut client = BTreeSet::new();
            let mut now = Tick(0);
            for (n, state, version, wait) in steps {
                view.handle(now, &snapshot(&format!("v{n}"), version, state, version));
                now = Tick(now.0 + wait);
                if let Some(diff) = flush(&mut view, now) {
                    prop_assert!(diff.joined.iter().all(|visitor| client.insert(visitor.key().visitor.clone())));
                    prop_assert!(diff.changed.iter().all(|visitor| client.contains(&visitor.key().visitor)));
                    prop_assert!(diff.left.iter().all(|visitor| client.remove(visitor)));
                    prop_assert_eq!(diff.total, client.len());
                }
            }
        }

        #[test]
        fn pages_add_up_to_the_list_in_order(
            since in prop::collection::vec(0u64..6, 0..40), limit in 1usize..9, gone in any::<prop::sample::Index>()
        ) {
            let mut all: Vec<_> = (0..).zip(&since)
                .map(|(n, since): (u32, _)| snapshot(&format!("v{n:02}"), 1, State::Present, *since))
                .collect();
            let mut right = all.clone();
            right.sort_by_key(|visitor| (Reverse(visitor.since()), visitor.key().visitor.clone()));
            let mut read = Vec::new();
            let mut cursor = None;
            loop {
                let next = page(&all, &Filter::default(), limit, cursor);
                prop_assert_eq!(next.total, all.len());
                prop_assert!(next.items.len() <= limit);
                read.extend(next.items);
                cursor = next.cursor;
                if cursor.is_none() { break; }
                // Somebody already read leaves: nothing after it moves.
                if read.len() == limit {
                    let index = gone.index(read.len());
                    all.retain(|visitor| *visitor != read[index]);
                }
            }
            prop_assert_eq!(read, right);
        }
    }
}
