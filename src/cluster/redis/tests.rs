//! The obligations of every directory over a real Redis, and what only Redis, and its absence, can do.

use std::sync::atomic::Ordering as Atomic;

mod hearing;

use super::entry::Keys;
use super::table::Term;
use super::*;
use crate::clock::wall;
use crate::cluster::suite::{Fake, gid, key, until};
use crate::model::visitor::State;
use crate::redis::server::Redis;

fn quick() -> Limits {
    let (node_lease, node_beat) = (Duration::from_secs(2), Duration::from_millis(100));
    Limits { node_lease, node_beat, ..Limits::default() }
}

async fn directory(redis: &Redis, limits: &Limits) -> Arc<RedisDirectory> {
    let link = redis.link().await;
    Arc::new(RedisDirectory::new(link, limits, Meters::new().0))
}

async fn fresh() -> (impl AsyncFn() -> Arc<dyn Directory>, ()) {
    let redis = Redis::start().await;
    (async move || directory(&redis, &Limits::default()).await as _, ())
}

crate::cluster::suite::obligations!(obligations, fresh);

/// A node whose directory can be dropped, as its process might be.
struct Node {
    fake: Arc<Fake>,
    directory: Arc<RedisDirectory>,
}

impl std::ops::Deref for Node {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl Node {
    async fn start(redis: &Redis, name: u128) -> Self {
        Self::with(redis, name, &quick()).await
    }

    async fn with(redis: &Redis, name: u128, limits: &Limits) -> Self {
        let directory = directory(redis, limits).await;
        Self { fake: Fake::enroll(Arc::clone(&directory) as _, name), directory }
    }

    /// Ends at once and without a word.
    fn die(&self) {
        self.directory.die();
    }

    fn displaced(&self, visitor: &str) -> bool {
        let is_it = |hint: &Hint| matches!(hint, Hint::Displaced(displaced) if *displaced == key(visitor));
        self.hints.lock().iter().any(is_it)
    }

    async fn is_away(&self) {
        self.hears("Redis is away", |hint| matches!(hint, Hint::Away(_))).await;
    }

    async fn is_back(&self) {
        self.hears("Redis is back", |hint| matches!(hint, Hint::Back)).await;
    }
}

async fn ask<T: FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
    let mut command = ::redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async(&mut redis.connect().await).await.unwrap()
}

