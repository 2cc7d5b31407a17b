//! Nodes that share a Redis: what is changed on one holds on every other, at once, and whatever was missed is
//! made up for.

use std::sync::Arc;

use porchlight::auth::secret::MasterSecret;
use porchlight::config::Secret;
use porchlight::hub::accounts::AdminCaller;
use porchlight::ids::{AgentId, AgentKey, KeyId};
use porchlight::model::session_record::Status;
use porchlight::server::{Options, Server, StorePlace};
use porchlight::store::redis::RedisStore;
use porchlight::store::{Agent, Store as _};

use crate::common::redis::Redis;
use crate::common::site::{DEMO, agent_key, config, group_id};
use crate::common::{Site, json, within};

async fn site(redis: &Redis) -> Site {
    let url = redis.url();
    Site::with(|config| config.redis.url = Some(Secret::from(url))).await
}

async fn sites(redis: &Redis) -> [Site; 2] {
    [site(redis).await, site(redis).await]
}

/// Waits for a fact.
async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    within(what, waited).await;
}

async fn knows(site: &Site, key: &AgentKey) {
    until("the agent is known", async || site.running.accounts.member(key).is_some()).await;
}

#[tokio::test]
async fn an_agent_that_one_node_creates_signs_in_on_the_other_until_it_is_revoked() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let carol = agent_key(DEMO, "carol");
    one.add_agent(DEMO, "carol").await;
    knows(&other, &carol).await;
    let mut page = other.agent_of(DEMO, "carol").await;
    let mut bob = other.agent("bob").await;
    one.running.accounts.revoke_tokens(&carol.group, Some(&carol.agent)).await.unwrap();
    page.expect_close(4401).await;
    bob.settle().await;
    let mut again = other.agent_of(DEMO, "carol").await;
    one.running.accounts.remove_agent(&carol, "it").await.unwrap();
    again.expect_close(4401).await;
    until("it is gone", async || other.running.accounts.member(&carol).is_none()).await;
    // All agents of the group at once.
    one.running.accounts.revoke_tokens(&carol.group, None).await.unwrap();
    bob.expect_close(4401).await;
}

#[tokio::test]
async fn settings_and_groups_and_keys_of_one_node_hold_on_the_other() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut page = other.agent("alice").await;
    one.settings(|settings| settings.open_session_records = true).await;
    let told = page.expect("settings").await;
    assert_eq!(told["settings"], json!({"openSessionRecords": true, "presenceEnabled": true}));
    // What the other changes now is on top of it.
    other.settings(|settings| settings.presence_enabled = false).await;
    let settled = async || {
        let group = one.running.accounts.group(&group_id(DEMO)).unwrap();
        group.settings.open_session_records && !group.settings.presence_enabled
    };
    until("both changes hold", settled).await;
    let changes = one.running.accounts.settings_changes(&group_id(DEMO), None, 9).await.unwrap();
    assert!(changes[1].after.open_session_records && !changes[0].after.presence_enabled);

    one.add_group("second").await;
    knows(&other, &agent_key("second", "carol")).await;
    until("the group is known", async || other.running.accounts.group(&group_id("second")).is_some()).await;
    let mut carol = other.agent_of("second", "carol").await;
    carol.settle().await;

    let key = one.running.accounts.create_api_key(&group_id("second"), "shop").await.unwrap();
    let bearer = format!("{}.{}", key.row.id, key.secret.expose());
    let caller = || other.running.accounts.verify_admin(&bearer);
    let own = AdminCaller::Key(group_id("second"), key.row.id.clone());
    until("the key is good", async || caller().as_ref() == Ok(&own)).await;
    one.running.accounts.revoke_api_key(&group_id("second"), &key.row.id).await.unwrap();
    until("the key is revoked", async || caller().is_err()).await;
}

#[tokio::test]
async fn what_was_missed_while_redis_was_away_is_read_when_it_is_back() {
    let mut redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let carol = agent_key(DEMO, "carol");
    one.add_agent(DEMO, "carol").await;
    knows(&other, &carol).await;
    let mut page = other.agent_of(DEMO, "carol").await;
    // As if the word of it had been lost: nobody is told.
    let mut connection = redis.connect().await;
    let mut change = redis::cmd("HINCRBY");
    change.arg("pl:{demo}:generations").arg("carol").arg(1);
    let generation: u64 = change.query_async(&mut connection).await.unwrap();
    page.settle().await;
    redis.kill();
    redis.revive().await;
    page.expect_close(4401).await;
    for site in [&one, &other] {
        until("it is read", async || {
            site.running.accounts.member(&carol).is_some_and(|member| member.generation == generation)
        })
        .await;
    }
    // From here on words are heard again.
    one.settings(|settings| settings.open_session_records = true).await;
    let heard = async || other.running.accounts.group(&group_id(DEMO)).unwrap().settings.open_session_records;
    until("it is heard", heard).await;
}

