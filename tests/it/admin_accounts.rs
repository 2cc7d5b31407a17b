//! What operators and companies manage: groups, settings, keys, agents. Over a real gRPC client.

use std::fmt::Debug;

use porchlight::admin::{Details, details_of};
use porchlight::auth::login_key;
use porchlight::clock::wall;
use porchlight::limits;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use prost_types::FieldMask;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::common::site::{DEMO, PASSWORD, group_id};
use crate::common::{Site, http, json, within};

/// A site with two groups and a credential for each kind of caller.
struct Desk {
    site: Site,
    client: AdminClient<Channel>,
    operator: String,
    demo: String,
    other: String,
}

type Asked<T> = Result<Response<T>, Status>;

impl Desk {
    async fn open() -> Self {
        let site = Site::start().await;
        site.add_group("other").await;
        let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
        let client = AdminClient::new(within("a gRPC connection", endpoint.connect()).await.unwrap());
        let (operator, demo) = {
            let demo = site.running.demo.as_ref().unwrap();
            (demo.admin_key.clone(), format!("{}.{}", demo.api_key.0, demo.api_key.1))
        };
        let key = site.running.accounts.create_api_key(&group_id("other"), "it").await.unwrap();
        let other = format!("{}.{}", key.row.id, key.secret.expose());
        Self { site, client, operator, demo, other }
    }

    fn client(&self) -> AdminClient<Channel> {
        self.client.clone()
    }

    async fn settings(&self) -> (v1::Settings, u64) {
        let asked = v1::GetSettingsRequest::default();
        let answer = self.client().get_settings(with_key(&self.demo, asked)).await.unwrap().into_inner();
        (answer.settings.unwrap(), answer.version)
    }

    async fn update(
        &self,
        key: &str,
        request: v1::UpdateSettingsRequest,
    ) -> Asked<v1::UpdateSettingsResponse> {
        self.client().update_settings(with_key(key, request)).await
    }

    async fn upsert(&self, agent: v1::Agent, password: &str) -> Asked<v1::UpsertAgentResponse> {
        let request =
            v1::UpsertAgentRequest { agent: Some(agent), password: password.into(), ..Default::default() };
        self.client().upsert_agent(with_key(&self.demo, request)).await
    }

    async fn create_key(&self, key: &str, label: &str, id: &str) -> Asked<v1::CreateApiKeyResponse> {
        let request =
            v1::CreateApiKeyRequest { label: label.into(), request_id: id.into(), ..Default::default() };
        self.client().create_api_key(with_key(key, request)).await
    }

    async fn keys(&self) -> Vec<v1::ApiKey> {
        let asked = v1::ListApiKeysRequest::default();
        self.client().list_api_keys(with_key(&self.demo, asked)).await.unwrap().into_inner().api_keys
    }

    async fn revoke_key(&self, id: &str) -> Asked<v1::RevokeApiKeyResponse> {
        let request = v1::RevokeApiKeyRequest { key_id: id.into(), ..Default::default() };
        self.client().revoke_api_key(with_key(&self.demo, request)).await
    }

    async fn sign_in(&self, body: crate::common::Value) -> u16 {
        http::post(self.site.running.public, "/v1/auth/agent", &body).await.status
    }
}

fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !key.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

#[track_caller]
fn refused<T: Debug>(answer: Asked<T>) -> (Code, Details) {
    let status = answer.unwrap_err();
    let details = details_of(&status).unwrap_or_default();
    (status.code(), details)
}

#[track_caller]
fn reason<T: Debug>(answer: Asked<T>) -> (Code, String) {
    let (code, details) = refused(answer);
    (code, details.reason)
}

/// The fields that a refusal names.
#[track_caller]
fn fields<T: Debug>(answer: Asked<T>) -> Vec<String> {
    let (code, details) = refused(answer);
    assert_eq!((code, details.reason.as_str()), (Code::InvalidArgument, "BAD_FIELD"), "{details:?}");
    details.violations.into_iter().map(|(field, _)| field).collect()
}

fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

fn change(paths: &[&str], version: u64, settings: v1::Settings) -> v1::UpdateSettingsRequest {
    v1::UpdateSettingsRequest {
        settings: Some(settings),
        update_mask: Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        expected_version: version,
        ..Default::default()
    }
}

fn grace(seconds: u32) -> v1::Settings {
    v1::Settings { grace_seconds: seconds, ..Default::default() }
}

fn agent(id: &str) -> v1::Agent {
    v1::Agent {
        agent_id: id.into(),
        address: format!("{id}@Desk.example"),
        partner_user_id: format!("005-{id}"),
        name: id.to_uppercase(),
        profile: "Support".into(),
        ..Default::default()
    }
}

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

#[tokio::test]
async fn a_call_is_made_once() {
    let desk = Desk::open().await;
    let (_, version) = desk.settings().await;
    let asked = |seconds, id: &str| v1::UpdateSettingsRequest {
        request_id: id.into(),
        ..change(&["grace_seconds"], version, grace(seconds))
    };
    let first = desk.update(&desk.demo, asked(11, "r1")).await.unwrap().into_inner();
    let next = change(&["grace_seconds"], version + 1, grace(12));
    desk.update(&desk.demo, next).await.unwrap();
    let again = desk.update(&desk.demo, asked(11, "r1")).await.unwrap().into_inner();
    assert_eq!(again, first, "the first answer, though things went on");
    assert_eq!(desk.settings().await.0.grace_seconds, 12);
    let reused = is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(reason(desk.update(&desk.demo, asked(13, "r1")).await), reused);
    let key = desk.create_key(&desk.demo, "x", "r1").await;
    assert_eq!(reason(key), reused, "another call");

    // What was refused may be asked for again.
    let (code, _) = refused(desk.update(&desk.demo, asked(13, "r2")).await);
    assert_eq!(code, Code::Aborted);
    let (_, now) = desk.settings().await;
    let anew = v1::UpdateSettingsRequest { expected_version: now, ..asked(13, "r2") };
    desk.update(&desk.demo, anew).await.unwrap();
    let theirs =
        v1::UpdateSettingsRequest { request_id: "r1".into(), ..change(&["grace_seconds"], 1, grace(9)) };
    desk.update(&desk.other, theirs).await.unwrap();

    // An agent deleted once stays found to be deleted, and one made anew under the name is not touched.
    let delete =
        v1::DeleteAgentRequest { agent_id: "bob".into(), request_id: "gone".into(), ..Default::default() };
    desk.client().delete_agent(with_key(&desk.demo, delete.clone())).await.unwrap();
    desk.upsert(agent("bob"), "").await.unwrap();
    desk.client().delete_agent(with_key(&desk.demo, delete)).await.unwrap();
    let agents = v1::ListAgentsRequest::default();
    let agents = desk.client().list_agents(with_key(&desk.demo, agents)).await.unwrap().into_inner().agents;
    assert!(agents.iter().any(|agent| agent.agent_id == "bob"));
    let long = desk.create_key(&desk.demo, "x", &"r".repeat(65)).await;
    assert_eq!(fields(long), ["request_id"]);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_found_again() {
    let desk = Desk::open().await;
    let (_, version) = desk.settings().await;
    // As the process leaves it when it dies after the change and before the call is remembered.
    let accounts = &desk.site.running.accounts;
    let mut settings = accounts.group(&group_id(DEMO)).unwrap().settings.clone();
    settings.grace_seconds = 33;
    accounts.update_settings(&group_id(DEMO), &settings, version, "operator").await.unwrap();
    let asked = |id: &str, seconds| v1::UpdateSettingsRequest {
        group: DEMO.to_owned(),
        request_id: id.to_owned(),
        ..change(&["grace_seconds"], version, grace(seconds))
    };
    let found = desk.update(&desk.operator, asked("r1", 33)).await.unwrap().into_inner();
    assert_eq!((found.settings.unwrap().grace_seconds, found.version), (33, version + 1));
    let conflict = is(Code::Aborted, "CONFLICT");
    assert_eq!(reason(desk.update(&desk.operator, asked("", 33)).await), conflict, "no ID, no same call");
    assert_eq!(reason(desk.update(&desk.operator, asked("r2", 34)).await), conflict, "another wish");
    assert_eq!(reason(desk.update(&desk.demo, asked("r1", 33)).await), conflict, "another caller");
}

#[tokio::test]
async fn calls_at_the_same_time_are_one_call() {
    let desk = Desk::open().await;
    let asked = || v1::UpsertAgentRequest {
        agent: Some(agent("dora")),
        password: PASSWORD.into(),
        request_id: "r1".into(),
        ..Default::default()
    };
    let calls = (0..4).map(|_| {
        let (mut client, key) = (desk.client(), desk.demo.clone());
        tokio::spawn(async move { client.upsert_agent(with_key(&key, asked())).await })
    });
    let mut made = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(answer) => made.push(answer.into_inner()),
            refused => assert_eq!(reason(refused), is(Code::Aborted, "REQUEST_RUNNING")),
        }
    }
    assert!(!made.is_empty());
    made.dedup();
    assert_eq!(made.len(), 1);
}