/// How often a command was called.
async fn calls(redis: &Redis, command: &str) -> u64 {
    let stats: String = ask(redis, &["INFO", "commandstats"]).await;
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")).map(str::to_owned));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// What a node sees of a visitor, each state once, until it is this one.
async fn states_until(node: &Fake, visitor: &str, last: State) -> Vec<State> {
    let mut states = Vec::new();
    until(&format!("{visitor} is {last:?} at last"), async || {
        // Where nothing can be said, nothing is certain.
        let state = node.look(visitor).await.unwrap_or(State::Unknown);
        if states.last() != Some(&state) {
            states.push(state);
        }
        state == last
    })
    .await;
    states
}

#[tokio::test]
async fn a_dead_nodes_visitors_are_in_doubt_and_then_absent_and_may_be_taken_over() {
    let redis = Redis::start().await;
    let (one, two, three) =
        (Node::start(&redis, 1).await, Node::start(&redis, 2).await, Node::start(&redis, 3).await);
    one.arrive(&key("a")).await;
    one.arrive(&key("b")).await;
    two.sees("a", State::Present).await;
    let version = two.see("a").await.unwrap().1;
    assert_eq!(two.arrive(&key("a")).await, Some(Home::There(NodeId(1))));
    one.die();
    assert_eq!(states_until(&two, "a", State::Absent).await, [State::Present, State::Unknown, State::Absent]);
    for node in [&two, &three] {
        node.hears("the death", |hint| matches!(hint, Hint::NodeGone(NodeId(1)))).await;
        node.hears("a reading", |hint| matches!(hint, Hint::Reread(None))).await;
        assert!(node.see("a").await.unwrap().1 >= version);
    }
    let Some(Home::Here(inherited)) = two.arrive(&key("a")).await else { panic!("nobody holds it") };
    assert!(inherited.version >= version);
    three.sees("a", State::Present).await;
    // Somebody takes out what nobody asked for.
    until("the entry of a dead node goes", async || {
        !ask::<bool>(&redis, &["HEXISTS", "pl:{g}:v", "b"]).await
    })
    .await;
    assert!(ask::<bool>(&redis, &["HEXISTS", "pl:{g}:v", "a"]).await);
}

#[tokio::test]
async fn a_node_that_leaves_is_gone_at_once() {
    let redis = Redis::start().await;
    let slow = Limits { node_lease: Duration::from_secs(3_600), ..Limits::default() };
    let (one, two) = (Node::with(&redis, 1, &slow).await, Node::with(&redis, 2, &slow).await);
    one.arrive(&key("a")).await;
    two.sees("a", State::Present).await;
    one.directory.leave().await;
    two.hears("the end", |hint| matches!(hint, Hint::NodeGone(NodeId(1)))).await;
    assert_eq!(two.look("a").await, Some(State::Absent));
    assert!(matches!(two.arrive(&key("a")).await, Some(Home::Here(_))));
}

/// Redis goes and comes back: others' visitors are unknown and then right, and nothing is said to be absent.
async fn comes_back(redis: &mut Redis, go: impl FnOnce(&mut Redis), come: impl AsyncFnOnce(&mut Redis)) {
    let (one, two) = (Node::start(redis, 1).await, Node::start(redis, 2).await);
    let _follow = two.follow().await;
    for visitor in ["stays", "hides", "goes"] {
        one.arrive(&key(visitor)).await;
        two.sees(visitor, State::Present).await;
    }
    go(redis);
    for node in [&one, &two] {
        node.is_away().await;
        assert!(!node.directory.is_heard());
        assert_eq!(node.look("stays").await, None);
    }
    one.tell(&key("hides"), State::Hidden, 0);
    one.tell(&key("goes"), State::Absent, 0);
    assert_eq!(one.arrive(&key("comes")).await, None, "it is here without a claim");
    assert_eq!(one.arrive(&key("both")).await, None);
    assert_eq!(two.arrive(&key("both")).await, None);
    two.hints.lock().clear();
    let watched = async {
        for (visitor, last) in [
            ("stays", State::Present),
            ("hides", State::Hidden),
            ("goes", State::Absent),
            ("comes", State::Present),
        ] {
            let states = states_until(&two, visitor, last).await;
            let flickers = states.contains(&State::Absent) && visitor == "stays";
            assert!(!flickers, "{visitor}: {states:?}");
            // Who was there while nobody could be heard may be told as it is, and never as it was.
            assert!(
                states.iter().all(|state| [State::Unknown, last].contains(state)),
                "{visitor}: {states:?}"
            );
        }
    };
    come(redis).await;
    watched.await;
    for node in [&one, &two] {
        node.is_back().await;
        assert!(node.directory.is_heard());
    }
    assert!(two.told("goes").iter().all(|(state, _)| *state == State::Absent), "{:?}", two.told("goes"));
    assert!(!two.told("stays").iter().any(|(state, _)| *state == State::Absent));
    until("one of two homes gives way", async || one.displaced("both") || two.displaced("both")).await;
    assert!(!(one.displaced("both") && two.displaced("both")), "the other stays");
    assert!(!one.displaced("stays"));
}

#[tokio::test]
async fn redis_is_killed_and_comes_back_with_what_it_kept() {
    let mut redis = Redis::start().await;
    comes_back(&mut redis, Redis::kill, async |redis| redis.revive().await).await;
}

#[tokio::test]
async fn redis_is_killed_and_comes_back_empty() {
    let mut redis = Redis::start().await;
    comes_back(&mut redis, Redis::kill, async |redis| {
        redis.forget();
        redis.revive().await;
    })
    .await;
}

#[tokio::test]
async fn redis_stands_still_for_longer_than_a_lease() {
    let mut redis = Redis::start().await;
    comes_back(
        &mut redis,
        |redis| redis.pause(),
        async |redis| {
            tokio::time::sleep(quick().node_lease).await;
            redis.resume();
        },
    )
    .await;
}

#[tokio::test]
async fn redis_forgets_everything_and_is_told_anew() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    let _follow = two.follow().await;
    for n in 0..1_000 {
        one.arrive(&key(&format!("v{n}"))).await;
    }
    two.sees("v999", State::Present).await;
    let () = ask(&redis, &["FLUSHALL"]).await;
    let states = states_until(&two, "v500", State::Unknown).await;
    assert!(!states.contains(&State::Absent), "{states:?}");
    let states = states_until(&two, "v500", State::Present).await;
    assert!(!states.contains(&State::Absent), "{states:?}");
    until("everybody is there again", async || {
        two.directory.list(two.node, &gid("g")).await.is_ok_and(|sight| {
            sight.doubt.is_none()
                && sight.visitors.iter().flatten().filter(|word| word.state() == State::Present).count()
                    == 1_000
        })
    })
    .await;
    assert!(!one.hints.lock().iter().any(|hint| matches!(hint, Hint::Displaced(_))));
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_is_known_to_be_away() {
    let redis = Redis::start().await;
    let node = Node::start(&redis, 1).await;
    assert!(matches!(node.arrive(&key("a")).await, Some(Home::Here(_))));
    redis.pause();
    // The first may find out; whoever comes after knows.
    assert_eq!(node.arrive(&key("b")).await, None);
    for n in 0..1_000 {
        assert_eq!(node.arrive(&key(&format!("v{n}"))).await, None);
    }
    assert!(matches!(node.arrive(&key("a")).await, None | Some(Home::Here(_))), "it is here already");
    redis.resume();
    let other = Node::start(&redis, 2).await;
    other.sees("v999", State::Present).await;
    assert_eq!(other.arrive(&key("v0")).await, Some(Home::There(NodeId(1))));
}

#[tokio::test]
async fn a_node_is_told_in_which_term_it_speaks() {
    let redis = Redis::start().await;
    let node = Node::start(&redis, 1).await;
    node.hears("its first term", |hint| matches!(hint, Hint::Term(1))).await;
    ask::<()>(&redis, &["FLUSHALL"]).await;
    node.hears("a later one", |hint| matches!(hint, Hint::Term(epoch) if *epoch > 1)).await;
}

#[tokio::test]
async fn a_node_that_stood_still_tells_nothing_of_before() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    let _follow = two.follow().await;
    one.arrive(&key("a")).await;
    two.sees("a", State::Present).await;
    one.die();
    two.sees("a", State::Absent).await;
    // A last word of its old epoch, as a process that stood still may have on its lips.
    let old = one.directory.inner.own.lock().term().unwrap();
    let word = one.tell(&key("a"), State::Hidden, 0);
    two.hints.lock().clear();
    let mut call = PutForTest::call(old, &word);
    let answer: Vec<String> = one.directory.inner.link.run(&call.prepare()).await.unwrap();
    assert_eq!(answer, [""]);
    two.arrive(&key("b")).await;
    assert_eq!(two.look("a").await, Some(State::Absent));
    assert_eq!(two.told("a"), []);
}

