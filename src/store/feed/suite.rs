//! The obligations of every [`Feed`] and [`Leads`], as tests over a factory that is an [`EventLog`] and a
//! knows a [`Store`] as well.

use std::sync::Arc;

use super::{Feed, Follow, Leads, Posts, PostsQuery};
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, EventId, GroupId, SessionId};
use crate::limits;
use crate::model::event::{Actor, Event, Kind, Lead, Post, What};
use crate::model::feed::Place;
use crate::model::settings::Settings;
use crate::store::events::{After, Retention};
use crate::store::sqlite::SqliteStore;
use crate::store::{Agent, EventLog, Store};
use crate::wire::agent::Record;

/// Declares a test per obligation: `obligations!(name, async || (store, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::store::feed::suite::obligations!(@each $fresh;
                posts_follow_their_events, a_feed_is_read_in_both_directions,
                an_agent_posts_once_on_a_session, posts_outlive_their_events, the_oldest_posts_go,
                follows_are_kept_for_each_agent, follows_are_bounded,
                an_agent_of_the_same_name_follows_nothing, feeds_of_groups_are_apart,
                an_email_becomes_a_lead_once, leads_come_in_pages);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            // Threads of their own, so that what is asked at once is asked at once.
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $obligation() {
                let (store, _keep) = ($fresh)().await;
                crate::store::feed::suite::$obligation(std::sync::Arc::new(store)).await;
            }
        )*
    };
}
pub(crate) use obligations;

/// What keeps all of them, with the agents beside it.
pub(crate) trait Subject: Feed + Leads + EventLog {
    fn agents(&self) -> &dyn Store;
}

impl Subject for SqliteStore {
    fn agents(&self) -> &dyn Store {
        self
    }
}

fn gid() -> GroupId {
    GroupId::new("g").unwrap()
}

fn key(agent: &str) -> AgentKey {
    AgentKey { group: gid(), agent: AgentId::new(agent).unwrap() }
}

fn record(id: &str) -> Record {
    Record { object: "Case".into(), id: id.into(), name: Some("A case".into()), url: None }
}

fn place(id: &str) -> Place {
    Place::from(&record(id))
}

fn posted(number: u64, id: &str, session: Option<u64>, agent: &str) -> Event {
    let event = EventId::from_u128(u128::from(number));
    Event {
        id: event,
        group: gid(),
        at: Wall(number),
        session: session.map(|session| SessionId::from_u128(u128::from(session))),
        request: None,
        actor: Actor::Agent(AgentId::new(agent).unwrap()),
        record: Some(record(id)),
        what: What::FeedPosted(Post {
            post: event.to_string(),
            text: format!("post {number}"),
            link: None,
            author: Some(agent.to_owned()),
        }),
    }
}

fn guest(number: u64, email: &str) -> Event {
    let id = EventId::from_u128(u128::from(number));
    Event {
        what: What::LeadCreated(Lead { lead: id.to_string(), email: email.to_owned(), name: None }),
        record: None,
        ..posted(number, "1", Some(number), "alice")
    }
}

fn numbers(posts: &Posts) -> Vec<u64> {
    posts.items.iter().map(|item| item.at.0).collect()
}

fn id(number: u64) -> Option<EventId> {
    Some(EventId::from_u128(u128::from(number)))
}

async fn all(store: &impl Feed, id: &str) -> Vec<u64> {
    let query = PostsQuery { most: limits::FEED_PAGE.0, ..PostsQuery::default() };
    numbers(&store.posts(&gid(), &place(id), query).await.unwrap().unwrap())
}

pub(crate) async fn posts_follow_their_events(store: Arc<impl Subject>) {
    let event = posted(1, "1", Some(9), "alice");
    let events = vec![event.clone(), posted(2, "2", None, "alice"), posted(3, "1", None, "bob")];
    store.append(events.clone()).await.unwrap();
    assert_eq!(all(&*store, "1").await, [3, 1]);
    assert_eq!(all(&*store, "2").await, [2]);
    assert!(all(&*store, "3").await.is_empty());
    let item = store.post(&gid(), event.id).await.unwrap().unwrap();
    assert_eq!(Some(item), crate::model::feed::Item::of(&event));
    assert_eq!(store.append(events).await.unwrap(), [1, 2, 3], "an append that is repeated");
    assert_eq!(all(&*store, "1").await, [3, 1]);
}

