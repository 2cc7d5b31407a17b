//! Accounts over an in-memory store: sign-in, lockouts, revocation, the demo.

use std::net::Ipv4Addr;

use secrecy::ExposeSecret as _;

use super::*;
use crate::auth::agent_token::AgentClaims;
use crate::auth::login_key;
use crate::store::Agent;
use crate::store::sqlite::SqliteStore;

const HERE: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn master() -> MasterSecret {
    MasterSecret::from_bytes([4; 32])
}

fn store() -> Arc<dyn Store> {
    Arc::new(SqliteStore::in_memory().unwrap())
}

async fn over(store: &Arc<dyn Store>) -> Accounts {
    Accounts::open(Arc::clone(store), master(), Clock::start()).await.unwrap()
}

async fn demo() -> (Accounts, Demo) {
    let accounts = over(&store()).await;
    let demo = accounts.ensure_demo().await.unwrap();
    (accounts, demo)
}

fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn key(agent: &str) -> AgentKey {
    AgentKey { group: gid("demo"), agent: AgentId::new(agent).unwrap() }
}

fn by_password(group: &str, address: &str, password: &str) -> SignIn {
    SignIn::Password { group: gid(group), address: address.to_owned(), password: password.into() }
}

fn by_login_key(group: &str, user: &str, text: &str) -> SignIn {
    SignIn::LoginKey { group: gid(group), partner_user_id: user.to_owned(), login_key: text.into() }
}

fn seconds_from_now(seconds: i64) -> u64 {
    crate::clock::wall().unix_seconds().saturating_add_signed(seconds)
}

async fn token_of(accounts: &Accounts, agent: &DemoAgent) -> String {
    let request = by_password("demo", &agent.address, &agent.password);
    accounts.sign_in(request, HERE).await.unwrap().token
}

#[tokio::test]
async fn an_agent_signs_in_by_password() {
    let (accounts, demo) = demo().await;
    let alice = &demo.agents[0];
    let signed = accounts.sign_in(by_password("demo", " Alice ", &alice.password), HERE).await.unwrap();
    assert_eq!(accounts.verify_agent(&signed.token), Ok(signed.agent.clone()));
    assert_eq!((signed.agent.agent.as_str(), &*signed.agent.name), ("alice", "Alice"));
    assert_eq!(signed.agent.profile.as_deref(), Some("Support"));
    assert_eq!(signed.agent.permissions.names(), ["user", "admin", "agent_video"]);
    let life = signed.expires_at.unix_seconds() - crate::clock::wall().unix_seconds();
    assert!((3_590..=3_600).contains(&life), "{life}");
    assert!(!format!("{signed:?}").contains(&signed.token));
}

#[tokio::test]
async fn unknown_foreign_and_wrong_get_one_answer() {
    let (accounts, demo) = demo().await;
    accounts.create_group(&gid("other"), &Settings::default(), "t").await.unwrap();
    let right = &demo.agents[0].password;
    let good = login_key::mint(&demo.api_key.1, "demo", "demo-alice", seconds_from_now(60));
    for request in [
        by_password("demo", "alice", "wrong password"),
        by_password("demo", "nobody", right),
        by_password("other", "alice", right),
        by_password("nowhere", "alice", right),
        by_login_key("demo", "demo-alice", "junk"),
        by_login_key("demo", "demo-bob", &good),
        by_login_key("other", "demo-alice", &good),
        by_login_key("nowhere", "demo-alice", &good),
    ] {
        let shown = format!("{request:?}");
        assert!(!shown.contains(right), "{shown}");
        let answer = accounts.sign_in(request, HERE).await;
        assert!(matches!(answer, Err(SignInError::Refused)), "{shown}: {answer:?}");
    }
}

#[tokio::test]
async fn ten_wrong_passwords_lock_the_agent_and_the_address() {
    let (accounts, demo) = demo().await;
    for _ in 0..limits::WRONG_TRIES {
        let answer = accounts.sign_in(by_password("demo", "alice", "wrong password"), HERE).await;
        assert!(matches!(answer, Err(SignInError::Refused)));
    }
    let elsewhere = "198.51.100.7".parse().unwrap();
    let (alice, bob) = (&demo.agents[0], &demo.agents[1]);
    for (agent, from) in [(alice, HERE), (alice, elsewhere), (bob, HERE)] {
        let answer = accounts.sign_in(by_password("demo", &agent.address, &agent.password), from).await;
        assert!(matches!(answer, Err(SignInError::Locked { .. })), "{} {from}: {answer:?}", agent.address);
    }
    accounts.sign_in(by_password("demo", "bob", &bob.password), elsewhere).await.unwrap();
}

