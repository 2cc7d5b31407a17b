//! The post on a real Redis: the suite that all posts pass, and what becomes of letters when Redis fails.

use std::sync::Arc;

use super::*;
use crate::cluster::post::suite::{self, A, B, ear, expect, expect_lost, expect_open, frame, mail, send};
use crate::cluster::post::{Heard, Mail};

use crate::redis::server::Redis;
use crate::redis::server::cluster::RedisCluster;

async fn post(redis: &Redis) -> Arc<RedisPost> {
    Arc::new(RedisPost::new(redis.link().await, redis.link().await))
}

/// Two nodes that have spoken to each other.
async fn pair(redis: &Redis) -> ([Arc<RedisPost>; 2], [Mailbox; 2]) {
    let (a, b) = (post(redis).await, post(redis).await);
    let (mut at_a, mut at_b) = (a.enroll(A), b.enroll(B));
    let open = |post: &RedisPost| post.node.get().unwrap().open.subscribe();
    for post in [&a, &b] {
        suite::within("the inbox", open(post).wait_for(|open| *open)).await.unwrap();
    }
    send(&*a, A, B, 0..1);
    expect(&mut at_b, A, 0..1).await;
    send(&*b, B, A, 0..1);
    expect(&mut at_a, B, 0..1).await;
    ([a, b], [at_a, at_b])
}

#[tokio::test]
async fn redis_owes_all_of_it() {
    let redis = Redis::start().await;
    suite::run(post(&redis).await, post(&redis).await).await;
}

#[tokio::test]
async fn connections_that_are_cut_lose_no_letter_and_tell_of_frames() {
    let redis = Redis::start().await;
    let ([a, b], [_at_a, mut at_b]) = pair(&redis).await;
    let session = SessionId::from_u128(1);
    let (_hearing, mut heard) = ear(&*b, B, session);
    expect_open(&mut heard).await;
    let mut killer = redis.connect().await;
    for round in 0..3 {
        send(&*a, A, B, 1 + round * 100..1 + round * 100 + 50);
        for kind in ["normal", "pubsub"] {
            let kill = cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes").to_owned();
            let _killed: u64 = kill.query_async(&mut killer).await.unwrap();
        }
        send(&*a, A, B, 1 + round * 100 + 50..1 + round * 100 + 100);
        expect(&mut at_b, A, 1 + round * 100..1 + round * 100 + 100).await;
        expect_open(&mut heard).await;
    }
    // Frames may have been lost meanwhile; those that come now are heard once the writer is back.
    let come = async {
        loop {
            a.send_frame(A, session, frame(9));
            if let Ok(Some(Heard::Frame(heard))) =
                tokio::time::timeout(limits::REDIS_RECONNECT.0, heard.recv()).await
            {
                break assert_eq!(heard, frame(9));
            }
        }
    };
    suite::within("a frame", come).await;
}

#[tokio::test]
async fn frames_that_had_no_room_are_told_of_and_later_ones_are_heard() {
    let redis = Redis::start().await;
    let (a, session) = (post(&redis).await, SessionId::from_u128(1));
    let room = limits::Most { words: 100, bytes: 1_000 };
    let b = RedisPost::hearing(redis.link().await, redis.link().await, room);
    let (_hearing, mut heard) = ear(&b, B, session);
    expect_open(&mut heard).await;
    for number in 0..3 {
        a.send_frame(A, session, FarFrame { bytes: vec![7; 2_000].into(), ..frame(number) });
        expect_open(&mut heard).await;
    }
    a.send_frame(A, session, frame(3));
    suite::expect_frame(&mut heard, 3).await;
}

#[tokio::test]
async fn in_a_cluster_frames_are_a_matter_of_their_own_shard_and_only_while_somebody_hears() {
    let all = RedisCluster::start(3).await;
    let link = async || Link::open(&all.url()).await.unwrap();
    let post = async || RedisPost::new(link().await, link().await);
    let (a, b) = (post().await, post().await);
    let session = SessionId::from_u128(1);
    let home = all.home(&format!("pl:frames:{session}")).await.1;
    let listened = async || {
        let mut listened = Vec::new();
        for at in 0..3 {
            let mut look = cmd("PUBSUB");
            look.arg("SHARDCHANNELS").arg("pl:frames:*");
            let channels: Vec<String> = look.query_async(&mut all.connect(at).await).await.unwrap();
            listened.push(channels.len());
        }
        listened
    };
    a.send_frame(A, session, frame(0));
    assert_eq!(listened().await, [0, 0, 0], "nobody hears");
    let (hearing, mut heard) = ear(&b, B, session);
    expect_open(&mut heard).await;
    let mut there = vec![0; 3];
    there[home] = 1;
    assert_eq!(listened().await, there);
    for number in 1..100 {
        a.send_frame(A, session, frame(number));
    }
    for number in 1..100 {
        suite::expect_frame(&mut heard, number).await;
    }
    for at in 0..3 {
        let told: String = cmd("CLUSTER").arg("INFO").query_async(&mut all.connect(at).await).await.unwrap();
        assert!(!told.contains("messages_publish"), "members tell each other nothing: {told}");
    }
    drop(hearing);
    let over = async {
        while listened().await != [0, 0, 0] {
            tokio::task::yield_now().await;
        }
    };
    suite::within("nobody hears any more", over).await;
}

