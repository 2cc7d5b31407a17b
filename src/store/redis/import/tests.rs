//! A group that was moved is in Redis what it was in SQLite, however often the move died.

use std::time::Duration;

use super::super::server::Redis;
use super::super::{RedisLog, RedisReceipts, RedisStore, Stage};
use super::*;
use crate::auth::password::PasswordHash;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, EventId, KeyId, ReceiptId, RunId, SessionId, SinkId, VisitorId};
use crate::model::event::{Actor, Event, Lead, samples};
use crate::model::settings::Settings;
use crate::model::sink::{Takes, Target};
use crate::store::events::Retention;
use crate::store::feed::PostsQuery;
use crate::store::migrate::Counts;
use crate::store::receipts::suite;
use crate::store::records::{self, RecordQuery};
use crate::store::sync::{Cause, DeadLetter, Progress, RunRow, Sink};
use crate::store::{
    Agent, CallKey, CallRow, Feed as _, Leads as _, SessionRecords as _, Store, sync::EndedRecords,
};

/// What [`filled`] has of what is counted.
const COUNTS: Counts = [1, 1, 0, 0, 0, 0, 0, 0, 1_500, 700, 500, 500, 0, 0, 20, 15, 1, 2, 3];

fn group() -> GroupId {
    GroupId::new("a").unwrap()
}

fn sample(wanted: fn(&What) -> bool) -> What {
    samples::everything().into_iter().find(wanted).unwrap()
}

fn event(number: u64, what: What) -> Event {
    Event { at: Wall(number), session: None, ..samples::event("a", number.into(), what) }
}

fn place() -> Place {
    Place { object: "Case".into(), id: "500".into() }
}

fn post(number: u64) -> Event {
    Event {
        session: Some(SessionId::from_u128(number.into())),
        actor: Actor::Agent(AgentId::new("alice").unwrap()),
        ..event(number, sample(|what| matches!(what, What::FeedPosted(_))))
    }
}

fn lead(number: u64) -> Event {
    let What::LeadCreated(lead) = sample(|what| matches!(what, What::LeadCreated(_))) else { unreachable!() };
    event(number, What::LeadCreated(Lead { email: format!("L{number}@example.com"), ..lead }))
}

fn sink() -> Sink {
    Sink {
        group: group(),
        id: SinkId::new("crm").unwrap(),
        target: Target::Webhook { url: "https://example.com/".into() },
        takes: Takes { every_event: true, records: true, ..Takes::default() },
        enabled: true,
    }
}

fn lane(lane: Lane) -> LaneKey {
    LaneKey { group: group(), sink: sink().id, lane }
}

fn run(number: u64, cause: Cause) -> RunRow {
    RunRow {
        id: RunId::from_u128(number.into()),
        group: group(),
        cause,
        started_at: Wall(number),
        ended_at: Some(Wall(number + 1)),
        sinks: Vec::new(),
        lost: number == 2,
    }
}

/// A store with some of everything, of which the oldest was let go of.
async fn opened(redis: &Redis) -> RedisLog {
    let link = Link::open(&redis.url()).await.unwrap();
    RedisLog::open(Arc::new(RedisStore::new(link))).await.unwrap()
}

async fn filled() -> Arc<SqliteStore> {
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    store.put_group(&group(), &Settings::default(), None, "it", Wall(1)).await.unwrap();
    for number in (0..1_500).step_by(3) {
        let events = vec![event(number + 1, What::Paused), post(number + 2), lead(number + 3)];
        store.append(events).await.unwrap();
    }
    let keep = Retention { age: Duration::MAX, count: 700 };
    while store.trim(&group(), keep, Wall(9)).await.unwrap() > 0 {}
    for number in 1..=20 {
        store.append_receipt(&group(), suite::seal("a", number)).await.unwrap();
    }
    assert_eq!(store.let_receipts_go(&group(), Wall(6), suite::cut("a", 30)).await.unwrap(), 5);
    store.put_sink(&sink(), true, Wall(7)).await.unwrap();
    let letter = DeadLetter { number: 0, id: "e".into(), body: "{}".into(), at: Wall(5), error: "no".into() };
    for from in 0..3 {
        assert!(store.bury(&lane(Lane::Records), from, from + 1, &letter).await.unwrap());
    }
    store.forget_dead_letter(&group(), &sink().id, 1).await.unwrap();
    let failed = Progress {
        after: 3,
        failures: 2,
        failing_since: Some(Wall(8)),
        retry_at: Some(Wall(9)),
        error: Some("no route".into()),
    };
    store.note_failure(&lane(Lane::Records), &failed).await.unwrap();
    for (number, cause) in [(1, Cause::Schedule), (2, Cause::Asked), (3, Cause::Retry)] {
        store.put_run(&run(number, cause)).await.unwrap();
    }
    store
}