#[tokio::test]
async fn a_revocation_that_was_made_though_nobody_was_told_so_holds() {
    let redis = Redis::start().await;
    let one = site(&redis).await;
    let carol = agent_key(DEMO, "carol");
    one.add_agent(DEMO, "carol").await;
    let mut page = one.agent_of(DEMO, "carol").await;
    // Redis knows the script from now on, and does it as soon as it goes on.
    one.running.accounts.revoke_tokens(&carol.group, Some(&agent_key(DEMO, "bob").agent)).await.unwrap();
    redis.pause();
    let revoked = one.running.accounts.revoke_tokens(&carol.group, Some(&carol.agent)).await;
    assert!(revoked.unwrap_err().is_passing(), "nothing was answered");
    redis.resume();
    page.expect_close(4401).await;
}

/// Renames agents, revokes their tokens, and changes settings, from several tasks of each node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_write_at_once_end_with_what_is_stored() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let names: Vec<AgentId> = ["a", "b", "c"].iter().map(|name| AgentId::new(name).unwrap()).collect();
    let mut writing = Vec::new();
    for (node, site) in [&one, &other].into_iter().enumerate() {
        for task in 0..2 {
            let (accounts, names) = (Arc::clone(&site.running.accounts), names.clone());
            writing.push(tokio::spawn(async move {
                for step in 0..30 {
                    let id = &names[step % names.len()];
                    let key = AgentKey { group: group_id(DEMO), agent: id.clone() };
                    let agent = Agent {
                        key: key.clone(),
                        address: id.to_string(),
                        partner_user_id: None,
                        name: format!("{id} of {node} {task} {step}"),
                        profile: None,
                        subscription: None,
                        fixed_key: None,
                    };
                    match step % 5 {
                        3 => accounts.revoke_tokens(&key.group, Some(id)).await.unwrap(),
                        4 => drop(accounts.remove_agent(&key, "it").await.unwrap()),
                        _ => drop(accounts.upsert_agent(&agent).await.unwrap()),
                    }
                }
            }));
        }
    }
    for task in writing {
        task.await.unwrap();
    }
    let store = RedisStore::new(redis.link().await);
    for id in names {
        let key = AgentKey { group: group_id(DEMO), agent: id };
        let stored = store.agent(&key).await.unwrap().map(|row| (row.agent.name, row.generation));
        for site in [&one, &other] {
            let known = async || {
                let member = site.running.accounts.member(&key);
                member.map(|member| (member.name.to_string(), member.generation)) == stored
            };
            until("memory is as the store", known).await;
        }
    }
}

#[tokio::test]
async fn a_node_with_another_master_secret_is_refused() {
    let redis = Redis::start().await;
    let one = site(&redis).await;
    let with = async |secret: Option<&str>| {
        let mut config = config();
        config.redis.url = Some(Secret::from(redis.url()));
        config.auth.master_secret = secret.map(|text| Secret::from(text.to_owned()));
        Server::start(config, Options { store: StorePlace::Memory, ..Options::default() }).await
    };
    for secret in [Some("11".repeat(32)), None] {
        let refused = with(secret.as_deref()).await.expect_err("it is another one");
        assert!(refused.to_string().contains("auth.master_secret"), "{refused}");
    }
    // What is kept of it tells nobody.
    let mut connection = redis.connect().await;
    let kept: String = redis::cmd("GET").arg("pl:master").query_async(&mut connection).await.unwrap();
    let text = crate::common::canary::MASTER;
    assert!(MasterSecret::from_text(&kept).is_ok() && kept != text, "a key of its own");
    assert!(!kept.contains(&text[..16]));
    let twin = site(&redis).await;
    let (key, _) = &one.running.demo.as_ref().unwrap().api_key;
    assert_eq!(*key, twin.running.demo.as_ref().unwrap().api_key.0);
    assert_eq!(*key, KeyId::new("demo").unwrap());
}

#[tokio::test]
async fn a_node_that_starts_leaves_the_sessions_of_others_alone() {
    let redis = Redis::start().await;
    let one = site(&redis).await;
    let mut engagement = one.engage("C-1", json!({})).await;
    let session = porchlight::ids::SessionId::parse(engagement.session.as_str().unwrap()).unwrap();
    let status = async |site: &Site| {
        let record = site.running.stores.records.session_record(&group_id(DEMO), session).await.unwrap();
        record.map(|record| record.status)
    };
    until("it is written", async || status(&one).await == Some(Status::Active)).await;
    let other = site(&redis).await;
    assert_eq!(status(&other).await, Some(Status::Active));
    let open = other.running.stores.records.open_session_records().await.unwrap();
    assert_eq!(open.iter().map(|record| record.session).collect::<Vec<_>>(), [session]);
    engagement.publisher.send(json!({"type": "end"})).await;
    engagement.agent.expect("sessionEnded").await;
    until("it is over", async || status(&other).await == Some(Status::Ended)).await;
}