pub(crate) async fn a_feed_is_read_in_both_directions(store: Arc<impl Subject>) {
    store.append((1..=9).map(|number| posted(number, "1", None, "alice")).collect()).await.unwrap();
    store.append(vec![posted(50, "2", None, "alice")]).await.unwrap();
    for (before, after, most, wanted, more) in [
        (None, None, 3, vec![9, 8, 7], true),
        (id(7), None, 3, vec![6, 5, 4], true),
        (id(4), None, 3, vec![3, 2, 1], false),
        (id(1), None, 3, vec![], false),
        (None, id(6), 3, vec![9, 8, 7], false),
        (None, id(2), 3, vec![5, 4, 3], true),
        (id(8), id(3), 3, vec![7, 6, 5], true),
        (id(6), id(3), 3, vec![5, 4], false),
        (None, None, 0, vec![9], true),
    ] {
        let query = PostsQuery { before, after, most };
        let posts = store.posts(&gid(), &place("1"), query).await.unwrap().unwrap();
        assert_eq!((numbers(&posts), posts.more), (wanted, more), "{query:?}");
    }
    for (before, after) in [(id(77), None), (None, id(77)), (id(50), None)] {
        let query = PostsQuery { before, after, most: 3 };
        assert_eq!(store.posts(&gid(), &place("1"), query).await.unwrap(), None, "{query:?}");
    }
}

pub(crate) async fn an_agent_posts_once_on_a_session(store: Arc<impl Subject>) {
    let first = store.append(vec![posted(1, "1", Some(9), "alice")]).await.unwrap();
    let again = vec![
        posted(2, "1", Some(9), "alice"),
        posted(3, "1", Some(9), "bob"),
        posted(4, "1", Some(9), "bob"),
        posted(5, "1", Some(8), "alice"),
        posted(6, "1", None, "alice"),
        posted(7, "1", None, "alice"),
    ];
    let sequences = store.append(again).await.unwrap();
    assert_eq!((first, sequences), (vec![1], vec![1, 2, 2, 3, 4, 5]));
    assert_eq!(all(&*store, "1").await, [7, 6, 5, 3, 1]);
    let page = store.read(&gid(), After::Start).await.unwrap();
    assert_eq!(page.events.len(), 5, "what is not posted is not told");
}

pub(crate) async fn posts_outlive_their_events(store: Arc<impl Subject>) {
    store.append(vec![posted(1, "1", Some(9), "alice")]).await.unwrap();
    let none = Retention { age: std::time::Duration::ZERO, count: 0 };
    assert_eq!(store.trim(&gid(), none, Wall(100)).await.unwrap(), 1);
    assert_eq!(all(&*store, "1").await, [1]);
    store.append(vec![posted(1, "1", None, "alice"), posted(2, "1", Some(9), "alice")]).await.unwrap();
    assert_eq!(all(&*store, "1").await, [1], "neither the same post nor another on the same session");
}

pub(crate) async fn the_oldest_posts_go(store: Arc<impl Subject>) {
    let most = limits::FEED_POSTS as u64;
    store.append(vec![posted(1, "other", None, "alice")]).await.unwrap();
    let many = (2..=most + 6).map(|number| posted(number, "1", None, "alice"));
    store.append(many.collect()).await.unwrap();
    assert!(store.post(&gid(), id(6).unwrap()).await.unwrap().is_none());
    assert!(store.post(&gid(), id(7).unwrap()).await.unwrap().is_some());
    assert_eq!(all(&*store, "other").await, [1]);
}

pub(crate) async fn follows_are_kept_for_each_agent(store: Arc<impl Subject>) {
    let (alice, bob) = (key("alice"), key("bob"));
    for agent in [&alice, &alice, &bob] {
        assert_eq!(store.follow(agent, &place("1")).await.unwrap(), Follow::Follows);
    }
    store.follow(&alice, &place("2")).await.unwrap();
    assert_eq!(store.followed(&alice).await.unwrap(), [place("1"), place("2")]);
    store.unfollow(&alice, &place("1")).await.unwrap();
    store.unfollow(&alice, &place("1")).await.unwrap();
    assert_eq!(store.followed(&alice).await.unwrap(), [place("2")]);
    assert_eq!(store.followed(&bob).await.unwrap(), [place("1")]);
}