/// The same questions to both stores.
async fn same(from: &Arc<SqliteStore>, redis: &Redis) {
    let link = Link::open(&redis.url()).await.unwrap();
    // Another database, since a group's log is folded into it.
    let log = opened(redis).await;
    let (receipts, sync) =
        (RedisReceipts::new(link.clone()), RedisSync::new(link.clone(), from.clone(), from.clone()));
    let low = from.ends(&group()).await.unwrap().low;
    let mut place_in = After::Sequence(low);
    loop {
        let (old, new) = (
            from.read(&group(), place_in).await.unwrap(),
            log.inner.log.read(&group(), place_in).await.unwrap(),
        );
        assert_eq!(old.events[..old.events.len().min(new.events.len())], new.events);
        assert!(new.recovered && old.recovered);
        if new.events.is_empty() {
            assert_eq!(old.events, []);
            break;
        }
        place_in = After::Sequence(new.cursor);
    }
    assert_eq!(place_in, After::Sequence(1_500));
    let query = PostsQuery { most: 50, ..PostsQuery::default() };
    let posts = from.posts(&group(), &place(), query).await.unwrap();
    assert_eq!(log.posts(&group(), &place(), query).await.unwrap(), posts);
    let oldest = EventId::from_u128(2);
    assert_eq!(log.post(&group(), oldest).await.unwrap(), from.post(&group(), oldest).await.unwrap());
    assert_eq!(log.leads(&group(), 0, 900).await.unwrap(), from.leads(&group(), 0, 900).await.unwrap());
    assert_eq!(receipts.receipts(&group(), 0).await.unwrap(), from.receipts(&group(), 0).await.unwrap());
    assert_eq!(receipts.beginning(&group()).await.unwrap(), from.beginning(&group()).await.unwrap());
    let id = ReceiptId::from_u128(9);
    assert_eq!(receipts.receipt(&group(), id).await.unwrap(), from.receipt(&group(), id).await.unwrap());
    assert_eq!(receipts.next_receipt(&group()).await.unwrap(), from.next_receipt(&group()).await.unwrap());
    assert_eq!(sync.sinks(Some(&group())).await.unwrap(), from.sinks(Some(&group())).await.unwrap());
    for which in [Lane::Events, Lane::Records] {
        let key = lane(which);
        assert_eq!(sync.progress(&key).await.unwrap(), from.progress(&key).await.unwrap());
    }
    let letters = from.dead_letters(&group(), &sink().id, 0, 9).await.unwrap();
    assert_eq!(sync.dead_letters(&group(), &sink().id, 0, 9).await.unwrap(), letters);
    assert_eq!(sync.runs(&group(), None, 9).await.unwrap(), from.runs(&group(), None, 9).await.unwrap());
    let last = from.last_scheduled_run(&group()).await.unwrap();
    assert_eq!(sync.last_scheduled_run(&group()).await.unwrap(), last);
}

