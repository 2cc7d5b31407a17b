//! The calls of the service, one door and one handler each.
//!
//! Decides nothing: the gate says who may, the modules of each subject do the work, [`Service::once`] makes
//! a change happen once. A call that is in the proto file and not here does not compile.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::once::Call;
use super::readers::Readers;
use super::standing::Standing;
use super::status::AdminError;
use super::sync::Syncing;
use super::traced::{Door, Traced};
use super::{
    AdminHub, Archive, agents, events, feed, groups, keys, nodes, presence, receipts, records, sessions, sync,
};
use crate::hub::accounts::Accounts;
use crate::limits;
use crate::pb::v1;
use crate::pb::v1::admin_server::{Admin, AdminServer};
use crate::telemetry::{Meters, Traces};

/// The service over a hub.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) gate: Gate,
    pub(super) accounts: Arc<Accounts>,
    pub(super) hub: Arc<dyn AdminHub>,
    pub(super) archive: Archive,
    pub(super) readers: Readers,
    pub(super) syncing: Syncing,
}

/// The service, for every door it is reached by; a clone is the same one.
#[derive(Clone)]
pub struct AdminService(Service, Traces);

impl std::fmt::Debug for AdminService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminService").finish_non_exhaustive()
    }
}

impl AdminService {
    /// A service over a hub, its accounts, what is kept of what happened, and the sync.
    pub fn new(
        hub: Arc<dyn AdminHub>,
        accounts: Arc<Accounts>,
        archive: Archive,
        meters: Arc<Meters>,
        syncing: Syncing,
        traces: Traces,
    ) -> Self {
        let readers = Readers::new(Arc::clone(&meters));
        let gate = Gate { accounts: Arc::clone(&accounts), meters };
        Self(Service { gate, accounts, hub, archive, readers, syncing }, traces)
    }

    /// As gRPC, for calls that come by a door.
    pub(super) fn grpc(&self, door: Door) -> Traced {
        let service = AdminServer::new(self.0.clone()).max_decoding_message_size(limits::ADMIN_MESSAGE);
        Traced { service, traces: self.1.clone(), door }
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.0.gate.meters
    }
}

impl Service {
    /// The credential of a call that lasts.
    fn standing<R>(&self, request: &Request<R>) -> Standing {
        Standing::of(request, &self.accounts, self.hub.draining())
    }

    /// Whether one more answer of any length may begin. Short ones always may: a full node is looked at and drained.
    fn has_room(&self) -> Result<(), AdminError> {
        if self.hub.is_full() {
            self.gate.meters.refusal("admin_streams");
            return Err(AdminError::Unavailable);
        }
        Ok(())
    }
}

