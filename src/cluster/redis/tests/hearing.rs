//! What a node hears of the others: what it missed is read again, and in a cluster each shard is heard apart.

use super::*;
use crate::redis::server::cluster::RedisCluster;

/// The second node hears the group, and has heard of a visitor of the first.
async fn hearing(one: &Node, two: &Node) -> Follow {
    let follow = two.follow().await;
    one.arrive(&key("a")).await;
    two.hears("a", |hint| matches!(hint, Hint::Visitor(_))).await;
    two.hints.lock().clear();
    follow
}

/// It hears what becomes of that visitor.
async fn news_comes(one: &Node, two: &Node) {
    one.tell(&key("a"), State::Hidden, 0);
    two.hears("news", |hint| matches!(hint, Hint::Visitor(word) if word.state() == State::Hidden)).await;
}

/// A node whose Redis is a cluster.
async fn member(all: &RedisCluster, name: u128) -> Node {
    let link = Link::open(&all.url()).await.unwrap();
    let directory = Arc::new(RedisDirectory::new(link, &quick(), Meters::new().0));
    Node { fake: Fake::enroll(Arc::clone(&directory) as _, name), directory }
}

#[tokio::test]
async fn a_lost_subscription_is_made_again_and_everything_is_read() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    let _follow = hearing(&one, &two).await;
    let _killed: u64 = ask(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    two.hears("a reading", |hint| matches!(hint, Hint::Reread(Some(group)) if *group == gid("g"))).await;
    assert!(two.directory.confirms(two.node, &gid("g")), "it listens again");
    news_comes(&one, &two).await;
    assert!(!two.hints.lock().iter().any(|hint| matches!(hint, Hint::Away(_))), "Redis itself was heard");
}

#[tokio::test]
async fn what_a_node_had_no_room_for_is_read() {
    let redis = Redis::start().await;
    let (one, two) = (Node::start(&redis, 1).await, Node::start(&redis, 2).await);
    let _follow = hearing(&one, &two).await;
    // As many words that could not wait would be: one that is larger than all of them may be.
    let link = redis.link().await;
    let mut tell = ::redis::cmd("SPUBLISH");
    tell.arg(Keys(&gid("g")).presence()).arg(vec![b'x'; limits::PRESENCE_HEARD.bytes + 1]);
    let _heard: u64 = link.ask(&tell).await.unwrap();
    two.hears("a reading", |hint| matches!(hint, Hint::Reread(None))).await;
    assert!(two.directory.confirms(two.node, &gid("g")), "it listens all the while");
    news_comes(&one, &two).await;
}

/// A number that a member of a cluster tells of itself.
async fn counted(all: &RedisCluster, at: usize, name: &str) -> u64 {
    let info: String =
        ::redis::cmd("CLUSTER").arg("INFO").query_async(&mut all.connect(at).await).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::to_owned));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// The channels of shards that a member has listeners of, which begin like this.
async fn channels(all: &RedisCluster, at: usize, like: &str) -> Vec<String> {
    let mut look = ::redis::cmd("PUBSUB");
    look.arg("SHARDCHANNELS").arg(like).query_async(&mut all.connect(at).await).await.unwrap()
}

#[tokio::test]
async fn in_a_cluster_a_hint_is_a_matter_of_its_own_shard() {
    let all = RedisCluster::start(4).await;
    let (one, two) = (member(&all, 1).await, member(&all, 2).await);
    let (group, nodes) = (all.home("pl:{g}:v").await.1, all.home(beat::LEASES).await.1);
    assert_ne!(group, nodes, "what nodes tell of themselves is told by another member");
    let listened = async || {
        let mut listened = Vec::new();
        for at in 0..4 {
            listened.push(channels(&all, at, "pl:*:presence").await.len());
        }
        listened
    };
    assert_eq!(listened().await, [0; 4], "nobody watches");
    let follow = two.follow().await;
    until("the shard is listened to", async || listened().await.iter().sum::<usize>() == 1).await;
    assert_eq!(channels(&all, group, "pl:*:presence").await, ["pl:{g}:presence"]);
    for at in 0..20 {
        one.arrive(&key(&format!("v{at}"))).await;
    }
    two.hears("the last", |hint| matches!(hint, Hint::Visitor(word) if word.key() == &key("v19"))).await;
    assert!(counted(&all, nodes, "cluster_stats_messages_publish_sent").await > 0, "nodes tell each other");
    for name in ["publish", "publishshard"] {
        let sent = counted(&all, group, &format!("cluster_stats_messages_{name}_sent")).await;
        assert_eq!(sent, 0, "the group's primary told the other members nothing");
    }
    drop(follow);
    until("nobody is listened to any more", async || listened().await == [0; 4]).await;
}

#[tokio::test]
async fn groups_of_a_dead_primary_keep_no_others_waiting() {
    let mut all = RedisCluster::start(4).await;
    let (one, two) = (member(&all, 1).await, member(&all, 2).await);
    let (group, nodes) = (all.home("pl:{g}:v").await.1, all.home(beat::LEASES).await.1);
    let dead = (0..4).find(|at| ![group, nodes].contains(at)).unwrap();
    let mut other = None;
    for number in 0.. {
        let name = format!("h{number}");
        if all.home(&Keys(&gid(&name)).visitors()).await.1 == dead {
            other = Some(gid(&name));
            break;
        }
    }
    let other = other.unwrap();
    let _other = two.directory.follow(two.node, &other).await;
    until("it is heard", async || two.directory.confirms(two.node, &other)).await;
    all.kill(dead);
    until("it is not heard", async || !two.directory.confirms(two.node, &other)).await;
    let _follow = two.follow().await;
    until("the others are", async || two.directory.confirms(two.node, &gid("g"))).await;
    one.arrive(&key("a")).await;
    two.hears("a", |hint| matches!(hint, Hint::Visitor(_))).await;
    assert!(!two.directory.confirms(two.node, &other));
    two.hints.lock().clear();
    all.revive(dead).await;
    two.hears("a reading", |hint| matches!(hint, Hint::Reread(Some(group)) if *group == other)).await;
    assert!(two.directory.confirms(two.node, &other));
}