#[tokio::test]
async fn a_group_is_moved_as_it_was_and_goes_on() {
    let (from, redis) = (filled().await, Redis::start().await);
    let import = Import::new(Arc::clone(&from), Link::open(&redis.url()).await.unwrap());
    let counted = import.group(&group()).await.unwrap();
    assert!(counted.iter().all(|counted| counted.from == counted.to), "{counted:?}");
    let counts: Vec<_> = counted.iter().map(|counted| counted.to).collect();
    assert_eq!(counts, COUNTS);
    same(&from, &redis).await;
    // Once more changes nothing.
    assert_eq!(import.group(&group()).await.unwrap(), counted);
    same(&from, &redis).await;
    // What was posted and whoever is a lead is so once; what is new comes behind.
    let log = opened(&redis).await;
    let again = |event: Event| Event { id: EventId::from_u128(9_999), ..event };
    let appended =
        vec![again(post(2)), again(lead(3)), event(1_499, What::Paused), event(5_000, What::Paused)];
    let given = log.inner.log.append(&group(), &appended, 0).await.unwrap();
    assert_eq!(given[..2], [2, 3]);
    assert_eq!(given[3], 1_501.max(given[2] + 1));
    let receipts = RedisReceipts::new(Link::open(&redis.url()).await.unwrap());
    let sealed = receipts.append_receipt(&group(), suite::seal("a", 21)).await.unwrap();
    assert_eq!(sealed.line, suite::seal("a", 21)(&from.next_receipt(&group()).await.unwrap()).line);
}

#[tokio::test]
async fn a_move_that_died_is_made_again() {
    let (from, mut redis) = (filled().await, Redis::start().await);
    let mut deaths = 0;
    loop {
        let link = Link::open(&redis.url()).await.unwrap();
        let import = Import::new(Arc::clone(&from), link);
        let whose = group();
        let moving = import.group(&whose);
        tokio::pin!(moving);
        // Each time it comes some commands further.
        let mut connection = redis.connect().await;
        let died = async {
            for _ in 0..=deaths * 3 {
                let _: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
            }
        };
        tokio::select! {
            biased;
            moved = &mut moving => {
                let moved = moved.unwrap();
                assert!(moved.iter().all(|counted| counted.from == counted.to), "{moved:?}");
                break;
            }
            () = died => deaths += 1,
        }
        if deaths == 3 {
            redis.kill();
            redis.revive().await;
        }
    }
    assert!(deaths > 0, "it died at least once");
    same(&from, &redis).await;
}

#[tokio::test]
async fn a_log_of_which_nothing_is_left_keeps_its_end() {
    let (from, redis) = (filled().await, Redis::start().await);
    let keep = Retention { age: Duration::MAX, count: 0 };
    while from.trim(&group(), keep, Wall(9)).await.unwrap() > 0 {}
    let import = Import::new(Arc::clone(&from), Link::open(&redis.url()).await.unwrap());
    let counted = import.group(&group()).await.unwrap();
    assert!(counted.contains(&Counted { what: "events", from: 0, to: 0 }), "{counted:?}");
    assert!(counted.contains(&Counted { what: "newest event", from: 1_500, to: 1_500 }), "{counted:?}");
    let log = opened(&redis).await;
    assert_eq!(log.inner.log.append(&group(), &[event(5_000, What::Paused)], 0).await.unwrap(), [1_501]);
    let nobody = AgentKey { group: group(), agent: AgentId::new("nobody").unwrap() };
    assert_eq!(from.agent(&nobody).await.unwrap(), None);
}

fn agent(name: &str) -> AgentKey {
    AgentKey { group: group(), agent: AgentId::new(name).unwrap() }
}

fn call(number: u8, of: Option<GroupId>) -> CallRow {
    let key = CallKey { group: of, caller: "key 7".to_owned(), request_id: format!("r{number}") };
    CallRow { key, digest: [number; 32], answer: vec![number, 0, b' ', 255], at: Wall(number.into()) }
}

