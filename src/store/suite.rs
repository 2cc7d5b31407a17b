//! The obligations of every [`Store`], as tests over a factory. [`obligations!`] runs them all.

use std::sync::Arc;

use super::{Agent, AgentsPage, CallKey, CallRow, Store, StoreError};
use crate::auth::password::PasswordHash;
use crate::clock::Wall;
use crate::ids::{AgentId, AgentKey, GroupId, KeyId};
use crate::limits;
use crate::model::settings::Settings;

/// Declares a test per obligation: `obligations!(name, async || (store, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::store::suite::obligations!(@each $fresh;
                groups_are_created_once, settings_change_only_from_the_version_read,
                changes_are_listed_newest_first, agents_are_found_by_every_name,
                agents_are_kept_apart_by_group, addresses_and_partner_ids_are_unique,
                describing_an_agent_keeps_its_credentials, passwords_come_and_go,
                generations_never_go_back, api_keys_live_once, times_of_use_go_forward,
                nothing_exists_without_a_group, concurrent_writers_do_not_lose_a_change,
                a_failed_write_leaves_nothing, a_long_history_comes_in_parts,
                agents_are_read_page_by_page, calls_are_remembered_by_caller,
                calls_are_forgotten_after_their_day, calls_of_a_group_are_bounded, a_closed_store_refuses);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            #[tokio::test]
            async fn $obligation() {
                let (store, _keep) = ($fresh)().await;
                crate::store::suite::$obligation(std::sync::Arc::new(store)).await;
            }
        )*
    };
}
pub(crate) use obligations;

type Subject = Arc<dyn Store>;

fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn key(group: &str, agent: &str) -> AgentKey {
    AgentKey { group: gid(group), agent: AgentId::new(agent).unwrap() }
}

fn kid(name: &str) -> KeyId {
    KeyId::new(name).unwrap()
}

fn agent(group: &str, id: &str) -> Agent {
    Agent {
        key: key(group, id),
        address: format!("{id}@x"),
        partner_user_id: Some(format!("p-{id}")),
        name: id.to_uppercase(),
        profile: Some("Support".to_owned()),
        subscription: None,
        fixed_key: None,
    }
}

fn graced(seconds: u32) -> Settings {
    Settings { grace_seconds: seconds, ..Settings::default() }
}