#[tokio::test]
async fn an_unknown_agent_is_locked_like_a_known_one() {
    let (accounts, _) = demo().await;
    for n in 0..limits::WRONG_TRIES {
        let from = std::net::IpAddr::from([192, 0, 2, n as u8]);
        let answer = accounts.sign_in(by_login_key("nowhere", "nobody", "junk"), from).await;
        assert!(matches!(answer, Err(SignInError::Refused)));
    }
    let answer = accounts.sign_in(by_login_key("nowhere", "nobody", "junk"), HERE).await;
    assert!(matches!(answer, Err(SignInError::Locked { .. })));
}

#[tokio::test]
async fn an_agent_signs_in_by_login_key() {
    let (accounts, demo) = demo().await;
    let mint = |secret: &str, ahead| login_key::mint(secret, "demo", "demo-alice", seconds_from_now(ahead));
    let signed =
        accounts.sign_in(by_login_key("demo", "demo-alice", &mint(&demo.api_key.1, 60)), HERE).await.unwrap();
    assert_eq!(signed.agent.agent.as_str(), "alice");
    let renew = |token: &str| accounts.sign_in(SignIn::Renew { token: token.into() }, HERE);
    let renewed = renew(&signed.token).await.unwrap();
    let by_password = token_of(&accounts, &demo.agents[0]).await;

    let second = accounts.create_api_key(&gid("demo"), "rotation").await.unwrap();
    let by_second = || by_login_key("demo", "demo-alice", &mint(second.secret.expose(), 60));
    accounts.sign_in(by_second(), HERE).await.unwrap();
    let uses = accounts.api_keys(&gid("demo")).await.unwrap();
    assert!(uses.iter().all(|key| key.last_used_at.is_some()), "{uses:?}");

    let mut settings = accounts.group(&gid("demo")).unwrap().settings.clone();
    settings.sso.api_key_id = Some(demo.api_key.0.clone());
    accounts.update_settings(&gid("demo"), &settings, 1, "t").await.unwrap();
    assert!(accounts.sign_in(by_second(), HERE).await.is_err(), "only the configured key counts");
    settings.sso.api_key_id = None;
    accounts.update_settings(&gid("demo"), &settings, 2, "t").await.unwrap();
    accounts.sign_in(by_second(), HERE).await.unwrap();

    accounts.revoke_api_key(&gid("demo"), &second.row.id).await.unwrap();
    assert!(accounts.sign_in(by_second(), HERE).await.is_err(), "revoked");

    settings.sso.enabled = false;
    accounts.update_settings(&gid("demo"), &settings, 3, "t").await.unwrap();
    let switched_off = by_login_key("demo", "demo-alice", &mint(&demo.api_key.1, 60));
    assert!(accounts.sign_in(switched_off, HERE).await.is_err());
    assert!(renew(&renewed.token).await.is_err(), "nor is the sign-in stretched that came by it");
    assert!(renew(&by_password).await.is_ok());
}

#[tokio::test]
async fn login_keys_out_of_time_are_refused_but_lock_nobody() {
    let (accounts, demo) = demo().await;
    for ahead in [-1, 90_000] {
        for _ in 0..=limits::WRONG_TRIES {
            let text = login_key::mint(&demo.api_key.1, "demo", "demo-alice", seconds_from_now(ahead));
            let answer = accounts.sign_in(by_login_key("demo", "demo-alice", &text), HERE).await;
            assert!(matches!(answer, Err(SignInError::Refused)), "{answer:?}");
        }
    }
    token_of(&accounts, &demo.agents[0]).await;
}

