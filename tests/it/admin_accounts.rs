//! What operators and companies manage: groups, settings, keys, agents. Over a real gRPC client.

use porchlight::admin::details_of;
use porchlight::auth::login_key;
use porchlight::clock::wall;
use porchlight::limits;
use porchlight::pb::v1;
use tonic::Code;

use crate::common::desk::*;
use crate::common::json;
use crate::common::site::{DEMO, PASSWORD};

#[tokio::test]
async fn groups_are_made_and_listed() {
    let desk = Desk::open().await;
    let make = async |key: &str, group: &str, id: &str| {
        let request = v1::CreateGroupRequest { group: group.into(), request_id: id.into() };
        desk.client().create_group(with_key(key, request)).await
    };
    let made = make(&desk.operator, "acme", "r1").await.unwrap().into_inner().group.unwrap();
    assert_eq!((made.group.as_str(), made.settings_version, made.presence_enabled), ("acme", 1, false));
    assert!(made.created_at.is_some());
    let again = make(&desk.operator, "acme", "r1").await.unwrap().into_inner().group.unwrap();
    assert_eq!(again, made, "the same call");
    let (code, details) = refused(make(&desk.operator, "acme", "").await);
    assert_eq!((code, details.reason.as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));
    assert_eq!(details.metadata["field"], "group");
    assert_eq!(reason(make(&desk.operator, "b", "r1").await), is(Code::AlreadyExists, "REQUEST_ID_REUSED"));
    assert_eq!(fields(make(&desk.operator, "no group", "").await), ["group"]);
    let alice = desk.site.token(DEMO, "alice").await;
    for key in [&desk.demo, &alice] {
        assert_eq!(reason(make(key, "mine", "").await), is(Code::PermissionDenied, "FORBIDDEN"));
    }

    let list = async |key: &str, page_size, page_token: &str| {
        let request = v1::ListGroupsRequest { page_size, page_token: page_token.into() };
        desk.client().list_groups(with_key(key, request)).await.map(|answer| {
            let answer = answer.into_inner();
            let names: Vec<_> = answer.groups.into_iter().map(|group| group.group).collect();
            (names, answer.next_page_token)
        })
    };
    let (names, next) = list(&desk.operator, 2, "").await.unwrap();
    assert_eq!(names, ["acme", "demo"]);
    assert_eq!(list(&desk.operator, 2, &next).await.unwrap(), (vec!["other".to_owned()], String::new()));
    for (key, own) in [(&desk.demo, "demo"), (&desk.other, "other"), (&alice, "demo")] {
        assert_eq!(list(key, 0, "").await.unwrap(), (vec![own.to_owned()], String::new()));
    }
    for token in [next.as_str(), "x"] {
        let status = list(&desk.demo, 0, token).await.unwrap_err();
        assert_eq!(details_of(&status).unwrap().metadata["field"], "page_token");
    }
}

#[tokio::test]
async fn settings_change_by_mask_from_the_version_read() {
    let desk = Desk::open().await;
    let mut page = desk.site.agent("alice").await;
    let (before, version) = desk.settings().await;
    let asked = v1::Settings {
        open_session_records: true,
        terms: Some(v1::Terms { text: "New text.".into(), version: "unmasked".into(), ..Default::default() }),
        ..Default::default()
    };
    let asked = change(&["open_session_records", "terms.text"], version, asked);
    let made = desk.update(&desk.demo, asked.clone()).await.unwrap().into_inner();
    let mut wanted = before.clone();
    wanted.open_session_records = true;
    wanted.terms.as_mut().unwrap().text = "New text.".into();
    assert_eq!((made.settings.as_ref(), made.version), (Some(&wanted), version + 1));
    assert_eq!(desk.settings().await, (wanted.clone(), version + 1));
    page.expect_where("settings", |told| told["settings"]["openSessionRecords"] == true).await;

    let (code, details) = refused(desk.update(&desk.demo, asked.clone()).await);
    assert_eq!((code, details.reason.as_str()), (Code::Aborted, "CONFLICT"));
    assert_eq!(details.metadata["version"], (version + 1).to_string());
    let same = v1::UpdateSettingsRequest { expected_version: version + 1, ..asked };
    let made = desk.update(&desk.demo, same).await.unwrap().into_inner();
    assert_eq!((made.settings, made.version), (Some(wanted.clone()), version + 1), "nothing differs");
    let all =
        desk.update(&desk.demo, change(&["*"], version + 1, before.clone())).await.unwrap().into_inner();
    assert_eq!((all.settings, all.version), (Some(before), version + 2));
}

