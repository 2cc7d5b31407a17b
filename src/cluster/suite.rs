//! The obligations of every [`Directory`], as tests over a factory of directories that lie in one cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Directory, Follow, Hint, Home, Inherited, NodeFacts, NodeId, PresenceSource, Sink};
use crate::clock::{Wall, wall};
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::model::visitor::{Snapshot, State, VisitorView, next_version};

/// Declares a test per obligation: `obligations!(name, async || (async || directory, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::cluster::suite::obligations!(@each $fresh;
                a_visitor_has_one_home, what_one_node_tells_the_others_read, followers_are_told,
                sessions_and_messages_are_told, groups_are_apart, a_draining_node_is_taken_over_from, nodes_know_each_other);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            #[tokio::test]
            async fn $obligation() {
                let (directories, _keep) = ($fresh)().await;
                crate::cluster::suite::$obligation(&directories).await;
            }
        )*
    };
}
pub(crate) use obligations;

pub(crate) fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

pub(crate) fn vid(name: &str) -> VisitorId {
    VisitorId::new(name).unwrap()
}

pub(crate) fn key(visitor: &str) -> VisitorKey {
    VisitorKey { group: gid("g"), visitor: vid(visitor) }
}

/// Waits for a fact.
pub(crate) async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A node with visitors that a test moves about, and a memory of its hints.
pub(crate) struct Fake {
    pub(crate) node: NodeId,
    pub(crate) directory: Arc<dyn Directory>,
    visitors: Mutex<HashMap<VisitorKey, Arc<Snapshot>>>,
    pub(crate) draining: AtomicBool,
    pub(crate) hints: Mutex<Vec<Hint>>,
    sink: Mutex<Option<Arc<Sink>>>,
}

impl PresenceSource for Fake {
    fn facts(&self) -> NodeFacts {
        NodeFacts {
            node: self.node,
            version: "0.1".into(),
            started: Wall(1_000),
            draining: self.draining.load(Ordering::Relaxed),
            connections: [1, 2, 3],
            visitors: self.visitors.lock().len() as u64,
            sessions: 4,
        }
    }

    fn snapshot(&self, key: &VisitorKey) -> Option<Snapshot> {
        self.visitors.lock().get(key).map(|visitor| Snapshot::clone(visitor))
    }

    fn snapshots(&self, group: &GroupId) -> Vec<Arc<Snapshot>> {
        self.visitors.lock().values().filter(|visitor| visitor.key().group == *group).cloned().collect()
    }

    fn keys(&self) -> Vec<VisitorKey> {
        self.visitors.lock().keys().cloned().collect()
    }

    fn groups(&self) -> Vec<GroupId> {
        vec![gid("g")]
    }

    fn is_home(&self, key: &VisitorKey) -> bool {
        self.visitors.lock().contains_key(key)
    }
}

impl Fake {
    pub(crate) fn enroll(directory: Arc<dyn Directory>, node: u128) -> Arc<Self> {
        let fake = Arc::new(Self {
            node: NodeId(node),
            directory,
            visitors: Mutex::default(),
            draining: AtomicBool::new(false),
            hints: Mutex::default(),
            sink: Mutex::default(),
        });
        let hearing = Arc::downgrade(&fake);
        let sink: Arc<Sink> = Arc::new(move |hint| {
            if let Some(fake) = hearing.upgrade() {
                let raised = match &hint {
                    Hint::Raise(key, above) => Some((key.clone(), *above)),
                    _ => None,
                };
                fake.hints.lock().push(hint);
                if let Some((key, above)) = raised {
                    fake.raise(&key, above);
                }
            }
        });
        let source: Arc<dyn PresenceSource> = Arc::clone(&fake) as _;
        fake.directory.enroll(fake.node, Arc::downgrade(&source), Arc::downgrade(&sink));
        *fake.sink.lock() = Some(sink);
        fake
    }