#[tokio::test]
async fn a_token_is_renewed_until_the_sign_in_is_a_day_old() {
    let (accounts, demo) = demo().await;
    let token = token_of(&accounts, &demo.agents[0]).await;
    let renewed = accounts.sign_in(SignIn::Renew { token: token.as_str().into() }, HERE).await.unwrap();
    assert_eq!(renewed.agent.agent.as_str(), "alice");
    let junk = accounts.sign_in(SignIn::Renew { token: "junk".into() }, HERE).await;
    assert!(matches!(junk, Err(SignInError::Refused)));

    let aged = |auth_ago: i64, exp_in: i64| {
        let mut claims: AgentClaims = accounts.inner.tokens.verify(&token, crate::clock::wall()).unwrap();
        claims.auth_time = seconds_from_now(-auth_ago);
        claims.exp = seconds_from_now(exp_in);
        let token = accounts.inner.tokens.mint(&claims);
        accounts.sign_in(SignIn::Renew { token: token.into() }, HERE)
    };
    assert!(aged(60, -1).await.is_err(), "expired");
    assert!(aged(86_400, 600).await.is_err(), "the sign-in is a day old");
    let last = aged(86_400 - 600, 600).await.unwrap();
    assert!(last.expires_at.unix_seconds() <= seconds_from_now(601), "not beyond the day");
}

#[tokio::test]
async fn what_is_taken_back_holds_at_once() {
    type Act = for<'a> fn(&'a Accounts) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;
    let acts: [(&str, Act); 5] = [
        ("revoked", |a| {
            Box::pin(async { a.revoke_tokens(&gid("demo"), Some(&key("alice").agent)).await.unwrap() })
        }),
        ("all revoked", |a| Box::pin(async { a.revoke_tokens(&gid("demo"), None).await.unwrap() })),
        ("removed", |a| Box::pin(async { assert!(a.remove_agent(&key("alice"), "t").await.unwrap()) })),
        ("association removed", |a| {
            Box::pin(async { drop(a.remove_association(&key("alice")).await.unwrap()) })
        }),
        ("new password", |a| {
            Box::pin(async { drop(a.set_password(&key("alice"), "another one".into()).await.unwrap()) })
        }),
    ];
    for (name, act) in acts {
        let (accounts, demo) = demo().await;
        let token = token_of(&accounts, &demo.agents[0]).await;
        let mut changes = accounts.changes();
        act(&accounts).await;
        assert_eq!(accounts.verify_agent(&token), Err(Refused::Revoked), "{name}");
        let told = std::iter::from_fn(|| changes.try_recv().ok()).collect::<Vec<_>>();
        assert!(told.contains(&Changed::Agent(key("alice"))), "{name}: {told:?}");
    }
}

