//! Redis in its other shapes: over TLS, behind Sentinels, as a cluster. What was acknowledged goes on when servers
//! change places, and what they lost meanwhile is told.

use std::time::Duration;

use porchlight::clock::Wall;
use porchlight::config::Secret;
use porchlight::ids::{EventId, GroupId, SessionId};
use porchlight::model::event::{Actor, Event, What};
use porchlight::store::EventLog;
use porchlight::store::events::After;
use redis::aio::MultiplexedConnection;

use crate::common::redis::cluster::RedisCluster;
use crate::common::redis::sentinels::{MASTER, Sentinels};
use crate::common::redis::tls::RedisTls;
use crate::common::site::group_id;
use crate::common::{Site, http};

/// Longer than a failover takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn event(group: &GroupId, number: u64) -> Event {
    Event {
        id: EventId::from_u128(u128::from(number)),
        group: group.clone(),
        at: Wall(number),
        session: Some(SessionId::from_u128(7)),
        request: None,
        actor: Actor::Server,
        record: None,
        what: What::Paused,
    }
}

/// Appends an event until that is acknowledged, as the server does; returns its sequence.
async fn append(log: &dyn EventLog, group: &GroupId, number: u64) -> u64 {
    let mut refused = None;
    let appended = async {
        loop {
            match log.append(vec![event(group, number)]).await {
                Ok(sequences) => return sequences[0],
                Err(error) => refused = Some(error),
            }
            tokio::task::yield_now().await;
        }
    };
    let appended = tokio::time::timeout(PATIENCE, appended).await;
    appended.unwrap_or_else(|_| panic!("event {number} of {group}: {refused:?}"))
}

/// Whether a page goes on from where its reader was, and its sequences.
async fn read(log: &dyn EventLog, group: &GroupId, after: u64) -> (bool, Vec<u64>) {
    let page = log.read(group, After::Sequence(after)).await.unwrap();
    (page.recovered, page.events.iter().map(|logged| logged.sequence).collect())
}

/// Waits for a fact.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

async fn length(connection: &mut MultiplexedConnection, group: &GroupId) -> u64 {
    let key = format!("pl:{{{group}}}:events");
    redis::cmd("XLEN").arg(key).query_async(connection).await.unwrap_or_default()
}

/// Waits until probes are told that the log is fine.
async fn is_fine(site: &Site) {
    let fine = r#""events":{"status":"ok"}"#;
    until("the log is fine", async || {
        http::get(site.running.ops, "/readyz?verbose").await.body.contains(fine)
    })
    .await;
}

#[tokio::test]
async fn the_log_is_kept_over_tls() {
    let redis = RedisTls::start().await;
    let site = Site::with(|config| {
        config.redis.url = Some(Secret::from(redis.url()));
        config.redis.tls_ca = Some(redis.file("ca.pem"));
        config.redis.tls_cert = Some(redis.file("client.pem"));
        config.redis.tls_key = Some(redis.file("client.key"));
        assert_eq!(config.check(), []);
    })
    .await;
    let (log, group) = (&*site.running.stores.events, group_id("other"));
    let mut newest = log.newest(&group);
    assert_eq!(append(log, &group, 1).await, 1);
    newest.wait_for(|newest| *newest == 1).await.unwrap();
    assert_eq!(read(log, &group, 0).await, (true, vec![1]));
}

