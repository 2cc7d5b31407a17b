//! The operators' service as tests ask it: two groups, and a credential for each kind of caller.

use std::fmt::Debug;

use porchlight::admin::{Details, details_of};
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use prost_types::FieldMask;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::site::group_id;
use super::{Site, http, within};

/// A site with two groups and a credential for each kind of caller.
pub struct Desk {
    pub site: Site,
    pub client: AdminClient<Channel>,
    pub operator: String,
    pub demo: String,
    pub other: String,
}

pub type Asked<T> = Result<Response<T>, Status>;

impl Desk {
    pub async fn open() -> Self {
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

    pub fn client(&self) -> AdminClient<Channel> {
        self.client.clone()
    }

    pub async fn settings(&self) -> (v1::Settings, u64) {
        let asked = v1::GetSettingsRequest::default();
        let answer = self.client().get_settings(with_key(&self.demo, asked)).await.unwrap().into_inner();
        (answer.settings.unwrap(), answer.version)
    }

    pub async fn update(
        &self,
        key: &str,
        request: v1::UpdateSettingsRequest,
    ) -> Asked<v1::UpdateSettingsResponse> {
        self.client().update_settings(with_key(key, request)).await
    }

    pub async fn upsert(&self, agent: v1::Agent, password: &str) -> Asked<v1::UpsertAgentResponse> {
        let request =
            v1::UpsertAgentRequest { agent: Some(agent), password: password.into(), ..Default::default() };
        self.client().upsert_agent(with_key(&self.demo, request)).await
    }

    pub async fn create_key(&self, key: &str, label: &str, id: &str) -> Asked<v1::CreateApiKeyResponse> {
        let request =
            v1::CreateApiKeyRequest { label: label.into(), request_id: id.into(), ..Default::default() };
        self.client().create_api_key(with_key(key, request)).await
    }

    pub async fn keys(&self) -> Vec<v1::ApiKey> {
        let asked = v1::ListApiKeysRequest::default();
        self.client().list_api_keys(with_key(&self.demo, asked)).await.unwrap().into_inner().api_keys
    }

    pub async fn revoke_key(&self, id: &str) -> Asked<v1::RevokeApiKeyResponse> {
        let request = v1::RevokeApiKeyRequest { key_id: id.into(), ..Default::default() };
        self.client().revoke_api_key(with_key(&self.demo, request)).await
    }

    pub async fn sign_in(&self, body: crate::common::Value) -> u16 {
        http::post(self.site.running.public, "/v1/auth/agent", &body).await.status
    }
}

pub fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !key.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

#[track_caller]
pub fn refused<T: Debug>(answer: Asked<T>) -> (Code, Details) {
    let status = answer.unwrap_err();
    let details = details_of(&status).unwrap_or_default();
    (status.code(), details)
}

#[track_caller]
pub fn reason<T: Debug>(answer: Asked<T>) -> (Code, String) {
    let (code, details) = refused(answer);
    (code, details.reason)
}

/// The fields that a refusal names.
#[track_caller]
pub fn fields<T: Debug>(answer: Asked<T>) -> Vec<String> {
    let (code, details) = refused(answer);
    assert_eq!((code, details.reason.as_str()), (Code::InvalidArgument, "BAD_FIELD"), "{details:?}");
    details.violations.into_iter().map(|(field, _)| field).collect()
}

pub fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

pub fn change(paths: &[&str], version: u64, settings: v1::Settings) -> v1::UpdateSettingsRequest {
    v1::UpdateSettingsRequest {
        settings: Some(settings),
        update_mask: Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        expected_version: version,
        ..Default::default()
    }
}

pub fn grace(seconds: u32) -> v1::Settings {
    v1::Settings { grace_seconds: seconds, ..Default::default() }
}

pub fn agent(id: &str) -> v1::Agent {
    v1::Agent {
        agent_id: id.into(),
        address: format!("{id}@Desk.example"),
        partner_user_id: format!("005-{id}"),
        name: id.to_uppercase(),
        profile: "Support".into(),
        ..Default::default()
    }
}
