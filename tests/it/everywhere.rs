//! What holds on all nodes at once where they share a Redis: keys that guests type, counters of wrong tries, calls that
//! are made once, and limits.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use porchlight::clock::wall;
use porchlight::config::Secret;
use porchlight::hub::accounts::{AdminCaller, Begun, ManageError, SignIn, SignInError};
use porchlight::hub::guests::{Knock, LetIn, NotLetIn, Way};
use porchlight::ids::{AgentId, AgentKey};
use porchlight::limits;
use porchlight::model::lead::Guest;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::store::Agent;
use serde_json::Value;
use tonic::Code;

use crate::admin::{channel, operator, with_key};
use crate::common::redis::Redis;
use crate::common::site::{DEMO, PASSWORD, group_id};
use crate::common::{Site, json, within};
use crate::guests::{enter, invite_of, let_in, show};

pub async fn site(redis: &Redis) -> Site {
    let url = redis.url();
    Site::with(|config| config.redis.url = Some(Secret::from(url))).await
}

pub async fn sites(redis: &Redis) -> [Site; 2] {
    [site(redis).await, site(redis).await]
}

/// Waits for a fact.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !fact().await {
            tokio::task::yield_now().await;
        }
    };
    within(what, waited).await;
}

/// An address that nobody came from yet.
fn fresh_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    IpAddr::from([10, 0, 0, NEXT.fetch_add(1, Ordering::Relaxed)])
}

async fn sign_in(site: &Site, password: &str, from: IpAddr) -> Result<(), SignInError> {
    let request = SignIn::Password {
        group: group_id(DEMO),
        address: "carol".to_owned(),
        password: password.to_owned().into(),
    };
    site.running.accounts.sign_in(request, from).await.map(drop)
}

async fn knock(site: &Site, group: Option<&str>, key: &str, from: IpAddr) -> Result<LetIn, NotLetIn> {
    let way = Way::Key { group: group.map(group_id), key: key.to_owned() };
    let guest = Guest::default();
    let knock = Knock { way, guest, terms: None, device: Default::default(), from, origin: None };
    site.running.hub.guest(knock).await.map(let_in)
}

// ── Session keys ───────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn a_guest_types_the_key_on_any_node() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let mut alice = one.agent("alice").await;
    let ready = show(&mut alice, json!({"title": "Demo"})).await;
    let mut host = one.attach("host", &ready).await;
    let key = ready["sessionKey"].as_str().unwrap();
    let spaced = format!("{} {}-{}", &key[..3], &key[3..6], &key[6..]);
    for body in [
        json!({"sessionKey": spaced, "name": "Ann"}),
        json!({"sessionKey": key, "group": DEMO}),
        json!({"invite": invite_of(&ready["link"])}),
    ] {
        let let_in = enter(&other, &body).await;
        assert_eq!((&let_in["sessionId"], &let_in["title"]), (&ready["sessionId"], &json!("Demo")));
        let guest = other.attach("guest", &let_in).await;
        assert_eq!((&guest.id(), &guest.hello["role"]), (&let_in["participantId"], &json!("viewer")));
        host.expect_change("joined", &guest.id()).await;
    }
    let from = fresh_address();
    one.add_group("second").await;
    until("the group is known", async || other.running.accounts.group(&group_id("second")).is_some()).await;
    for (group, typed) in [(Some("second"), key), (None, &key[1..])] {
        assert_eq!(knock(&other, group, typed, from).await.unwrap_err(), NotLetIn::NotFound, "{typed}");
    }
    alice.ask(json!({"type": "endSession", "sessionId": ready["sessionId"]}), "ok").await;
    alice.expect("sessionEnded").await;
    for site in [&one, &other] {
        assert_eq!(knock(site, None, key, from).await.unwrap_err(), NotLetIn::NotFound);
    }
    let mut connection = redis.connect().await;
    let mut count = redis::cmd("HLEN");
    count.arg("pl:{!}:session-keys");
    until("the key is given back", async || {
        let held: u64 = count.query_async(&mut connection).await.unwrap();
        held == 0
    })
    .await;
}