/// People, what they may and follow, and what their sessions came to.
async fn peopled() -> Arc<SqliteStore> {
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    let mut settings = Settings::default();
    let mut version = store.put_group(&group(), &settings, None, "operator", Wall(7)).await.unwrap();
    for step in 0..limits::SETTINGS_CHANGES as u64 + 5 {
        settings.presence_enabled = step % 2 == 0;
        let (by, at) = (format!("key \"{step}\"\n"), Wall(8 + step));
        version = store.put_group(&group(), &settings, Some(version), &by, at).await.unwrap();
    }
    for number in 0..limits::MOVE_ROWS + 2 {
        let row = Agent {
            key: agent(&format!("a{number:04}")),
            address: format!("a{number}@example.com"),
            partner_user_id: (number % 2 == 0).then(|| format!("005{number}")),
            name: format!("Zoë {number}"),
            profile: (number % 3 == 0).then(|| "Support".to_owned()),
            subscription: (number % 5 == 0).then(|| "pro".to_owned()),
            fixed_key: (number % 6 == 0).then(|| Wall(6_000 + u64::try_from(number).unwrap())),
        };
        store.upsert_agent(&row, Wall(number as u64)).await.unwrap();
    }
    let hash = PasswordHash::parse(PASSWORD).unwrap();
    store.set_password(&agent("a0003"), Some(hash)).await.unwrap();
    store.revoke_tokens(&group(), Some(&agent("a0004").agent)).await.unwrap();
    store.remove_agent(&agent("a0004")).await.unwrap();
    for (id, at) in [("k1", 5), ("k2", 6)] {
        store.insert_api_key(&group(), &KeyId::new(id).unwrap(), "shop\nfront", Wall(at)).await.unwrap();
    }
    store.touch_api_key(&group(), &KeyId::new("k1").unwrap(), Wall(9)).await.unwrap();
    store.revoke_api_key(&group(), &KeyId::new("k1").unwrap(), Wall(10)).await.unwrap();
    for number in 1..=3 {
        store.remember_call(&call(number, (number != 2).then(group)), Wall(0)).await.unwrap();
    }
    for id in ["500", "5:0{0}"] {
        store.follow(&agent("a0003"), &Place { object: "Case".into(), id: id.into() }).await.unwrap();
    }
    store.append(records::suite::stories()).await.unwrap();
    store
}

/// Of the password `porchlight`, made with little work.
const PASSWORD: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$q6Lk2RTMzTqtSRhhPkmV3A";

/// The rows of who is who, as both stores tell them.
async fn same_people(from: &dyn Store, to: &dyn Store) {
    assert_eq!(to.groups().await.unwrap(), from.groups().await.unwrap());
    let agents = from.agents(&group()).await.unwrap();
    assert_eq!(to.agents(&group()).await.unwrap(), agents);
    for row in [&agents[2], &agents[3]] {
        assert_eq!(to.agent_by_address(&group(), &row.agent.address).await.unwrap().as_ref(), Some(row));
        if let Some(partner) = &row.agent.partner_user_id {
            assert_eq!(to.agent_by_partner(&group(), partner).await.unwrap().as_ref(), Some(row));
        }
    }
    assert_eq!(to.api_keys(&group()).await.unwrap(), from.api_keys(&group()).await.unwrap());
    let mut before = None;
    loop {
        let changes = from.settings_changes(&group(), before, 9).await.unwrap();
        assert_eq!(to.settings_changes(&group(), before, 9).await.unwrap(), changes);
        let Some(last) = changes.last() else { break };
        before = Some(last.version);
    }
    for number in 1..=3 {
        let call = call(number, (number != 2).then(group));
        assert_eq!(to.call(&call.key, Wall(0)).await.unwrap(), Some(call));
    }
}