#[tokio::test]
async fn a_change_is_finished_when_its_caller_goes_away() {
    let (accounts, demo) = demo().await;
    let token = token_of(&accounts, &demo.agents[0]).await;
    let mut changes = accounts.changes();
    {
        let alice = key("alice").agent;
        let group = gid("demo");
        let mut call = std::pin::pin!(accounts.revoke_tokens(&group, Some(&alice)));
        // Started, then dropped at its first wait.
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    assert_eq!(changes.recv().await.unwrap(), Changed::Agent(key("alice")));
    assert_eq!(accounts.verify_agent(&token), Err(Refused::Revoked));
}

#[tokio::test]
async fn a_removed_agent_leaves_nothing_to_inherit() {
    let (accounts, demo) = demo().await;
    let token = token_of(&accounts, &demo.agents[0]).await;
    let row = accounts.agent(&key("alice")).await.unwrap().unwrap();
    assert!(accounts.remove_agent(&key("alice"), "t").await.unwrap());
    assert!(!accounts.remove_agent(&key("alice"), "t").await.unwrap());
    accounts.upsert_agent(&row.agent).await.unwrap();
    assert_eq!(accounts.verify_agent(&token), Err(Refused::Revoked));
    let settings = &accounts.group(&gid("demo")).unwrap().settings;
    assert_eq!(settings.permissions_of(&key("alice").agent), Permissions::default());
}

#[tokio::test]
async fn permissions_and_profile_are_those_of_now() {
    let (accounts, demo) = demo().await;
    let token = token_of(&accounts, &demo.agents[1]).await;
    let mut changes = accounts.changes();
    let granted = Permissions { user: true, admin: true, agent_video: false };
    accounts.set_permissions(&key("bob"), granted, "alice").await.unwrap();
    assert_eq!(changes.try_recv().unwrap(), Changed::Group(gid("demo")));
    let mut row = accounts.agent(&key("bob")).await.unwrap().unwrap();
    row.agent.profile = Some("Sales".to_owned());
    accounts.upsert_agent(&row.agent).await.unwrap();
    let now = accounts.verify_agent(&token).unwrap();
    assert_eq!((now.permissions, now.profile.as_deref()), (granted, Some("Sales")));
    let history = accounts.settings_changes(&gid("demo"), None, usize::MAX).await.unwrap();
    assert_eq!((history[0].by.as_str(), history[0].version), ("alice", 2));
    let nobody = accounts.set_permissions(&key("eve"), granted, "alice").await;
    assert!(matches!(nobody, Err(ManageError::NoAgent(_))));
}

#[tokio::test]
async fn a_company_vouches_for_its_visitors_only() {
    let (accounts, demo) = demo().await;
    let secret = demo.group.key("demo").unwrap();
    let mint =
        |visitor: &VisitorId| visitor_token::mint(&demo.api_key.0, secret, visitor, seconds_from_now(60));
    let visitor = VisitorId::new("C-1").unwrap();
    let token = mint(&visitor);
    assert_eq!(accounts.verify_visitor(&demo.group, &visitor, &token), Ok(()));
    assert_eq!(
        accounts.verify_visitor(&demo.group, &VisitorId::new("C-2").unwrap(), &token),
        Err(Refused::OtherSubject)
    );
    let unique = VisitorId::unique(5);
    assert_eq!(
        accounts.verify_visitor(&demo.group, &unique, &mint(&unique)),
        Err(Refused::OtherSubject),
        "the server's own ids need the server's own secret"
    );
    let other = accounts.create_group(&gid("other"), &Settings::default(), "t").await.unwrap();
    accounts.add_api_key(&gid("other"), &demo.api_key.0, "same id").await.unwrap();
    let other = accounts.group(&other.id).unwrap();
    assert_eq!(accounts.verify_visitor(&other, &visitor, &token), Err(Refused::NotGenuine));
}

#[tokio::test]
async fn unique_visitors_come_back_by_their_secret() {
    let (accounts, _) = demo().await;
    let visitor = VisitorId::unique(7);
    let secret = accounts.unique_secret(&gid("demo"), &visitor);
    assert!(accounts.verify_unique(&gid("demo"), &visitor, &secret));
    assert!(!accounts.verify_unique(&gid("other"), &visitor, &secret));
}

#[tokio::test]
async fn admin_keys_and_their_reach() {
    let (accounts, demo) = demo().await;
    let (id, secret) = &demo.api_key;
    let group_key = format!("{id}.{secret}");
    assert_eq!(accounts.verify_admin(&demo.admin_key), Ok(AdminCaller::Operator));
    assert_eq!(accounts.verify_admin(&group_key), Ok(AdminCaller::Key(gid("demo"), id.clone())));
    for bad in ["", ".", "demo.", secret, &format!("demo.{secret}x"), &format!("other.{secret}"), "pla_"] {
        assert_eq!(accounts.verify_admin(bad), Err(AdminRefused::Unknown), "{bad}");
    }
    accounts.revoke_api_key(&gid("demo"), id).await.unwrap();
    assert_eq!(accounts.verify_admin(&group_key), Err(AdminRefused::Unknown));
    let [admin, other] = [&demo.agents[0], &demo.agents[1]];
    let token = token_of(&accounts, admin).await;
    let caller = accounts.verify_admin(&token).unwrap();
    assert_eq!((caller.own_group(), caller.to_string()), (Some(&gid("demo")), format!("agent {}", admin.id)));
    let token = token_of(&accounts, other).await;
    assert_eq!(accounts.verify_admin(&token), Err(AdminRefused::Forbidden));
}

#[tokio::test]
async fn the_demo_is_the_same_after_a_restart() {
    let store = store();
    let first = over(&store).await.ensure_demo().await.unwrap();
    let accounts = over(&store).await;
    let token = token_of(&accounts, &first.agents[0]).await;
    let again = accounts.ensure_demo().await.unwrap();
    let face = |demo: &Demo| {
        let agents: Vec<_> = demo.agents.iter().map(|a| (a.address.clone(), a.password.clone())).collect();
        (demo.api_key.clone(), demo.admin_key.clone(), agents, demo.group.version)
    };
    assert_eq!(face(&first), face(&again));
    assert!(accounts.verify_agent(&token).is_ok(), "nobody is signed out by it");
    accounts.revoke_api_key(&gid("demo"), &first.api_key.0).await.unwrap();
    accounts.set_password(&key("bob"), "something else".into()).await.unwrap();
    let third = accounts.ensure_demo().await.unwrap();
    assert_ne!(third.api_key.0, first.api_key.0);
    token_of(&accounts, &third.agents[1]).await;
}

#[tokio::test]
async fn what_another_node_changed_is_seen_after_a_reload() {
    let store = store();
    let (here, there) = (over(&store).await, over(&store).await);
    let demo = there.ensure_demo().await.unwrap();
    assert!(here.group(&gid("demo")).is_none());
    let mut changes = here.changes();
    here.reload().await.unwrap();
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        told.push(change);
    }
    assert_eq!(told.len(), 3, "the group and two agents: {told:?}");
    let token = token_of(&here, &demo.agents[0]).await;
    here.reload().await.unwrap();
    assert!(changes.try_recv().is_err(), "nothing differs");
    there.remove_agent(&key("alice"), "t").await.unwrap();
    here.reload_group(&gid("demo")).await.unwrap();
    assert_eq!(here.verify_agent(&token), Err(Refused::Revoked));
    assert_eq!(changes.try_recv().unwrap(), Changed::Agent(key("alice")));
    assert_eq!(changes.try_recv().unwrap(), Changed::Group(gid("demo")), "its permissions are gone");
}