/// A stream of answers.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Admin for Service {
    async fn create_group(
        &self,
        request: Request<v1::CreateGroupRequest>,
    ) -> Answer<v1::CreateGroupResponse> {
        let (operator, request) = self.gate.operator(request)?;
        let call = Call::of("CreateGroup", operator.caller(), Some(&request.group), &request)?;
        let this = self.clone();
        self.once(call, async move { groups::create_group(&this, &operator, request).await }).await
    }

    async fn list_groups(&self, request: Request<v1::ListGroupsRequest>) -> Answer<v1::ListGroupsResponse> {
        let (caller, request) = self.gate.caller(request)?;
        Ok(Response::new(groups::list_groups(self, &caller, request).await?))
    }

    async fn get_settings(
        &self,
        request: Request<v1::GetSettingsRequest>,
    ) -> Answer<v1::GetSettingsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(groups::get_settings(self, &within, request).await?))
    }

    async fn update_settings(
        &self,
        request: Request<v1::UpdateSettingsRequest>,
    ) -> Answer<v1::UpdateSettingsResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("UpdateSettings", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { groups::update_settings(&this, &within, request).await }).await
    }

    async fn list_settings_changes(
        &self,
        request: Request<v1::ListSettingsChangesRequest>,
    ) -> Answer<v1::ListSettingsChangesResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(groups::list_settings_changes(self, &within, request).await?))
    }

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Answer<v1::CreateApiKeyResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("CreateApiKey", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { keys::create_api_key(&this, &within, request).await }).await
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Answer<v1::ListApiKeysResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(keys::list_api_keys(self, &within, request).await?))
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Answer<v1::RevokeApiKeyResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("RevokeApiKey", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { keys::revoke_api_key(&this, &within, request).await }).await
    }

    async fn upsert_agent(
        &self,
        request: Request<v1::UpsertAgentRequest>,
    ) -> Answer<v1::UpsertAgentResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("UpsertAgent", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { agents::upsert_agent(&this, &within, request).await }).await
    }

    async fn list_agents(&self, request: Request<v1::ListAgentsRequest>) -> Answer<v1::ListAgentsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(agents::list_agents(self, &within, request).await?))
    }

    async fn delete_agent(
        &self,
        request: Request<v1::DeleteAgentRequest>,
    ) -> Answer<v1::DeleteAgentResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("DeleteAgent", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { agents::delete_agent(&this, &within, request).await }).await
    }

    async fn set_permissions(
        &self,
        request: Request<v1::SetPermissionsRequest>,
    ) -> Answer<v1::SetPermissionsResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("SetPermissions", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { agents::set_permissions(&this, &within, request).await }).await
    }

    async fn list_associated_users(
        &self,
        request: Request<v1::ListAssociatedUsersRequest>,
    ) -> Answer<v1::ListAssociatedUsersResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(agents::list_associated_users(self, &within, request).await?))
    }

    async fn remove_association(
        &self,
        request: Request<v1::RemoveAssociationRequest>,
    ) -> Answer<v1::RemoveAssociationResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("RemoveAssociation", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { agents::remove_association(&this, &within, request).await }).await
    }

    async fn revoke_tokens(
        &self,
        request: Request<v1::RevokeTokensRequest>,
    ) -> Answer<v1::RevokeTokensResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("RevokeTokens", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { agents::revoke_tokens(&this, &within, request).await }).await
    }

    async fn lookup_visitors(
        &self,
        request: Request<v1::LookupVisitorsRequest>,
    ) -> Answer<v1::LookupVisitorsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(presence::lookup_visitors(self, &within, request).await?))
    }

    type ListVisitorsStream = Answers<v1::ListVisitorsResponse>;

    async fn list_visitors(
        &self,
        request: Request<v1::ListVisitorsRequest>,
    ) -> Answer<Self::ListVisitorsStream> {
        let (within, request) = self.gate.group(request)?;
        self.has_room()?;
        Ok(Response::new(presence::list_visitors(self, &within, request).await?.map(Ok).boxed()))
    }

    type WatchPresenceStream = Answers<v1::WatchPresenceResponse>;

    async fn watch_presence(
        &self,
        request: Request<v1::WatchPresenceRequest>,
    ) -> Answer<Self::WatchPresenceStream> {
        let standing = self.standing(&request);
        let (within, request) = self.gate.group(request)?;
        self.has_room()?;
        let words = presence::watch_presence(self, &within, request).await?;
        Ok(Response::new(standing.guard(within.caller().who(), words)))
    }

    async fn signal_visitor(
        &self,
        request: Request<v1::SignalVisitorRequest>,
    ) -> Answer<v1::SignalVisitorResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("SignalVisitor", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { presence::signal_visitor(&this, &within, request).await }).await
    }

    async fn disconnect_visitor(
        &self,
        request: Request<v1::DisconnectVisitorRequest>,
    ) -> Answer<v1::DisconnectVisitorResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("DisconnectVisitor", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { presence::disconnect_visitor(&this, &within, request).await }).await
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(sessions::list_sessions(self, &within, request).await?))
    }

    async fn get_session(&self, request: Request<v1::GetSessionRequest>) -> Answer<v1::GetSessionResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(sessions::get_session(self, &within, request).await?))
    }

    async fn end_session(&self, request: Request<v1::EndSessionRequest>) -> Answer<v1::EndSessionResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("EndSession", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { sessions::end_session(&this, &within, request).await }).await
    }

    type WatchSessionsStream = Answers<v1::WatchSessionsResponse>;

    async fn watch_sessions(
        &self,
        request: Request<v1::WatchSessionsRequest>,
    ) -> Answer<Self::WatchSessionsStream> {
        let standing = self.standing(&request);
        let (within, request) = self.gate.group(request)?;
        self.has_room()?;
        let words = sessions::watch_sessions(self, &within, request).await?;
        Ok(Response::new(standing.guard(within.caller().who(), words)))
    }

    type StreamEventsStream = Answers<v1::StreamEventsResponse>;

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Answer<Self::StreamEventsStream> {
        let standing = self.standing(&request);
        let (within, request) = self.gate.group(request)?;
        self.has_room()?;
        let messages = events::stream_events(self, &within, request).await?;
        Ok(Response::new(standing.guard_fallible(within.caller().who(), messages)))
    }

    async fn list_session_events(
        &self,
        request: Request<v1::ListSessionEventsRequest>,
    ) -> Answer<v1::ListSessionEventsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(events::list_session_events(self, &within, request).await?))
    }

    async fn list_session_records(
        &self,
        request: Request<v1::ListSessionRecordsRequest>,
    ) -> Answer<v1::ListSessionRecordsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(records::list_session_records(self, &within, request).await?))
    }

    async fn get_session_record(
        &self,
        request: Request<v1::GetSessionRecordRequest>,
    ) -> Answer<v1::GetSessionRecordResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(records::get_session_record(self, &within, request).await?))
    }

    async fn list_session_stats(
        &self,
        request: Request<v1::ListSessionStatsRequest>,
    ) -> Answer<v1::ListSessionStatsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(records::list_session_stats(self, &within, request).await?))
    }

    async fn get_consent_receipt(
        &self,
        request: Request<v1::GetConsentReceiptRequest>,
    ) -> Answer<v1::GetConsentReceiptResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(receipts::get_consent_receipt(self, &within, request).await?))
    }

    type ExportConsentReceiptsStream = Answers<v1::ExportConsentReceiptsResponse>;

    async fn export_consent_receipts(
        &self,
        request: Request<v1::ExportConsentReceiptsRequest>,
    ) -> Answer<Self::ExportConsentReceiptsStream> {
        let standing = self.standing(&request);
        let (within, request) = self.gate.group(request)?;
        self.has_room()?;
        let lines = receipts::export_consent_receipts(self, &within, request).await?;
        Ok(Response::new(standing.guard_fallible(within.caller().who(), lines)))
    }

    async fn get_receipt_key(
        &self,
        request: Request<v1::GetReceiptKeyRequest>,
    ) -> Answer<v1::GetReceiptKeyResponse> {
        let (within, _) = self.gate.group(request)?;
        Ok(Response::new(receipts::get_receipt_key(self, &within)))
    }

    async fn list_feed(&self, request: Request<v1::ListFeedRequest>) -> Answer<v1::ListFeedResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(feed::list_feed(self, &within, request).await?))
    }

    async fn post_feed(&self, request: Request<v1::PostFeedRequest>) -> Answer<v1::PostFeedResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("PostFeed", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { feed::post_feed(&this, &within, request).await }).await
    }

    async fn list_leads(&self, request: Request<v1::ListLeadsRequest>) -> Answer<v1::ListLeadsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(feed::list_leads(self, &within, request).await?))
    }

    async fn sync_now(&self, request: Request<v1::SyncNowRequest>) -> Answer<v1::SyncNowResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("SyncNow", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { sync::sync_now(&this, &within, request).await }).await
    }

    async fn list_sync_runs(
        &self,
        request: Request<v1::ListSyncRunsRequest>,
    ) -> Answer<v1::ListSyncRunsResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(sync::list_sync_runs(self, &within, request).await?))
    }

    async fn get_sync_status(
        &self,
        request: Request<v1::GetSyncStatusRequest>,
    ) -> Answer<v1::GetSyncStatusResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(sync::get_sync_status(self, &within, request).await?))
    }

    async fn put_sink(&self, request: Request<v1::PutSinkRequest>) -> Answer<v1::PutSinkResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("PutSink", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { sync::put_sink(&this, &within, request).await }).await
    }

    async fn list_sinks(&self, request: Request<v1::ListSinksRequest>) -> Answer<v1::ListSinksResponse> {
        let (within, request) = self.gate.group(request)?;
        Ok(Response::new(sync::list_sinks(self, &within, request).await?))
    }

    async fn delete_sink(&self, request: Request<v1::DeleteSinkRequest>) -> Answer<v1::DeleteSinkResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("DeleteSink", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { sync::delete_sink(&this, &within, request).await }).await
    }

    async fn test_sink(&self, request: Request<v1::TestSinkRequest>) -> Answer<v1::TestSinkResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("TestSink", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { sync::test_sink(&this, &within, request).await }).await
    }

    async fn replay_dead_letters(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Answer<v1::ReplayDeadLettersResponse> {
        let (within, request) = self.gate.group(request)?;
        let call = Call::within("ReplayDeadLetters", &within, &request)?;
        let this = self.clone();
        self.once(call, async move { sync::replay_dead_letters(&this, &within, request).await }).await
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Answer<v1::GetNodeResponse> {
        let (operator, request) = self.gate.operator(request)?;
        Ok(Response::new(nodes::get_node(self, &operator, request).await?))
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        let (operator, request) = self.gate.operator(request)?;
        Ok(Response::new(nodes::list_nodes(self, &operator, request).await?))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        let (operator, request) = self.gate.operator(request)?;
        let call = Call::of("Drain", operator.caller(), None, &request)?;
        let this = self.clone();
        self.once(call, async move { nodes::drain(&this, &operator, request).await }).await
    }

    async fn set_log_filter(
        &self,
        request: Request<v1::SetLogFilterRequest>,
    ) -> Answer<v1::SetLogFilterResponse> {
        let (operator, request) = self.gate.operator(request)?;
        let call = Call::of("SetLogFilter", operator.caller(), None, &request)?;
        let this = self.clone();
        self.once(call, async move { nodes::set_log_filter(&this, &operator, request).await }).await
    }
}