#[tokio::test]
async fn a_visitor_goes_on_above_what_anybody_was_told() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    // The clock of one node is far ahead.
    let ahead = next(wall().0 + 3_600_000);
    one.directory.claim(one.node, &key("a")).await.unwrap();
    one.tell(&key("a"), State::Present, ahead);
    two.sees("a", State::Present).await;
    one.tell(&key("a"), State::Absent, ahead);
    two.sees("a", State::Absent).await;
    let (_, absent) = two.see("a").await.unwrap();
    assert!(absent > ahead);
    for visitor in ["a", "never seen"] {
        let visitor = VisitorKey { visitor: VisitorId::new(&visitor.replace(' ', "-")).unwrap(), ..key("a") };
        let Ok(Home::Here(inherited)) = two.directory.claim(two.node, &visitor).await else { panic!("here") };
        assert!(inherited.version >= absent, "whoever was told that it is absent hears of it");
    }
    // Without a claim, as when Redis was away: it is told above that, and hears so.
    two.tell(&key("late"), State::Present, 0);
    let told = |hint: &Hint| matches!(hint, Hint::ToldAs(told, version) if *told == key("late") && *version > absent);
    two.hears("the version that it was told in", told).await;
}

fn next(wall: u64) -> u64 {
    crate::model::visitor::next_version(0, crate::clock::Wall(wall))
}