#[tokio::test]
async fn permissions_survive_a_race_with_another_node() {
    let store = store();
    let here = over(&store).await;
    here.ensure_demo().await.unwrap();
    let there = over(&store).await;
    let video = Permissions { user: true, admin: false, agent_video: true };
    here.set_permissions(&key("bob"), video, "one").await.unwrap();
    let group = there.set_permissions(&key("alice"), video, "two").await.unwrap();
    assert_eq!((group.settings.permissions_of(&key("bob").agent), group.version), (video, 3));
}

#[tokio::test]
async fn what_is_out_of_range_is_not_stored() {
    let (accounts, _) = demo().await;
    let bad = Settings { grace_seconds: 61, ..Settings::default() };
    let refused = accounts.create_group(&gid("bad"), &bad, "t").await;
    assert!(matches!(refused, Err(ManageError::Invalid(ref list)) if list[0].field == "graceSeconds"));
    assert!(accounts.group(&gid("bad")).is_none());
    let agent = |address: &str, name: &str| Agent {
        key: key("carol"),
        address: address.to_owned(),
        partner_user_id: None,
        name: name.to_owned(),
        profile: None,
        subscription: None,
        fixed_key: None,
    };
    for (row, field) in [
        (agent("", "Carol"), "address"),
        (agent("a b", "Carol"), "address"),
        (agent("carol", " "), "name"),
        (agent("carol", "a\r\nb"), "name"),
    ] {
        let refused = accounts.upsert_agent(&row).await;
        assert!(
            matches!(refused, Err(ManageError::Invalid(ref list)) if list[0].field == field),
            "{refused:?}"
        );
    }
    let row = accounts.upsert_agent(&agent("Carol@X.example", "Carol")).await.unwrap();
    assert_eq!(row.agent.address, "carol@x.example");
    assert!(accounts.agent_at(&gid("demo"), "CAROL@x.example").await.unwrap().is_some());
    let weak = accounts.set_password(&key("carol"), "short".into()).await;
    assert!(matches!(weak, Err(ManageError::Password(_))));
}

#[tokio::test]
async fn secrets_are_not_shown_in_debug() {
    let (accounts, demo) = demo().await;
    let shown = format!("{:?} {:?}", demo.group, accounts.admin_key());
    assert!(!shown.contains(&demo.api_key.1) && !shown.contains(accounts.admin_key().expose_secret()));
}