    /// A visitor is like this now, above the version given and its last.
    pub(crate) fn tell(&self, key: &VisitorKey, state: State, above: u64) -> Arc<Snapshot> {
        let last = self.visitors.lock().get(key).map_or(0, |visitor| visitor.version());
        let version = next_version(last.max(above), wall());
        let view = VisitorView { state, connections: 1, ..VisitorView::absent(key, wall(), version) };
        let snapshot = Arc::new(view.snapshot());
        if state == State::Absent {
            self.visitors.lock().remove(key);
        } else {
            self.visitors.lock().insert(key.clone(), Arc::clone(&snapshot));
        }
        self.directory.publish(self.node, &snapshot);
        snapshot
    }

    /// A visitor is left to another node, without a word.
    pub(crate) fn leave(&self, key: &VisitorKey) {
        self.visitors.lock().remove(key);
    }

    /// Tells a visitor who is here again, above a version that was told of it.
    fn raise(&self, key: &VisitorKey, above: u64) {
        let known = self.visitors.lock().get(key).map(|visitor| (visitor.state(), visitor.version()));
        if let Some((state, version)) = known
            && version <= above
        {
            self.tell(key, state, above);
        }
    }

    /// A tab arrives, and is here unless its home is elsewhere. Where nobody can be asked it is here as well.
    pub(crate) async fn arrive(&self, key: &VisitorKey) -> Option<Home> {
        let home = self.directory.claim(self.node, key).await.ok();
        match &home {
            Some(Home::Here(inherited)) => {
                self.tell(key, State::Present, inherited.version);
            }
            None => {
                self.tell(key, State::Present, 0);
            }
            Some(Home::There(_)) => {}
        }
        home
    }

    pub(crate) async fn follow(&self) -> Follow {
        self.directory.follow(self.node, &gid("g")).await
    }

    /// A visitor as the others tell of it; `None` where that cannot be said.
    pub(crate) async fn look(&self, visitor: &str) -> Option<State> {
        self.see(visitor).await.map(|(state, _)| state)
    }

    /// The same with its version.
    pub(crate) async fn see(&self, visitor: &str) -> Option<(State, u64)> {
        let sight = self.directory.lookup(self.node, &gid("g"), &[vid(visitor)]).await.ok()?;
        Some(match (&sight.visitors[0], sight.doubt) {
            (Some(visitor), _) => (visitor.state(), visitor.version()),
            (None, Some(_)) => (State::Unknown, 0),
            (None, None) => (State::Absent, sight.floor),
        })
    }

    pub(crate) async fn sees(&self, visitor: &str, state: State) {
        until(&format!("{visitor} is {state:?}"), async || self.look(visitor).await == Some(state)).await;
    }

    /// The states and versions that hints told of a visitor.
    pub(crate) fn told(&self, visitor: &str) -> Vec<(State, u64)> {
        let hints = self.hints.lock();
        let told = hints.iter().filter_map(|hint| match hint {
            Hint::Visitor(word) if word.key().visitor == vid(visitor) => Some((word.state(), word.version())),
            _ => None,
        });
        told.collect()
    }

    pub(crate) async fn hears(&self, what: &str, fits: impl Fn(&Hint) -> bool) {
        until(what, async || self.hints.lock().iter().any(&fits)).await;
    }
}

type Here = Option<Home>;

fn is_here(home: &Here) -> bool {
    matches!(home, Some(Home::Here(_)))
}

pub(crate) async fn a_visitor_has_one_home(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let (one, two) = (Fake::enroll(directories().await, 1), Fake::enroll(directories().await, 2));
    assert!(is_here(&one.arrive(&key("a")).await));
    two.sees("a", State::Present).await;
    assert_eq!(two.arrive(&key("a")).await, Some(Home::There(NodeId(1))));
    assert!(is_here(&one.arrive(&key("a")).await), "its other tab");
    assert!(is_here(&two.arrive(&key("b")).await));
    one.tell(&key("a"), State::Absent, 0);
    two.sees("a", State::Absent).await;
    assert!(is_here(&two.arrive(&key("a")).await), "nobody speaks for who is absent");
    one.sees("a", State::Present).await;
    assert_eq!(one.arrive(&key("a")).await, Some(Home::There(NodeId(2))));
}