/// A hash in the right form; that it fits no password does not matter to a store.
fn hash(salt: &str) -> PasswordHash {
    let text = format!("$argon2id$v=19$m=19456,t=2,p=1${salt}$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    PasswordHash::parse(&text).unwrap()
}

async fn with_groups(store: &Subject, groups: &[&str]) {
    for group in groups {
        store.put_group(&gid(group), &Settings::default(), None, "setup", Wall(1)).await.unwrap();
    }
}

pub(crate) async fn groups_are_created_once(store: Subject) {
    assert!(store.groups().await.unwrap().is_empty());
    assert!(store.group(&gid("a")).await.unwrap().is_none());
    assert_eq!(store.put_group(&gid("a"), &graced(7), None, "op", Wall(5)).await.unwrap(), 1);
    let row = store.group(&gid("a")).await.unwrap().unwrap();
    assert_eq!((row.version, row.created_at, &row.settings), (1, Wall(5), &graced(7)));
    assert!(matches!(
        store.put_group(&gid("a"), &graced(8), None, "op", Wall(6)).await,
        Err(StoreError::Conflict { expected: None, actual: Some(1), .. })
    ));
    assert_eq!(store.groups().await.unwrap(), [row]);
}

pub(crate) async fn settings_change_only_from_the_version_read(store: Subject) {
    with_groups(&store, &["a"]).await;
    assert_eq!(store.put_group(&gid("a"), &graced(9), Some(1), "op", Wall(6)).await.unwrap(), 2);
    for stale in [Some(1), Some(3)] {
        assert!(matches!(
            store.put_group(&gid("a"), &graced(1), stale, "op", Wall(7)).await,
            Err(StoreError::Conflict { actual: Some(2), .. })
        ));
    }
    assert!(matches!(
        store.put_group(&gid("b"), &graced(1), Some(1), "op", Wall(7)).await,
        Err(StoreError::Conflict { actual: None, .. })
    ));
    let row = store.group(&gid("a")).await.unwrap().unwrap();
    assert_eq!((row.version, row.settings.grace_seconds, row.created_at), (2, 9, Wall(1)));
}

pub(crate) async fn changes_are_listed_newest_first(store: Subject) {
    with_groups(&store, &["a", "b"]).await;
    store.put_group(&gid("a"), &graced(2), Some(1), "alice", Wall(20)).await.unwrap();
    store.put_group(&gid("a"), &graced(3), Some(2), "bob", Wall(30)).await.unwrap();
    let list = store.settings_changes(&gid("a"), None, usize::MAX).await.unwrap();
    assert_eq!(list.iter().map(|c| c.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((list[0].by.as_str(), list[0].at), ("bob", Wall(30)));
    assert_eq!((list[0].before.as_ref(), &list[0].after), (Some(&graced(2)), &graced(3)));
    assert!(list[2].before.is_none());
    let earlier = store.settings_changes(&gid("a"), Some(3), usize::MAX).await.unwrap();
    assert_eq!(earlier, list[1..]);
    for version in 3..limits::SETTINGS_CHANGES as u64 + 5 {
        store.put_group(&gid("a"), &graced(3), Some(version), "bob", Wall(40)).await.unwrap();
    }
    assert_eq!(
        store.settings_changes(&gid("a"), None, usize::MAX).await.unwrap().len(),
        limits::SETTINGS_CHANGES
    );
    assert_eq!(store.settings_changes(&gid("b"), None, usize::MAX).await.unwrap().len(), 1);
}

pub(crate) async fn agents_are_found_by_every_name(store: Subject) {
    with_groups(&store, &["a"]).await;
    let alice = store.upsert_agent(&agent("a", "alice"), Wall(3)).await.unwrap();
    assert_eq!((&alice.agent, alice.generation, alice.created_at), (&agent("a", "alice"), 0, Wall(3)));
    assert!(alice.password.is_none());
    store.upsert_agent(&agent("a", "bob"), Wall(4)).await.unwrap();
    let wanted = Some(alice.clone());
    assert_eq!(store.agent(&key("a", "alice")).await.unwrap(), wanted);
    assert_eq!(store.agent_by_address(&gid("a"), "alice@x").await.unwrap(), wanted);
    assert_eq!(store.agent_by_partner(&gid("a"), "p-alice").await.unwrap(), wanted);
    assert_eq!(store.agent_by_address(&gid("a"), "ALICE@x").await.unwrap(), None);
    assert_eq!(store.agent_by_address(&gid("a"), "%").await.unwrap(), None);
    let ids: Vec<_> = store.agents(&gid("a")).await.unwrap().into_iter().map(|r| r.agent.key.agent).collect();
    assert_eq!(ids, [key("a", "alice").agent, key("a", "bob").agent]);
}

pub(crate) async fn agents_are_kept_apart_by_group(store: Subject) {
    with_groups(&store, &["a", "b"]).await;
    store.upsert_agent(&agent("a", "alice"), Wall(3)).await.unwrap();
    assert!(store.agent(&key("b", "alice")).await.unwrap().is_none());
    assert!(store.agent_by_address(&gid("b"), "alice@x").await.unwrap().is_none());
    assert!(store.agent_by_partner(&gid("b"), "p-alice").await.unwrap().is_none());
    assert!(store.agents(&gid("b")).await.unwrap().is_empty());
    store.upsert_agent(&agent("b", "alice"), Wall(3)).await.unwrap();
    assert!(store.remove_agent(&key("b", "alice")).await.unwrap());
    assert!(store.agent(&key("a", "alice")).await.unwrap().is_some());
}

pub(crate) async fn addresses_and_partner_ids_are_unique(store: Subject) {
    with_groups(&store, &["a"]).await;
    store.upsert_agent(&agent("a", "alice"), Wall(3)).await.unwrap();
    let same_address = Agent { address: "alice@x".to_owned(), ..agent("a", "bob") };
    let taken = store.upsert_agent(&same_address, Wall(4)).await;
    assert!(matches!(taken, Err(StoreError::Taken { what: "address" })), "{taken:?}");
    let same_partner = Agent { partner_user_id: Some("p-alice".to_owned()), ..agent("a", "bob") };
    let taken = store.upsert_agent(&same_partner, Wall(4)).await;
    assert!(matches!(taken, Err(StoreError::Taken { what: "partner user id" })), "{taken:?}");
    for id in ["c", "d"] {
        let without = Agent { partner_user_id: None, ..agent("a", id) };
        store.upsert_agent(&without, Wall(4)).await.unwrap();
    }
}

pub(crate) async fn describing_an_agent_keeps_its_credentials(store: Subject) {
    with_groups(&store, &["a"]).await;
    store.upsert_agent(&agent("a", "alice"), Wall(3)).await.unwrap();
    store.set_password(&key("a", "alice"), Some(hash("c2FsdHNhbHQ"))).await.unwrap();
    let renamed =
        Agent { name: "Alice A.".to_owned(), profile: None, fixed_key: Some(Wall(5)), ..agent("a", "alice") };
    let row = store.upsert_agent(&renamed, Wall(9)).await.unwrap();
    assert_eq!(row.agent, renamed);
    assert_eq!(store.agent(&key("a", "alice")).await.unwrap().unwrap().agent, renamed);
    assert_eq!((row.password, row.generation, row.created_at), (Some(hash("c2FsdHNhbHQ")), 1, Wall(3)));
}

pub(crate) async fn passwords_come_and_go(store: Subject) {
    with_groups(&store, &["a"]).await;
    assert!(store.set_password(&key("a", "alice"), Some(hash("c2FsdHNhbHQ"))).await.unwrap().is_none());
    store.upsert_agent(&agent("a", "alice"), Wall(3)).await.unwrap();
    let set = store.set_password(&key("a", "alice"), Some(hash("c2FsdHNhbHQ"))).await.unwrap().unwrap();
    assert_eq!((set.password, set.generation), (Some(hash("c2FsdHNhbHQ")), 1));
    let gone = store.set_password(&key("a", "alice"), None).await.unwrap().unwrap();
    assert_eq!((gone.password, gone.generation), (None, 2));
    assert!(store.agent(&key("a", "alice")).await.unwrap().is_some(), "the agent stays");
}

pub(crate) async fn generations_never_go_back(store: Subject) {
    with_groups(&store, &["a", "b"]).await;
    for (group, id) in [("a", "alice"), ("a", "bob"), ("b", "alice")] {
        store.upsert_agent(&agent(group, id), Wall(3)).await.unwrap();
    }
    let generation =
        async |group: &str, id: &str| store.agent(&key(group, id)).await.unwrap().map(|row| row.generation);
    store.revoke_tokens(&gid("a"), Some(&key("a", "alice").agent)).await.unwrap();
    assert_eq!(generation("a", "alice").await, Some(1));
    assert_eq!(generation("a", "bob").await, Some(0));
    store.revoke_tokens(&gid("a"), None).await.unwrap();
    assert_eq!(generation("a", "alice").await, Some(2));
    assert_eq!(generation("a", "bob").await, Some(1));
    assert_eq!(generation("b", "alice").await, Some(0));
    assert!(store.remove_agent(&key("a", "alice")).await.unwrap());
    assert!(!store.remove_agent(&key("a", "alice")).await.unwrap());
    assert_eq!(generation("a", "alice").await, None);
    let back = store.upsert_agent(&agent("a", "alice"), Wall(4)).await.unwrap();
    assert_eq!(back.generation, 3, "an old token does not fit the new agent");
}

pub(crate) async fn api_keys_live_once(store: Subject) {
    with_groups(&store, &["a", "b"]).await;
    let first = store.insert_api_key(&gid("a"), &kid("k1"), "site", Wall(1)).await.unwrap();
    let second = store.insert_api_key(&gid("a"), &kid("k2"), "", Wall(2)).await.unwrap();
    assert_eq!(store.api_keys(&gid("a")).await.unwrap(), [first.clone(), second]);
    assert!(store.api_keys(&gid("b")).await.unwrap().is_empty());
    assert!(!store.revoke_api_key(&gid("b"), &kid("k1"), Wall(3)).await.unwrap());
    assert!(store.revoke_api_key(&gid("a"), &kid("k1"), Wall(3)).await.unwrap());
    assert!(store.revoke_api_key(&gid("a"), &kid("k1"), Wall(9)).await.unwrap());
    let keys = store.api_keys(&gid("a")).await.unwrap();
    assert_eq!((keys[0].revoked_at, keys[1].revoked_at), (Some(Wall(3)), None));
    let taken = store.insert_api_key(&gid("a"), &kid("k1"), "again", Wall(4)).await;
    assert!(matches!(taken, Err(StoreError::Taken { what: "key id" })), "{taken:?}");
}

pub(crate) async fn times_of_use_go_forward(store: Subject) {
    with_groups(&store, &["a"]).await;
    store.insert_api_key(&gid("a"), &kid("k"), "", Wall(1)).await.unwrap();
    for (at, wanted) in [(50, 50), (40, 50), (60, 60)] {
        store.touch_api_key(&gid("a"), &kid("k"), Wall(at)).await.unwrap();
        assert_eq!(store.api_keys(&gid("a")).await.unwrap()[0].last_used_at, Some(Wall(wanted)));
    }
    store.touch_api_key(&gid("a"), &kid("unknown"), Wall(1)).await.unwrap();
}

pub(crate) async fn nothing_exists_without_a_group(store: Subject) {
    let missing = store.upsert_agent(&agent("a", "alice"), Wall(3)).await;
    assert!(matches!(missing, Err(StoreError::NoGroup(_))), "{missing:?}");
    let missing = store.insert_api_key(&gid("a"), &kid("k"), "", Wall(1)).await;
    assert!(matches!(missing, Err(StoreError::NoGroup(_))), "{missing:?}");
}

pub(crate) async fn concurrent_writers_do_not_lose_a_change(store: Subject) {
    with_groups(&store, &["a"]).await;
    let writers: Vec<_> = (0..16)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                loop {
                    let seen = store.group(&gid("a")).await.unwrap().unwrap().version;
                    match store.put_group(&gid("a"), &graced(n), Some(seen), "w", Wall(2)).await {
                        Ok(version) => break version,
                        Err(StoreError::Conflict { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=17).collect::<Vec<_>>());
}

pub(crate) async fn a_failed_write_leaves_nothing(store: Subject) {
    with_groups(&store, &["a"]).await;
    let (id, one, two) = (gid("a"), graced(1), graced(2));
    let (bad, good) = tokio::join!(
        store.put_group(&id, &one, Some(9), "op", Wall(2)),
        store.put_group(&id, &two, Some(1), "op", Wall(2)),
    );
    assert!(bad.is_err());
    assert_eq!(good.unwrap(), 2, "a neighbour of the same batch is not undone");
    assert_eq!(store.settings_changes(&gid("a"), None, usize::MAX).await.unwrap().len(), 2);
}

pub(crate) async fn a_long_history_comes_in_parts(store: Subject) {
    let mut long = Settings::default();
    long.permission_set.user = (0..8_000).map(|n| AgentId::new(&format!("{n:0128}")).unwrap()).collect();
    store.put_group(&gid("a"), &long, None, "op", Wall(1)).await.unwrap();
    store.put_group(&gid("a"), &graced(1), Some(1), "op", Wall(1)).await.unwrap();
    for version in 2..=4 {
        store.put_group(&gid("a"), &long, Some(version), "op", Wall(1)).await.unwrap();
    }
    let versions = async |before, most| {
        let found = store.settings_changes(&gid("a"), before, most).await.unwrap();
        found.iter().map(|change| change.version).collect::<Vec<_>>()
    };
    assert_eq!(versions(None, usize::MAX).await, [5], "enough bytes");
    assert_eq!(versions(Some(4), usize::MAX).await, [3, 2]);
    assert_eq!(versions(Some(3), 1).await, [2]);
    assert_eq!(versions(Some(1), 1).await, [0; 0]);
}

pub(crate) async fn agents_are_read_page_by_page(store: Subject) {
    with_groups(&store, &["a", "b"]).await;
    for id in ["a1", "a2", "a3", "a4"] {
        store.upsert_agent(&agent("a", id), Wall(3)).await.unwrap();
    }
    store.upsert_agent(&agent("b", "b1"), Wall(3)).await.unwrap();
    for id in ["a1", "a3"] {
        store.set_password(&key("a", id), Some(hash("c2FsdHNhbHQ"))).await.unwrap();
    }
    let ids = async |after: Option<&str>, with_password, most| {
        let after = after.map(|id| AgentId::new(id).unwrap());
        let page = AgentsPage { after, with_password, most };
        let rows = store.agents_page(&gid("a"), page).await.unwrap();
        rows.into_iter().map(|row| row.agent.key.agent.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, false, 3).await, ["a1", "a2", "a3"]);
    assert_eq!(ids(Some("a3"), false, 3).await, ["a4"]);
    assert_eq!(ids(Some("a2x"), false, 1).await, ["a3"], "behind one that is gone");
    assert_eq!(ids(None, true, 9).await, ["a1", "a3"]);
    assert_eq!(ids(Some("a1"), true, 9).await, ["a3"]);
}

fn call(group: Option<&str>, caller: &str, id: &str, at: u64) -> CallRow {
    let key = CallKey { group: group.map(gid), caller: caller.to_owned(), request_id: id.to_owned() };
    CallRow { key, digest: [7; 32], answer: vec![0, 1, 255], at: Wall(at) }
}

pub(crate) async fn calls_are_remembered_by_caller(store: Subject) {
    let first = call(Some("a"), "key k1", "r1", 5);
    store.remember_call(&first, Wall(0)).await.unwrap();
    assert_eq!(store.call(&first.key, Wall(5)).await.unwrap().as_ref(), Some(&first));
    let others = [
        call(Some("a"), "key k1", "r2", 5),
        call(Some("a"), "key k2", "r1", 5),
        call(Some("b"), "key k1", "r1", 5),
        call(None, "key k1", "r1", 5),
    ];
    for other in &others {
        assert!(store.call(&other.key, Wall(0)).await.unwrap().is_none(), "{other:?}");
        store.remember_call(&CallRow { answer: Vec::new(), ..other.clone() }, Wall(0)).await.unwrap();
    }
    assert_eq!(store.call(&first.key, Wall(0)).await.unwrap(), Some(first));
    assert_eq!(store.call(&others[3].key, Wall(0)).await.unwrap().unwrap().answer, [0; 0]);
}

pub(crate) async fn calls_are_forgotten_after_their_day(store: Subject) {
    let (old, other) = (call(Some("a"), "key k", "r", 5), call(None, "operator", "r", 6));
    store.remember_call(&old, Wall(0)).await.unwrap();
    assert!(store.call(&old.key, Wall(6)).await.unwrap().is_none(), "too old to be told");
    store.remember_call(&other, Wall(6)).await.unwrap();
    assert!(store.call(&old.key, Wall(0)).await.unwrap().is_none(), "gone");
    assert!(store.call(&other.key, Wall(0)).await.unwrap().is_some());
    let anew = CallRow { digest: [8; 32], ..call(None, "operator", "r", 9) };
    store.remember_call(&anew, Wall(0)).await.unwrap();
    assert_eq!(store.call(&anew.key, Wall(0)).await.unwrap(), Some(anew));
}

pub(crate) async fn calls_of_a_group_are_bounded(store: Subject) {
    let theirs = call(Some("b"), "key k", "r", 1);
    store.remember_call(&theirs, Wall(0)).await.unwrap();
    let row = |n: usize| call(Some("a"), "key k", &n.to_string(), 1);
    let mut writes = futures_util::stream::FuturesUnordered::new();
    for n in 0..=limits::CALLS_REMEMBERED {
        let (store, row) = (Arc::clone(&store), row(n));
        if n == 1 {
            // The first is in before the others are on their way.
            while let Some(()) = futures_util::StreamExt::next(&mut writes).await {}
        }
        writes.push(async move { store.remember_call(&row, Wall(0)).await.unwrap() });
        // As many at once as one writer takes in its time.
        if writes.len() >= 500 {
            while let Some(()) = futures_util::StreamExt::next(&mut writes).await {}
        }
    }
    while let Some(()) = futures_util::StreamExt::next(&mut writes).await {}
    assert!(store.call(&row(0).key, Wall(0)).await.unwrap().is_none(), "the oldest went");
    assert!(store.call(&row(limits::CALLS_REMEMBERED).key, Wall(0)).await.unwrap().is_some());
    assert!(store.call(&theirs.key, Wall(0)).await.unwrap().is_some(), "another group's stays");
}

pub(crate) async fn a_closed_store_refuses(store: Subject) {
    with_groups(&store, &["a"]).await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.groups().await, Err(StoreError::Closed)));
    let late = store.put_group(&gid("b"), &Settings::default(), None, "op", Wall(2)).await;
    assert!(matches!(late, Err(StoreError::Closed)));
}
