//! Changes made once, and who may make them, over the operators' service.

use porchlight::pb::v1;
use tonic::Code;

use crate::common::desk::*;
use crate::common::site::{DEMO, PASSWORD, group_id};

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