#[tokio::test]
async fn settings_that_cannot_be_taken_are_told_by_field() {
    let desk = Desk::open().await;
    let (before, version) = desk.settings().await;
    let update = async |request| desk.update(&desk.demo, request).await;
    for path in ["nothing", "terms.nothing", "graceSeconds", "profiles.name", "profiles[0].name", ""] {
        assert_eq!(fields(update(change(&[path], version, grace(1))).await), ["update_mask"], "{path}");
    }
    assert_eq!(fields(update(change(&[], version, grace(1))).await), ["update_mask"]);
    let nothing = v1::UpdateSettingsRequest { settings: None, ..change(&["*"], version, grace(1)) };
    assert_eq!(fields(update(nothing).await), ["settings"]);

    let mut wrong = before.clone();
    wrong.grace_seconds = 61;
    wrong.terms.as_mut().unwrap().deadline_seconds = 1;
    wrong.join_starts = v1::SessionKind::Show.into();
    wrong.visitor_origins = vec!["https://a.example".into(), "*".into()];
    wrong.profiles.push(wrong.profiles[0].clone());
    let mut told = fields(update(change(&["*"], version, wrong)).await);
    told.sort();
    assert_eq!(
        told,
        [
            "settings.grace_seconds",
            "settings.join_starts",
            "settings.profiles[1].name",
            "settings.terms.deadline_seconds",
            "settings.visitor_origins[1]",
        ]
    );
    let unknown = v1::Settings { create_leads: 77, sync_frequency: 88, ..Default::default() };
    let told = fields(update(change(&["create_leads"], version, unknown.clone())).await);
    assert_eq!(told, ["settings.create_leads"], "the rest is not looked at");

    let mut names = before.clone();
    names.default_admin = "nobody".into();
    names.sso.as_mut().unwrap().api_key_id = "nokey".into();
    names.permission_set.as_mut().unwrap().user.push("carol".into());
    let mut told = fields(update(change(&["*"], version, names)).await);
    told.sort();
    let wanted = ["settings.default_admin", "settings.permission_set.user", "settings.sso.api_key_id"];
    assert_eq!(told, wanted, "carol is an agent of the other group");
    assert_eq!(desk.settings().await, (before, version), "nothing was changed");
}

#[tokio::test]
async fn a_name_that_has_gone_since_does_not_stop_other_changes() {
    let desk = Desk::open().await;
    let key = desk.create_key(&desk.demo, "sso", "").await.unwrap().into_inner().api_key.unwrap().key_id;
    let (mut settings, version) = desk.settings().await;
    settings.sso.as_mut().unwrap().api_key_id = key.clone();
    desk.update(&desk.demo, change(&["sso"], version, settings)).await.unwrap();
    desk.revoke_key(&key).await.unwrap();
    let (mut settings, version) = desk.settings().await;
    settings.grace_seconds = 9;
    desk.update(&desk.demo, change(&["*"], version, settings)).await.unwrap();
    // Whoever is deleted loses permissions and the place as default admin.
    let delete = v1::DeleteAgentRequest { agent_id: "alice".into(), ..Default::default() };
    desk.client().delete_agent(with_key(&desk.demo, delete)).await.unwrap();
    let (settings, _) = desk.settings().await;
    assert_eq!(settings.default_admin, "");
    assert_eq!(settings.permission_set.unwrap().admin, [""; 0]);
}

