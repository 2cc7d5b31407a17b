//! The link to real servers: what is refused and in which words, and what happens when servers change places.

use redis::Script;
use secrecy::SecretString;

use super::server::Redis;
use super::server::cluster::RedisCluster;
use super::server::sentinels::Sentinels;
use super::server::tls::RedisTls;
use super::*;

const AT_ONCE: Duration = Duration::ZERO;

fn plan(servers: Servers) -> Plan {
    Plan { servers, user: None, password: None, tls: None }
}

fn url(url: &str) -> Plan {
    Plan::of_url(url)
}

fn cluster(nodes: Vec<String>) -> Plan {
    plan(Servers::Cluster(nodes))
}

fn sentinels(nodes: Vec<String>, master: &str) -> Plan {
    plan(Servers::Sentinels { nodes, master: master.to_owned(), user: None, password: None })
}

/// Why a plan can't be gone through with: the error, and all that is told of it.
async fn refused(plan: &Plan) -> (OpenError, String) {
    let error = Link::connect(plan, AT_ONCE, None).await.expect_err("it can't be used");
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(&error));
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    (error, text)
}

async fn command<T: FromRedisValue>(connection: &mut impl redis::aio::ConnectionLike, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(connection).await.unwrap()
}

/// Waits for a fact.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn each_reason_not_to_start_has_words_of_its_own() {
    let redis = Redis::guarded().await;
    let mut all = redis.connect().await;
    let socket = redis.url();
    let (bare, _) = socket.split_once('?').unwrap();
    let wrong = format!("{bare}?user=porchlight&pass=canary-that-is-wrong");
    let nobody = "127.0.0.1:1".to_owned();

    let (error, text) = refused(&url(&wrong)).await;
    assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
    assert!(text.contains("refuses the user or the password") && !text.contains("canary"), "{text}");

    let _: () = command(&mut all, "ACL SETUSER porchlight -info").await;
    let (error, text) = refused(&url(&socket)).await;
    assert!(matches!(error, OpenError::Forbidden(_)), "{error:?}");
    assert!(text.contains("may not do") && !text.contains("canary"), "{text}");
    let _: () = command(&mut all, "ACL SETUSER porchlight +info").await;

    let _: () = command(&mut all, "CONFIG SET maxmemory-policy allkeys-lru").await;
    let (error, text) = refused(&url(&socket)).await;
    assert!(matches!(error, OpenError::Evicts(_)), "{error:?}");
    assert!(text.contains("allkeys-lru") && text.contains("noeviction"), "{text}");
    let _: () = command(&mut all, "CONFIG SET maxmemory-policy noeviction").await;

    let _: () = command(&mut all, "REPLICAOF 127.0.0.1 1").await;
    let (error, text) = refused(&url(&socket)).await;
    assert!(matches!(error, OpenError::Replica), "{error:?}");
    assert!(text.contains("a replica"), "{text}");
    let _: () = command(&mut all, "REPLICAOF NO ONE").await;
    Link::open(&socket).await.unwrap();

    let (error, text) = refused(&url("redis://127.0.0.1:1/")).await;
    assert!(matches!(error, OpenError::Away(_)) && text.contains("does not answer"), "{error:?}");
    let (error, _) = refused(&cluster(vec![nobody.clone()])).await;
    assert!(matches!(error, OpenError::Away(_)), "{error:?}");
    let (error, _) = refused(&sentinels(vec![nobody], "main")).await;
    assert!(matches!(error, OpenError::Away(_)), "{error:?}");
    let (error, _) = refused(&url("127.0.0.1:6379")).await;
    assert!(matches!(error, OpenError::Address(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_no_sentinel_and_in_no_cluster_is_told() {
    let all = Sentinels::start().await;
    let (error, text) = refused(&sentinels(all.nodes(), "other")).await;
    assert!(matches!(&error, OpenError::Unknown(name) if name == "other"), "{error:?}");
    assert!(text.contains("called other") && text.contains("redis.master"), "{text}");
    let (error, text) = refused(&sentinels(vec![all.server(0)], "main")).await;
    assert!(matches!(error, OpenError::NoSentinel(_)) && text.contains("no Sentinel"), "{error:?}");
    let (error, text) = refused(&cluster(vec![all.server(0)])).await;
    assert!(matches!(error, OpenError::NoCluster(_)) && text.contains("no member"), "{error:?}");
    Link::connect(&sentinels(all.nodes(), "main"), AT_ONCE, None).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_not_up_yet_is_waited_for() {
    let mut redis = Redis::guarded().await;
    redis.kill();
    let address = redis.url();
    let waiting =
        tokio::spawn(async move { Link::connect(&url(&address), Duration::from_secs(60), None).await });
    redis.revive().await;
    waiting.await.unwrap().unwrap();
    // A wrong password is not waited out.
    let wrong = url(&(redis.url() + "x"));
    let refused = Link::connect(&wrong, Duration::from_secs(3600), None);
    let refused = tokio::time::timeout(Duration::from_secs(30), refused).await.expect("at once");
    assert!(matches!(refused, Err(OpenError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn certificates_are_shown_and_looked_at() {
    let redis = RedisTls::start().await;
    let read = |name: &str| std::fs::read_to_string(redis.file(name)).unwrap();
    let client =
        |name: &str| Some((read(&format!("{name}.pem")), SecretString::from(read(&format!("{name}.key")))));
    let with = |tls: Option<Tls>| Plan { tls, ..url(&redis.url()) };
    let good = with(Some(Tls { ca: Some(read("ca.pem")), client: client("client") }));
    let link = Link::connect(&good, AT_ONCE, None).await.unwrap();
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let answer: u64 = link.run(&script.key("pl:{g}:n")).await.unwrap();
    assert_eq!(answer, 1);
    let mut listener = link.listen().await.unwrap();
    listener.subscribe("pl:x").await.unwrap();

    let with_ca = |ca: &str, shown| with(Some(Tls { ca: Some(read(ca)), client: shown }));
    for plan in [with(None), with_ca("stranger.pem", client("client"))] {
        let (error, text) = refused(&plan).await;
        assert!(matches!(error, OpenError::Tls(_)), "nobody vouches for the server: {error:?}");
        assert!(text.contains("redis.tls_ca") && !text.contains("BEGIN"), "{text}");
    }
    for plan in [with_ca("ca.pem", client("intruder")), with_ca("ca.pem", None)] {
        // The server may have closed the connection before its reason is read.
        let (error, text) = refused(&plan).await;
        assert!(matches!(error, OpenError::Tls(_) | OpenError::Away(_)), "nobody vouches for us: {error:?}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}

#[tokio::test]
async fn scripts_and_pipelines_find_their_member() {
    let cluster_of_three = RedisCluster::start(3).await;
    for plan in [cluster(cluster_of_three.nodes()), url(&cluster_of_three.url())] {
        let link = Link::connect(&plan, AT_ONCE, None).await.unwrap();
        assert_eq!(link.policy().await.unwrap(), Policy::Keeps);
        let script =
            Script::new("redis.call('PUBLISH', ARGV[1], KEYS[1]) return redis.call('INCR', KEYS[1])");
        let mut listener = link.listen().await.unwrap();
        listener.subscribe("pl:told").await.unwrap();
        let mut homes = std::collections::BTreeSet::new();
        for number in 0..20 {
            let key = format!("pl:{{{number}}}:n");
            homes.insert(cluster_of_three.home(&key).await.1);
            // Digests are known nowhere at first.
            let before: Option<u64> = link.ask(redis::cmd("GET").arg(&key)).await.unwrap();
            let call: u64 = link.run(script.prepare_invoke().key(&key).arg("pl:told")).await.unwrap();
            assert_eq!(call, before.unwrap_or_default() + 1);
            let mut pipeline = redis::pipe();
            pipeline.incr(&key, 1).get(&key).get(format!("pl:{{{number}}}:other"));
            let told: (u64, u64, Option<u64>) = link.ask_all(&pipeline).await.unwrap();
            assert_eq!(told, (call + 1, call + 1, None));
        }
        assert_eq!(homes.len(), 3, "all members have some");
        use futures_util::StreamExt as _;
        let mut told = listener.on_message();
        for number in 0..20 {
            let heard = tokio::time::timeout(Duration::from_secs(20), told.next()).await.unwrap().unwrap();
            assert!(heard.get_payload::<String>().unwrap().starts_with("pl:{"), "{number}");
        }
    }
    // One of them that may let keys go is enough.
    let link = Link::connect(&cluster(cluster_of_three.nodes()), AT_ONCE, None).await.unwrap();
    let _: () =
        command(&mut cluster_of_three.connect(2).await, "CONFIG SET maxmemory-policy allkeys-lru").await;
    assert_eq!(link.policy().await.unwrap(), Policy::Evicts("allkeys-lru".into()));
    let (error, _) = refused(&cluster(cluster_of_three.nodes())).await;
    assert!(matches!(error, OpenError::Evicts(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_refused_for_the_slots_sake_is_asked_again() {
    let members = RedisCluster::start(3).await;
    let link = Link::connect(&cluster(members.nodes()), AT_ONCE, None).await.unwrap();
    let (key, other) = ("pl:{moved}:n", "pl:{moved}:m");
    let (slot, from) = members.home(key).await;
    let to = (from + 1) % 3;
    let count = Script::new("redis.call('INCR', KEYS[2]) return redis.call('INCR', KEYS[1])");
    let moved = &std::cell::Cell::new(false);
    let counting = {
        let link = link.clone();
        async move {
            let mut counted = 0;
            while !moved.get() || counted < 50 {
                counted += 1;
                let answer: u64 = link.run(count.prepare_invoke().key(key).key(other)).await.unwrap();
                assert_eq!(answer, counted, "each is done once");
                let plain: u64 = link.ask(redis::cmd("GET").arg(other)).await.unwrap();
                assert_eq!(plain, counted);
                let mut both = redis::pipe();
                both.cmd("GET").arg(key).cmd("GET").arg(other);
                assert_eq!(link.ask_all::<(u64, u64)>(&both).await.unwrap(), (counted, counted));
            }
            counted
        }
    };
    let moving = async {
        for _ in 0..3 {
            members.move_slot(slot, from, to).await;
            members.move_slot(slot, to, from).await;
        }
        members.move_slot(slot, from, to).await;
        moved.set(true);
    };
    let (counted, ()) = tokio::join!(counting, moving);
    let there: u64 = command(&mut members.connect(to).await, &format!("GET {key}")).await;
    assert_eq!(there, counted);
}

#[tokio::test]
async fn a_demoted_primary_is_never_written_to() {
    let all = Sentinels::start().await;
    // From here on the test says which server the Sentinel names, and it does nothing of its own accord.
    let mut watcher = all.rule().await;
    let (mut first, mut second) = (all.connect(0).await, all.connect(1).await);
    let watched = vec![all.nodes()[0].clone()];
    let link = Link::connect(&sentinels(watched, "main"), AT_ONCE, None).await.unwrap();
    let count = async || link.ask::<u64>(redis::cmd("INCR").arg("pl:{g}:n")).await;
    assert_eq!(count().await.unwrap(), 1);
    let caught_up = async || {
        let told: String = command(&mut second.clone(), "GET pl:{g}:n").await;
        told == "1"
    };
    until("it has a copy", caught_up).await;

    let _: () = command(&mut second, "REPLICAOF NO ONE").await;
    let _: () = command(&mut first, &format!("REPLICAOF {}", all.server(1).replace(':', " "))).await;
    let refused = count().await.unwrap_err();
    assert_eq!(refused.code(), Some("READONLY"), "{refused:?}");
    for _ in 0..3 {
        let refused = count().await.unwrap_err();
        assert!(is_passing(&refused) && refused.to_string().contains("no primary"), "{refused:?}");
    }
    all.name(&mut watcher, 1).await;
    assert_eq!(count().await.unwrap(), 2);
    let there: u64 = command(&mut second, "GET pl:{g}:n").await;
    assert_eq!(there, 2);

    // One that stands still breaks no connection.
    let _: () = command(&mut first, "REPLICAOF NO ONE").await;
    all.pause(1);
    all.name(&mut watcher, 0).await;
    assert!(count().await.unwrap_err().is_timeout());
    let answer = count().await.unwrap();
    let here: u64 = command(&mut first, "GET pl:{g}:n").await;
    assert_eq!(here, answer);
    all.resume(1);
}