pub(crate) async fn follows_are_bounded(store: Arc<impl Subject>) {
    let alice = key("alice");
    for number in 0..limits::FOLLOWS {
        assert_eq!(store.follow(&alice, &place(&number.to_string())).await.unwrap(), Follow::Follows);
    }
    assert_eq!(store.follow(&alice, &place("more")).await.unwrap(), Follow::TooMany);
    assert_eq!(store.follow(&alice, &place("0")).await.unwrap(), Follow::Follows, "it does already");
    assert_eq!(store.follow(&key("bob"), &place("more")).await.unwrap(), Follow::Follows);
}

pub(crate) async fn an_agent_of_the_same_name_follows_nothing(store: Arc<impl Subject>) {
    store.agents().put_group(&gid(), &Settings::default(), None, "t", Wall(1)).await.unwrap();
    let agent = Agent {
        key: key("alice"),
        address: "alice".into(),
        partner_user_id: None,
        name: "Alice".into(),
        profile: None,
        subscription: None,
        fixed_key: None,
    };
    store.agents().upsert_agent(&agent, Wall(1)).await.unwrap();
    store.follow(&agent.key, &place("1")).await.unwrap();
    store.agents().remove_agent(&agent.key).await.unwrap();
    store.agents().upsert_agent(&agent, Wall(2)).await.unwrap();
    assert!(store.followed(&agent.key).await.unwrap().is_empty());
}

pub(crate) async fn feeds_of_groups_are_apart(store: Arc<impl Subject>) {
    let other = GroupId::new("h").unwrap();
    store.append(vec![posted(1, "1", Some(9), "alice"), guest(2, "a@b.c")]).await.unwrap();
    let elsewhere = |event: Event| Event { group: other.clone(), ..event };
    let events = vec![elsewhere(posted(3, "1", Some(9), "alice")), elsewhere(guest(4, "a@b.c"))];
    store.append(events).await.unwrap();
    assert_eq!(all(&*store, "1").await, [1]);
    assert!(store.post(&other, id(1).unwrap()).await.unwrap().is_none());
    for group in [gid(), other] {
        assert_eq!(store.leads(&group, 0, 10).await.unwrap().len(), 1);
    }
}

pub(crate) async fn an_email_becomes_a_lead_once(store: Arc<impl Subject>) {
    let spellings = |number: u64| match number % 3 {
        0 => format!("Guest{}@Example.com", number % 10),
        1 => format!("guest{}@example.com", number % 10),
        _ => format!("GUEST{}@EXAMPLE.COM", number % 10),
    };
    let joins = (1..=1_000).map(|number| {
        let (store, event) = (Arc::clone(&store), guest(number, &spellings(number)));
        tokio::spawn(async move { store.append(vec![event]).await.unwrap() })
    });
    for join in joins.collect::<Vec<_>>() {
        join.await.unwrap();
    }
    let leads = store.leads(&gid(), 0, 100).await.unwrap();
    assert_eq!(leads.len(), 10);
    let page = store.read(&gid(), After::Start).await.unwrap();
    assert_eq!(page.events.iter().filter(|told| told.event.what.kind() == Kind::LeadCreated).count(), 10);
    let none = Retention { age: std::time::Duration::ZERO, count: 0 };
    store.trim(&gid(), none, Wall(10_000)).await.unwrap();
    store.append(vec![guest(2_000, "guest1@example.com")]).await.unwrap();
    assert_eq!(store.leads(&gid(), 0, 100).await.unwrap(), leads, "for ever");
}

pub(crate) async fn leads_come_in_pages(store: Arc<impl Subject>) {
    store.append((1..=5).map(|number| guest(number, &format!("{number}@b.c"))).collect()).await.unwrap();
    let first = store.leads(&gid(), 0, 3).await.unwrap();
    let rest = store.leads(&gid(), first[2].number, 3).await.unwrap();
    let emails: Vec<&str> = first.iter().chain(&rest).map(|row| row.lead.email.as_str()).collect();
    assert_eq!(emails, ["1@b.c", "2@b.c", "3@b.c", "4@b.c", "5@b.c"]);
    assert_eq!(first[0].session, Some(SessionId::from_u128(1)));
    assert_eq!(first[0].at, Wall(1));
}