/// Whether guests come into the sessions of alice by the same key each time, on both nodes.
async fn fix_key([one, other]: &[Site; 2], fixed: bool) {
    let key = AgentKey { group: group_id(DEMO), agent: AgentId::new("alice").unwrap() };
    let agent = one.running.accounts.agent(&key).await.unwrap().unwrap().agent;
    let agent = Agent { fixed_key: fixed.then(wall), ..agent };
    one.running.accounts.upsert_agent(&agent).await.unwrap();
    let known = async || other.running.accounts.fixed_key(&key) == one.running.accounts.fixed_key(&key);
    until("the other node knows", known).await;
    assert_eq!(one.running.accounts.fixed_key(&key).is_some(), fixed);
}

#[tokio::test]
async fn an_agents_fixed_key_leads_into_its_sessions_of_any_node_one_after_the_other() {
    let redis = Redis::start().await;
    let sites = sites(&redis).await;
    fix_key(&sites, true).await;
    let [one, other] = &sites;
    let (mut here, mut there) = (one.agent("alice").await, other.agent("alice").await);
    let mut bob = one.agent("bob").await;
    let key_of = |told: &Value| told["sessionKey"].as_str().unwrap().to_owned();
    let first = show(&mut here, json!({})).await;
    let fixed = key_of(&first);
    // Who has it keeps it: sessions beside it have random ones.
    for beside in [show(&mut here, json!({})).await, show(&mut there, json!({})).await] {
        assert_ne!(key_of(&beside), fixed);
    }
    for site in [one, other] {
        assert_eq!(enter(site, &json!({"sessionKey": fixed})).await["sessionId"], first["sessionId"]);
    }
    here.ask(json!({"type": "endSession", "sessionId": first["sessionId"]}), "ok").await;
    assert_eq!(knock(other, None, &fixed, fresh_address()).await.unwrap_err(), NotLetIn::NotFound);
    // Of the other kind too, and on the other node.
    let waiting = there.ask(json!({"type": "view"}), "waiting").await;
    assert_eq!(key_of(&waiting), fixed);
    assert_eq!(enter(one, &json!({"sessionKey": fixed})).await["sessionId"], waiting["sessionId"]);
    assert_ne!(key_of(&show(&mut bob, json!({})).await), fixed);
    there.ask(json!({"type": "endSession", "sessionId": waiting["sessionId"]}), "ok").await;
    // Described again it stays; taken off, sessions have random ones; set again, it is another.
    fix_key(&sites, true).await;
    let again = show(&mut here, json!({})).await;
    assert_eq!(key_of(&again), fixed);
    here.ask(json!({"type": "endSession", "sessionId": again["sessionId"]}), "ok").await;
    fix_key(&sites, false).await;
    assert_ne!(key_of(&show(&mut here, json!({})).await), fixed);
    fix_key(&sites, true).await;
    let renewed = show(&mut there, json!({})).await;
    assert_ne!(key_of(&renewed), fixed);
    there.ask(json!({"type": "endSession", "sessionId": renewed["sessionId"]}), "ok").await;
    assert_eq!(key_of(&show(&mut here, json!({})).await), key_of(&renewed));
}

#[tokio::test]
async fn keys_of_all_nodes_differ_and_none_is_told_while_nobody_can_say() {
    let mut redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let (mut alice, mut bob) = (one.agent("alice").await, other.agent("bob").await);
    let mut keys = std::collections::HashSet::new();
    for agent in [&mut alice, &mut bob] {
        for _ in 0..2 {
            let ready = show(agent, json!({})).await;
            assert!(keys.insert(ready["sessionKey"].as_str().unwrap().to_owned()));
        }
    }
    let mut connection = redis.connect().await;
    let mut count = redis::cmd("HLEN");
    let held: usize = count.arg("pl:{!}:session-keys").query_async(&mut connection).await.unwrap();
    assert_eq!(held, keys.len());
    redis.kill();
    let ready = show(&mut alice, json!({})).await;
    assert_eq!((ready.get("sessionKey"), ready["link"].is_string()), (None, true));
    // What this node knows by itself still leads there, and what it does not is a guess.
    let known = keys.iter().next().unwrap();
    let from = fresh_address();
    let mut found = Vec::new();
    for site in [&one, &other] {
        found.push(knock(site, None, known, from).await.is_ok());
    }
    assert_eq!(found.iter().filter(|found| **found).count(), 1);
}