#[tokio::test]
async fn of_who_is_left_to_another_node_nothing_is_written_any_more() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    // One thread: both words wait when the first visitor goes.
    one.tell(&key("a"), State::Present, 0);
    one.tell(&key("b"), State::Present, 0);
    one.leave(&key("a"));
    two.sees("b", State::Present).await;
    assert_eq!(two.look("a").await, Some(State::Absent));
    // Who has really gone is taken out.
    one.tell(&key("b"), State::Absent, 0);
    two.sees("b", State::Absent).await;
    assert!(!ask::<bool>(&redis, &["HEXISTS", "pl:{g}:v", "b"]).await);
}

#[tokio::test]
async fn who_is_displaced_leaves_its_version_to_the_home() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    one.arrive(&key("a")).await;
    two.sees("a", State::Present).await;
    let above = two.see("a").await.unwrap().1 + 1_000_000_000;
    let told = two.tell(&key("a"), State::Present, above);
    until("it is found out", async || two.displaced("a")).await;
    let raise = |hint: &Hint| matches!(hint, Hint::Raise(raised, above) if *raised == key("a") && *above == told.version());
    one.hears("the version that was told", raise).await;
    one.tell(&key("a"), State::Hidden, told.version());
    two.sees("a", State::Hidden).await;
    assert!(two.see("a").await.unwrap().1 > told.version());
}

#[tokio::test]
async fn a_home_goes_on_above_what_anybody_was_told_although_redis_forgot_it() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    let _hears = one.follow().await;
    one.arrive(&key("a")).await;
    two.sees("a", State::Present).await;
    let above = two.see("a").await.unwrap().1 + 1_000_000_000;
    two.directory.outbid(&gid("g"), vec![(key("a").visitor, above), (key("nobody").visitor, above)]);
    let raise =
        |hint: &Hint| matches!(hint, Hint::Raise(raised, told) if *raised == key("a") && *told == above);
    one.hears("the version that was told", raise).await;
    until("it is told above that", async || two.see("a").await.is_some_and(|(_, version)| version > above))
        .await;
    assert_eq!(two.look("nobody").await, Some(State::Absent));
}

#[tokio::test]
async fn a_claim_that_nothing_came_of_is_given_up() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    assert!(matches!(one.directory.claim(one.node, &key("a")).await, Ok(Home::Here(_))));
    assert_eq!(two.look("a").await, Some(State::Absent), "a claim is nobody's presence");
    one.directory.release(one.node, &key("a"));
    until("it is free", async || !ask::<bool>(&redis, &["HEXISTS", "pl:{g}:v", "a"]).await).await;
    one.arrive(&key("a")).await;
    two.sees("a", State::Present).await;
    one.directory.release(one.node, &key("a"));
    assert!(matches!(two.arrive(&key("a")).await, Some(Home::There(_))), "who is there stays");
}

#[tokio::test]
async fn an_arrival_takes_two_operations_and_a_change_one() {
    let redis = Redis::start().await;
    // No beat between.
    let slow = Duration::from_secs(3_600);
    let limits = Limits { node_lease: slow * 10, node_beat: slow, ..Limits::default() };
    let (one, two) = (Node::with(&redis, 1, &limits).await, Node::with(&redis, 2, &limits).await);
    let _follow = two.follow().await;
    // Scripts are loaded, and both know each other.
    one.arrive(&key("warm")).await;
    two.sees("warm", State::Present).await;
    one.tell(&key("warm"), State::Absent, 0);
    two.sees("warm", State::Absent).await;
    two.hints.lock().clear();
    let scripts = async || calls(&redis, "evalsha").await;
    let before = scripts().await;
    one.arrive(&key("a")).await;
    two.hears("a", |hint| matches!(hint, Hint::Visitor(_))).await;
    let arrived = scripts().await;
    assert_eq!(arrived - before, 2, "a claim and a word");
    one.tell(&key("a"), State::Hidden, 0);
    two.hears("its change", |hint| matches!(hint, Hint::Visitor(word) if word.state() == State::Hidden))
        .await;
    let changed = scripts().await;
    assert_eq!(changed - arrived, 1);
    one.arrive(&key("a")).await;
    two.hears("its tab", |hint| matches!(hint, Hint::Visitor(word) if word.state() == State::Present)).await;
    assert_eq!(scripts().await - changed, 1, "another tab claims nothing");
}