#[tokio::test]
async fn changes_are_listed_with_who_made_them() {
    let desk = Desk::open().await;
    let alice = desk.site.token(DEMO, "alice").await;
    let (_, first) = desk.settings().await;
    for (at, key) in [&desk.operator, &desk.demo, &alice].into_iter().enumerate() {
        let version = first + at as u64;
        let group = DEMO.to_owned();
        let asked =
            v1::UpdateSettingsRequest { group, ..change(&["grace_seconds"], version, grace(10 + at as u32)) };
        desk.update(key, asked).await.unwrap();
    }
    let list = async |page_size, page_token: &str| {
        let request =
            v1::ListSettingsChangesRequest { page_size, page_token: page_token.into(), ..Default::default() };
        desk.client().list_settings_changes(with_key(&desk.demo, request)).await
    };
    let page = list(2, "").await.unwrap().into_inner();
    let by: Vec<_> = page.changes.iter().map(|one| (one.version, one.changed_by.as_str())).collect();
    let key = format!("key {}", desk.demo.split('.').next().unwrap());
    assert_eq!(by, [(first + 3, "agent alice"), (first + 2, key.as_str())]);
    let newest = &page.changes[0];
    assert_eq!(newest.before.as_ref().unwrap().grace_seconds, 11);
    assert_eq!(newest.after.as_ref().unwrap().grace_seconds, 12);
    assert!(newest.changed_at.is_some());
    let rest = list(0, &page.next_page_token).await.unwrap().into_inner();
    assert_eq!(rest.changes[0].changed_by, "operator");
    assert_eq!((rest.changes.len() as u64, rest.next_page_token.as_str()), (first + 1, ""));
    assert!(rest.changes.last().unwrap().before.is_none(), "the creation");
    assert_eq!(fields(list(0, "x").await), ["page_token"]);
    let agents = v1::ListAgentsRequest { page_token: page.next_page_token, ..Default::default() };
    let foreign = desk.client().list_agents(with_key(&desk.demo, agents)).await;
    assert_eq!(fields(foreign), ["page_token"], "a token of another call");
}

#[tokio::test]
async fn keys_live_and_die() {
    let desk = Desk::open().await;
    let made = desk.create_key(&desk.demo, "shop", "").await.unwrap().into_inner();
    let key = made.api_key.unwrap();
    assert_eq!((key.label.as_str(), key.revoked_at.is_none()), ("shop", true));
    let credential = format!("{}.{}", key.key_id, made.secret);
    let list = async |credential: &str| {
        let asked = v1::ListApiKeysRequest::default();
        desk.client().list_api_keys(with_key(credential, asked)).await
    };
    let listed = list(&credential).await.unwrap().into_inner().api_keys;
    assert_eq!(listed.len(), 2);
    assert!(listed[1].last_used_at.is_some(), "just now, for this very call");
    let revoked = desk.revoke_key(&key.key_id).await.unwrap().into_inner().api_key.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(reason(list(&credential).await), is(Code::Unauthenticated, "UNAUTHORIZED"));
    let again = desk.revoke_key(&key.key_id).await.unwrap().into_inner().api_key.unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    assert_eq!(desk.keys().await.len(), 2, "revoked ones too");
    let foreign = desk.other.split('.').next().unwrap();
    for unknown in ["nokey", foreign] {
        assert_eq!(reason(desk.revoke_key(unknown).await), is(Code::NotFound, "NOT_FOUND"));
    }
    assert_eq!(fields(desk.revoke_key("").await), ["key_id"]);
    assert_eq!(fields(desk.create_key(&desk.demo, &"x".repeat(256), "").await), ["label"]);
    for _ in 1..limits::API_KEYS {
        desk.create_key(&desk.demo, "", "").await.unwrap();
    }
    assert_eq!(reason(desk.create_key(&desk.demo, "", "").await), is(Code::ResourceExhausted, "TOO_MANY"));
}