// ── Wrong tries ────────────────────────────────────────────────────────────────────────────────

/// So many tries, on one node after the other, each from an address of its own: how many were heard.
async fn heard(sites: &[&Site], most: u32) -> u32 {
    let mut heard = 0;
    for at in 0..most {
        match sign_in(sites[at as usize % sites.len()], "wrong", fresh_address()).await {
            Err(SignInError::Refused) => heard += 1,
            Err(SignInError::Locked { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    heard
}

#[tokio::test]
async fn tries_at_an_agent_count_on_all_nodes_together() {
    let redis = Redis::start().await;
    let (one, other, third) = (site(&redis).await, site(&redis).await, site(&redis).await);
    one.add_agent(DEMO, "carol").await;
    let all = [&one, &other, &third];
    assert_eq!(heard(&all, limits::WRONG_TRIES).await, limits::WRONG_TRIES);
    // The node of the last try knows at once; each other one hears of it, or makes one more try of it.
    let beyond = heard(&all, 30).await;
    assert!(beyond <= 2, "{beyond} tries more");
    for site in all {
        let right = sign_in(site, PASSWORD, fresh_address()).await;
        assert!(matches!(right, Err(SignInError::Locked { .. })), "{right:?}");
    }
    // The lock is not one that the other nodes must have heard of.
    let late = self::site(&redis).await;
    assert!(heard(&[&late], 5).await <= 1);
}

#[tokio::test]
async fn a_right_answer_forgives_on_all_nodes() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    one.add_agent(DEMO, "carol").await;
    let few = limits::WRONG_TRIES - 1;
    assert_eq!(heard(&[&one, &other], few).await, few);
    sign_in(&one, PASSWORD, fresh_address()).await.unwrap();
    let mut connection = redis.connect().await;
    let mut doors = redis::cmd("KEYS");
    doors.arg("pl:door:*");
    until("the tries are forgotten", async || {
        let doors: Vec<String> = doors.query_async(&mut connection).await.unwrap();
        doors.len() == few as usize
    })
    .await;
    assert_eq!(heard(&[&other, &one], few).await, few);
    sign_in(&other, PASSWORD, fresh_address()).await.unwrap();
    let doors: Vec<String> = doors.query_async(&mut connection).await.unwrap();
    for door in doors {
        let left: i64 = redis::cmd("PTTL").arg(&door).query_async(&mut connection).await.unwrap();
        // It may be gone by now.
        assert!(left != -1, "{door} stays for ever");
        assert!(!door.contains("10.0.0.") && !door.contains("carol"), "{door}");
    }
}

#[tokio::test]
async fn guesses_of_an_address_count_on_all_nodes_together() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    one.add_agent(DEMO, "carol").await;
    let from = fresh_address();
    let mut refused = 0;
    for at in 0..40 {
        let site = if at % 2 == 0 { &one } else { &other };
        match knock(site, Some(DEMO), "000000000", from).await.unwrap_err() {
            NotLetIn::NotFound => refused += 1,
            NotLetIn::Locked { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((limits::WRONG_TRIES..=limits::WRONG_TRIES + 1).contains(&refused), "{refused} were heard");
    // The same door as for sign-in, and nobody else's.
    for site in [&one, &other] {
        let right = sign_in(site, PASSWORD, from).await;
        assert!(matches!(right, Err(SignInError::Locked { .. })), "{right:?}");
        sign_in(site, PASSWORD, fresh_address()).await.unwrap();
    }
}

#[tokio::test]
async fn while_redis_is_away_each_node_counts_for_itself() {
    let mut redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    redis.kill();
    let from = fresh_address();
    for site in [&one, &other] {
        for _ in 0..limits::WRONG_TRIES {
            assert_eq!(knock(site, None, "000000000", from).await.unwrap_err(), NotLetIn::Unavailable);
        }
        let locked = knock(site, None, "000000000", from).await.unwrap_err();
        assert!(matches!(locked, NotLetIn::Locked { .. }), "{locked:?}");
    }
}

#[tokio::test]
async fn an_agent_is_told_that_a_key_cannot_be_read_now() {
    let mut redis = Redis::start().await;
    let [site, _] = sites(&redis).await;
    let (_visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    redis.kill();
    let typed = json!({"type": "join", "sessionKey": "000 000 000"});
    assert_eq!(agent.refused(typed).await, "unavailable");
    // What this node knows by itself goes on.
    agent.ask(json!({"type": "join", "visitorId": "C-1"}), "request").await;
}

// ── Calls and limits ───────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_calls_of_one_name_at_once_one_is_made() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    let key = operator(&one);
    let clients = [AdminClient::new(channel(&one).await), AdminClient::new(channel(&other).await)];
    for round in 0..20 {
        let create = |client: &AdminClient<_>| {
            let request = v1::CreateGroupRequest {
                group: format!("g{round}"),
                request_id: "r".to_owned() + &round.to_string(),
            };
            let (mut client, request) = (client.clone(), with_key(&key, request));
            async move { client.create_group(request).await }
        };
        let (first, second) = tokio::join!(create(&clients[0]), create(&clients[1]));
        let mut made = 0;
        for answer in [first, second] {
            match answer {
                Ok(answer) => {
                    made += 1;
                    assert_eq!(answer.into_inner().group.unwrap().settings_version, 1);
                }
                // The other one is still making it: it is asked for again.
                Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
            }
        }
        assert!(made >= 1, "round {round}");
        for client in &clients {
            assert_eq!(create(client).await.unwrap().into_inner().group.unwrap().settings_version, 1);
        }
    }
    // What failed may be asked for again at once, on any node.
    let accounts = [&one.running.accounts, &other.running.accounts];
    let begin = async |at: usize, digest| {
        accounts[at].begin_call(&AdminCaller::Operator, "again", digest).await.unwrap()
    };
    let Begun::New(running) = begin(0, [1; 32]).await else { panic!("it is new") };
    assert!(matches!(begin(1, [1; 32]).await, Begun::Running));
    assert!(matches!(begin(1, [2; 32]).await, Begun::Other));
    running.given_up().await;
    let Begun::New(running) = begin(1, [2; 32]).await else { panic!("it was given up") };
    running.answered(b"done".to_vec()).await.unwrap();
    // Whoever is told what was answered has let go of it: the next one, on any node, is told so too.
    for _ in 0..20 {
        for at in [0, 1] {
            let begun = begin(at, [2; 32]).await;
            assert!(matches!(&begun, Begun::Before(answer) if answer == b"done"), "{begun:?}");
            assert!(matches!(begin(1 - at, [3; 32]).await, Begun::Other));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn api_keys_are_bounded_on_all_nodes_together() {
    let redis = Redis::start().await;
    let [one, other] = sites(&redis).await;
    one.add_group("second").await;
    let group = group_id("second");
    until("the group is known", async || other.running.accounts.group(&group).is_some()).await;
    let create = async |site: &Site| {
        let mut made = 0;
        for _ in 0..limits::API_KEYS {
            match site.running.accounts.create_api_key(&group, "").await {
                Ok(_) => made += 1,
                Err(error) => assert!(matches!(error, ManageError::TooManyKeys), "{error:?}"),
            }
        }
        made
    };
    let (here, there) = tokio::join!(create(&one), create(&other));
    assert_eq!(here + there, limits::API_KEYS);
    let key = one.running.accounts.api_keys(&group).await.unwrap().remove(0);
    other.running.accounts.revoke_api_key(&group, &key.id).await.unwrap();
    one.running.accounts.create_api_key(&group, "").await.unwrap();
    assert!(other.running.accounts.create_api_key(&group, "").await.is_err());
}