#[tokio::test]
async fn the_log_goes_on_with_the_primary_that_sentinels_choose() {
    let mut all = Sentinels::start().await;
    let site = Site::with(|config| {
        config.redis.sentinels = all.nodes();
        config.redis.master = Some(MASTER.to_owned());
    })
    .await;
    let (log, group) = (&*site.running.stores.events, group_id("other"));
    let mut newest = log.newest(&group);
    for number in 1..=5 {
        assert_eq!(append(log, &group, number).await, number);
    }
    let mut replica = all.connect(1).await;
    until("it has a copy", async || length(&mut replica, &group).await == 5).await;
    // What is acknowledged from here on, the replica does not get.
    all.pause(1);
    let mut primary = all.connect(0).await;
    let mut cut = redis::cmd("CLIENT");
    let _cut: u64 = cut.arg("KILL").arg("TYPE").arg("replica").query_async(&mut primary).await.unwrap();
    for number in 6..=8 {
        assert_eq!(append(log, &group, number).await, number);
    }
    all.kill(0);
    all.resume(1);
    assert_eq!(append(log, &group, 9).await, 9, "no sequence is given twice");
    all.promoted(1).await;
    assert_eq!(read(log, &group, 3).await, (true, vec![4, 5]), "what the new primary has is there");
    assert_eq!(read(log, &group, 5).await, (false, vec![9]), "what it lost is told");
    assert_eq!(read(log, &group, 7).await, (false, vec![9]), "to whoever read it, too");
    tokio::time::timeout(PATIENCE, newest.wait_for(|newest| *newest == 9)).await.unwrap().unwrap();
    is_fine(&site).await;
    let metrics = http::get(site.running.ops, "/metrics").await.body;
    let again =
        metrics.lines().find(|line| line.starts_with("porchlight_redis_connects_total{use=\"commands\"}"));
    let again: u64 = again.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(again >= 2, "it was connected to again: {again}");
    assert!(metrics.contains("porchlight_redis_failures_total{kind=\"away\"}"), "{metrics}");
    assert!(metrics.contains("porchlight_redis_answered_timestamp_seconds"));
}

#[tokio::test]
async fn the_log_goes_on_while_slots_move_and_a_primary_of_a_cluster_dies() {
    let mut all = RedisCluster::with_replicas(3, 1).await;
    let site = Site::with(|config| config.redis.cluster = all.nodes()).await;
    let log = &*site.running.stores.events;
    // A group at each primary.
    let mut groups: [Option<GroupId>; 3] = Default::default();
    for number in 0.. {
        let group = group_id(&format!("g{number}"));
        let home = all.home(&format!("pl:{{{group}}}:events")).await.1;
        groups[home].get_or_insert(group);
        if groups.iter().all(Option::is_some) {
            break;
        }
    }
    let [mortal, moving, third] = groups.map(Option::unwrap);
    let mut newest = [&mortal, &moving, &third].map(|group| log.newest(group));

    let (slot, from) = all.home(&format!("pl:{{{moving}}}:events")).await;
    let moved = &std::cell::Cell::new(false);
    let appending = async {
        let mut number = 0;
        while !moved.get() || number < 100 {
            number += 1;
            assert_eq!(append(log, &moving, number).await, number);
        }
        number
    };
    let moves = async {
        all.move_slot(slot, from, 2).await;
        all.move_slot(slot, 2, from).await;
        all.move_slot(slot, from, 2).await;
        moved.set(true);
    };
    let (last, ()) = tokio::join!(appending, moves);
    let mut after = 0;
    while after < last {
        let (recovered, sequences) = read(log, &moving, after).await;
        assert!(recovered && sequences[0] == after + 1 && !sequences.is_empty());
        after = *sequences.last().unwrap();
    }

    for number in 1..=20 {
        append(log, &mortal, number).await;
        append(log, &third, number).await;
    }
    let mut replica = all.connect(3).await;
    let readonly = redis::cmd("READONLY");
    let _: () = readonly.query_async(&mut replica).await.unwrap();
    until("it has a copy", async || length(&mut replica, &mortal).await == 20).await;
    all.kill(0);
    // The others are not held up, and the dead one's replica takes its place.
    assert_eq!(append(log, &third, 21).await, 21);
    assert_eq!(append(log, &mortal, 21).await, 21);
    assert_eq!(read(log, &mortal, 0).await, (true, (1..=21).collect()));
    for (newest, last) in newest.iter_mut().zip([21, last, 21]) {
        tokio::time::timeout(PATIENCE, newest.wait_for(|newest| *newest == last)).await.unwrap().unwrap();
    }
    all.revive(0).await;
    is_fine(&site).await;
    assert_eq!(append(log, &mortal, 22).await, 22);
}