#[tokio::test]
async fn a_key_is_made_once_for_a_request() {
    let desk = Desk::open().await;
    let first = desk.create_key(&desk.demo, "shop", "r1").await.unwrap().into_inner();
    let again = desk.create_key(&desk.demo, "shop", "r1").await.unwrap().into_inner();
    assert_eq!(again, first, "with its secret");
    assert_eq!(desk.keys().await.len(), 2, "the demo's and this one");
    let other = desk.create_key(&desk.demo, "mail", "r1").await;
    assert_eq!(reason(other), is(Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let theirs = desk.create_key(&desk.other, "shop", "r1").await.unwrap().into_inner();
    assert_ne!(theirs, first, "request IDs are each caller's own");
    let id = first.api_key.unwrap().key_id;
    desk.revoke_key(&id).await.unwrap();
    let late = desk.create_key(&desk.demo, "shop", "r1").await;
    assert_eq!(reason(late), is(Code::NotFound, "NOT_FOUND"), "the secret of a revoked key is not told");
}

#[tokio::test]
async fn sign_in_with_a_login_key_obeys_the_settings() {
    let desk = Desk::open().await;
    desk.upsert(agent("dora"), "").await.unwrap();
    let [one, two] = [
        desk.create_key(&desk.demo, "one", "").await.unwrap().into_inner(),
        desk.create_key(&desk.demo, "two", "").await.unwrap().into_inner(),
    ];
    let sign_in = async |secret: &str| {
        let key = login_key::mint(secret, DEMO, "005-dora", wall().unix_seconds() + 60);
        desk.sign_in(json!({"group": DEMO, "partnerUserId": "005-dora", "loginKey": key})).await
    };
    assert_eq!((sign_in(&one.secret).await, sign_in(&two.secret).await), (200, 200), "any good key");
    let set = async |sso: v1::Sso, path: &str| {
        let (_, version) = desk.settings().await;
        let settings = v1::Settings { sso: Some(sso), ..Default::default() };
        desk.update(&desk.demo, change(&[path], version, settings)).await.unwrap();
    };
    let only = v1::Sso { api_key_id: one.api_key.as_ref().unwrap().key_id.clone(), ..Default::default() };
    set(only, "sso.api_key_id").await;
    assert_eq!((sign_in(&one.secret).await, sign_in(&two.secret).await), (200, 401), "the named one");
    desk.revoke_key(&one.api_key.unwrap().key_id).await.unwrap();
    assert_eq!(sign_in(&one.secret).await, 401, "revoked");
    set(v1::Sso::default(), "sso.api_key_id").await;
    assert_eq!(sign_in(&two.secret).await, 200);
    set(v1::Sso::default(), "sso.enabled").await;
    assert_eq!(sign_in(&two.secret).await, 401, "switched off");
}

#[tokio::test]
async fn agents_are_described_and_listed() {
    let desk = Desk::open().await;
    let mut described = agent("dora");
    described.has_password = true;
    described.permissions = Some(v1::Permissions { admin: true, ..Default::default() });
    let made = desk.upsert(described, "").await.unwrap().into_inner().agent.unwrap();
    assert_eq!(made.address, "dora@desk.example", "kept in lower case");
    assert_eq!((made.has_password, made.permissions), (false, Some(v1::Permissions::default())));
    assert!(made.created_at.is_some());

    let taken = v1::Agent { address: "DORA@desk.example".into(), ..agent("eve") };
    let (code, details) = refused(desk.upsert(taken, "").await);
    assert_eq!((code, details.reason.as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));
    assert_eq!(details.metadata["field"], "agent.address");
    let taken = v1::Agent { partner_user_id: "005-dora".into(), ..agent("eve") };
    assert_eq!(refused(desk.upsert(taken, "").await).1.metadata["field"], "agent.partner_user_id");
    let wrong = v1::Agent { address: "a b".into(), name: String::new(), ..agent("eve") };
    assert_eq!(fields(desk.upsert(wrong, "").await), ["agent.address", "agent.name"]);
    let wrong = v1::Agent { agent_id: "a b".into(), ..agent("eve") };
    assert_eq!(fields(desk.upsert(wrong, "").await), ["agent.agent_id"]);
    assert_eq!(fields(desk.upsert(agent("eve"), "short").await), ["password"]);
    let wrong = v1::Agent {
        agent_id: "a b".into(),
        address: "a b".into(),
        name: String::new(),
        profile: "\n".into(),
        ..agent("eve")
    };
    let told = fields(desk.upsert(wrong, "short").await);
    let all = ["agent.agent_id", "password", "agent.address", "agent.name", "agent.profile"];
    assert_eq!(told, all, "all at once");
    let none = desk.client().upsert_agent(with_key(&desk.demo, v1::UpsertAgentRequest::default())).await;
    assert_eq!(fields(none), ["agent"]);

    let list = async |page_size, page_token: &str| {
        let request =
            v1::ListAgentsRequest { page_size, page_token: page_token.into(), ..Default::default() };
        let answer = desk.client().list_agents(with_key(&desk.demo, request)).await.unwrap().into_inner();
        let ids: Vec<_> = answer.agents.into_iter().map(|agent| agent.agent_id).collect();
        (ids, answer.next_page_token)
    };
    let (ids, next) = list(2, "").await;
    assert_eq!(ids, ["alice", "bob"]);
    let rest = list(2, &next).await;
    assert_eq!(rest, (vec!["dora".to_owned()], String::new()), "and no eve, who was refused");
    let users = v1::ListAssociatedUsersRequest::default();
    let users = desk.client().list_associated_users(with_key(&desk.demo, users)).await.unwrap().into_inner();
    let ids: Vec<_> =
        users.agents.iter().map(|agent| (agent.agent_id.as_str(), agent.has_password)).collect();
    assert_eq!(ids, [("alice", true), ("bob", true)], "who comes by single sign-on only is no user");
    desk.upsert(agent("dora"), PASSWORD).await.unwrap();
    let users = v1::ListAssociatedUsersRequest { page_size: 2, ..Default::default() };
    let users = desk.client().list_associated_users(with_key(&desk.demo, users)).await.unwrap().into_inner();
    assert_eq!((users.agents.len(), users.next_page_token.is_empty()), (2, false));
    let dora = json!({"group": DEMO, "address": "dora@desk.example", "password": PASSWORD});
    assert_eq!(desk.sign_in(dora).await, 200);
}

#[tokio::test]
async fn who_loses_a_credential_is_out_at_once() {
    let desk = Desk::open().await;
    let (site, key) = (&desk.site, &desk.demo);
    let by_password =
        |agent: &str| json!({"group": DEMO, "address": agent, "password": site.password(DEMO, agent)});
    let mut bob = site.agent("bob").await;
    let bob_is = || "bob".to_owned();
    let request = v1::RevokeTokensRequest { agent_id: bob_is(), ..Default::default() };
    desk.client().revoke_tokens(with_key(key, request)).await.unwrap();
    bob.expect_close(4401).await;

    let (mut bob, mut alice) = (site.agent("bob").await, site.agent("alice").await);
    let request = v1::RevokeTokensRequest::default();
    desk.client().revoke_tokens(with_key(key, request)).await.unwrap();
    bob.expect_close(4401).await;
    alice.expect_close(4401).await;

    let mut bob = site.agent("bob").await;
    let request = v1::RemoveAssociationRequest { agent_id: bob_is(), ..Default::default() };
    let left = desk.client().remove_association(with_key(key, request)).await.unwrap().into_inner();
    let left = left.agent.unwrap();
    assert_eq!((left.has_password, left.permissions.unwrap().user), (false, true), "the agent stays");
    bob.expect_close(4401).await;
    assert_eq!(desk.sign_in(by_password("bob")).await, 401);

    let mut alice = site.agent("alice").await;
    let request = v1::DeleteAgentRequest { agent_id: "alice".into(), ..Default::default() };
    desk.client().delete_agent(with_key(key, request)).await.unwrap();
    alice.expect_close(4401).await;
    assert_eq!(desk.sign_in(by_password("alice")).await, 401);
    // Somebody else under the same name begins with nothing.
    let back = desk.upsert(agent("alice"), PASSWORD).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(back.permissions, Some(v1::Permissions::default()));
    for unknown in ["nobody", "carol"] {
        let agent_id = unknown.to_owned();
        let gone = is(Code::NotFound, "NOT_FOUND");
        let request = v1::DeleteAgentRequest { agent_id: agent_id.clone(), ..Default::default() };
        assert_eq!(reason(desk.client().delete_agent(with_key(key, request)).await), gone);
        let request = v1::RemoveAssociationRequest { agent_id: agent_id.clone(), ..Default::default() };
        assert_eq!(reason(desk.client().remove_association(with_key(key, request)).await), gone);
        let request = v1::RevokeTokensRequest { agent_id: agent_id.clone(), ..Default::default() };
        assert_eq!(reason(desk.client().revoke_tokens(with_key(key, request)).await), gone);
        let permissions = Some(v1::Permissions::default());
        let request = v1::SetPermissionsRequest { agent_id, permissions, ..Default::default() };
        assert_eq!(reason(desk.client().set_permissions(with_key(key, request)).await), gone);
    }
}

#[tokio::test]
async fn permissions_hold_at_once() {
    let desk = Desk::open().await;
    let token = desk.site.token(DEMO, "bob").await;
    let settings =
        async || desk.client().get_settings(with_key(&token, v1::GetSettingsRequest::default())).await;
    assert_eq!(reason(settings().await), is(Code::PermissionDenied, "FORBIDDEN"));
    let set = async |permissions: Option<v1::Permissions>| {
        let request = v1::SetPermissionsRequest { agent_id: "bob".into(), permissions, ..Default::default() };
        desk.client().set_permissions(with_key(&desk.demo, request)).await
    };
    let all = v1::Permissions { user: true, admin: true, agent_video: false };
    let bob = set(Some(all)).await.unwrap().into_inner().agent.unwrap();
    assert_eq!((bob.permissions, bob.has_password), (Some(all), true));
    settings().await.unwrap();
    assert_eq!(fields(set(None).await), ["permissions"]);
    set(Some(v1::Permissions::default())).await.unwrap();
    assert_eq!(reason(settings().await), is(Code::PermissionDenied, "FORBIDDEN"));
}
