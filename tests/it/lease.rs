//! Of all who want a lease one holds it, and knows by its own clock when it does not any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use porchlight::redis::lease::{Lease, Timing, key};

use crate::common::redis::Redis;
use crate::common::within;

const QUICK: Timing = Timing {
    life: Duration::from_secs(3),
    renew: Duration::from_millis(200),
    margin: Duration::from_secs(1),
    retry: Duration::from_millis(20),
};

async fn lease(redis: &Redis) -> Lease {
    Lease::hold_with(redis.link().await, "x", QUICK)
}

async fn ask<T: redis::FromRedisValue>(redis: &Redis, args: &[&str]) -> T {
    redis::cmd(args[0]).arg(&args[1..]).query_async(&mut redis.connect().await).await.unwrap()
}

#[tokio::test]
async fn one_holds_it_at_a_time_and_its_numbers_grow() {
    let redis = Redis::start().await;
    let inside = Arc::new(AtomicU32::new(0));
    let mut holders = Vec::new();
    for _ in 0..8 {
        let (lease, inside) = (lease(&redis).await, Arc::clone(&inside));
        holders.push(tokio::spawn(async move {
            let term = lease.gained().await;
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else is there");
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!term.is_lost() && lease.term().unwrap().number() == term.number());
            inside.fetch_sub(1, Ordering::SeqCst);
            lease.give_up().await;
            assert!(term.is_lost() && lease.term().is_none());
            assert_eq!(term.during(async {}).await, None);
            term.number()
        }));
    }
    let mut numbers = Vec::new();
    for holder in holders {
        numbers.push(within("every turn", holder).await.unwrap());
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 8);
    // Nor is a number given again after Redis lost what it had.
    let newest = *numbers.last().unwrap();
    let _: u64 = ask(&redis, &["DEL", &key("x", "number")]).await;
    let term = within("another term", lease(&redis).await.gained()).await;
    assert!(term.number() > newest);
}

#[tokio::test]
async fn who_dies_is_followed() {
    let redis = Redis::start().await;
    let (first, second) = (lease(&redis).await, lease(&redis).await);
    let (term, dying, other) = tokio::select! {
        term = first.gained() => (term, first, second),
        term = second.gained() => (term, second, first),
    };
    // Nothing is given back.
    drop(dying);
    within("its end", term.lost()).await;
    assert!(other.term().is_none(), "Redis keeps it for a while");
    let next = within("the next term", other.gained()).await;
    assert!(next.number() > term.number());
}

#[tokio::test]
async fn a_holder_that_hears_nothing_has_lost_it() {
    let redis = Redis::start().await;
    let lease = lease(&redis).await;
    let term = within("a term", lease.gained()).await;
    redis.pause();
    // Something that would go on for ever ends with it.
    assert_eq!(within("the end", term.during(std::future::pending::<()>())).await, None);
    assert!(term.is_lost() && lease.term().is_none());
    redis.resume();
    let next = within("another term", lease.gained()).await;
    assert!(next.number() > term.number());
}

#[tokio::test]
async fn a_lease_that_was_taken_away_is_lost() {
    let redis = Redis::start().await;
    let lease = lease(&redis).await;
    let term = within("a term", lease.gained()).await;
    let _: String = ask(&redis, &["SET", &key("x", "owner"), "somebody else"]).await;
    within("the end", term.lost()).await;
    assert!(lease.term().is_none());
    lease.give_up().await;
    let owner: String = ask(&redis, &["GET", &key("x", "owner")]).await;
    assert_eq!(owner, "somebody else", "what is not ours is not given back");
}