#[tokio::test]
async fn a_redis_that_stands_still_delays_and_reorders_nothing() {
    let redis = Redis::start().await;
    let ([a, b], [mut at_a, mut at_b]) = pair(&redis).await;
    redis.pause();
    send(&*a, A, B, 1..500);
    // Long enough for commands to be given up, and written again.
    let still = limits::REDIS_ANSWER + limits::INBOX_BEAT;
    assert!(tokio::time::timeout(still, at_b.next()).await.is_err(), "nothing comes");
    send(&*a, A, B, 500..600);
    redis.resume();
    expect(&mut at_b, A, 1..600).await;
    send(&*b, B, A, 1..2);
    expect(&mut at_a, B, 1..2).await;
}

#[tokio::test]
async fn a_redis_that_forgets_is_told_as_loss_and_letters_go_on() {
    let redis = Redis::start().await;
    let ([a, b], [mut at_a, mut at_b]) = pair(&redis).await;
    let mut client = redis.connect().await;
    let () = cmd("FLUSHALL").query_async(&mut client).await.unwrap();
    expect_lost(&mut at_a, B).await;
    expect_lost(&mut at_b, A).await;
    // Until both inboxes are there again what is written is lost, and told.
    let again = async {
        loop {
            send(&*a, A, B, 7..8);
            tokio::select! {
                got = mail(&mut at_b) => {
                    if got == (A, Mail::Letter(Letter::Closed(super::super::WireId(7)))) { break }
                }
                got = mail(&mut at_a) => assert_eq!(got, (B, Mail::Lost)),
            }
        }
    };
    suite::within("letters again", again).await;
    let _b = b;
}

#[tokio::test]
async fn a_node_that_no_longer_renews_its_inbox_is_lost() {
    let redis = Redis::start().await;
    let ([_a, b], [mut at_a, at_b]) = pair(&redis).await;
    // As after a kill: nothing renews the inbox, and nothing takes it back.
    let shared = Arc::clone(b.node.get().unwrap());
    drop(at_b);
    let mut client = redis.connect().await;
    let made = async {
        loop {
            let mut add = cmd("XADD");
            add.arg(inbox(shared.node)).arg("*").arg("h").arg("");
            let _id: String = add.query_async(&mut client).await.unwrap();
            let there: bool = cmd("PEXPIRE").arg(inbox(B)).arg(1_500).query_async(&mut client).await.unwrap();
            if there {
                break;
            }
        }
    };
    suite::within("an inbox without a node", made).await;
    expect_lost(&mut at_a, B).await;
}

#[tokio::test]
async fn letters_that_are_missing_or_come_twice_are_seen() {
    let redis = Redis::start().await;
    let ([_a, b], [_at_a, mut at_b]) = pair(&redis).await;
    let mut client = redis.connect().await;
    let run = u64::MAX / 2;
    let mut write = async |first: u64, count: u64, run: u64| {
        let letters = (first..first + count).map(|n| Some(Letter::Closed(super::super::WireId(n)))).collect();
        let bundle = Bundle { from: NodeId(0xc), run, first, letters };
        let mut add = cmd("XADD");
        add.arg(inbox(B)).arg("*").arg("b").arg(bundle.encode());
        let _id: String = add.query_async(&mut client).await.unwrap();
    };
    let c = NodeId(0xc);
    write(1, 3, run).await;
    write(1, 3, run).await;
    write(3, 2, run).await;
    expect(&mut at_b, c, 1..5).await;
    write(6, 1, run).await;
    assert_eq!(mail(&mut at_b).await, (c, Mail::Lost));
    expect(&mut at_b, c, 6..7).await;
    write(1, 1, run - 1).await;
    write(1, 1, run + 1).await;
    assert_eq!(mail(&mut at_b).await, (c, Mail::Lost), "of the older run nothing is taken");
    expect(&mut at_b, c, 1..2).await;
    let _b = b;
}