/// A write as the writer makes it, in a term of the test's choosing.
struct PutForTest(Script, Vec<Vec<u8>>);

impl PutForTest {
    fn call(term: Term, word: &Snapshot) -> Self {
        let keys = Keys(&word.key().group);
        let arguments: Vec<Vec<u8>> = vec![
            keys.visitors().into(),
            keys.floor().into(),
            keys.presence().into(),
            entry::node_name(term.node).into(),
            term.epoch.to_string().into(),
            word.key().group.as_str().into(),
            word.key().visitor.as_str().into(),
            word.version().to_string().into(),
            entry::written(term, word),
            b"0".to_vec(),
            Vec::new(),
        ];
        Self(Script::new(include_str!("lua/put.lua")), arguments)
    }

    fn prepare(&mut self) -> ScriptInvocation<'_> {
        let mut call = self.0.key(self.1[0].clone());
        call.key(self.1[1].clone());
        for argument in &self.1[2..] {
            call.arg(argument.clone());
        }
        call
    }
}

#[tokio::test]
async fn a_draining_node_hears_its_own_absences_once_they_hold() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    let _follow = one.follow().await;
    for visitor in ["moves", "goes"] {
        one.arrive(&key(visitor)).await;
        two.sees(visitor, State::Present).await;
    }
    one.draining.store(true, Atomic::Relaxed);
    one.directory.announce(one.node).await;
    assert!(one.directory.confirms(one.node, &gid("g")));
    assert!(matches!(two.arrive(&key("moves")).await, Some(Home::Here(_))));
    one.tell(&key("moves"), State::Absent, 0);
    one.tell(&key("goes"), State::Absent, 0);
    one.hears("its own word", |hint| matches!(hint, Hint::Visitor(word) if word.key() == &key("goes"))).await;
    assert!(one.told("moves").iter().all(|(state, _)| *state == State::Present));
}

#[tokio::test]
async fn a_later_nodes_row_is_read_and_stays_as_it_is() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    one.directory.inner.first_beat().await;
    two.directory.inner.first_beat().await;
    let (later, junk) = (entry::node_name(NodeId(0xab)), entry::node_name(NodeId(0xcd)));
    let mut facts = entry::facts_written(&crate::cluster::NodeFacts {
        node: NodeId(0xab),
        version: "99.0.0".into(),
        started: wall(),
        draining: false,
        connections: [1, 2, 3],
        visitors: 4,
        sessions: 5,
    });
    // Field 100, a number.
    facts.extend([0xa0, 0x06, 0x01]);
    let _: u64 =
        ask(&redis, &["HSET", beat::LEASES, &later, "99999999999999:1:1:0:5:zone=eu:7", &junk, "?"]).await;
    let mut put = ::redis::cmd("HSET");
    put.arg("pl:{nodes}:facts").arg(&later).arg(facts);
    let _: u64 = put.query_async(&mut redis.connect().await).await.unwrap();
    until("the later node is known", async || {
        let others = one.directory.nodes(NodeId(1)).await.unwrap();
        others.iter().any(|node| node.facts.node == NodeId(0xab) && &*node.facts.version == "99.0.0")
    })
    .await;
    assert_eq!(live_nodes(&Link::open(&redis.url()).await.unwrap()).await.unwrap(), 3);
    // Time in which nobody could beat makes every row be written anew.
    let _: () = ask(&redis, &["SET", "pl:{nodes}:last", "1"]).await;
    until("the row is of a new epoch", async || {
        let row: String = ask(&redis, &["HGET", beat::LEASES, &later]).await;
        assert!(row.ends_with(":5:zone=eu:7"), "{row}");
        row.contains(":2:0:0:5:")
    })
    .await;
    let row: String = ask(&redis, &["HGET", beat::LEASES, &junk]).await;
    assert_eq!(row, "?", "what is nobody's is left alone");
    // And nobody has come to harm.
    one.arrive(&key("a")).await;
    states_until(&two, "a", State::Present).await;
}

