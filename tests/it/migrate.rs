//! A database that is moved into Redis: whatever it told is told there, credentials hold, and everything goes on where
//! it was; a move that was killed at any moment is made again by the same command.
//!
//! `PORCHLIGHT_MOVE_KILLS` says how often a move is killed (12), `PORCHLIGHT_KILL_SEED` where chance begins.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use porchlight::pb::v1;
use porchlight::redis::Link;
use tonic::Request;

use crate::common::cli::{BINARY, Told, told};
use crate::common::redis::Redis;
use crate::common::redis::cluster::RedisCluster;
use crate::common::rng::Rng;
use crate::common::transcript::Transcript;
use crate::common::{AgentClient, Client, DEADLINE, canary, http, json, within};
use crate::kill::{Node, number};
use crate::kill_events::{check_receipts, consent};

const KILLS: u64 = 12;

/// About as long as a move of little takes.
const WORK_US: usize = 250_000;

const MASTER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const PASSWORD: &str = "correct horse battery staple";

fn command(word: &str, dir: &Path, url: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.arg(word).arg("--data-dir").arg(dir.join("data")).current_dir(dir);
    for listener in ["--public-addr", "--ops-addr", "--admin-addr"] {
        command.args([listener, "127.0.0.1:0"]);
    }
    command.env("PORCHLIGHT__REDIS__URL", url).env("PORCHLIGHT__AUTH__MASTER_SECRET", MASTER);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn migrate(dir: &Path, url: &str, flags: &[&str]) -> Told {
    let mut command = command("migrate", dir, url);
    command.args(flags);
    told(command, "").await
}

async fn node(dir: &Path, url: Option<&str>) -> Node {
    let mut settings = vec![("PORCHLIGHT__AUTH__MASTER_SECRET", MASTER)];
    settings.extend(url.map(|url| ("PORCHLIGHT__REDIS__URL", url)));
    settings.push(("PORCHLIGHT__SINKS__DIR", dir.to_str().unwrap()));
    Node::start_with(dir, &settings).await
}

/// What was there before the move, and must hold behind it.
struct Filled {
    sessions: Vec<String>,
    token: String,
    key: String,
    made: String,
}

async fn sign_in(node: &Node, address: &str, password: &str) -> String {
    let body = json!({"group": "demo", "address": address, "password": password});
    let answer = http::post(node.addr("public"), "/v1/auth/agent", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    canary::learn(&answer.json());
    answer.json()["token"].as_str().unwrap().to_owned()
}

async fn make_group(node: &Node) -> String {
    let ask = node.ask(v1::CreateGroupRequest { group: "shop".into(), request_id: "make-shop".into() });
    format!("{:?}", node.client.clone().create_group(ask).await.unwrap().into_inner())
}

async fn post(node: &Node, text: &str) {
    let record = v1::RecordReference { object: "Case".into(), id: "500".into(), ..Default::default() };
    let message = v1::PostFeedRequest {
        group: "demo".into(),
        record: Some(record),
        text: text.into(),
        link: String::new(),
        request_id: text.into(),
    };
    node.client.clone().post_feed(node.ask(message)).await.unwrap();
}

/// Some of everything that a server keeps.
async fn fill(node: &Node) -> Filled {
    let mut client = node.client.clone();
    let made = make_group(node).await;
    let agent = v1::Agent {
        agent_id: "carol".into(),
        address: "carol@example.com".into(),
        partner_user_id: "005C".into(),
        name: "Carol".into(),
        ..Default::default()
    };
    for group in ["demo", "shop"] {
        let message = v1::UpsertAgentRequest {
            group: group.into(),
            agent: Some(agent.clone()),
            password: PASSWORD.into(),
            request_id: String::new(),
        };
        client.upsert_agent(node.ask(message)).await.unwrap();
    }
    let mut key = String::new();
    for label in ["gone", "shop front"] {
        let message =
            v1::CreateApiKeyRequest { group: "shop".into(), label: label.into(), request_id: label.into() };
        let answer = client.create_api_key(node.ask(message)).await.unwrap().into_inner();
        canary::learn_text(&answer.secret);
        let id = answer.api_key.unwrap().key_id;
        key = format!("{id}.{}", answer.secret);
        if label == "gone" {
            let message =
                v1::RevokeApiKeyRequest { group: "shop".into(), key_id: id, request_id: String::new() };
            client.revoke_api_key(node.ask(message)).await.unwrap();
        }
    }
    let sink = v1::Sink {
        sink_id: "file".into(),
        target: Some(v1::sink::Target::File(v1::FileTarget {})),
        every_event: true,
        session_records: true,
        ..Default::default()
    };
    let message = v1::PutSinkRequest { group: "demo".into(), sink: Some(sink), ..Default::default() };
    client.put_sink(node.ask(message)).await.unwrap();
    let alice = &node.facts["agents"][0];
    let token = sign_in(node, alice["address"].as_str().unwrap(), alice["password"].as_str().unwrap()).await;
    let mut sessions = Vec::new();
    for visitor in ["C-1", "C-2", "C-3"] {
        sessions.push(consent(node, &token, visitor).await);
        post(node, visitor).await;
    }
    Filled { sessions, token: sign_in(node, "carol@example.com", PASSWORD).await, key, made }
}

/// All events of the group up to a post, with their sequences.
async fn events(node: &Node, last: &str) -> Vec<v1::SessionEvent> {
    let mut ask = node.ask(v1::StreamEventsRequest { group: "demo".into(), place: None, kinds: Vec::new() });
    ask.metadata_mut().remove("grpc-timeout");
    let mut stream = node.client.clone().stream_events(ask).await.unwrap().into_inner();
    let mut events = Vec::new();
    loop {
        let told = within("an event", stream.message()).await.unwrap().unwrap();
        assert!(told.recovered);
        let Some(event) = told.event else { continue };
        assert_eq!(event.sequence, events.len() as u64 + 1, "no gap, nothing twice");
        let found = matches!(&event.details,
            Some(v1::session_event::Details::Post(post)) if post.text == last);
        events.push(event);
        if found {
            return events;
        }
    }
}

/// What operators are told of everything.
#[allow(clippy::needless_update, reason = "some requests name a group only")]
async fn all(node: &Node) -> Vec<String> {
    let mut client = node.client.clone();
    let mut answers = Vec::new();
    macro_rules! ask {
        ($call:ident, $request:ident $(, $field:ident: $value:expr)*) => {
            for name in ["demo", "shop"] {
                let message = v1::$request { group: name.into(), $($field: $value,)* ..Default::default() };
                let answer = client.$call(node.ask(message)).await.unwrap().into_inner();
                answers.push(format!("{answer:?}"));
            }
        };
    }
    ask!(get_settings, GetSettingsRequest);
    ask!(list_settings_changes, ListSettingsChangesRequest);
    ask!(list_agents, ListAgentsRequest);
    ask!(list_api_keys, ListApiKeysRequest);
    ask!(list_session_records, ListSessionRecordsRequest);
    ask!(list_session_records, ListSessionRecordsRequest, agent_id: "alice".into());
    ask!(list_session_records, ListSessionRecordsRequest, visitor_id: "C-2".into());
    let case = v1::RecordReference { object: "Case".into(), id: "500".into(), ..Default::default() };
    ask!(list_feed, ListFeedRequest, record: Some(case.clone()));
    ask!(list_leads, ListLeadsRequest);
    answers
}

/// A database in a folder, as a server left it that was killed; and what it told.
async fn filled(dir: &Path) -> (Filled, Vec<String>, Vec<v1::SessionEvent>) {
    let filled = fill(&node(dir, None).await).await;
    let again = node(dir, None).await;
    post(&again, "last").await;
    let told = all(&again).await;
    assert!(told.iter().any(|answer| answer.contains("Carol")), "{told:?}");
    let events = events(&again, "last").await;
    (filled, told, events)
}

/// A node on Redis is what the one on the database was, and goes on.
async fn goes_on(dir: &Path, url: &str, before: (Filled, Vec<String>, Vec<v1::SessionEvent>)) {
    let (filled, told, known) = before;
    let node = node(dir, Some(url)).await;
    assert_eq!(all(&node).await, told);
    assert_eq!(events(&node, "last").await, known);
    check_receipts(&node, &filled.sessions).await;
    // A call that was made is not made again.
    assert_eq!(make_group(&node).await, filled.made);

    sign_in(&node, "carol@example.com", PASSWORD).await;
    let transcript = Transcript::new();
    let client = Client::open(&transcript, "carol", node.addr("public"), "/v1/agent").await;
    let mut carol = AgentClient::connect(client, &filled.token).await;
    carol.settle().await;
    let mut ask = Request::new(v1::GetSettingsRequest { group: "shop".into() });
    ask.metadata_mut().insert("authorization", format!("Bearer {}", filled.key).parse().unwrap());
    ask.set_timeout(DEADLINE);
    node.client.clone().get_settings(ask).await.unwrap();

    post(&node, "behind").await;
    let events = events(&node, "behind").await;
    assert_eq!(events[..known.len()], known);
    let alice = &node.facts["agents"][0];
    let token = sign_in(&node, alice["address"].as_str().unwrap(), alice["password"].as_str().unwrap()).await;
    let mut sessions = filled.sessions;
    sessions.push(consent(&node, &token, "C-9").await);
    check_receipts(&node, &sessions).await;
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "whoever runs it again needs the seed")]
async fn a_move_that_is_killed_again_and_again_is_whole_in_the_end() {
    let (kills, seed) = (number("PORCHLIGHT_MOVE_KILLS", KILLS), number("PORCHLIGHT_KILL_SEED", 1));
    canary::listen();
    let (dir, redis, mut rng) = (tempfile::tempdir().unwrap(), Redis::start().await, Rng::new(seed));
    let (url, before) = (redis.url(), filled(dir.path()).await);
    let (mut died, mut by_half) = (0, 0);
    let link = Link::open(&url).await.unwrap();
    for _ in 0..kills {
        let mut child = command("migrate", dir.path(), &url).spawn().unwrap();
        let delay = Duration::from_micros(rng.below(WORK_US) as u64);
        let begun = Instant::now();
        while begun.elapsed() < delay && child.try_wait().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        child.kill().unwrap();
        died += u64::from(!child.wait().unwrap().success());
        let noted: Option<String> = link.ask(redis::cmd("GET").arg("pl:moved")).await.unwrap();
        match noted.as_deref().and_then(|noted| noted.split(' ').next()) {
            Some("done") => {
                let _: () = redis::cmd("FLUSHALL").query_async(&mut redis.connect().await).await.unwrap();
            }
            Some(_) => {
                by_half += 1;
                told(command("serve", dir.path(), &url), "").await.refused(1, "is not whole");
            }
            None => {}
        }
    }
    eprintln!("seed {seed}: {died} of {kills} moves were killed, {by_half} were begun then");
    assert!(died > 0, "some were killed");
    // A log that is empty is as one that is not there.
    let file = |end| std::fs::read(dir.path().join(format!("data/porchlight.db{end}"))).unwrap_or_default();
    let read = || ["", "-wal"].map(file);
    let bytes = read();
    migrate(dir.path(), &url, &[]).await.good().says("nothing differs");
    migrate(dir.path(), &url, &[]).await.good().says("was moved before, and nothing differs");
    assert!(read() == bytes, "it was only read");
    goes_on(dir.path(), &url, before).await;
    // What is written there now is not the database's.
    migrate(dir.path(), &url, &["--check"]).await.refused(1, "was moved before");
}

#[tokio::test]
async fn a_database_is_moved_into_a_redis_cluster_and_lost_sessions_end() {
    canary::listen();
    let (dir, cluster) = (tempfile::tempdir().unwrap(), RedisCluster::start(3).await);
    let (url, session) = (cluster.url(), {
        let node = node(dir.path(), None).await;
        let alice = &node.facts["agents"][0];
        let token =
            sign_in(&node, alice["address"].as_str().unwrap(), alice["password"].as_str().unwrap()).await;
        consent(&node, &token, "C-1").await
    });
    let checked = migrate(dir.path(), &url, &["--check"]).await.good();
    assert!(checked.says("1 groups would be moved").out.contains("differs"));
    migrate(dir.path(), &url, &[]).await.good().says("1 sessions did not outlive").says("nothing differs");
    let node = node(dir.path(), Some(&url)).await;
    let message = v1::GetSessionRecordRequest { group: "demo".into(), session_id: session };
    let record = node.client.clone().get_session_record(node.ask(message)).await.unwrap().into_inner();
    assert!(record.record.unwrap().ended_at.is_some(), "nobody else would end it");
}

#[tokio::test]
async fn a_move_is_refused_where_it_would_break_something() {
    canary::listen();
    let (dir, redis) = (tempfile::tempdir().unwrap(), Redis::start().await);
    let url = redis.url();
    migrate(dir.path(), &url, &[]).await.refused(1, "is out of reach");
    {
        let _node = node(dir.path(), None).await;
        migrate(dir.path(), &url, &[]).await.refused(1, "is open elsewhere");
    }
    let link = Link::open(&url).await.unwrap();
    let run = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        let _: redis::Value = link.ask(&command).await.unwrap();
    };
    run(&["SET", "pl:master", "another"]).await;
    migrate(dir.path(), &url, &[]).await.refused(1, "another master secret");
    run(&["DEL", "pl:master"]).await;

    run(&["HSET", "pl:{nodes}:leases", "ab", "99999999999999:1:1:0:7"]).await;
    for flags in [&["--check"][..], &[]] {
        migrate(dir.path(), &url, flags).await.refused(1, "nodes run on this Redis (1 hold their lease)");
        let noted: Option<String> = link.ask(redis::cmd("GET").arg("pl:moved")).await.unwrap();
        assert_eq!(noted, None, "it was not begun");
    }
    run(&["DEL", "pl:{nodes}:leases"]).await;

    run(&["SADD", "pl:groups", "acme"]).await;
    run(&["HSET", "pl:{acme}:group", "settings", "{}"]).await;
    migrate(dir.path(), &url, &[]).await.refused(1, "not from this database: acme");
    run(&["SET", "pl:moved", "begun other"]).await;
    migrate(dir.path(), &url, &[]).await.refused(1, "a move of another database");
    told(command("serve", dir.path(), &url), "").await.refused(1, "is not whole");

    let mut alone = command("migrate", dir.path(), &url);
    alone.env_remove("PORCHLIGHT__REDIS__URL");
    told(alone, "").await.refused(2, "no Redis is named");
}