pub(crate) async fn what_one_node_tells_the_others_read(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let nodes = [
        Fake::enroll(directories().await, 1),
        Fake::enroll(directories().await, 2),
        Fake::enroll(directories().await, 3),
    ];
    nodes[0].arrive(&key("a")).await;
    nodes[1].arrive(&key("b")).await;
    let hidden = nodes[0].tell(&key("a"), State::Hidden, 0);
    for (node, visitors) in [(2, vec!["a", "b"]), (0, vec!["b"]), (1, vec!["a"])] {
        let node = &nodes[node];
        for visitor in &visitors {
            node.sees(visitor, if *visitor == "a" { State::Hidden } else { State::Present }).await;
        }
        let sight = node.directory.list(node.node, &gid("g")).await.unwrap();
        let mut listed: Vec<_> =
            sight.visitors.iter().flatten().filter(|word| word.state() != State::Absent).collect();
        listed.sort_by_key(|word| word.key().visitor.clone());
        let listed: Vec<_> = listed.iter().map(|word| word.key().visitor.as_str()).collect();
        assert_eq!((listed, sight.doubt), (visitors, None));
    }
    let asked = [vid("b"), vid("nobody"), vid("a")];
    let sight = nodes[2].directory.lookup(NodeId(3), &gid("g"), &asked).await.unwrap();
    let state = |at: usize| sight.visitors[at].as_ref().map(|word| word.state());
    assert_eq!([state(0), state(1), state(2)], [Some(State::Present), None, Some(State::Hidden)]);
    assert_eq!(sight.visitors[2].as_deref(), Some(&*hidden), "every fact is there");
    let none = nodes[2].directory.lookup(NodeId(3), &gid("g"), &[]).await.unwrap();
    assert_eq!(none.visitors, []);
}

pub(crate) async fn followers_are_told(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let (one, two) = (Fake::enroll(directories().await, 1), Fake::enroll(directories().await, 2));
    let follow = two.follow().await;
    let mut other = Some(two.follow().await);
    let mut told = Vec::new();
    for state in [State::Present, State::Hidden, State::Absent] {
        if state == State::Present {
            one.arrive(&key("a")).await;
        } else {
            told.push((state, one.tell(&key("a"), state, 0).version()));
        }
        two.hears(state.as_str(), |hint| matches!(hint, Hint::Visitor(word) if word.state() == state)).await;
        // One follower less is not the end.
        other.take();
    }
    assert_eq!(two.told("a")[1..], told);
    let versions: Vec<_> = two.told("a").iter().map(|(_, version)| *version).collect();
    assert!(versions.is_sorted(), "{versions:?}");
    assert_eq!(one.told("a"), [], "a node needs not be told what it told");
    drop(follow);
}

pub(crate) async fn groups_are_apart(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let (one, two) = (Fake::enroll(directories().await, 1), Fake::enroll(directories().await, 2));
    let _follow = two.follow().await;
    let foreign = VisitorKey { group: gid("h"), visitor: vid("a") };
    one.arrive(&foreign).await;
    assert!(is_here(&two.arrive(&key("a")).await), "another group's visitor of the same name");
    one.arrive(&key("b")).await;
    two.hears("the own group's", |hint| matches!(hint, Hint::Visitor(word) if word.key() == &key("b"))).await;
    assert_eq!(two.told("a"), []);
    assert_eq!(one.look("a").await, Some(State::Present));
    let other = two.directory.list(NodeId(2), &gid("h")).await.unwrap();
    assert_eq!(other.visitors.iter().flatten().map(|word| word.key()).collect::<Vec<_>>(), [&foreign]);
}