#[tokio::test]
async fn who_was_taken_over_from_a_draining_node_and_does_not_come_is_absent() {
    let redis = Redis::start().await;
    let (one, two, three) =
        (Node::start(&redis, 1).await, Node::start(&redis, 2).await, Node::start(&redis, 3).await);
    let _follow = three.follow().await;
    one.arrive(&key("a")).await;
    three.sees("a", State::Present).await;
    one.draining.store(true, Atomic::Relaxed);
    one.fake.directory.announce(NodeId(1)).await;
    let claimed = two.fake.directory.claim(NodeId(2), &key("a")).await;
    assert!(matches!(claimed, Ok(Home::Here(Inherited { word: Some(_), .. }))), "{claimed:?}");
    assert_eq!(three.look("a").await, Some(State::Present), "nobody has said otherwise");
    two.fake.directory.release(NodeId(2), &key("a"));
    three.hears("its end", |hint| matches!(hint, Hint::Visitor(word) if word.state() == State::Absent)).await;
    assert_eq!(three.look("a").await, Some(State::Absent));
}

#[tokio::test]
async fn a_node_is_not_found_before_it_is_ready() {
    let redis = Redis::start().await;
    let other = Node::start(&redis, 1).await;
    let (ready, is_ready) = watch::channel(false);
    let link = Link::open(&redis.url()).await.unwrap();
    let directory = Arc::new(RedisDirectory::new(link, &quick(), Meters::new().0).after(is_ready));
    let late = Fake::enroll(Arc::clone(&directory) as _, 2);
    directory.announce(NodeId(2)).await;
    let nodes = other.fake.directory.nodes(NodeId(1)).await.unwrap();
    assert!(nodes.is_empty(), "{nodes:?}");
    assert!(!ask::<bool>(&redis, &["HEXISTS", "pl:{nodes}:leases", &entry::node_name(NodeId(2))]).await);
    ready.send_replace(true);
    until("it is found", async || {
        other.fake.directory.nodes(NodeId(1)).await.is_ok_and(|nodes| nodes.len() == 1)
    })
    .await;
    assert_eq!(late.node, NodeId(2));
}

#[tokio::test]
async fn whom_a_draining_node_told_in_greater_versions_is_taken_over_all_the_same() {
    let redis = Redis::start().await;
    let (one, two, three) =
        (Node::start(&redis, 1).await, Node::start(&redis, 2).await, Node::start(&redis, 3).await);
    let _follow = three.follow().await;
    one.arrive(&key("a")).await;
    let far = one.tell(&key("a"), State::Present, 1 << 52).version();
    until("it is told", async || three.see("a").await.is_some_and(|(_, version)| version >= far)).await;
    one.draining.store(true, Atomic::Relaxed);
    one.fake.directory.announce(NodeId(1)).await;
    // It came here while Redis did not answer, so that nobody was asked.
    two.tell(&key("a"), State::Present, 0);
    let holder = format!("{}:", entry::node_name(NodeId(2)));
    until("it is taken over, and told above what was told", async || {
        let held: Vec<u8> = ask(&redis, &["HGET", "pl:{g}:v", "a"]).await;
        held.starts_with(holder.as_bytes()) && three.see("a").await.is_some_and(|(_, version)| version > far)
    })
    .await;
    // What the former home says then counts for nothing.
    one.tell(&key("a"), State::Absent, 0);
    until("it is told so", async || one.displaced("a")).await;
    assert_eq!(three.look("a").await, Some(State::Present));
    assert!(three.told("a").iter().all(|(state, _)| *state == State::Present), "{:?}", three.told("a"));
}