#[tokio::test]
async fn people_and_their_sessions_are_moved_as_they_were_and_go_on() {
    let (from, redis) = (peopled().await, Redis::start().await);
    let import = Import::new(Arc::clone(&from), Link::open(&redis.url()).await.unwrap());
    let counted = import.group(&group()).await.unwrap();
    assert_eq!(counted, import.group(&group()).await.unwrap(), "once more changes nothing");
    let counted: Vec<_> = counted.iter().chain(&import.operators().await.unwrap()).cloned().collect();
    assert!(counted.iter().all(|counted| counted.from == counted.to), "{counted:?}");
    let log = opened(&redis).await;
    let store = &log.inner.store;
    same_people(&*from, &**store).await;
    let follower = agent("a0003");
    assert_eq!(log.followed(&follower).await.unwrap(), from.followed(&follower).await.unwrap());

    let queries = [
        RecordQuery::default(),
        RecordQuery { agent: Some(AgentId::new("helper").unwrap()), ..RecordQuery::default() },
        RecordQuery { visitor: Some(VisitorId::new("C-2").unwrap()), ..RecordQuery::default() },
        RecordQuery { record: Some(("Case".into(), "500".into())), ..RecordQuery::default() },
        RecordQuery {
            status: Some(crate::model::session_record::Status::Requested),
            ..RecordQuery::default()
        },
        RecordQuery { limit: Some(3), ..RecordQuery::default() },
    ];
    for query in queries {
        let page = from.session_records(&group(), query.clone()).await.unwrap();
        assert_eq!(store.session_records(&group(), query).await.unwrap(), page);
    }
    let (since, until) = (Wall(0), Wall(u64::MAX >> 16));
    let stats = from.statistics(&group(), since, until).await.unwrap();
    assert_eq!(store.statistics(&group(), since, until).await.unwrap(), stats);
    let open = from.open_session_records().await.unwrap();
    assert_eq!((store.open_session_records().await.unwrap(), open.len()), (open.clone(), 1));
    let ended = EndedRecords::ended_records(&*from, &group(), 0, 9).await.unwrap();
    assert_eq!(
        (EndedRecords::ended_records(&**store, &group(), 0, 9).await.unwrap(), ended.len()),
        (ended.clone(), 3)
    );

    // What comes now changes both alike.
    let key = agent("a0003");
    for to in [&*from as &dyn Store, &**store] {
        to.remember_call(&call(9, Some(group())), Wall(2)).await.unwrap();
        assert_eq!(to.call(&call(1, Some(group())).key, Wall(2)).await.unwrap(), None);
        to.revoke_tokens(&group(), Some(&key.agent)).await.unwrap();
        let taken = Agent { key: agent("new"), ..to.agent(&key).await.unwrap().unwrap().agent };
        assert!(to.upsert_agent(&taken, Wall(1)).await.is_err(), "the address is taken");
        to.put_group(&group(), &Settings::default(), Some(106), "it", Wall(9_999)).await.unwrap();
    }
    assert_eq!(store.agents(&group()).await.unwrap(), from.agents(&group()).await.unwrap());
    let over = |record: &crate::model::session_record::SessionRecord| Event {
        session: Some(record.session),
        ..event(90_000, sample(|what| matches!(what, What::Ended(_))))
    };
    let over = over(&open[0]);
    assert_eq!(log.append(vec![over.clone()]).await.unwrap(), from.append(vec![over]).await.unwrap());
    let ended = EndedRecords::ended_records(&*from, &group(), 0, 9).await.unwrap();
    assert_eq!(
        (EndedRecords::ended_records(&**store, &group(), 0, 9).await.unwrap(), ended.len()),
        (ended.clone(), 4)
    );
}

#[tokio::test]
async fn one_move_is_noted_until_it_is_over() {
    let redis = Redis::start().await;
    let store = RedisStore::new(Link::open(&redis.url()).await.unwrap());
    assert_eq!(store.moved().await.unwrap(), None);
    let noted = store.note_moved(Stage::Begun, "one").await.unwrap();
    assert_eq!(store.note_moved(Stage::Begun, "other").await.unwrap(), noted, "the first one counts");
    for stage in [Stage::Whole, Stage::Done] {
        let moved = store.note_moved(stage, "one").await.unwrap().unwrap();
        assert_eq!((moved.stage, &*moved.database), (stage, "one"));
    }
    store.forget_move().await.unwrap();
    assert_eq!(store.moved().await.unwrap(), None);
    assert_eq!(store.some_groups(5).await.unwrap(), []);
    store.put_group(&group(), &Settings::default(), None, "it", Wall(1)).await.unwrap();
    assert_eq!(store.some_groups(5).await.unwrap(), [group()]);
    assert_eq!(store.some_groups(0).await.unwrap(), []);
}