pub(crate) async fn a_draining_node_is_taken_over_from(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let nodes = [
        Fake::enroll(directories().await, 1),
        Fake::enroll(directories().await, 2),
        Fake::enroll(directories().await, 3),
    ];
    let _follow = nodes[2].follow().await;
    nodes[0].arrive(&key("a")).await;
    nodes[0].arrive(&key("b")).await;
    for visitor in ["a", "b"] {
        nodes[1].sees(visitor, State::Present).await;
    }
    nodes[0].draining.store(true, Ordering::Relaxed);
    nodes[0].directory.announce(NodeId(1)).await;
    let before = nodes[1].see("a").await.unwrap().1;
    let mut inherited = Inherited::default();
    until("it is taken over", async || match nodes[1].directory.claim(NodeId(2), &key("a")).await {
        Ok(Home::Here(taken)) => {
            inherited = taken;
            true
        }
        _ => false,
    })
    .await;
    // Whom it claimed nobody finds absent, although it has not told anything yet.
    assert_eq!(nodes[2].look("a").await, Some(State::Present));
    assert_eq!(
        inherited.word.as_ref().map(|word| (word.key(), word.state())),
        Some((&key("a"), State::Present))
    );
    nodes[1].tell(&key("a"), State::Present, inherited.version);
    assert!(inherited.version >= before);
    nodes[0].sees("a", State::Present).await;
    // The last words of the former home, of whom was taken over and of whom was not.
    nodes[0].tell(&key("a"), State::Absent, 0);
    nodes[0].tell(&key("b"), State::Absent, 0);
    nodes[2]
        .hears("b's end", |hint| matches!(hint, Hint::Visitor(word) if word.state() == State::Absent))
        .await;
    assert!(nodes[2].told("a").iter().all(|(state, _)| *state == State::Present), "{:?}", nodes[2].told("a"));
    assert_eq!(nodes[2].look("a").await, Some(State::Present));
    assert_eq!(nodes[2].look("b").await, Some(State::Absent));
}

pub(crate) async fn sessions_and_messages_are_told(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let (one, two) = (Fake::enroll(directories().await, 1), Fake::enroll(directories().await, 2));
    let three = Fake::enroll(directories().await, 3);
    let (_one, _two) = (one.follow().await, two.follow().await);
    let _other = three.directory.follow(three.node, &gid("h")).await;
    until("the others are heard", async || two.directory.nodes(two.node).await.is_ok()).await;
    until("a session is told of", async || {
        one.directory.tell_session(one.node, &gid("g"), SessionId::from_u128(7)).await.is_ok()
    })
    .await;
    let session = |hint: &Hint| matches!(hint, Hint::Session(group, id) if *group == gid("g") && *id == SessionId::from_u128(7));
    two.hears("the session", session).await;
    let said = |node: &Fake| {
        let hints = node.hints.lock();
        let said = hints.iter().filter_map(|hint| match hint {
            Hint::Message(from, said) if *from == key("a") => {
                Some(String::from_utf8_lossy(said).into_owned())
            }
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    let words: Vec<String> = (0..100).map(|number| format!("{{\"it's\": \"nr. {number} é\"}}")).collect();
    // The first node may not know yet that Redis hears it.
    until("somebody hears", async || {
        one.directory.pass_on(one.node, &key("a"), &Bytes::from_static(b"begin"));
        // Not one after the other without a breath: what waits to be sent is bounded.
        let heard = async {
            while said(&two).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_millis(100), heard).await.is_ok()
    })
    .await;
    for word in &words {
        one.directory.pass_on(one.node, &key("a"), &Bytes::copy_from_slice(word.as_bytes()));
    }
    until("all is heard", async || said(&two).iter().filter(|word| *word != "begin").count() == words.len())
        .await;
    let heard: Vec<String> = said(&two).into_iter().filter(|word| word != "begin").collect();
    assert_eq!(heard, words, "in order");
    assert!(said(&one).is_empty(), "who says it need not hear it");
    assert!(!three.hints.lock().iter().any(|hint| matches!(hint, Hint::Message(..) | Hint::Session(..))));
}

pub(crate) async fn nodes_know_each_other(directories: &impl AsyncFn() -> Arc<dyn Directory>) {
    let (one, two) = (Fake::enroll(directories().await, 1), Fake::enroll(directories().await, 2));
    for (node, other) in [(&one, &two), (&two, &one)] {
        until("the other is known", async || {
            node.directory.nodes(node.node).await.is_ok_and(|nodes| nodes.len() == 1)
        })
        .await;
        let known = node.directory.nodes(node.node).await.unwrap();
        assert_eq!(known[0].facts, other.facts());
        assert!(!known[0].left.is_zero());
    }
}
