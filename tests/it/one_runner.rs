//! Of several nodes one runs the sync and hands things over; when it goes another goes on where it was, and whatever
//! is asked of any of them reaches it.

use std::collections::BTreeSet;
use std::time::Duration;

use porchlight::config::Secret;
use porchlight::model::event::What;
use porchlight::pb::v1;
use porchlight::redis::lease::key;
use tonic::Code;

use crate::common::redis::Redis;
use crate::common::site::DEMO;
use crate::common::{Site, within};
use crate::sinks::{Admin, Receiver, event, records, session, webhook};

async fn node(redis: &Redis) -> Site {
    let url = redis.url();
    Site::with(|config| {
        config.redis.url = Some(Secret::from(url));
        config.sinks.allow = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

/// The owner of the runner's lease, once there is one other than this.
async fn runner(redis: &Redis, other_than: &str) -> String {
    let mut connection = redis.connect().await;
    within("a runner", async {
        loop {
            let owner: Option<String> =
                redis::cmd("GET").arg(key("runner", "owner")).query_async(&mut connection).await.unwrap();
            match owner {
                Some(owner) if owner != other_than => return owner,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

/// Appends one event at a node and says by which name a webhook knows it.
async fn pause(site: &Site) -> String {
    let event = event(None, What::Paused);
    let id = format!("evt_{}", event.id);
    site.running.stores.events.append(vec![event]).await.unwrap();
    id
}

#[tokio::test]
async fn two_nodes_hand_each_letter_over_once() {
    let redis = Redis::start().await;
    let (first, mut receiver) = (node(&redis).await, Receiver::start(&[]).await);
    runner(&redis, "").await;
    let second = node(&redis).await;
    // Put at the node that does not run the sync, which tells the other.
    let made = Admin::at(&second).await.put(webhook(receiver.url()), false).await;
    for _ in 0..10 {
        for site in [&first, &second] {
            let id = pause(site).await;
            let got = receiver.next().await;
            assert_eq!(got.id(), id);
            assert!(got.is_signed_with(&made.secret));
        }
    }
    receiver.expect_nothing_more();
}

#[tokio::test]
async fn when_the_runner_stops_another_goes_on_where_it_was() {
    let redis = Redis::start().await;
    let (mut first, mut receiver) = (node(&redis).await, Receiver::start(&[]).await);
    let owner = runner(&redis, "").await;
    let second = node(&redis).await;
    Admin::at(&second).await.put(webhook(receiver.url()), false).await;
    let mut ids = Vec::new();
    let mut got = Vec::new();
    for _ in 0..40 {
        ids.push(pause(&second).await);
    }
    while got.len() < 10 {
        got.push(receiver.next().await.id().to_owned());
    }
    first.running.force();
    within("the end of a node", first.running.wait()).await.unwrap();
    assert_ne!(runner(&redis, &owner).await, owner);
    for _ in 0..10 {
        ids.push(pause(&second).await);
    }
    while got.last() != ids.last() {
        got.push(receiver.next().await.id().to_owned());
    }
    // The letter that was under way came again, under its name.
    assert!(got.len() <= ids.len() + 1, "{} of {}", got.len(), ids.len());
    got.dedup();
    assert_eq!(got, ids);
    receiver.expect_nothing_more();
}

#[tokio::test]
async fn a_node_whose_lease_is_taken_away_stops_until_it_has_it_again() {
    let redis = Redis::start().await;
    let (site, mut receiver) = (node(&redis).await, Receiver::start(&[]).await);
    runner(&redis, "").await;
    Admin::at(&site).await.put(webhook(receiver.url()), false).await;
    let mut ids = vec![pause(&site).await];
    assert_eq!(receiver.next().await.id(), ids[0]);
    let mut connection = redis.connect().await;
    let mut steal = redis::cmd("SET");
    steal.arg(key("runner", "owner")).arg("somebody else");
    let _: String = steal.query_async(&mut connection).await.unwrap();
    // Once its turn is over, what is asked lies where another node would take it.
    let mut admin = Admin::at(&site).await;
    within("the end of its turn", async {
        loop {
            let message = v1::TestSinkRequest {
                group: DEMO.into(),
                sink_id: "crm".into(),
                ..v1::TestSinkRequest::default()
            };
            let request = admin.with_key(message);
            let asking = admin.client.test_sink(request);
            tokio::pin!(asking);
            let laid = async {
                loop {
                    let mut look = redis::cmd("EXISTS");
                    look.arg(key("runner", "asked"));
                    if look.query_async::<bool>(&mut connection).await.unwrap() {
                        return;
                    }
                }
            };
            tokio::select! {
                // It may end while it asks, and then says so.
                asked = &mut asking => if let Err(refused) = asked {
                    assert_eq!(refused.code(), Code::Unavailable);
                },
                () = laid => return,
            }
        }
    })
    .await;
    ids.push(pause(&site).await);
    let _: u64 = redis::cmd("DEL").arg(key("runner", "owner")).query_async(&mut connection).await.unwrap();
    loop {
        let got = receiver.next().await;
        if got.id() == ids[1] {
            break;
        }
    }
}

#[tokio::test]
async fn any_node_may_be_asked() {
    let redis = Redis::start().await;
    let (mut first, mut receiver) = (node(&redis).await, Receiver::start(&[]).await);
    let owner = runner(&redis, "").await;
    let second = node(&redis).await;
    let mut admins = [Admin::at(&first).await, Admin::at(&second).await];
    admins[1].put(records(webhook(receiver.url())), false).await;
    let mut runs = BTreeSet::new();
    for admin in &mut admins {
        let (ended, events) = session();
        first.running.stores.events.append(events).await.unwrap();
        let run = admin.sync().await;
        assert_eq!((run.cause(), run.sinks[0].count, run.lost), (v1::SyncCause::Asked, 1, false));
        assert!(runs.insert(run.run_id));
        assert_eq!(receiver.next().await.id(), format!("rec_{ended}"));
        assert_eq!(admin.test("crm").await, "");
        assert!(receiver.next().await.id().starts_with("tst_"));
        let message = v1::ReplayDeadLettersRequest {
            group: DEMO.into(),
            sink_id: "crm".into(),
            ..v1::ReplayDeadLettersRequest::default()
        };
        let request = admin.with_key(message);
        let replayed = within("a replay", admin.client.replay_dead_letters(request)).await.unwrap();
        assert_eq!((replayed.get_ref().delivered, replayed.get_ref().left), (0, 0));
    }
    first.running.force();
    within("the end of a node", first.running.wait()).await.unwrap();
    runner(&redis, &owner).await;
    assert!(admins[1].sync().await.sinks[0].error.is_empty());
    receiver.expect_nothing_more();
}

#[tokio::test]
async fn where_nobody_runs_the_sync_it_is_unavailable() {
    let redis = Redis::start().await;
    let mut taken = redis::cmd("SET");
    taken.arg(key("runner", "owner")).arg("somebody else");
    let _: String = taken.query_async(&mut redis.connect().await).await.unwrap();
    let site = node(&redis).await;
    let admin = Admin::at(&site).await;
    let (mut run, mut client) = (admin.client.clone(), admin.client.clone());
    let now = v1::SyncNowRequest { group: DEMO.into(), ..v1::SyncNowRequest::default() };
    let refused = tokio::time::timeout(Duration::from_secs(120), run.sync_now(admin.with_key(now))).await;
    assert_eq!(refused.expect("it is bounded").unwrap_err().code(), Code::Unavailable);
    let list = v1::ListSinksRequest { group: DEMO.into() };
    assert!(client.list_sinks(admin.with_key(list)).await.is_ok(), "the rest goes on");
}