#[tokio::test]
#[allow(clippy::needless_update, reason = "some requests name a group and nothing else")]
async fn every_call_needs_a_credential_that_reaches() {
    let desk = Desk::open().await;
    let bob = desk.site.token(DEMO, "bob").await;
    let calls = async |key: &str, group: &str| {
        let (mut client, group) = (desk.client(), group.to_owned());
        macro_rules! ask {
            ($($call:ident $request:ident { $($field:ident: $value:expr),* };)*) => {
                vec![$(client
                    .$call(with_key(key, v1::$request {
                        group: group.clone(), $($field: $value,)* ..Default::default()
                    }))
                    .await
                    .err(),)*]
            };
        }
        ask! {
            get_settings GetSettingsRequest {};
            update_settings UpdateSettingsRequest { settings: Some(grace(1)) };
            list_settings_changes ListSettingsChangesRequest {};
            create_api_key CreateApiKeyRequest {};
            list_api_keys ListApiKeysRequest {};
            revoke_api_key RevokeApiKeyRequest { key_id: "demo".into() };
            upsert_agent UpsertAgentRequest { agent: Some(agent("dora")) };
            list_agents ListAgentsRequest {};
            delete_agent DeleteAgentRequest { agent_id: "bob".into() };
            set_permissions SetPermissionsRequest { agent_id: "bob".into() };
            list_associated_users ListAssociatedUsersRequest {};
            remove_association RemoveAssociationRequest { agent_id: "bob".into() };
            revoke_tokens RevokeTokensRequest {};
        }
    };
    let faces = async |key: &str, group: &str| {
        let mut faces: Vec<_> = calls(key, group)
            .await
            .into_iter()
            .map(|status| {
                let status = status.unwrap();
                (status.code(), status.message().to_owned(), status.details().to_vec())
            })
            .collect();
        faces.dedup();
        assert_eq!(faces.len(), 1, "one answer for all");
        faces.remove(0)
    };
    for (key, code) in [("", Code::Unauthenticated), ("wrong", Code::Unauthenticated)] {
        assert_eq!(faces(key, DEMO).await.0, code);
    }
    assert_eq!(faces(&bob, DEMO).await.0, Code::PermissionDenied, "an agent who is no admin");
    let foreign = faces(&desk.other, DEMO).await;
    assert_eq!(foreign, faces(&desk.other, "nowhere").await);
    assert_eq!(foreign, faces(&desk.operator, "nowhere").await);
    assert_eq!(foreign.0, Code::NotFound);
    assert_eq!(faces(&desk.operator, "").await.0, Code::InvalidArgument, "an operator names the group");
    let (_, version) = desk.settings().await;
    assert_eq!((version, desk.keys().await.len()), (1, 1), "and nothing happened");
}
